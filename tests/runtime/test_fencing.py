"""Two workers that both believe to run an execution: one of them is stopped before it acts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ccos.assembly import Ccos
from ccos.capabilities import EffectType
from ccos.errors import ExecutionStateError, ProviderTimeoutError
from ccos.runtime import Answer, ExecutionState, Workers, runtime, this_worker
from ccos.storage.schema import workers
from opening import DETECTING, Counter, change, increment, opened, parked, rows, unknown, value

pytestmark = pytest.mark.anyio


class Held:
    """Lets a method of one object come through only after it was told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()
        method = getattr(owner, name)

        async def held(*arguments: Any, **options: Any) -> Any:
            self.reached.set()
            await self.go_on.wait()
            return await method(*arguments, **options)

        monkeypatch.setattr(owner, name, held)


class Clock:
    """Stands still until it is set on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 1000.0
        monkeypatch.setattr("ccos.runtime.workers._seconds_since_boot", lambda: self.seconds)


class Busy:
    """Keeps whoever calls it until it is told to let go."""

    def __init__(self) -> None:
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self) -> str:
        self.reached.set()
        await self.go_on.wait()
        return "done"


async def test_what_was_resumed_and_parked_again_is_not_resumed_from_an_old_reading(
    tmp_path: Path, store: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    effects = Counter()
    plan = "[await first.one(), await second.one(x=1)]"
    async with (
        opened(tmp_path, **DETECTING, **store) as slow,
        opened(tmp_path, **DETECTING, **store) as quick,
    ):
        ticket = parked(await slow.run(plan))
        for one in (slow, quick):
            await one.register("first.one", effects)
        held = Held(monkeypatch, slow.marketplace, "get")
        late = asyncio.create_task(slow.runtime.resume(ticket.execution_id))
        await held.reached.wait()
        again = parked(await quick.runtime.resume(ticket.execution_id))
        assert (again.missing, len(effects.calls)) == (("second.one",), 1)
        held.go_on.set()
        assert parked(await late).missing == ("second.one",)
        assert len(effects.calls) == 1
        await quick.register("second.one", increment)
        assert value(await quick.runtime.resume(ticket.execution_id)) == [1, 2]


async def test_what_a_worker_lost_itself_it_takes_over_once_however_often_it_looks(
    tmp_path: Path, store: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def transfer() -> str:
        transfers.append(1)
        if len(transfers) == 1:
            raise ProviderTimeoutError("No answer.")
        return "moved"

    async def all_at_once(carry_on: Any, orphans: Any) -> Any:
        await both_have_looked.wait()
        return await all_that_can(carry_on, orphans)

    transfers: list[int] = []
    all_that_can, both_have_looked = runtime._all_that_can, asyncio.Barrier(2)
    monkeypatch.setattr(runtime, "_all_that_can", all_at_once)
    async with opened(tmp_path, **store) as ccos:
        await ccos.register("bank.transfer", transfer)
        ticket = unknown(await ccos.call("bank.transfer"))
        with monkeypatch.context() as patch:
            held = Held(patch, ccos.marketplace, "get")
            deciding = ccos.runtime.decide(ticket.execution_id, 0, None, actor="alice")
            given_up = asyncio.create_task(deciding)
            await held.reached.wait()
            given_up.cancel()
            await asyncio.gather(given_up, return_exceptions=True)
        found = await asyncio.gather(ccos.runtime.recover(), ccos.runtime.recover())
        assert [value(one) for outcomes in found for one in outcomes] == ["moved"]
        assert len(transfers) == 2


async def lose(ccos: Ccos) -> None:
    """Have a worker of this CCOS look as if it were one of another machine, silent for long."""
    await change(
        ccos,
        sa.update(workers)
        .where(workers.c.id == ccos.runtime.worker_id)
        .values(host="another.example", process_started="", heartbeat_at=0.0),
    )


@pytest.mark.parametrize("what", ["call", "plan"])
@pytest.mark.parametrize("beats", [False, True], ids=["silent", "heard again"])
async def test_worker_that_was_stopped_before_it_sent_an_announced_call_does_not_send_it(
    tmp_path: Path,
    store: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    beats: bool,
) -> None:
    clock, busy, effects = Clock(monkeypatch), Busy(), Counter()
    async with (
        opened(tmp_path, CCOS_MAX_PARALLEL_CALLS="1", **store) as stopped,
        opened(tmp_path, **store) as other,
    ):
        await stopped.register("busy.one", busy, effect_type=EffectType.PURE)
        for one in (stopped, other):
            await one.register("effect.make", effects)
        filling = asyncio.create_task(stopped.call("busy.one"))
        await busy.reached.wait()
        work = stopped.call("effect.make") if what == "call" else stopped.run("await effect.make()")
        sending = asyncio.create_task(work)
        execution_id = await announced(stopped)
        await lose(stopped)
        unknown((await other.runtime.recover())[0])
        assert value(await other.runtime.decide(execution_id, 0, None, actor="alice")) == 1
        clock.seconds += 40
        if beats:
            await stopped.runtime._workers.beat()
        busy.go_on.set()
        assert value(await filling) == "done"
        assert value(await sending) == 1
        assert len(effects.calls) == 1


async def test_worker_that_was_stopped_and_not_given_up_sends_what_it_announced(
    tmp_path: Path, store: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, busy, effects = Clock(monkeypatch), Busy(), Counter()
    async with opened(tmp_path, CCOS_MAX_PARALLEL_CALLS="1", **store) as ccos:
        await ccos.register("busy.one", busy, effect_type=EffectType.PURE)
        await ccos.register("effect.make", effects)
        filling = asyncio.create_task(ccos.call("busy.one"))
        await busy.reached.wait()
        sending = [asyncio.create_task(ccos.call("effect.make")) for _ in range(2)]
        await announced(ccos, 2)
        await lose(ccos)
        clock.seconds += 40
        busy.go_on.set()
        assert value(await filling) == "done"
        assert sorted([value(await one) for one in sending]) == [1, 2]
        (row,) = await rows(ccos, sa.select(workers.c.heartbeat_at))
        assert row.heartbeat_at > 0


async def announced(ccos: Ccos, number: int = 1) -> str:
    """Wait until calls are written ahead; the id of the newest execution."""
    while True:
        running = await ccos.runtime.executions(state=ExecutionState.RUNNING)
        if len(running) == number:
            return running[0].id
        await asyncio.sleep(0.01)


async def test_worker_that_is_heard_pays_for_no_further_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def beat(*_: object) -> float:
        raise AssertionError("There was no reason to ask.")

    Clock(monkeypatch)
    async with opened(tmp_path) as ccos:
        await ccos.register("effect.make", Counter())
        monkeypatch.setattr(Workers, "beat", beat)
        assert value(await ccos.call("effect.make")) == 1


async def test_worker_that_is_heard_just_before_it_is_taken_over_keeps_its_executions(
    tmp_path: Path, store: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(_: Workers) -> frozenset[str]:
        return frozenset()

    busy = Busy()
    async with opened(tmp_path, **store) as ccos, opened(tmp_path, **store) as other:
        await ccos.register("busy.one", busy)
        running = asyncio.create_task(ccos.call("busy.one"))
        await busy.reached.wait()
        with monkeypatch.context() as patch:
            patch.setattr(Workers, "alive", nobody)
            assert await other.runtime.recover() == []
        busy.go_on.set()
        assert value(await running) == "done"


async def test_one_decides_after_the_other(tmp_path: Path, store: dict[str, str]) -> None:
    """Of two persons who decide about two calls of a plan at once, the second carries it on."""

    async def fail() -> None:
        raise ProviderTimeoutError("No answer.")

    plan = "import asyncio\nawait asyncio.gather(lost.one(), lost.one())"
    async with opened(tmp_path, **store) as ccos, opened(tmp_path, **store) as other:
        for one in (ccos, other):
            await one.register("lost.one", fail)
        for _ in range(5):
            ticket = unknown(await ccos.run(plan))
            decisions = await asyncio.gather(
                *(
                    one.runtime.decide(
                        ticket.execution_id, number, Answer(value=number), actor="alice"
                    )
                    for number, one in enumerate((ccos, other))
                )
            )
            assert [value(one) for one in decisions if one is not None] == [[0, 1]]


async def test_heartbeats_without_a_break_are_relied_on(tmp_path: Path) -> None:
    seconds = 100.0
    async with opened(tmp_path) as ccos:
        register = Workers(ccos.marketplace.storage, this_worker(), now=lambda: seconds)
        assert not register.was_heard_since(seconds)
        await register.enter()
        began = seconds
        for _ in range(10):
            seconds += 10
            assert register.was_heard_since(began)
            await register.beat()
        seconds += 15
        assert not register.was_heard_since(began)
        await register.beat()
        assert not register.was_heard_since(began)
        assert register.was_heard_since(seconds)


async def test_nobody_is_heard_who_must_not_go_on(tmp_path: Path) -> None:
    def refuse(_: object) -> None:
        raise ExecutionStateError("Somebody else was quicker.")

    async with opened(tmp_path) as ccos:
        register = Workers(ccos.marketplace.storage, this_worker())
        with pytest.raises(ExecutionStateError):
            await register.beat(refuse)
        assert not register.was_heard_since(register.now())
