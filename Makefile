# Everything here works on a machine that has Python 3.11, make and the package registries.
# uv is installed into .tools if the machine has none; it installs all else into .venv.

UV := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)
RUN := $(UV) run --frozen --no-sync

.PHONY: help demo test check bench docs clean

help: ## Show what there is
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

.tools/bin/uv:
	@echo "Installing uv into .tools"
	@python3 -m pip install --quiet --disable-pip-version-check --target .tools uv

.venv/ready: pyproject.toml uv.lock | $(filter .tools/%,$(UV))
	@echo "Installing CCOS and what it needs into .venv"
	@$(UV) sync --quiet --frozen
	@touch $@

demo: .venv/ready ## Tell the whole story once, with real parts
	@$(RUN) python examples/demo/demo.py

test: .venv/ready ## Run every test, with coverage
	$(RUN) pytest -n 2 --dist worksteal --cov --cov-report=term:skip-covered $(PYTEST)

check: .venv/ready ## Format, lint, types, layers
	@$(RUN) ruff format --check --quiet
	@$(RUN) ruff check --quiet
	@$(RUN) mypy
	@$(RUN) lint-imports --no-timing 2>/dev/null || $(RUN) lint-imports

bench: .venv/ready ## Measure against peers in the same run
	$(RUN) python benchmarks/cli_start.py
	$(RUN) python benchmarks/call_overhead.py
	$(RUN) python benchmarks/parked_executions.py
	$(RUN) python benchmarks/engine.py

docs: .venv/ready ## Build the documentation into site/
	$(RUN) mkdocs build --strict --quiet

clean: ## Remove what was installed and built
	rm -rf .venv .tools site .coverage
