"""What a dead worker ran is taken over; what it may have done is not done again."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ccos.assembly import Ccos
from ccos.capabilities import EffectType, Manifest
from ccos.events import EventType
from ccos.providers.local import LocalInvoker
from ccos.runtime import Completed, ExecutionState, Worker, Workers, this_worker
from ccos.storage.schema import executions, workers
from opening import (
    DETECTING,
    Counter,
    Failing,
    change,
    happened,
    opened,
    rows,
    unknown,
    until,
    value,
)

pytestmark = pytest.mark.anyio


def dead_worker() -> Worker:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return replace(this_worker(), id="w-dead", process_id=process.pid)


async def enter(ccos: Ccos, worker: Worker) -> None:
    await ccos.marketplace.storage.write(
        "enter", Workers(ccos.marketplace.storage, worker).enter_in
    )


@contextlib.asynccontextmanager
async def died_in(ccos: Ccos, plan: str, reached: asyncio.Event) -> AsyncIterator[str]:
    """A running plan whose worker is dead, as far as the database knows."""
    running = asyncio.create_task(ccos.run(plan))
    await reached.wait()
    (execution,) = await ccos.runtime.executions(state=ExecutionState.RUNNING)
    await enter(ccos, dead_worker())
    await change(ccos, sa.update(executions).values(worker_id="w-dead"))
    yield execution.id
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


class Stuck:
    """The first call never comes back; the others do."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.calls = 0

    async def __call__(self) -> int:
        self.calls += 1
        if self.calls == 1:
            self.reached.set()
            await asyncio.sleep(60)
        return self.calls


PLAN = "first = await effect.make()\nsecond = await stuck.one()\n[first, second]"


@pytest.mark.parametrize(
    "effect_type", [EffectType.PURE, EffectType.READ_ONLY, EffectType.IDEMPOTENT]
)
async def test_calls_that_can_be_repeated_are_repeated_and_settled_effects_are_not(
    tmp_path: Path, store: dict[str, str], effect_type: EffectType
) -> None:
    effects, stuck = Counter(), Stuck()
    async with opened(tmp_path, **store) as ccos, opened(tmp_path, **store) as other:
        for one in (ccos, other):
            await one.register("effect.make", effects)
            await one.register("stuck.one", stuck, effect_type=effect_type)
        async with died_in(ccos, PLAN, stuck.reached) as execution_id:
            (outcome,) = await other.runtime.recover()
            assert outcome == Completed(execution_id, [1, 2])
            assert (len(effects.calls), stuck.calls) == (1, 2)
            (recovered,) = await happened(other, EventType.EXECUTION_RECOVERED)
            assert recovered["previous_worker"] == "w-dead"
            assert await other.runtime.recover() == []


async def test_a_call_keeps_its_idempotency_key_over_a_recovery_and_shares_it_with_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[tuple[str, str]] = []
    invoke = LocalInvoker.invoke

    async def watched(
        self: LocalInvoker, manifest: Manifest, arguments: dict[str, Any], *, idempotency_key: str
    ) -> Any:
        keys.append((manifest.id, idempotency_key))
        return await invoke(self, manifest, arguments, idempotency_key=idempotency_key)

    monkeypatch.setattr(LocalInvoker, "invoke", watched)
    stuck = Stuck()
    async with opened(tmp_path) as ccos, opened(tmp_path) as other:
        for one in (ccos, other):
            await one.register("effect.make", Counter())
            await one.register("stuck.one", stuck, effect_type=EffectType.IDEMPOTENT)
        async with died_in(ccos, PLAN + "\nawait effect.make()", stuck.reached) as execution_id:
            value((await other.runtime.recover())[0])
            assert keys == [
                ("effect.make", f"{execution_id}:0"),
                ("stuck.one", f"{execution_id}:1"),
                ("stuck.one", f"{execution_id}:1"),
                ("effect.make", f"{execution_id}:2"),
            ]


async def test_an_effect_that_was_under_way_is_left_to_a_person(
    tmp_path: Path, store: dict[str, str]
) -> None:
    effects, stuck = Counter(), Stuck()
    async with opened(tmp_path, **store) as ccos, opened(tmp_path, **store) as other:
        for one in (ccos, other):
            await one.register("effect.make", effects)
            await one.register("stuck.one", stuck, effect_type=EffectType.EFFECTFUL)
        async with died_in(ccos, PLAN, stuck.reached) as execution_id:
            (outcome,) = await other.runtime.recover()
            (effect,) = unknown(outcome).effects
            assert (effect.capability_id, effect.sequence) == ("stuck.one", 1)
            assert "its answer never came" in effect.reason
            assert (len(effects.calls), stuck.calls) == (1, 1)
            assert value(await other.runtime.decide(execution_id, 1, None, actor="a")) == [1, 2]


async def test_a_direct_call_that_was_under_way_is_left_to_a_person(
    tmp_path: Path, store: dict[str, str]
) -> None:
    stuck = Stuck()
    async with opened(tmp_path, **store) as ccos, opened(tmp_path, **store) as other:
        await ccos.register("stuck.one", stuck)
        running = asyncio.create_task(ccos.call("stuck.one"))
        await stuck.reached.wait()
        await change(ccos, sa.update(executions).values(worker_id="w-dead"))
        (outcome,) = await other.runtime.recover()
        assert [one.capability_id for one in unknown(outcome).effects] == ["stuck.one"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert stuck.calls == 1


async def test_a_worker_that_was_given_up_stops_at_its_next_write(
    tmp_path: Path, store: dict[str, str]
) -> None:
    reached, go_on, effects = asyncio.Event(), asyncio.Event(), Counter()

    async def slow() -> str:
        reached.set()
        await go_on.wait()
        return "late"

    async with opened(tmp_path, **store) as ccos, opened(tmp_path, **store) as other:
        await ccos.register("effect.make", effects)
        await ccos.register("slow.one", slow)
        running = asyncio.create_task(ccos.run("await slow.one()\nawait effect.make()"))
        await reached.wait()
        await change(ccos, sa.update(executions).values(worker_id="w-dead"))
        unknown((await other.runtime.recover())[0])
        go_on.set()
        unknown(await running)
        assert effects.calls == []


async def test_what_living_workers_run_is_left_alone(tmp_path: Path, store: dict[str, str]) -> None:
    stuck = Stuck()
    async with opened(tmp_path, **store) as ccos, opened(tmp_path, **store) as other:
        await ccos.register("stuck.one", stuck)
        running = asyncio.create_task(ccos.call("stuck.one"))
        await stuck.reached.wait()
        assert await other.runtime.recover() == []
        assert await ccos.runtime.recover() == []
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_call_whose_caller_gave_up_is_found_by_its_own_worker(tmp_path: Path) -> None:
    stuck = Stuck()
    async with opened(tmp_path) as ccos:
        await ccos.register("stuck.one", stuck)
        running = asyncio.create_task(ccos.call("stuck.one"))
        await stuck.reached.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        (outcome,) = await ccos.runtime.recover()
        assert [one.capability_id for one in unknown(outcome).effects] == ["stuck.one"]


async def test_two_that_recover_at_once_share_the_work(
    tmp_path: Path, store: dict[str, str]
) -> None:
    effects, stuck = Counter(), Stuck()
    async with opened(tmp_path, **store) as ccos, opened(tmp_path, **store) as other:
        for one in (ccos, other):
            await one.register("effect.make", effects)
            await one.register("stuck.one", stuck, effect_type=EffectType.PURE)
        async with died_in(ccos, PLAN + "\nawait effect.make()", stuck.reached) as execution_id:
            await asyncio.gather(ccos.runtime.recover(), other.runtime.recover())
            assert value(await other.settled(execution_id)) == 2
            assert len(effects.calls) == 2


async def test_the_register_tells_the_living_from_the_dead(
    tmp_path: Path, store: dict[str, str]
) -> None:
    me = this_worker()
    async with opened(tmp_path, **store) as ccos:
        storage = ccos.marketplace.storage
        await enter(ccos, dead_worker())
        await enter(ccos, replace(me, id="w-reused", process_started=f"{me.place}:1"))
        await enter(ccos, Worker("w-cloned", me.host, 1, "another boot:1"))
        await enter(ccos, Worker("w-mute", me.host, 1, ""))
        await enter(ccos, Worker("w-far", "another.example", 1, "there:1"))
        await enter(ccos, Worker("w-silent", "another.example", 2, "there:1"))
        await change(
            ccos,
            sa.update(workers)
            .where(workers.c.id.in_(["w-silent", "w-mute"]))
            .values(heartbeat_at=time.time() - 60),
        )
        register = Workers(storage, me)
        own = ccos.runtime.worker_id
        assert await register.alive() == {me.id, own, "w-far", "w-cloned"}
        await register.forget_dead()
        left = {row.id for row in await rows(ccos, sa.select(workers))}
        assert left == {own, "w-far", "w-cloned"}


async def test_a_worker_that_was_forgotten_enters_again_with_its_next_beat(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as ccos:
        register = Workers(ccos.marketplace.storage, this_worker())
        await register.beat()
        await change(ccos, sa.update(workers).values(heartbeat_at=0.0))
        await register.beat()
        beats = {row.id: row.heartbeat_at for row in await rows(ccos, sa.select(workers))}
        assert beats[register.me.id] > 0
        assert beats[ccos.runtime.worker_id] == 0


async def test_a_worker_beats_while_it_is_busy_with_something_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ccos.runtime.workers.HEARTBEAT_SECONDS", 0.02)
    stuck = Stuck()
    async with opened(tmp_path, work=False) as ccos:
        await ccos.register("stuck.one", stuck)
        running = asyncio.create_task(ccos.call("stuck.one"))
        await stuck.reached.wait()
        await change(ccos, sa.update(workers).values(heartbeat_at=0.0))

        async def beaten() -> bool:
            found: list[Any] = await rows(ccos, sa.select(workers.c.heartbeat_at))
            return all(row.heartbeat_at > 0 for row in found)

        await until(beaten)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_missed_heartbeat_is_no_reason_to_stop_beating(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ccos.runtime.workers.HEARTBEAT_SECONDS", 0.02)
    failing = Failing("heartbeat")
    async with opened(tmp_path, observer=failing, **DETECTING) as ccos:
        await change(ccos, sa.update(workers).values(heartbeat_at=0.0))
        await asyncio.sleep(0.1)
        assert await rows(ccos, sa.select(workers.c.heartbeat_at)) == [(0.0,)]
        failing.active = False

        async def beaten() -> bool:
            return await rows(ccos, sa.select(workers.c.heartbeat_at)) != [(0.0,)]

        await until(beaten)


async def test_a_worker_that_leaves_in_order_is_off_the_register(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        async with opened(tmp_path) as other:
            left = other.runtime.worker_id
            assert {row.id for row in await rows(ccos, sa.select(workers))} >= {left}
        assert {row.id for row in await rows(ccos, sa.select(workers))} == {ccos.runtime.worker_id}
