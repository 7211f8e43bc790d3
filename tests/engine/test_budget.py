"""Budgets: warnings on the way, and what happens when nothing is left."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccos.assembly import Ccos
from ccos.engine.budget import (
    Allowance,
    Budget,
    BudgetMeter,
    Dimension,
    Use,
    WhenExhausted,
)
from ccos.engine.executions import ExecutionResult, ExecutionStatus
from ccos.engine.service import ScriptEngine
from ccos.errors import ConfigurationError
from ccos.events import EventType
from opening import happened, opened

from .engines import FILES, another, code, run

CALLS, STEPS, WALL = Dimension.HOST_CALLS, Dimension.STEPS, Dimension.WALL_CLOCK_MS
HARD, ASK, WARN = WhenExhausted.HARD_STOP, WhenExhausted.APPROVAL, WhenExhausted.SOFT_WARN

CALL_N = "from crucible.basic import math_abs\nfor i in range({n}):\n    math_abs(i)\n'done'"


def budget(**limits: tuple[float, WhenExhausted]) -> Budget:
    return Budget(
        MappingProxyType({Dimension(name): Allowance(*one) for name, one in limits.items()})
    )


def meter(limit: float, action: WhenExhausted = HARD) -> tuple[BudgetMeter, list[Use]]:
    heard: list[Use] = []
    return BudgetMeter(budget(host_calls=(limit, action)), heard.append), heard


def test_half_and_four_fifths_are_told_once_each() -> None:
    counting, heard = meter(10)
    for _ in range(10):
        counting.add(CALLS, 1)
    assert [(use.share, use.used) for use in heard] == [(0.5, 5), (0.8, 8)]
    assert {(use.dimension, use.limit, use.action) for use in heard} == {(CALLS, 10, HARD)}


def test_the_last_one_may_be_used_and_one_more_may_not() -> None:
    counting, _ = meter(3)
    for _ in range(3):
        assert counting.excess(CALLS, 1) is None
        counting.add(CALLS, 1)
    use = counting.excess(CALLS, 1)
    assert use is not None
    assert (use.used, use.limit, use.share, use.action) == (4, 3, 1.0, HARD)
    assert counting.used == {CALLS: 3}
    assert counting.remaining == {CALLS: 0}


def test_what_is_not_named_is_counted_without_a_limit() -> None:
    counting, heard = meter(1)
    assert counting.excess(STEPS, 1e9) is None
    counting.add(STEPS, 1e9)
    assert counting.used == {STEPS: 1e9}
    assert heard == []


def test_a_soft_dimension_goes_on_and_its_end_is_told_once() -> None:
    counting, heard = meter(2, WARN)
    for _ in range(6):
        assert counting.excess(CALLS, 1) is None
        counting.add(CALLS, 1)
    assert [use.share for use in heard] == [0.5, 0.8, 1.0]
    assert counting.remaining == {}


def test_what_is_added_can_be_used() -> None:
    counting, _ = meter(2, ASK)
    counting.add(CALLS, 2)
    assert counting.excess(CALLS, 1) is not None
    counting.extend(CALLS, 5)
    assert counting.excess(CALLS, 5) is None
    assert counting.excess(CALLS, 6) is not None
    assert counting.remaining == {CALLS: 5}


@given(st.floats(1, 1000), st.lists(st.floats(0, 300), max_size=30), st.sampled_from([HARD, WARN]))
def test_shares_are_told_in_order_each_once_and_none_too_early(
    limit: float, amounts: list[float], action: WhenExhausted
) -> None:
    counting, heard = meter(limit, action)
    for amount in amounts:
        if counting.excess(CALLS, amount) is None:
            counting.add(CALLS, amount)
    shares = [use.share for use in heard]
    assert shares == sorted(set(shares))
    assert all(use.used >= use.share * limit for use in heard)
    used = counting.used.get(CALLS, 0)
    assert (0.8 in shares) or used < 0.8 * limit or max(shares, default=0) == 1.0
    if action is HARD:
        assert used <= limit
        assert 1.0 not in shares


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_an_allowance_of_nothing_is_refused(limit: float) -> None:
    with pytest.raises(ConfigurationError, match="has to be above 0"):
        budget(steps=(limit, HARD))


def test_a_child_gets_no_more_than_what_is_left() -> None:
    own = budget(host_calls=(10, ASK), steps=(5, WARN))
    clamped = own.clamped({CALLS: 3, STEPS: 50, WALL: 0})
    assert clamped.allowances[CALLS] == Allowance(3, ASK)
    assert clamped.allowances[STEPS] == Allowance(5, WARN)
    child = BudgetMeter(clamped, lambda _: None)
    assert child.excess(WALL, 1) is not None
    assert child.excess(CALLS, 3) is None


# In the engine.


class Person:
    """Answers what a budget asks for, after a while."""

    def __init__(self, *answers: float, seconds: float = 0.0) -> None:
        self.answers = list(answers)
        self.seconds = seconds
        self.asked: list[Use] = []
        self.waiting = asyncio.Event()

    async def extend(self, execution_id: str, script_id: str, use: Use, caller: str) -> float:
        self.asked.append(use)
        self.waiting.set()
        await asyncio.sleep(self.seconds)
        return self.answers.pop(0) if self.answers else 0.0


def with_person(ccos: Ccos, person: Person) -> ScriptEngine:
    """An engine like the one of ``ccos``, which asks this person."""
    return another(ccos, approver=person)


async def shares(ccos: Ccos, kind: EventType) -> list[float]:
    await ccos.script_engine.get_execution_stats()
    return [data["share"] for data in await happened(ccos, kind)]


@pytest.mark.anyio
async def test_a_hard_stop_ends_the_script_which_cannot_catch_it(tmp_path: Path) -> None:
    source = (
        "from crucible.basic import math_abs\n"
        "n = 0\n"
        "while True:\n"
        "    try:\n"
        "        math_abs(n)\n"
        "    except BaseException:\n"
        "        pass\n"
        "    finally:\n"
        "        n += 1"
    )
    async with opened(tmp_path) as ccos:
        result = await run(ccos, source, budget=budget(host_calls=(10, HARD)))
        assert (result.status, code(result)) == (ExecutionStatus.FAILED, "CCOS-BUDGET-EXHAUSTED")
        assert result.error is not None
        assert result.error.details["limit"] == "budget.host_calls"
        assert result.statistics.host_calls == {"crucible.basic.math_abs": 10}
        assert await shares(ccos, EventType.BUDGET_WARNING) == [0.5, 0.8]
        assert await shares(ccos, EventType.BUDGET_EXHAUSTED) == [1.0]
        enough = await run(ccos, CALL_N.format(n=10), budget=budget(host_calls=(10, HARD)))
        assert enough.value == "done"


@pytest.mark.anyio
async def test_a_soft_warning_tells_everybody_and_the_script_goes_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        result = await run(ccos, CALL_N.format(n=20), budget=budget(host_calls=(10, WARN)))
        assert result.value == "done"
        assert await shares(ccos, EventType.BUDGET_WARNING) == [0.5, 0.8]
        assert await shares(ccos, EventType.BUDGET_EXHAUSTED) == [1.0]


@pytest.mark.anyio
async def test_the_budget_of_the_level_applies_where_the_call_brings_none(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        result = await run(ccos, CALL_N.format(n=10_001))
        assert code(result) == "CCOS-BUDGET-EXHAUSTED"
        assert (await run(ccos, CALL_N.format(n=10_001), FILES)).value == "done"


@pytest.mark.anyio
async def test_wall_clock_warns_while_the_script_computes_and_then_stops_it(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as ccos:
        await run(ccos, "1")
        result = await run(ccos, "while True: pass", budget=budget(wall_clock_ms=(300, HARD)))
        assert code(result) == "CCOS-BUDGET-EXHAUSTED"
        assert 0.25 < result.seconds < 2
        assert await shares(ccos, EventType.BUDGET_WARNING) == [0.5, 0.8]


@pytest.mark.anyio
async def test_a_yes_lets_it_go_on_and_a_no_ends_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        person = Person(7, 3)
        async with with_person(ccos, person) as engine:
            asking = budget(host_calls=(10, ASK))
            assert (await run(engine, CALL_N.format(n=20), budget=asking)).value == "done"
            assert [(use.used, use.limit) for use in person.asked] == [(11, 10), (18, 17)]
            refused = await run(engine, CALL_N.format(n=11), budget=asking)
            assert code(refused) == "CCOS-BUDGET-EXHAUSTED"
            await engine.get_execution_stats()
        extended = await happened(ccos, EventType.BUDGET_EXTENDED)
        assert [data["by"] for data in extended] == [7, 3]


@pytest.mark.anyio
@pytest.mark.parametrize("awaited", [False, True], ids=["at once", "awaited"])
async def test_waiting_for_a_person_does_not_use_up_the_timeout(
    tmp_path: Path, awaited: bool
) -> None:
    target = tmp_path / "written"
    source = CALL_N.format(n=2)
    asking = budget(host_calls=(1, ASK))
    if awaited:
        source = f"import crucible.file as f\nawait f.file_write({str(target)!r}, 'xy')\n'done'"
        asking = budget(storage_bytes=(1, ASK))
    async with opened(tmp_path) as ccos:
        person = Person(10, seconds=0.6)
        async with with_person(ccos, person) as engine:
            await run(engine, "1", FILES)
            result = await run(engine, source, FILES, budget=asking, timeout=0.3)
            assert (result.value, len(person.asked)) == ("done", 1)
            late = await run(
                engine, f"{source}\nwhile True: pass", FILES, budget=asking, timeout=0.3
            )
            assert code(late) == "CCOS-BUDGET-EXHAUSTED"


@pytest.mark.anyio
async def test_time_goes_on_after_the_answer(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos, with_person(ccos, Person(100, seconds=0.5)) as engine:
        await run(engine, "1", FILES)
        result = await run(
            engine,
            f"{CALL_N.format(n=2)}\nwhile True: pass",
            FILES,
            budget=budget(host_calls=(1, ASK)),
            timeout=0.3,
        )
        assert result.status is ExecutionStatus.TIMEOUT
        assert 0.75 < result.seconds < 3


@pytest.mark.anyio
@pytest.mark.parametrize("how", ["cancel", "stop"])
async def test_an_execution_that_waits_for_a_person_can_be_ended(tmp_path: Path, how: str) -> None:
    async with opened(tmp_path) as ccos:
        person = Person(100, seconds=60)
        async with with_person(ccos, person) as engine:
            task = asyncio.create_task(
                run(
                    engine,
                    CALL_N.format(n=2),
                    budget=budget(host_calls=(1, ASK)),
                    execution_id="waits",
                )
            )
            async with asyncio.timeout(5):
                await person.waiting.wait()
                if how == "cancel":
                    assert await engine.cancel_execution("waits")
                else:
                    await engine.stop()
                result: ExecutionResult = await task
            assert result.status is ExecutionStatus.CANCELLED
        assert (await run(ccos, "1 + 1")).value == 2
