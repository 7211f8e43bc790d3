"""The Python doors: ``import ccos``, asynchronous and blocking."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

import ccos

PLAN = "found = await math.double(x=21)\nprint('done')\nfound"


def double(x: int) -> int:
    """Twice the number."""
    return 2 * x


def test_every_public_name_is_there() -> None:
    assert [name for name in ccos.__all__ if not hasattr(ccos, name)] == []
    assert sorted(ccos.__all__) == ccos.__all__
    assert set(ccos.__all__) <= set(dir(ccos))
    with pytest.raises(AttributeError):
        _ = ccos.no_such_name  # type: ignore[attr-defined]


def test_importing_costs_nothing() -> None:
    heavy = ("sqlalchemy", "dbos", "fastmcp", "pydantic", "httpx2", "cyclopts", "rich")
    code = f"import ccos, sys; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_imports_nothing_of_the_commands() -> None:
    heavy = ("sqlalchemy", "dbos", "fastmcp", "pydantic", "httpx2", "ccos.config", "ccos.assembly")
    code = (
        "import sys\nfrom ccos.interfaces.cli import main\nmain(['--help'])\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_asynchronous_door(home: Path) -> None:
    async def main() -> ccos.Outcome:
        async with ccos.open(home=home) as runtime:
            await runtime.register("math.double", double, effect_type=ccos.EffectType.PURE)
            return await runtime.run(PLAN)

    outcome = asyncio.run(main())
    assert isinstance(outcome, ccos.Completed)
    assert (outcome.value, outcome.printed) == (42, "done\n")


def test_the_blocking_door(home: Path) -> None:
    with ccos.open_sync(home=home) as runtime:
        runtime.register("math.double", double, effect_type=ccos.EffectType.PURE)
        called = runtime.call("math.double", {"x": 4})
        assert isinstance(called, ccos.Completed)
        assert called.value == 8
        assert runtime.check(PLAN).missing == ()
        assert isinstance(runtime.run(PLAN), ccos.Completed)
        assert runtime.settled(called.execution_id) == called
        failed = runtime.call("no.such")
        assert isinstance(failed, ccos.Failed)
        assert isinstance(failed.error, ccos.errors.UnknownCapabilityError)
        with pytest.raises(ccos.errors.FeatureDisabledError):
            runtime.resolve("no.such")
    with pytest.raises(ccos.errors.ExecutionStateError):
        runtime.call("math.double", {"x": 1})


def test_the_blocking_door_parks_and_approves(resolving: None, home: Path) -> None:
    with ccos.open_sync(home=home) as runtime:
        parked = runtime.call("system.thing")
        assert isinstance(parked, ccos.Parked)
        waiting = runtime.follow(parked.execution_id, timeout_seconds=20)
        assert waiting == parked
        assert isinstance(runtime.resolve("system.thing"), ccos.AwaitingApproval)
        assert runtime.reject(capability_id="system.thing", by="ann").decided_by == "ann"
        runtime.cancel(parked.execution_id, actor="ann")
        assert isinstance(runtime.settled(parked.execution_id), ccos.Failed)
