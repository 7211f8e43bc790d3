# Everything here works on a machine that has Python 3.11, make and the package registries.
# uv is installed into .tools if the machine has none; it installs all else into .venv.

UV := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)
RUN := $(UV) run --frozen --no-sync

.PHONY: help demo test coverage check rust bench docs clean

help: ## Show what there is
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

.tools/bin/uv:
	@echo "Installing uv into .tools"
	@python3 -m pip install --quiet --disable-pip-version-check --target .tools uv

.venv/ready: pyproject.toml uv.lock | $(filter .tools/%,$(UV))
	@echo "Installing CCOS and what it needs into .venv"
	@$(UV) sync --quiet --frozen
	@touch $@

RUNE := .venv/bin/ccos-rune-worker

# Rust comes along with the build if the machine has none.
$(RUNE): .venv/ready $(shell find native/rune-worker/src -name '*.rs') native/rune-worker/Cargo.lock
	@echo "Building the Rune worker"
	@$(UV) pip install --quiet --no-deps --reinstall-package ccos-rune ./native/rune-worker
	@touch $@

demo: .venv/ready ## Tell the whole story once, with real parts
	@$(RUN) python examples/demo/demo.py

test: .venv/ready $(RUNE) ## Run every test
	$(RUN) pytest -n 2 --dist worksteal $(PYTEST)

coverage: PYTEST += --cov --cov-report=term:skip-covered
coverage: test ## Run every test, and show what none of them runs

check: .venv/ready ## Format, lint, types, layers
	@$(RUN) ruff format --check --quiet
	@$(RUN) ruff check --quiet
	@$(RUN) mypy
	@$(RUN) lint-imports --no-timing 2>/dev/null || $(RUN) lint-imports

rust: ## Format, lint and tests of the Rune worker
	cd native/rune-worker && cargo fmt --check
	cd native/rune-worker && cargo clippy --quiet --locked --all-targets -- -D warnings
	cd native/rune-worker && cargo test --quiet --locked

bench: .venv/ready $(RUNE) ## Measure against peers in the same run
	$(RUN) python benchmarks/cli_start.py
	$(RUN) python benchmarks/call_overhead.py
	$(RUN) python benchmarks/parked_executions.py
	$(RUN) python benchmarks/engine.py
	$(RUN) python benchmarks/rtfs.py
	$(RUN) python benchmarks/rtfs_fuzz.py
	$(RUN) python benchmarks/rune.py
	$(RUN) python benchmarks/migration.py

docs: .venv/ready ## Build the documentation into site/
	$(RUN) mkdocs build --strict --quiet

clean: ## Remove what was installed and built
	rm -rf .venv .tools site .coverage native/rune-worker/target
