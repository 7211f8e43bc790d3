"""The queue: one request per capability, in the order of urgency, tried again after a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ccos.assembly import Ccos
from ccos.errors import ResolutionNotFoundError
from ccos.events import EventType
from ccos.resolution.queue import Priority, Request, RequestStatus
from ccos.runtime import Sighting
from ccos.storage.schema import resolutions
from opening import DETECTING, change, happened, opened, parked, status

pytestmark = pytest.mark.anyio


async def note(
    ccos: Ccos, *capability_ids: str, priority: Priority = Priority.MEDIUM, **sighting: Any
) -> None:
    seen = [
        Sighting(one, sighting.get("arguments", {}), "", sighting.get("context", ""))
        for one in capability_ids
    ]
    await ccos.marketplace.storage.write(
        "note", lambda t: ccos.resolver.queue.note_in(t, seen, source="test", priority=priority)
    )


async def fail(ccos: Ccos, request: Request, **options: Any) -> Request:
    await ccos.marketplace.storage.write(
        "fail",
        lambda t: ccos.resolver.queue.fail_in(t, request, "no luck", methods=["here"], **options),
    )
    return await ccos.resolver.queue.get(request.capability_id)


async def put(ccos: Ccos, capability_id: str, **values: Any) -> None:
    where = resolutions.c.capability_id == capability_id
    await change(ccos, sa.update(resolutions).where(where).values(**values))


async def claimed(ccos: Ccos, limit: int = 100) -> Sequence[str]:
    return [one.capability_id for one in await ccos.resolver.queue.claim("w-test", limit)]


async def test_however_often_it_is_seen_there_is_one_request(
    tmp_path: Path, store: dict[str, str]
) -> None:
    async with opened(tmp_path, **DETECTING, **store) as ccos:
        calls = [ccos.call("weather.current", {"city": str(n)}) for n in range(20)]
        for outcome in await asyncio.gather(*calls):
            parked(outcome)
        (request,) = await ccos.resolver.queue.requests()
        assert request.seen_count == 20
        assert len(await happened(ccos, EventType.MISSING_CAPABILITY_RUNTIME)) == 20
        assert len(await happened(ccos, EventType.RESOLUTION_QUEUED)) == 1


async def test_what_nobody_asked_for_is_not_in_the_queue(tmp_path: Path) -> None:
    async with opened(tmp_path, **DETECTING) as ccos:
        with pytest.raises(ResolutionNotFoundError, match=r"weather\.current"):
            await ccos.resolver.queue.get("weather.current")


async def test_the_context_is_cut_and_secrets_are_not_kept(tmp_path: Path) -> None:
    async with opened(tmp_path, **DETECTING) as ccos:
        arguments = {"city": "Paris", "password": "hunter2"}
        await note(ccos, "weather.current", arguments=arguments, context="x" * 1000)
        request = await ccos.resolver.queue.get("weather.current")
        assert len(request.context) == 400
        assert request.arguments["city"] == "Paris"
        assert "hunter2" not in str(request.arguments)
        assert "hunter2" not in str(await happened(ccos, EventType.MISSING_CAPABILITY_RUNTIME))


async def test_the_most_urgent_comes_first_and_then_the_oldest(
    tmp_path: Path, store: dict[str, str]
) -> None:
    async with opened(tmp_path, **DETECTING, **store) as ccos:
        for name, priority in (
            ("low.one", Priority.LOW),
            ("high.old", Priority.HIGH),
            ("high.new", Priority.HIGH),
            ("critical.one", Priority.CRITICAL),
            ("medium.one", Priority.MEDIUM),
        ):
            await note(ccos, name, priority=priority)
        listed = [one.capability_id for one in await ccos.resolver.queue.requests()]
        assert listed == ["critical.one", "high.old", "high.new", "medium.one", "low.one"]
        assert await claimed(ccos, 2) == ["critical.one", "high.old"]
        assert await claimed(ccos, 0) == []
        assert await claimed(ccos) == ["high.new", "medium.one", "low.one"]
        assert await claimed(ccos) == []


async def test_five_minutes_of_waiting_count_one_level(tmp_path: Path) -> None:
    async with opened(tmp_path, **DETECTING) as ccos:
        await note(ccos, "low.one", priority=Priority.LOW)
        await note(ccos, "medium.one", priority=Priority.MEDIUM)
        await put(ccos, "low.one", requested_at=time.time() - 290)
        assert await claimed(ccos, 1) == ["medium.one"]
        await put(ccos, "medium.one", status="pending")
        await put(ccos, "low.one", requested_at=time.time() - 310)
        assert await claimed(ccos, 1) == ["low.one"]


async def test_a_more_urgent_sighting_raises_the_priority_and_none_lowers_it(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, **DETECTING) as ccos:
        for priority, expected in (
            (Priority.LOW, Priority.LOW),
            (Priority.HIGH, Priority.HIGH),
            (Priority.MEDIUM, Priority.HIGH),
        ):
            await note(ccos, "weather.current", priority=priority)
            assert (await ccos.resolver.queue.get("weather.current")).priority is expected


async def test_two_workers_never_claim_the_same_request(
    tmp_path: Path, store: dict[str, str]
) -> None:
    async with (
        opened(tmp_path, **DETECTING, **store) as first,
        opened(tmp_path, **DETECTING, **store) as second,
    ):
        names = [f"thing.n{number:02}" for number in range(30)]
        await note(first, *names)
        halves = await asyncio.gather(
            *(one.resolver.queue.claim("w", 5) for one in (first, second) * 5)
        )
        taken = [request.capability_id for half in halves for request in half]
        assert len(taken) == len(set(taken))
        while more := await first.resolver.queue.claim("w", 5):
            taken += [request.capability_id for request in more]
        assert sorted(taken) == names


async def test_beyond_the_limit_requests_are_deferred_and_promoted_later(
    tmp_path: Path, store: dict[str, str]
) -> None:
    variables = {**DETECTING, "CCOS_MAX_PENDING_CAPABILITIES": "2", **store}
    async with opened(tmp_path, **variables) as ccos:
        for name in ("thing.a", "thing.b", "thing.c", "thing.d"):
            await note(ccos, name)
        queue = ccos.resolver.queue
        deferred = await queue.requests(status=RequestStatus.DEFERRED)
        assert [one.capability_id for one in deferred] == ["thing.c", "thing.d"]
        assert len(await happened(ccos, EventType.RESOLUTION_DEFERRED)) == 2
        assert await claimed(ccos) == ["thing.a", "thing.b"]
        assert await queue.promote(retry_failed=False) == 0
        await put(ccos, "thing.a", status="resolved")
        assert await queue.promote(retry_failed=False) == 1
        assert await status(ccos, "thing.c") is RequestStatus.PENDING
        assert await status(ccos, "thing.d") is RequestStatus.DEFERRED
        await put(ccos, "thing.b", status="resolved")
        assert await queue.promote(retry_failed=False) == 1
        assert await claimed(ccos) == ["thing.c", "thing.d"]


async def test_a_deferred_request_that_is_seen_again_stays_deferred(tmp_path: Path) -> None:
    async with opened(tmp_path, **DETECTING, CCOS_MAX_PENDING_CAPABILITIES="1") as ccos:
        await note(ccos, "thing.a", "thing.b", "thing.b")
        assert await status(ccos, "thing.b") is RequestStatus.DEFERRED


async def test_the_delay_doubles_up_to_its_limit_and_then_the_failure_is_permanent(
    tmp_path: Path, store: dict[str, str]
) -> None:
    variables = {
        **DETECTING,
        "CCOS_RETRY_JITTER_ENABLED": "false",
        "CCOS_RETRY_INITIAL_DELAY_SECONDS": "2",
        "CCOS_RETRY_MAX_DELAY_SECONDS": "10",
        "CCOS_MAX_RESOLUTION_ATTEMPTS": "5",
        **store,
    }
    async with opened(tmp_path, **variables) as ccos:
        await note(ccos, "thing.a")
        delays = []
        for attempt in range(1, 5):
            await put(ccos, "thing.a", status="pending", next_attempt=0)
            (request,) = await ccos.resolver.queue.claim("w", 1)
            failed = await fail(ccos, request)
            assert (failed.status, failed.attempt_count) == (RequestStatus.FAILED, attempt)
            assert (failed.last_error, failed.methods_tried) == ("no luck", ["here"])
            assert failed.next_attempt == pytest.approx(
                time.time() + (failed.backoff_seconds or 0), abs=1
            )
            delays.append(failed.backoff_seconds)
        assert delays == [2, 4, 8, 10]
        last = await fail(ccos, failed)
        assert last.status is RequestStatus.PERMANENTLY_FAILED
        assert (last.next_attempt, last.backoff_seconds) == (None, None)
        assert last.finished_at is not None
        assert len(await happened(ccos, EventType.RESOLUTION_FAILED)) == 4
        assert len(await happened(ccos, EventType.RESOLUTION_PERMANENTLY_FAILED)) == 1


async def test_jitter_shortens_the_delay_by_up_to_a_half(tmp_path: Path) -> None:
    variables = {
        "CCOS_RETRY_INITIAL_DELAY_SECONDS": "10",
        "CCOS_MAX_RESOLUTION_ATTEMPTS": "1000",
        "CCOS_RETRY_BACKOFF_MULTIPLIER": "1",
    }
    async with opened(tmp_path, **DETECTING, **variables) as ccos:
        await note(ccos, "thing.a")
        request = await ccos.resolver.queue.get("thing.a")
        delays = [(await fail(ccos, request)).backoff_seconds or 0 for _ in range(40)]
        assert all(5 <= delay <= 10 for delay in delays)
        assert max(delays) - min(delays) > 1


async def test_a_failure_may_be_permanent_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path, **DETECTING) as ccos:
        await note(ccos, "thing.a")
        failed = await fail(ccos, await ccos.resolver.queue.get("thing.a"), permanent=True)
        assert (failed.status, failed.attempt_count) == (RequestStatus.PERMANENTLY_FAILED, 1)


async def test_a_failed_request_waits_until_it_is_due(tmp_path: Path) -> None:
    async with opened(tmp_path, **DETECTING) as ccos:
        await note(ccos, "thing.a")
        await fail(ccos, await ccos.resolver.queue.get("thing.a"))
        queue = ccos.resolver.queue
        assert await queue.promote(retry_failed=True) == 0
        await put(ccos, "thing.a", next_attempt=time.time() - 1)
        assert await queue.promote(retry_failed=False) == 0
        assert await queue.promote(retry_failed=True) == 1
        assert await claimed(ccos) == ["thing.a"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (RequestStatus.RESOLVED, RequestStatus.PENDING),
        (RequestStatus.FAILED, RequestStatus.PENDING),
        (RequestStatus.PENDING, RequestStatus.PENDING),
        (RequestStatus.IN_PROGRESS, RequestStatus.IN_PROGRESS),
        (RequestStatus.AWAITING_APPROVAL, RequestStatus.AWAITING_APPROVAL),
        (RequestStatus.PERMANENTLY_FAILED, RequestStatus.PERMANENTLY_FAILED),
        (RequestStatus.BLOCKED, RequestStatus.BLOCKED),
        (RequestStatus.REJECTED, RequestStatus.REJECTED),
    ],
)
async def test_what_a_new_sighting_makes_of_a_request(
    tmp_path: Path, before: RequestStatus, after: RequestStatus
) -> None:
    async with opened(tmp_path, **DETECTING) as ccos:
        await note(ccos, "thing.a")
        await put(ccos, "thing.a", status=before.value)
        await note(ccos, "thing.a")
        request = await ccos.resolver.queue.get("thing.a")
        assert (request.status, request.seen_count) == (after, 2)


async def test_a_new_sighting_of_a_failed_request_does_not_cut_its_delay_short(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, **DETECTING) as ccos:
        await note(ccos, "thing.a")
        failed = await fail(ccos, await ccos.resolver.queue.get("thing.a"))
        await note(ccos, "thing.a")
        assert (await ccos.resolver.queue.get("thing.a")).next_attempt == failed.next_attempt
        assert await claimed(ccos) == []


async def test_a_claim_older_than_twice_the_timeout_is_released(
    tmp_path: Path, store: dict[str, str]
) -> None:
    variables = {**DETECTING, "CCOS_RESOLUTION_TIMEOUT_SECONDS": "10", **store}
    async with opened(tmp_path, **variables) as ccos:
        queue = ccos.resolver.queue
        await note(ccos, "thing.a", "thing.b")
        assert len(await claimed(ccos)) == 2
        assert await queue.release_stale() == 0
        await put(ccos, "thing.a", last_attempt=time.time() - 19)
        await put(ccos, "thing.b", last_attempt=time.time() - 21)
        assert await queue.release_stale() == 1
        assert [one.capability_id for one in await queue.in_progress()] == ["thing.a"]
        (again,) = await queue.claim("w-other", 5)
        assert (again.capability_id, again.run_count) == ("thing.b", 2)


async def test_changing_a_request_that_is_not_there_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path, **DETECTING) as ccos:
        with pytest.raises(ResolutionNotFoundError):
            await ccos.marketplace.storage.write(
                "test",
                lambda t: ccos.resolver.queue.change_in(t, "thing.a", RequestStatus.PENDING),
            )
