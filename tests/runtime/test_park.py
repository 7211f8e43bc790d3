"""Parking: what is on disk when a call waits, and how it goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ccos.capabilities import EffectType
from ccos.errors import ExecutionNotFoundError, ExecutionStateError, StorageError
from ccos.events import EventType
from ccos.resolution.detection import RuntimeDetection
from ccos.resolution.queue import Priority, RequestStatus
from ccos.runtime import Completed, EntryState, ExecutionState
from ccos.storage.schema import audit_entries, executions, journal, resolutions, waits
from opening import (
    DETECTING,
    OFF,
    Counter,
    Failing,
    change,
    failure,
    happened,
    increment,
    opened,
    parked,
    rows,
    until,
    value,
)

pytestmark = pytest.mark.anyio

TABLES = (executions, journal, waits, resolutions)


async def test_a_call_of_a_missing_capability_waits_on_disk(
    tmp_path: Path, store: dict[str, str]
) -> None:
    async with opened(tmp_path, **DETECTING, **store) as ccos:
        ticket = parked(await ccos.call("weather.current", {"city": "Paris"}, principal="alice"))
        assert ticket.missing == ("weather.current",)
    async with opened(tmp_path, **DETECTING, **store) as ccos:
        assert await ccos.runtime.outcome(ticket.execution_id) == ticket
        execution = await ccos.runtime.execution(ticket.execution_id)
        assert execution.state is ExecutionState.PARKED
        assert execution.worker_id is None
        assert [one.id for one in await ccos.checkpoint_archive.parked()] == [execution.id]
        (entry,) = await ccos.runtime.journal(execution.id)
        assert (entry.state, entry.arguments) == (EntryState.MISSING, {"city": "Paris"})
        assert await rows(ccos, sa.select(waits)) == [(execution.id, "weather.current")]
        request = await ccos.resolver.queue.get("weather.current")
        assert (request.status, request.priority) == (RequestStatus.PENDING, Priority.HIGH)
        assert (request.arguments, request.seen_count) == ({"city": "Paris"}, 1)
        (created,) = await happened(ccos, EventType.CHECKPOINT_CREATED)
        assert created["missing_capabilities"] == ["weather.current"]
        (seen,) = await happened(ccos, EventType.MISSING_CAPABILITY_RUNTIME, "weather.current")
        assert seen["source"] == "runtime"


@pytest.mark.parametrize("what", ["call", "plan"])
async def test_a_park_that_fails_leaves_nothing_behind(
    tmp_path: Path, store: dict[str, str], what: str
) -> None:
    failing = Failing("park")
    async with opened(tmp_path, observer=failing, **DETECTING, **store) as ccos:

        async def attempt() -> Any:
            if what == "call":
                return await ccos.call("weather.current")
            return await ccos.run("await weather.current()")

        before = await rows(ccos, sa.select(audit_entries.c.seq))
        with pytest.raises(StorageError, match="disk is gone"):
            await attempt()
        for table in TABLES:
            assert await rows(ccos, sa.select(table)) == []
        assert await rows(ccos, sa.select(audit_entries.c.seq)) == before
        failing.active = False
        parked(await attempt())
        for table in TABLES:
            assert len(await rows(ccos, sa.select(table))) == 1


async def test_a_missing_capability_that_is_detected_is_not_lost_without_audit(
    tmp_path: Path,
) -> None:
    variables = {**DETECTING, "CCOS_AUDIT_LOGGING": OFF}
    async with opened(tmp_path, **variables) as ccos:
        parked(await ccos.call("weather.current"))
        assert await rows(ccos, sa.select(audit_entries)) == []
        assert len(await rows(ccos, sa.select(resolutions))) == 1


async def test_a_parked_call_is_resumed_once_its_capability_is_there(
    tmp_path: Path, store: dict[str, str]
) -> None:
    async with opened(tmp_path, **DETECTING, **store) as ccos:
        ticket = parked(await ccos.call("math.next", {"x": 1}))
        assert parked(await ccos.runtime.resume(ticket.execution_id)) == ticket
        await ccos.register("math.next", increment)
        (outcome,) = await ccos.runtime.resume_waiting("math.next")
        assert outcome == Completed(ticket.execution_id, 2)
        assert await ccos.settled(ticket.execution_id) == outcome
        assert await ccos.runtime.resume_waiting("math.next") == []
        with pytest.raises(ExecutionStateError, match="completed, not parked"):
            await ccos.runtime.resume(ticket.execution_id)


async def test_resuming_what_does_not_exist_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        with pytest.raises(ExecutionNotFoundError, match="ex-none"):
            await ccos.runtime.resume("ex-none")


async def test_an_execution_that_misses_two_is_resumed_when_both_are_there(
    tmp_path: Path, store: dict[str, str]
) -> None:
    plan = """
import asyncio
await asyncio.gather(first.one(x=1), second.one(x=10))
"""
    async with opened(tmp_path, **DETECTING, **store) as ccos:
        ticket = parked(await ccos.run(plan))
        assert ticket.missing == ("first.one", "second.one")
        counter = Counter(increment)
        await ccos.register("first.one", increment)
        assert await ccos.runtime.resume_waiting("first.one") == []
        assert parked(await ccos.runtime.outcome(ticket.execution_id)) == ticket
        await ccos.register("second.one", counter)
        (outcome,) = await ccos.runtime.resume_waiting("second.one")
        assert value(outcome) == [2, 11]
        assert len(counter.calls) == 1


async def test_resumed_by_hand_with_one_still_missing_it_waits_for_that_one(
    tmp_path: Path,
) -> None:
    plan = "import asyncio\nawait asyncio.gather(first.one(x=1), second.one(x=10))"
    async with opened(tmp_path, **DETECTING) as ccos:
        ticket = parked(await ccos.run(plan))
        counter = Counter(increment)
        await ccos.register("first.one", counter)
        again = parked(await ccos.runtime.resume(ticket.execution_id))
        assert again.missing == ("second.one",)
        await ccos.register("second.one", increment)
        assert value(await ccos.runtime.resume(ticket.execution_id)) == [2, 11]
        assert len(counter.calls) == 1


@pytest.mark.parametrize("what", ["call", "plan"])
async def test_a_capability_that_arrives_between_detection_and_park_is_used(
    tmp_path: Path, store: dict[str, str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    async with opened(tmp_path, **DETECTING, **store) as ccos:
        await ccos.register("behind.it", increment)
        provider = (await ccos.marketplace.get("behind.it")).manifest  # type: ignore[union-attr]
        late = provider.model_copy(update={"id": "math.next"})

        def detects(_: RuntimeDetection) -> bool:
            ccos.marketplace.storage.write_blocking(
                "register", lambda t: ccos.marketplace.register_in(t, late, actor="test")
            )
            return True

        monkeypatch.setattr(RuntimeDetection, "detects", property(detects))
        if what == "call":
            outcome = await ccos.call("math.next", {"x": 1})
        else:
            outcome = await ccos.run("await math.next(x=1)")
        assert value(outcome) == 2
        assert await rows(ccos, sa.select(waits)) == []
        assert await happened(ccos, EventType.CHECKPOINT_CREATED) == []


async def test_of_two_runtimes_that_resume_each_execution_is_resumed_by_one(
    tmp_path: Path, store: dict[str, str]
) -> None:
    plan = "seen = await effect.make(n=1)\nawait late.one(x=seen)"
    counter, late = Counter(), Counter(increment)
    async with (
        opened(tmp_path, **DETECTING, **store) as first,
        opened(tmp_path, **DETECTING, **store) as second,
    ):
        for ccos in (first, second):
            await ccos.register("effect.make", counter)
        tickets = [parked(await first.run(plan)).execution_id for _ in range(10)]
        for ccos in (first, second):
            await ccos.register("late.one", late)
        halves = await asyncio.gather(
            *(one.runtime.resume_waiting("late.one") for one in (first, second))
        )
        finished = {value(outcome) for half in halves for outcome in half}
        assert finished == {value(await first.runtime.outcome(one)) for one in tickets}
        assert (len(counter.calls), len(late.calls)) == (10, 10)
        assert len(await happened(first, EventType.CHECKPOINT_RESUMED)) == 10
        assert (await first.audit.verify()).intact


async def test_an_execution_is_resumed_once_at_a_time_in_a_process(tmp_path: Path) -> None:
    reached, go_on, calls = asyncio.Event(), asyncio.Event(), Counter()

    async def slow() -> int:
        calls.calls.append({})
        reached.set()
        await go_on.wait()
        return 1

    async with opened(tmp_path, **DETECTING) as ccos:
        ticket = parked(await ccos.call("slow.one"))
        await ccos.register("slow.one", slow, effect_type=EffectType.PURE)
        resuming = asyncio.create_task(ccos.runtime.resume(ticket.execution_id))
        await reached.wait()
        with pytest.raises(ExecutionStateError, match="being resumed already"):
            await ccos.runtime.resume(ticket.execution_id)
        go_on.set()
        assert value(await resuming) == 1
        assert len(calls.calls) == 1


async def test_a_parked_execution_can_be_cancelled_and_then_waits_for_nothing(
    tmp_path: Path, store: dict[str, str]
) -> None:
    async with opened(tmp_path, **DETECTING, **store) as ccos:
        ticket = parked(await ccos.call("math.next", {"x": 1}))
        await ccos.runtime.cancel(ticket.execution_id, actor="alice", reason="no need")
        assert "was cancelled" in failure(await ccos.settled(ticket.execution_id)).message
        assert await rows(ccos, sa.select(waits)) == []
        await ccos.register("math.next", increment)
        assert await ccos.runtime.resume_waiting("math.next") == []
        (cancelled,) = await happened(ccos, EventType.EXECUTION_CANCELLED)
        assert cancelled == {"reason": "no need", "was": "parked"}
        with pytest.raises(ExecutionStateError, match="cancelled already"):
            await ccos.runtime.cancel(ticket.execution_id, actor="alice")


async def test_an_execution_cancelled_while_it_runs_stops_at_its_next_write(
    tmp_path: Path, store: dict[str, str]
) -> None:
    reached, go_on, later = asyncio.Event(), asyncio.Event(), Counter()

    async def slow() -> str:
        reached.set()
        await go_on.wait()
        return "late"

    async with opened(tmp_path, **store) as ccos:
        await ccos.register("slow.one", slow)
        await ccos.register("effect.make", later)
        running = asyncio.create_task(ccos.run("await slow.one()\nawait effect.make()"))
        await reached.wait()
        (execution,) = await ccos.runtime.executions(state=ExecutionState.RUNNING)
        await ccos.runtime.cancel(execution.id, actor="alice")
        go_on.set()
        assert "was cancelled" in failure(await running).message
        assert (await ccos.runtime.execution(execution.id)).state is ExecutionState.CANCELLED
        assert later.calls == []


async def test_waiting_for_the_outcome_of_a_parked_execution_ends_when_it_ends(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, **DETECTING) as ccos:
        ticket = parked(await ccos.call("math.next", {"x": 1}))
        waiting = asyncio.create_task(ccos.settled(ticket.execution_id))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await ccos.register("math.next", increment)
        await ccos.runtime.resume(ticket.execution_id)
        assert value(await waiting) == 2


async def test_a_storage_failure_in_the_middle_surfaces_and_is_recovered_later(
    tmp_path: Path, store: dict[str, str]
) -> None:
    failing, counter = Failing("complete"), Counter()
    async with opened(tmp_path, observer=failing, **store) as ccos:
        await ccos.register("effect.make", counter)
        with pytest.raises(StorageError, match="disk is gone"):
            await ccos.run("await effect.make()")
        (execution,) = await ccos.runtime.executions()
        assert execution.state is ExecutionState.RUNNING
        failing.active = False
        (outcome,) = await ccos.runtime.recover()
        assert value(outcome) == 1
        assert len(counter.calls) == 1


async def test_a_resume_whose_first_write_fails_leaves_the_execution_parked(
    tmp_path: Path,
) -> None:
    failing = Failing("complete")
    async with opened(tmp_path, observer=failing, **DETECTING) as ccos:
        ticket = parked(await ccos.call("math.next", {"x": 1}))
        await ccos.register("math.next", increment, effect_type=EffectType.PURE)
        with pytest.raises(StorageError):
            await ccos.runtime.resume(ticket.execution_id)
        assert parked(await ccos.runtime.outcome(ticket.execution_id)) == ticket
        failing.active = False
        assert value(await ccos.runtime.resume(ticket.execution_id)) == 2


async def test_an_execution_that_was_lost_after_its_claim_can_be_recovered(
    tmp_path: Path,
) -> None:
    failing = Failing("complete")
    async with opened(tmp_path, observer=failing, **DETECTING) as ccos:
        ticket = parked(await ccos.run("await math.next(x=1)"))
        await ccos.register("math.next", increment)
        with pytest.raises(StorageError):
            await ccos.runtime.resume(ticket.execution_id)
        failing.active = False

        async def recovered() -> bool:
            return bool(await ccos.runtime.recover())

        await until(recovered)
        assert value(await ccos.runtime.outcome(ticket.execution_id)) == 2


async def test_a_plan_that_cannot_be_read_again_fails_alone(tmp_path: Path) -> None:
    async with opened(tmp_path, **DETECTING) as ccos:
        broken = parked(await ccos.run("await math.next(x=1)"))
        await change(
            ccos, sa.update(executions).values(program="await math.next(x=", snapshot=None)
        )
        whole = parked(await ccos.run("await math.next(x=2)"))
        await ccos.register("math.next", increment)
        await ccos.runtime.resume_waiting("math.next")
        assert value(await ccos.settled(whole.execution_id)) == 3
        assert failure(await ccos.settled(broken.execution_id)).code == "CCOS-PLAN"
