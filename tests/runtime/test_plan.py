"""Plans: what they compute, what they may use, and how their failures read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ccos.capabilities import EffectType
from ccos.errors import CapabilityFailedError, LimitExceededError, PlanError
from ccos.events import EventType
from ccos.runtime import Completed, ExecutionKind
from opening import (
    DETECTING,
    Counter,
    failure,
    happened,
    increment,
    opened,
    parked,
    value,
)

pytestmark = pytest.mark.anyio

JSON = {"text": 'ä\u2028"', "list": [1, 2.5, None, True], "map": {"a": {"b": []}}, "big": 2**70}


async def test_a_plan_calls_capabilities_by_attribute_and_by_id(
    tmp_path: Path, store: dict[str, str]
) -> None:
    plan = """
a = await math.next(x=1)
b = await call("math.next", x=a)
c = await call("math.next", {"x": b})
{"a": a, "b": b, "c": c}
"""
    async with opened(tmp_path, **store) as ccos:
        await ccos.register("math.next", increment)
        outcome = await ccos.run(plan, name="three.py", principal="alice")
        assert value(outcome) == {"a": 2, "b": 3, "c": 4}
        execution = await ccos.runtime.execution(outcome.execution_id)
        assert (execution.kind, execution.name) == (ExecutionKind.PLAN, "three.py")
        assert (execution.program, execution.principal) == (plan, "alice")
        journal = await ccos.runtime.journal(outcome.execution_id)
        assert [entry.arguments["x"] for entry in journal] == [1, 2, 3]
        assert await ccos.runtime.outcome(outcome.execution_id) == outcome
        assert len(await happened(ccos, EventType.EXECUTION_COMPLETED)) == 1


async def test_json_data_passes_through_unchanged(tmp_path: Path) -> None:
    async def same(data: Any) -> Any:
        return data

    plan = "value = await echo.same(data=await echo.give())\n[value, value]"
    async with opened(tmp_path) as ccos:
        await ccos.register("echo.same", same)
        await ccos.register("echo.give", Counter(lambda: JSON))
        assert value(await ccos.run(plan)) == [JSON, JSON]


@pytest.mark.parametrize("expression", ["{1, 2}", "b'bytes'", "float('nan')", "{1: 2}", "len"])
async def test_a_value_that_is_not_json_data_fails_the_plan(
    tmp_path: Path, expression: str
) -> None:
    async with opened(tmp_path) as ccos:
        error = failure(await ccos.run(expression))
        assert isinstance(error, PlanError)
        assert "not JSON data" in error.message
        assert value(await ccos.run("(1, 'two')")) == [1, "two"]


async def test_what_a_plan_prints_comes_with_its_outcome(
    tmp_path: Path, store: dict[str, str]
) -> None:
    plan = "print('before')\nx = await late.one(x=1)\nprint('after', x)\nx"
    async with opened(tmp_path, **DETECTING, **store) as ccos:
        ticket = parked(await ccos.run(plan))
        await ccos.register("late.one", increment)
        outcome = await ccos.runtime.resume(ticket.execution_id)
        assert outcome == Completed(ticket.execution_id, 2, "before\nafter 2\n")
        assert await ccos.runtime.outcome(ticket.execution_id) == outcome


async def test_found_and_missing_calls_of_one_moment_go_their_own_ways(
    tmp_path: Path, store: dict[str, str]
) -> None:
    plan = """
import asyncio
await asyncio.gather(here.one(x=1), late.one(x=2), here.two(x=3))
"""
    one, two = Counter(increment), Counter(increment)
    async with opened(tmp_path, **DETECTING, **store) as ccos:
        await ccos.register("here.one", one)
        await ccos.register("here.two", two)
        ticket = parked(await ccos.run(plan))
        assert ticket.missing == ("late.one",)
        assert (one.calls, two.calls) == ([{"x": 1}], [{"x": 3}])
        await ccos.register("late.one", increment)
        assert value(await ccos.runtime.resume(ticket.execution_id)) == [2, 3, 4]
        assert (len(one.calls), len(two.calls)) == (1, 1)


async def test_a_plan_can_catch_the_failure_of_a_capability(
    tmp_path: Path, store: dict[str, str]
) -> None:
    def breaks() -> int:
        raise ValueError("the wheel came off")

    plan = """
async def careful():
    try:
        return await car.drive()
    except RuntimeError as error:
        return f"walking: {error}"

first = await careful()
second = await late.one(x=1)
[first, second, await careful()]
"""
    async with opened(tmp_path, **DETECTING, **store) as ccos:
        await ccos.register("car.drive", breaks)
        ticket = parked(await ccos.run(plan))
        await ccos.register("late.one", increment)
        first, second, third = value(await ccos.runtime.resume(ticket.execution_id))
        assert first == third
        assert first.startswith("walking: CCOS-PROVIDER-FAILED")
        assert "the wheel came off" in first
        assert second == 2


async def test_a_plan_cannot_catch_its_own_park(tmp_path: Path) -> None:
    plan = """
try:
    answer = await late.one(x=1)
except BaseException:
    answer = "caught"
answer
"""
    async with opened(tmp_path, **DETECTING) as ccos:
        ticket = parked(await ccos.run(plan))
        await ccos.register("late.one", increment)
        assert value(await ccos.runtime.resume(ticket.execution_id)) == 2


async def test_a_failure_that_is_not_caught_fails_the_plan_at_its_line(tmp_path: Path) -> None:
    def breaks() -> int:
        raise ValueError("the wheel came off")

    async with opened(tmp_path) as ccos:
        await ccos.register("car.drive", breaks)
        outcome = await ccos.run("x = 1\nawait car.drive()\n", name="trip.py")
        error = failure(outcome)
        assert isinstance(error, PlanError)
        assert error.message.startswith("trip.py, line 2: ")
        assert "the wheel came off" in error.message
        (entry,) = await ccos.runtime.journal(outcome.execution_id)
        assert entry.outcome is not None
        assert entry.outcome["error"]["code"] == CapabilityFailedError.code
        assert len(await happened(ccos, EventType.EXECUTION_FAILED)) == 1


async def test_a_plan_that_raises_names_the_line(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        error = failure(await ccos.run("x = 1\n\ny = x / 0\n", name="p.py"))
        assert isinstance(error, PlanError)
        assert error.details["line"] == 3
        assert "ZeroDivisionError" in error.message


async def test_a_text_that_is_no_plan_is_refused_before_anything_runs(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        with pytest.raises(PlanError, match="line 2") as caught:
            await ccos.run("x = 1\ny = = 2")
        assert caught.value.details["line"] == 2
        assert await ccos.runtime.executions() == []


async def test_a_plan_that_is_too_long_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path, CCOS_PLAN_MAX_SOURCE_BYTES="20") as ccos:
        assert value(await ccos.run("1 + 1")) == 2
        with pytest.raises(PlanError, match="at most 20"):
            await ccos.run("1 + 1" + " " * 20)


@pytest.mark.parametrize(
    ("plan", "limit"),
    [
        ("while True: pass", "time"),
        ("x = 'x' * 1000\nwhile True: x = x + x", "memory"),
        ("for n in range(11): await math.next(x=n)", "calls"),
    ],
)
async def test_a_plan_that_uses_too_much_is_stopped(tmp_path: Path, plan: str, limit: str) -> None:
    limits = {
        "CCOS_PLAN_TIMEOUT_SECONDS": "0.3",
        "CCOS_PLAN_MAX_MEMORY_BYTES": "5000000",
        "CCOS_PLAN_MAX_CALLS": "10",
    }
    async with opened(tmp_path, **limits) as ccos:
        await ccos.register("math.next", increment)
        error = failure(await ccos.run(plan))
        assert isinstance(error, LimitExceededError)
        assert error.details["limit"] == limit
        assert value(await ccos.run("for n in range(10): await math.next(x=n)\nn")) == 9


async def test_parallel_calls_are_bounded(tmp_path: Path) -> None:
    import asyncio

    now, most = 0, 0

    async def slow() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now -= 1

    plan = "import asyncio\nawait asyncio.gather(*[slow.one() for _ in range(9)])\n1"
    async with opened(tmp_path, CCOS_MAX_PARALLEL_CALLS="3") as ccos:
        await ccos.register("slow.one", slow, effect_type=EffectType.PURE)
        assert value(await ccos.run(plan)) == 1
        assert most == 3


async def test_a_plan_sleeps_without_holding_up_its_other_calls(tmp_path: Path) -> None:
    plan = """
import asyncio, time
started = time.time()
_, x = await asyncio.gather(asyncio.sleep(0.15), math.next(x=1))
[x, time.time() - started]
"""
    async with opened(tmp_path) as ccos:
        await ccos.register("math.next", increment)
        x, seconds = value(await ccos.run(plan))
        assert x == 2
        assert 0.15 <= seconds < 5


async def test_a_plan_that_fails_lets_no_call_outlive_it(tmp_path: Path) -> None:
    import asyncio

    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    def breaks() -> int:
        raise ValueError("no")

    plan = "import asyncio\nawait asyncio.gather(slow.one(), car.drive())"
    async with opened(tmp_path) as ccos:
        await ccos.register("slow.one", slow, effect_type=EffectType.READ_ONLY)
        await ccos.register("car.drive", breaks)
        assert isinstance(failure(await ccos.run(plan)), PlanError)
        assert ended == ["cancelled"]


async def test_what_a_plan_would_miss_is_known_ahead_of_time(tmp_path: Path) -> None:
    plan = """
name = "a." + "b"
await math.next(x=1)
await late.one(x=1)
await call(name)
await call("withheld.one")
"""
    async with opened(tmp_path) as ccos:
        await ccos.register("math.next", increment)
        await ccos.register("withheld.one", increment)
        await ccos.marketplace.revoke("withheld.one", actor="alice", reason="it lies")
        found = await ccos.check(plan)
        assert [call.capability_id for call in found.resolved] == ["math.next"]
        assert [(call.capability_id, call.line) for call in found.missing] == [("late.one", 4)]
        assert [call.capability_id for call in found.withheld] == ["withheld.one"]
        assert len(found.dynamic) == 1
        assert found.total == 4
        assert await ccos.runtime.executions() == []
