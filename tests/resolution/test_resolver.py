"""The resolver as programs use it, in the spelling that its documentation promises."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ccos.config import MissingCapabilityConfig, MissingCapabilityFeatureFlags
from ccos.errors import FeatureDisabledError, InvalidIdentifierError
from ccos.events import EventType
from ccos.resolution.queue import RequestStatus
from ccos.resolution.resolver import MissingCapabilityResolver
from ccos.resolution.results import (
    AwaitingApproval,
    Blocked,
    NotResolved,
    PermanentlyFailed,
    Resolved,
    result_of,
)
from ccos.resolution.sources import Candidate, Wanted
from ccos.storage.schema import resolutions
from opening import (
    DETECTING,
    RESOLVING,
    InlineEngine,
    ScriptedSource,
    change,
    happened,
    increment,
    offer,
    opened,
    parked,
    status,
    value,
)

pytestmark = pytest.mark.anyio


async def test_a_resolver_with_the_testing_flags_detects_and_asks_nobody(tmp_path: Path) -> None:
    config = MissingCapabilityConfig(feature_flags=MissingCapabilityFeatureFlags.testing())
    async with opened(tmp_path) as ccos:
        resolver = MissingCapabilityResolver(ccos.marketplace, ccos.checkpoint_archive, config)
        result = await resolver.resolve_capability("test.capability")
        assert result == NotResolved("auto_resolution is off, so nothing outside is asked")
        assert (await resolver.queue.get("test.capability")).status is RequestStatus.PENDING


async def test_a_resolver_finds_what_is_registered_even_with_the_testing_flags(
    tmp_path: Path,
) -> None:
    config = MissingCapabilityConfig(feature_flags=MissingCapabilityFeatureFlags.testing())
    async with opened(tmp_path) as ccos:
        resolver = MissingCapabilityResolver(ccos.marketplace, ccos.checkpoint_archive, config)
        await ccos.marketplace.register_local_capability(
            "test.capability", "Test", "Answers.", handler=increment
        )
        await ccos.marketplace.add_alias("test.other", "test.capability", actor="alice")
        info = {"provider": "local", "version": "1.0.0", "tier": "approved"}
        assert await resolver.resolve_capability("test.capability") == Resolved(
            "test.capability", "marketplace_found", info
        )
        assert await resolver.resolve_capability(":test/other") == Resolved(
            "test.capability", "alias_cache", info
        )
        assert await resolver.queue.requests() == []


async def test_a_program_attaches_a_resolver_of_its_own(tmp_path: Path) -> None:
    source = ScriptedSource()
    async with opened(tmp_path) as ccos:
        assert "There is no capability" in str((await ccos.call("weather.current")).error)  # type: ignore[union-attr]
        config = MissingCapabilityConfig(feature_flags=MissingCapabilityFeatureFlags.development())
        resolver = MissingCapabilityResolver(
            ccos.marketplace, ccos.checkpoint_archive, config, sources=[source]
        )
        ccos.set_missing_capability_resolver(resolver)
        source.candidates = [await offer(ccos, "weather.current")]
        ticket = parked(await ccos.call("weather.current", {"x": 1}))
        assert await ccos.worker.run_once() == 1
        assert value(await ccos.runtime.outcome(ticket.execution_id)) == 2


async def test_old_code_replaces_its_stub_by_a_request(tmp_path: Path) -> None:
    async with opened(tmp_path, **DETECTING) as ccos:
        resolver = ccos.resolver
        await resolver.enqueue_missing_capability("test.capability", {"x": 1}, "from old code")
        await resolver.handle_missing_capability("test.capability", {"x": 2}, "again")
        (request,) = await resolver.queue.requests()
        assert (request.arguments, request.context, request.seen_count) == (
            {"x": 1},
            "from old code",
            2,
        )
        assert request.status is RequestStatus.PENDING
        seen = await happened(ccos, EventType.MISSING_CAPABILITY_RUNTIME)
        assert [one["source"] for one in seen] == ["marketplace_miss", "marketplace_miss"]


@pytest.mark.parametrize("capability_id", ["", "../etc/passwd", "a..b", "wёather.current"])
async def test_an_id_that_can_name_nothing_is_refused(tmp_path: Path, capability_id: str) -> None:
    async with opened(tmp_path, **RESOLVING) as ccos:
        for door in (
            ccos.resolver.resolve_capability,
            ccos.resolver.enqueue_missing_capability,
        ):
            with pytest.raises(InvalidIdentifierError):
                await door(capability_id)
        assert await ccos.resolver.queue.requests() == []


async def test_switched_off_the_doors_say_which_variable_opens_them(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        for door in (
            ccos.resolver.resolve_capability,
            ccos.resolver.enqueue_missing_capability,
        ):
            with pytest.raises(FeatureDisabledError) as caught:
                await door("weather.current")
            assert "CCOS_MISSING_CAPABILITY_ENABLED=true" in caught.value.next_step
        assert await ccos.resolver.process_queue() == 0


async def test_a_custom_resolver_is_asked_after_the_others(tmp_path: Path) -> None:
    order: list[str] = []

    def noted(name: str) -> ScriptedSource:
        async def answer(wanted: Wanted) -> Sequence[Candidate]:
            order.append(name)
            return offered if name == "custom" else []

        return ScriptedSource(name=name, answer=answer)

    async with opened(tmp_path, noted("built-in"), **RESOLVING) as ccos:
        offered = [await offer(ccos, "weather.current")]
        ccos.resolver.add_custom_resolver(noted("custom"))
        result = await ccos.resolver.resolve_capability("weather.current")
        assert isinstance(result, Resolved)
        assert result.resolution_method == "custom"
        assert order == ["built-in", "custom"]


async def test_a_custom_resolver_passes_the_same_gates(tmp_path: Path) -> None:
    custom = ScriptedSource(name="custom")
    async with opened(tmp_path, **RESOLVING) as ccos:
        custom.candidates = [await offer(ccos, "weather.current", effects=("process",))]
        ccos.resolver.add_custom_resolver(custom)
        result = await ccos.resolver.resolve_capability("weather.current")
        assert isinstance(result, AwaitingApproval)


async def test_a_source_knows_what_is_wanted_and_how_it_was_called(tmp_path: Path) -> None:
    seen: list[Wanted] = []

    async def answer(wanted: Wanted) -> Sequence[Candidate]:
        seen.append(wanted)
        return []

    async with opened(tmp_path, ScriptedSource(answer=answer), **RESOLVING) as ccos:
        parked(await ccos.run("await weather.current(city='Paris')", name="trip.py"))
        await ccos.resolver.process_queue()
        assert seen == [Wanted("weather.current", {"city": "Paris"}, "trip.py")]


async def test_resolving_by_name_waits_for_an_attempt_that_runs_already(tmp_path: Path) -> None:
    go_on, begun = asyncio.Event(), asyncio.Event()

    async def answer(_: Wanted) -> Sequence[Candidate]:
        begun.set()
        await go_on.wait()
        return offered

    async with opened(tmp_path, ScriptedSource(answer=answer), **RESOLVING) as ccos:
        offered = [await offer(ccos, "weather.current")]
        asked = [
            asyncio.create_task(ccos.resolver.resolve_capability("weather.current"))
            for _ in range(3)
        ]
        await begun.wait()
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in asked)
        go_on.set()
        results = await asyncio.gather(*asked)
        assert {type(result) for result in results} == {Resolved}
        assert (await ccos.resolver.queue.get("weather.current")).run_count == 1


async def test_no_more_attempts_run_at_once_than_allowed(tmp_path: Path) -> None:
    now, most = 0, 0

    async def answer(_: Wanted) -> Sequence[Candidate]:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        return []

    variables = {**RESOLVING, "CCOS_MAX_CONCURRENT_RESOLUTIONS": "3"}
    async with opened(tmp_path, ScriptedSource(answer=answer), **variables) as ccos:
        for number in range(8):
            await ccos.resolver.enqueue_missing_capability(f"thing.n{number}")
        assert await ccos.resolver.process_queue() == 8
        assert most == 3


async def test_an_attempt_that_breaks_off_is_counted_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = InlineEngine.run

    async def breaks(self: InlineEngine, name: str, workflow_id: str, *arguments: Any) -> Any:
        if arguments[0] == "thing.bad":
            raise RuntimeError("the engine stopped")
        return await run(self, name, workflow_id, *arguments)

    monkeypatch.setattr(InlineEngine, "run", breaks)
    source = ScriptedSource()
    async with opened(tmp_path, source, **RESOLVING) as ccos:
        for name in ("thing.bad", "thing.good"):
            await ccos.resolver.enqueue_missing_capability(name)
        await ccos.resolver.process_queue()
        assert source.asked == ["thing.good"]
        request = await ccos.resolver.queue.get("thing.bad")
        assert (request.status, request.attempt_count) == (RequestStatus.FAILED, 1)
        assert request.last_error == "RuntimeError: the engine stopped"


async def test_every_status_is_told_as_a_result(tmp_path: Path) -> None:
    async with opened(tmp_path, **DETECTING) as ccos:
        await ccos.resolver.enqueue_missing_capability("thing.a")
        request = await ccos.resolver.queue.get("thing.a")

        def told(status: RequestStatus, **values: Any) -> Any:
            return result_of(dataclasses.replace(request, status=status, **values))

        found = {
            "capability_id": "a.b",
            "method": "m",
            "provider": "p",
            "version": "1",
            "tier": "t",
        }
        assert told(RequestStatus.RESOLVED, resolution=found) == Resolved(
            "a.b", "m", {"provider": "p", "version": "1", "tier": "t"}
        )
        assert told(RequestStatus.AWAITING_APPROVAL, approval_id="ap-1") == AwaitingApproval("ap-1")
        assert told(RequestStatus.BLOCKED, last_error="x; y") == Blocked(("x", "y"))
        assert told(RequestStatus.REJECTED) == PermanentlyFailed("a person rejected it")
        assert told(RequestStatus.PERMANENTLY_FAILED, last_error="no") == PermanentlyFailed("no")
        failed = told(RequestStatus.FAILED, last_error="no", next_attempt=None)
        assert failed == NotResolved("no")
        assert told(RequestStatus.IN_PROGRESS) == NotResolved("it is in progress")
        assert told(RequestStatus.DEFERRED) == NotResolved("it is deferred")


async def test_what_was_not_measured_is_none(tmp_path: Path, store: dict[str, str]) -> None:
    async with opened(tmp_path, **RESOLVING, **store) as ccos:
        figures = await ccos.resolver.stats()
        assert figures.by_status == {}
        assert figures.by_method == {}
        assert figures.approvals_by_status == {}
        for name in ("success_rate", "error_rate", "mean_seconds", "p50_seconds", "p95_seconds"):
            assert getattr(figures, name) is None
        assert figures.mean_approval_seconds is None
        await ccos.resolver.enqueue_missing_capability("thing.a")
        assert (await ccos.resolver.stats()).success_rate is None


async def test_figures_are_counted_from_what_happened(
    tmp_path: Path, store: dict[str, str]
) -> None:
    source = ScriptedSource(name="scripted")
    async with opened(tmp_path, source, **RESOLVING, **store) as ccos:
        for name in ("thing.a", "thing.b", "thing.c"):
            source.candidates = [await offer(ccos, name)]
            assert isinstance(await ccos.resolver.resolve_capability(name), Resolved)
        source.candidates = []
        await ccos.resolver.resolve_capability("thing.d")
        result = await ccos.resolver.resolve_capability("user.login")
        assert isinstance(result, AwaitingApproval)
        await ccos.resolver.resolve_capability("admin.login")
        await ccos.resolver.reject(approval_id=result.approval_id, by="alice")
        for number, name in enumerate(("thing.a", "thing.b", "thing.c"), start=1):
            resolution = f'{{"method": "scripted", "duration_ms": {1000 * number}}}'
            await change(
                ccos,
                sa.update(resolutions)
                .where(resolutions.c.capability_id == name)
                .values(resolution=resolution),
            )
        figures = await ccos.resolver.stats()
        assert figures.by_status == {"blocked": 1, "failed": 1, "rejected": 1, "resolved": 3}
        assert figures.by_method == {"scripted": 3}
        assert (figures.success_rate, figures.error_rate) == (0.75, 0.25)
        assert (figures.mean_seconds, figures.p50_seconds, figures.p95_seconds) == (2, 2, 3)
        assert figures.approvals_by_status == {"rejected": 1}
        assert figures.mean_approval_seconds is not None
        later = (await ccos.resolver.queue.get("admin.login")).requested_at + 60
        assert (await ccos.resolver.stats(since=later)).by_status == {}


async def test_a_status_is_read_back_after_a_restart(tmp_path: Path, store: dict[str, str]) -> None:
    async with opened(tmp_path, ScriptedSource(), **RESOLVING, **store) as ccos:
        await ccos.resolver.resolve_capability("admin.login")
    async with opened(tmp_path, ScriptedSource(), **RESOLVING, **store) as ccos:
        assert await status(ccos, "admin.login") is RequestStatus.BLOCKED
