"""The worker: what goes on by itself, and what does not."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from ccos.assembly import Ccos
from ccos.config import MissingCapabilityConfig
from ccos.errors import StorageError
from ccos.events import EventType
from ccos.resolution.queue import RequestStatus
from ccos.resolution.resolver import MissingCapabilityResolver
from ccos.resolution.sources import Candidate, Wanted
from ccos.runtime import ExecutionState
from ccos.storage.schema import resolutions
from opening import (
    ON,
    RESOLVING,
    ScriptedSource,
    change,
    happened,
    increment,
    offer,
    opened,
    parked,
    status,
    until,
    value,
)

pytestmark = pytest.mark.anyio


class Writes:
    """Counts what is written."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def before_commit(self, name: str) -> None:
        self.names.append(name)

    def after_commit(self, name: str) -> None:
        pass


async def test_a_round_with_nothing_to_do_contacts_nobody_and_writes_nothing(
    tmp_path: Path, store: dict[str, str]
) -> None:
    source, writes = ScriptedSource(), Writes()
    variables = {**RESOLVING, "CCOS_CONTINUOUS_RESOLUTION": ON, **store}
    async with opened(tmp_path, source, observer=writes, **variables) as ccos:
        writes.names.clear()
        for _ in range(3):
            assert await ccos.worker.run_once() == 0
        assert source.asked == []
        assert writes.names == []


async def test_parked_executions_give_an_idle_round_nothing_to_do(tmp_path: Path) -> None:
    source, writes = ScriptedSource(), Writes()
    async with opened(tmp_path, source, observer=writes, **RESOLVING) as ccos:
        await asyncio.gather(*(ccos.call("thing.a", {"n": n}) for n in range(50)))
        await ccos.worker.run_once()
        assert source.asked == ["thing.a"]
        writes.names.clear()
        before = len(asyncio.all_tasks())
        await ccos.worker.run_once()
        assert source.asked == ["thing.a"]
        assert writes.names == []
        assert len(asyncio.all_tasks()) == before


async def test_the_background_worker_takes_up_what_is_parked_at_once(
    tmp_path: Path, store: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ccos.resolution.worker.HEARTBEAT_SECONDS", 60.0)
    source = ScriptedSource()
    variables = {**RESOLVING, "CCOS_POLL_INTERVAL_SECONDS": "60", **store}
    async with opened(tmp_path, source, work=True, **variables) as ccos:
        source.candidates = [await offer(ccos, "weather.current")]
        ticket = parked(await ccos.call("weather.current", {"x": 1}))
        async with asyncio.timeout(30):
            assert value(await ccos.settled(ticket.execution_id)) == 2
        assert len(await happened(ccos, EventType.WORKER_STARTED)) == 1
    async with opened(tmp_path, **variables) as ccos:
        assert len(await happened(ccos, EventType.WORKER_STOPPED)) == 1


async def test_the_background_worker_serves_the_resolver_that_was_attached_last(
    tmp_path: Path,
) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, work=True) as ccos:
        source.candidates = [await offer(ccos, "weather.current")]
        config = MissingCapabilityConfig.development()
        ccos.set_missing_capability_resolver(
            MissingCapabilityResolver(
                ccos.marketplace, ccos.checkpoint_archive, config, sources=[source]
            )
        )
        ticket = parked(await ccos.call("weather.current", {"x": 1}))
        async with asyncio.timeout(30):
            assert value(await ccos.settled(ticket.execution_id)) == 2


async def test_a_round_that_breaks_off_does_not_end_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ccos.resolution.worker.HEARTBEAT_SECONDS", 0.02)
    faults: list[Exception] = [StorageError("The disk is gone."), RuntimeError("a bug")]
    expire = MissingCapabilityResolver.expire_approvals

    async def breaks(self: MissingCapabilityResolver) -> object:
        if faults:
            raise faults.pop(0)
        return await expire(self)

    monkeypatch.setattr(MissingCapabilityResolver, "expire_approvals", breaks)
    source = ScriptedSource()
    with caplog.at_level(logging.ERROR):
        async with opened(tmp_path, source, work=True, **RESOLVING) as ccos:
            source.candidates = [await offer(ccos, "weather.current")]
            ticket = parked(await ccos.call("weather.current", {"x": 1}))
            async with asyncio.timeout(30):
                assert value(await ccos.settled(ticket.execution_id)) == 2
    assert "disk is gone" in caplog.text
    assert "broke off" in caplog.text


async def claimed_by_a_dead_worker(ccos: Ccos, capability_id: str) -> None:
    await ccos.resolver.enqueue_missing_capability(capability_id)
    assert len(await ccos.resolver.queue.claim("w-dead", 5)) == 1


async def test_the_attempt_of_a_dead_worker_is_taken_over(
    tmp_path: Path, store: dict[str, str]
) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **RESOLVING, **store) as ccos:
        source.candidates = [await offer(ccos, "weather.current")]
        await claimed_by_a_dead_worker(ccos, "weather.current")
        await ccos.worker.run_once()
        assert await status(ccos, "weather.current") is RequestStatus.RESOLVED
        assert (await ccos.resolver.queue.get("weather.current")).run_count == 1
        assert source.asked == ["weather.current"]


async def test_the_attempt_of_a_living_worker_is_left_alone(tmp_path: Path) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **RESOLVING) as ccos, opened(tmp_path) as other:
        await ccos.resolver.enqueue_missing_capability("weather.current")
        assert len(await ccos.resolver.queue.claim(other.runtime.worker_id, 5)) == 1
        await ccos.worker.run_once()
        assert source.asked == []
        assert await status(ccos, "weather.current") is RequestStatus.IN_PROGRESS


async def test_a_takeover_that_failed_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **RESOLVING) as ccos:
        await claimed_by_a_dead_worker(ccos, "weather.current")

        async def fails() -> object:
            raise StorageError("The disk is gone.")

        with monkeypatch.context() as patch:
            patch.setattr(ccos.resolver.queue, "in_progress", fails)
            with pytest.raises(StorageError):
                await ccos.worker.run_once()
        await ccos.worker.run_once()
        assert source.asked == ["weather.current"]


async def test_the_worker_finds_executions_that_were_lost_in_its_own_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = asyncio.Event()

    async def stuck() -> None:
        reached.set()
        await asyncio.sleep(60)

    async with opened(tmp_path, **RESOLVING) as ccos:
        await ccos.register("stuck.one", stuck)
        await ccos.worker.run_once()
        running = asyncio.create_task(ccos.call("stuck.one"))
        await reached.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        monkeypatch.setattr("ccos.resolution.worker.HEARTBEAT_SECONDS", 0.0)
        await ccos.worker.run_once()
        assert len(await happened(ccos, EventType.EXECUTION_OUTCOME_UNKNOWN)) == 1


async def test_what_was_registered_by_hand_resumes_what_waited(
    tmp_path: Path, store: dict[str, str]
) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **RESOLVING, **store) as ccos:
        ticket = parked(await ccos.call("weather.current", {"x": 1}))
        await ccos.worker.run_once()
        assert await status(ccos, "weather.current") is RequestStatus.FAILED
        await ccos.register("weather.current", increment)
        await ccos.worker.run_once()
        assert value(await ccos.runtime.outcome(ticket.execution_id)) == 2


async def test_the_loop_retries_what_is_due_only_where_the_flag_says_so(tmp_path: Path) -> None:
    for flag, times in (("false", 1), ("true", 2)):
        source = ScriptedSource()
        variables = {**RESOLVING, "CCOS_CONTINUOUS_RESOLUTION": flag}
        async with opened(tmp_path / flag, source, **variables) as ccos:
            await ccos.resolver.enqueue_missing_capability("weather.current")
            await ccos.worker.run_once()
            await change(ccos, sa.update(resolutions).values(next_attempt=0.0))
            await ccos.worker.run_once()
            assert len(source.asked) == times
            # A person who asks is answered in either case.
            await change(ccos, sa.update(resolutions).values(next_attempt=0.0))
            await ccos.resolver.resolve_capability("weather.current")
            assert len(source.asked) == times + 1


async def test_stale_claims_are_released_by_the_worker(tmp_path: Path) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **RESOLVING) as ccos, opened(tmp_path) as other:
        await ccos.resolver.enqueue_missing_capability("weather.current")
        await ccos.resolver.queue.claim(other.runtime.worker_id, 5)
        await change(ccos, sa.update(resolutions).values(last_attempt=0.0))
        await ccos.worker.run_once()
        assert source.asked == ["weather.current"]


async def test_deferred_requests_are_let_in_by_the_worker(tmp_path: Path) -> None:
    source = ScriptedSource()
    variables = {**RESOLVING, "CCOS_MAX_PENDING_CAPABILITIES": "1"}
    async with opened(tmp_path, source, **variables) as ccos:
        for name in ("thing.a", "thing.b", "thing.c"):
            await ccos.resolver.enqueue_missing_capability(name)
        for _ in range(3):
            await ccos.worker.run_once()
        assert source.asked == ["thing.a", "thing.b", "thing.c"]


async def test_closing_does_not_wait_for_an_attempt(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def forever(_: Wanted) -> Sequence[Candidate]:
        begun.set()
        await asyncio.sleep(60)
        return []

    source = ScriptedSource(answer=forever)
    started = time.monotonic()
    async with opened(tmp_path, source, work=True, **RESOLVING) as ccos:
        parked(await ccos.call("weather.current"))
        await begun.wait()
    assert time.monotonic() - started < 30
    # The next process takes the attempt over, since this worker is gone.
    again = ScriptedSource()
    async with opened(tmp_path, again, work=True, **RESOLVING) as ccos:

        async def asked() -> bool:
            return bool(again.asked)

        await until(asked)


async def test_a_plan_that_takes_long_after_its_resume_holds_up_nothing_else(
    tmp_path: Path, store: dict[str, str]
) -> None:
    go_on = asyncio.Event()

    async def slow(x: int) -> int:
        await go_on.wait()
        return x

    source = ScriptedSource()
    async with opened(tmp_path, source, work=True, **RESOLVING, **store) as ccos:
        source.candidates = [await offer(ccos, "slow.one", slow)]
        long = parked(await ccos.call("slow.one", {"x": 1}))

        async def resolved() -> bool:
            return await status(ccos, "slow.one") is RequestStatus.RESOLVED

        await until(resolved)
        source.candidates = [await offer(ccos, "quick.one")]
        short = parked(await ccos.call("quick.one", {"x": 1}))
        async with asyncio.timeout(30):
            assert value(await ccos.settled(short.execution_id)) == 2
        execution = await ccos.runtime.execution(long.execution_id)
        assert execution.state is not ExecutionState.COMPLETED
        go_on.set()
        async with asyncio.timeout(30):
            assert value(await ccos.settled(long.execution_id)) == 1
