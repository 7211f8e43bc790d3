"""Looking for what is missing, and watching the search: resolve, queue, stats, monitor."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import Parameter

from ccos.interfaces.cli.exits import ExitCode, UsageError
from ccos.interfaces.cli.options import COMMON, LONG_COMMON, By, Common, Limit, LongCommon
from ccos.interfaces.cli.safe_text import short
from ccos.interfaces.cli.screen import duration, moment
from ccos.interfaces.cli.session import Session, opened

if TYPE_CHECKING:
    from ccos.resolution.queue import Request
    from ccos.resolution.results import ResolutionResult

Status = Literal[
    "deferred",
    "pending",
    "awaiting_approval",
    "in_progress",
    "resolved",
    "failed",
    "permanently_failed",
    "blocked",
    "rejected",
]
Force = Annotated[
    bool,
    Parameter(
        name=("--force", "-f"),
        negative="",
        help="Look even if it failed for good, was rejected, or is not due.",
    ),
]
Override = Annotated[
    str | None,
    Parameter(
        name="--override-block",
        help="Why a blocked request is looked for after all; it still needs an approval.",
    ),
]
TimeRange = Annotated[
    str, Parameter(name=("--time-range", "-t"), help="How far back: 30m, 1h, 7d, or all.")
]

_UNITS: Final = {"m": 60.0, "h": 3600.0, "d": 86_400.0}


async def resolve(
    capability_id: str,
    /,
    *,
    force: Force = False,
    override_block: Override = None,
    by: By = None,
    common: Common = COMMON,
) -> ExitCode:
    """Look for a capability now and say what came of it.

    Exit code 0 if it can be called, 1 if it was not found, 3 if looking is switched off, 5 if a
    person has to approve, 6 if it is blocked.
    """
    return await resolve_capability(capability_id, force, override_block, by, common)


async def resolve_capability(
    capability_id: str,
    force: bool,
    override_block: str | None,
    by: str | None,
    common: LongCommon,
) -> ExitCode:
    """Look for a capability; for the commands that do."""
    from ccos.interfaces.cli.progress import progress

    async with opened(common, tooling=True, work=True) as session:
        async with progress(session):
            result = await session.ccos.resolver.resolve_capability(
                capability_id, force=force, override_block=override_block, actor=session.by(by)
            )
        return _show_result(session, capability_id, result)


def _show_result(session: Session, wanted: str, result: ResolutionResult) -> ExitCode:
    from ccos.resolution.results import (
        AwaitingApproval,
        Blocked,
        NotResolved,
        PermanentlyFailed,
        Resolved,
    )

    def say(kind: str, text: str, code: ExitCode, **more: Any) -> ExitCode:
        session.screen.document({"result": kind, "wanted": wanted, **asdict(result), **more})
        session.screen.text(text)
        return code

    match result:
        case Resolved(found, method, info):
            details = ", ".join(str(value) for value in info.values() if value)
            text = f"{wanted} is resolved by {method}: {found} ({details})"
            return say("resolved", text, ExitCode.DONE)
        case AwaitingApproval(approval_id):
            command = session.command("approvals", "approve", approval_id)
            text = f"{wanted} needs an approval.\nNext: {command}"
            return say("awaiting_approval", text, ExitCode.WAITING, next=command)
        case Blocked(reasons):
            command = session.command("resolve", wanted, "--override-block", "REASON")
            text = f"{wanted} is blocked: {'; '.join(reasons)}\nNext: {command}"
            return say("blocked", text, ExitCode.BLOCKED, next=command)
        case NotResolved(reason, retry_after):
            flags = session.settings.missing.feature_flags
            planned = retry_after is not None and flags.continuous_resolution
            again = f" A worker tries again in {duration(retry_after)}." if planned else ""
            off = not flags.auto_resolution
            code = ExitCode.FEATURE_OFF if off else ExitCode.FAILED
            return say("not_resolved", f"{wanted} is not resolved: {reason}.{again}", code)
        case PermanentlyFailed(reason):
            command = session.command("resolve", wanted, "--force")
            text = f"{wanted} is not resolved, and nobody tries again: {reason}.\nNext: {command}"
            return say("permanently_failed", text, ExitCode.FAILED, next=command)


async def queue(
    *,
    status: Annotated[Status | None, Parameter(help="Only those of this status.")] = None,
    limit: Limit = 100,
    common: Common = COMMON,
) -> None:
    """Show what is missing and how the search stands, most urgent first."""
    await show_requests([status] if status else [], limit, common)


async def show_requests(statuses: list[Status], limit: int, common: LongCommon) -> None:
    """Show requests of these statuses, or all; for the commands that do."""
    from ccos.resolution.queue import RequestStatus

    async with opened(common, tooling=True) as session:
        requests = session.ccos.resolver.queue
        found: list[Request] = []
        for status in statuses:
            found += await requests.requests(status=RequestStatus(status), limit=limit)
        if not statuses:
            found = await requests.requests(limit=limit)
        totals = (await session.ccos.resolver.stats()).by_status
        now = time.time()
        session.screen.document(
            {"requests": [asdict(one) for one in found[:limit]], "totals": totals}
        )
        session.screen.table(
            ("capability", "status", "priority", "risk", "attempts", "age", "next", "reason"),
            (
                (
                    one.capability_id,
                    one.status,
                    one.priority,
                    one.risk or "-",
                    one.attempt_count,
                    duration(now - one.requested_at),
                    "-" if one.status.finished else moment(one.next_attempt),
                    short(one.last_error or "-", 60),
                )
                for one in found[:limit]
            ),
            empty="Nothing is missing.",
        )
        if totals:
            listed = ", ".join(f"{count} {name}" for name, count in totals.items())
            session.screen.text(f"\nTotal: {listed}")


async def stats(*, time_range: TimeRange = "all", common: Common = COMMON) -> None:
    """Show counts, rates and times. What was not measured is none, never 0 or 100 %."""
    since = _since(time_range)
    async with opened(common, tooling=True) as session:
        found = await session.ccos.resolver.stats(since=since)
        session.screen.document({"time_range": time_range, **asdict(found)})
        session.screen.fields(
            [
                ("requests", _counts(found.by_status)),
                ("resolved by", _counts(found.by_method)),
                ("success rate", _percent(found.success_rate)),
                ("error rate", _percent(found.error_rate)),
                ("mean time", duration(found.mean_seconds)),
                ("median time", duration(found.p50_seconds)),
                ("95th percentile", duration(found.p95_seconds)),
                ("approvals", _counts(found.approvals_by_status)),
                ("mean approval time", duration(found.mean_approval_seconds)),
            ]
        )


async def monitor(
    *,
    interval: Annotated[
        float, Parameter(name=("--interval", "-i"), help="Seconds between two lines.")
    ] = 5.0,
    duration: Annotated[
        float | None, Parameter(name="--duration", help="End after so many seconds.")
    ] = None,
    continuous: Annotated[
        bool,
        Parameter(name=("--continuous", "-c"), negative="", help="Go on until interrupted."),
    ] = False,
    common: LongCommon = LONG_COMMON,
) -> None:
    """Show a line of figures at each interval, with --json one JSON document a line.

    Without --duration it goes on until interrupted. It also works on what is missing if the
    flag continuous_resolution is on.
    """
    if interval <= 0 or (duration is not None and duration < 0):
        raise UsageError("--interval is more than 0 seconds, --duration at least 0.")
    if continuous and duration is not None:
        raise UsageError("--continuous has no end, so it does not go with --duration.")
    from ccos.interfaces.cli.session import load

    works = load(common).settings.missing.feature_flags.continuous_resolution
    async with opened(common, tooling=True, work=works) as session:
        end = None if duration is None else time.monotonic() + duration
        while True:
            await _figures(session, works=works)
            left = interval if end is None else min(interval, end - time.monotonic())
            if left <= 0:
                return
            await asyncio.sleep(left)


async def _figures(session: Session, *, works: bool) -> None:
    found = await session.ccos.resolver.stats()
    waiting = found.approvals_by_status.get("pending", 0)
    session.screen.json_line(
        {"at": time.time(), "works": works, "approvals_waiting": waiting, **asdict(found)}
    )
    session.screen.text(
        f"{moment(time.time())}  queue: {_counts(found.by_status)}  "
        f"success: {_percent(found.success_rate)}  approvals waiting: {waiting}  "
        f"loop: {'on' if works else 'off'}"
    )


def _since(time_range: str) -> float:
    if time_range == "all":
        return 0.0
    read = re.fullmatch(r"(\d{1,6})([mhd])", time_range)
    if read is None:
        raise UsageError(
            f"{time_range} is no time range.", next_step="Say for example 30m, 1h, 7d or all."
        )
    return time.time() - int(read[1]) * _UNITS[read[2]]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{share:.0%}"
