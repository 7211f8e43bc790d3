"""Quick programs are run at once: nobody can tell, but by the time that it takes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ccos.engine.budget import Allowance, Budget, Dimension
from ccos.engine.executions import ExecutionContext, ExecutionResult
from ccos.engine.python.quick import QuickPrograms
from ccos.engine.python.session import PythonSession
from ccos.engine.service import ScriptEngine

from .engines import code, engine

pytestmark = pytest.mark.anyio

KEY = ("sha256:1", None)

MOODS = """
async def main(mood, n=10):
    if mood == "prints":
        print("once")
    if mood == "asks":
        from crucible.basic import math_abs
        return math_abs(-n)
    if mood == "waits":
        import asyncio
        await asyncio.sleep(0.01)
    if mood == "fails":
        raise ValueError("no")
    if mood == "no data":
        return {1, 2}
    total = 0
    for number in range(n):
        total += 1
    return total
"""


POWERS = """
def main(exponent):
    return 7 ** exponent % 2
"""


@pytest.fixture
async def service(tmp_path: Path, anyio_backend: str) -> AsyncIterator[ScriptEngine]:
    async with engine(tmp_path) as one:
        yield one


class Tried:
    """Where the turns of sessions were taken."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.outcomes: list[bool] = []
        original = PythonSession._try

        def try_at_once(session: PythonSession, near: Any, entry: Any) -> Any:
            finished = original(session, near, entry)
            self.outcomes.append(finished is not None)
            return finished

        monkeypatch.setattr(PythonSession, "_try", try_at_once)
        # However slow the machine is that the tests run on.
        monkeypatch.setattr("ccos.engine.python.quick._QUICK_SECONDS", 5.0)
        monkeypatch.setattr("ccos.engine.python.session.TRY_SECONDS", 0.5)


async def run(service: ScriptEngine, identity: str, mood: str, **arguments: Any) -> ExecutionResult:
    context = ExecutionContext(function="main", arguments={"mood": mood, **arguments})
    return await service.execute_script(identity, context)


async def known_as_quick(service: ScriptEngine, tried: Tried) -> str:
    """A script that was seen to be quick."""
    identity = (await service.compile_script(MOODS)).script_id
    for _ in range(3):
        assert (await run(service, identity, "silent")).value == 10
    assert tried.outcomes == [True]
    tried.outcomes.clear()
    return identity


@pytest.mark.parametrize(
    ("mood", "value", "stdout"),
    [("silent", 10, ""), ("prints", 10, "once\n"), ("asks", 10, ""), ("waits", 10, "")],
)
async def test_whatever_a_program_does_after_all_it_does_once(
    service: ScriptEngine,
    monkeypatch: pytest.MonkeyPatch,
    mood: str,
    value: int,
    stdout: str,
) -> None:
    tried = Tried(monkeypatch)
    identity = await known_as_quick(service, tried)
    result = await run(service, identity, mood)
    assert (result.value, result.stdout) == (value, stdout)
    assert result.statistics.steps == (2 if mood == "waits" else 1)
    assert result.statistics.host_calls == (
        {"crucible.basic.math_abs": 1} if mood == "asks" else {}
    )
    assert tried.outcomes == [mood == "silent"]
    assert (await run(service, identity, "silent")).value == 10
    assert len(tried.outcomes) == (2 if mood == "silent" else 1)


@pytest.mark.parametrize("mood", ["fails", "no data"])
async def test_failures_are_told_as_ever(
    service: ScriptEngine, monkeypatch: pytest.MonkeyPatch, mood: str
) -> None:
    identity = await known_as_quick(service, Tried(monkeypatch))
    at_once = await run(service, identity, mood)
    in_a_thread = await run(service, identity, mood)
    assert code(at_once) == code(in_a_thread) == "CCOS-SCRIPT-RAISED"
    assert at_once.error is not None
    assert in_a_thread.error is not None
    assert at_once.error.as_dict() == in_a_thread.error.as_dict()


async def test_a_program_that_takes_long_after_all_holds_nobody_up(
    service: ScriptEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = await known_as_quick(service, Tried(monkeypatch))
    monkeypatch.setattr("ccos.engine.python.session.TRY_SECONDS", 0.005)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    result = await run(service, identity, "silent", n=3_000_000)
    ticking.cancel()
    assert result.value == 3_000_000
    assert result.seconds > 0.02
    assert ticks >= 2


async def test_a_long_row_of_quick_programs_lets_others_have_their_turns(
    service: ScriptEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = await known_as_quick(service, Tried(monkeypatch))
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    taking = asyncio.create_task(take_turns())
    for _ in range(200):
        assert (await run(service, identity, "silent")).success
    taking.cancel()
    assert turns > 10


async def test_a_budget_of_steps_is_never_asked_about_on_the_event_loop(
    service: ScriptEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = Tried(monkeypatch)
    identity = await known_as_quick(service, tried)
    budget = Budget({Dimension.STEPS: Allowance(5)})
    context = ExecutionContext(function="main", arguments={"mood": "silent"}, budget=budget)
    assert (await service.execute_script(identity, context)).success
    assert tried.outcomes == []


async def test_a_step_that_cannot_be_interrupted_holds_nobody_up_and_its_worker_is_replaced(
    service: ScriptEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = Tried(monkeypatch)
    identity = (await service.compile_script(POWERS)).script_id

    async def power(exponent: int) -> ExecutionResult:
        context = ExecutionContext(function="main", arguments={"exponent": exponent})
        return await service.execute_script(identity, context)

    for _ in range(3):
        assert (await power(2)).value == 1
    assert tried.outcomes == [True]
    killed = 0
    kill = os.kill

    def count(process_id: int, number: int) -> None:
        nonlocal killed
        killed += 1
        kill(process_id, number)

    monkeypatch.setattr("ccos.engine.python.watchdog.os.kill", count)
    assert (await power(1_500_000)).value == 1
    assert tried.outcomes == [True, False]
    assert killed == 1
    # Another quick program starts the worker again, in a thread, and is then run at once.
    other = (await service.compile_script(MOODS)).script_id
    for _ in range(4):
        assert (await run(service, other, "silent")).value == 10
    assert tried.outcomes[2:] == [True, True]


async def test_a_program_is_tried_once_it_was_quick_and_until_it_was_not() -> None:
    programs = QuickPrograms()
    assert not programs.may_be_tried(KEY)
    assert not programs.saw(KEY, 5.0)
    assert not programs.saw(KEY, 0.0001)
    assert not programs.may_be_tried(KEY)
    assert programs.saw(KEY, 0.0001)
    assert programs.may_be_tried(KEY)
    assert programs.saw(KEY, 5.0)
    programs.failed(KEY)
    assert not programs.saw(KEY, 0.0001)
    assert not programs.may_be_tried(KEY)


async def test_what_is_known_of_programs_is_bounded() -> None:
    programs = QuickPrograms()
    for number in range(3000):
        for _ in range(2):
            programs.saw((f"sha256:{number}", None), 0.0)
    assert not programs.may_be_tried(("sha256:0", None))
    assert programs.may_be_tried(("sha256:2999", None))
