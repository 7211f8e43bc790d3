"""``resolve-deps``: all that concerns missing capabilities, in one place.

It is a console script and a command of ``ccos``. After a verb ``-c`` means ``--capability-id``
where there is one, and ``--continuous`` in ``monitor``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final

from cyclopts import Parameter

from ccos.interfaces.cli.exits import ExitCode, UsageError
from ccos.interfaces.cli.options import (
    COMMON,
    LONG_COMMON,
    By,
    Common,
    Limit,
    LongCommon,
    Reason,
    Timeout,
    Wait,
)
from ccos.interfaces.cli.program import program
from ccos.interfaces.cli.program import run as run_program
from ccos.interfaces.cli.resolution import (
    Override,
    Status,
    resolve_capability,
    show_requests,
)
from ccos.interfaces.cli.screen import duration, moment
from ccos.interfaces.cli.session import load, opened

CapabilityId = Annotated[
    str | None, Parameter(name=("--capability-id", "-c"), help="The capability.")
]
ApprovalId = Annotated[str | None, Parameter(name="--approval-id", help="The approval.")]
Yes = Annotated[
    bool, Parameter(name=("--yes", "-y"), negative="", help="Do not ask again on a terminal.")
]

_OPEN: Final[list[Status]] = [
    "in_progress",
    "awaiting_approval",
    "pending",
    "failed",
    "deferred",
]
_HISTORY: Final = 1000

app = program("resolve-deps")


def main(tokens: Sequence[str] | None = None) -> int:
    """Run ``resolve-deps`` with these arguments, those of the process by default."""
    return run_program("resolve-deps", tokens)


async def list_pending(
    *,
    status: Annotated[
        Status | None, Parameter(name=("--filter", "-f"), help="Only those of this status.")
    ] = None,
    limit: Limit = 100,
    common: Common = COMMON,
) -> None:
    """List what is still wanted, with its age."""
    await show_requests([status] if status else _OPEN, limit, common)


async def status(*, capability_id: CapabilityId = None, common: LongCommon = LONG_COMMON) -> None:
    """Show one request with its history."""
    from ccos.capabilities import canonical_id

    target = canonical_id(_named(capability_id))
    async with opened(common, tooling=True) as session:
        request = await session.ccos.resolver.queue.get(target)
        entries = await session.ccos.audit.tail(_HISTORY)
        history = [entry for entry in entries if entry.capability_id == target]
        session.screen.document(
            {"request": asdict(request), "history": [asdict(entry) for entry in history]}
        )
        session.screen.fields(
            [
                ("capability", request.capability_id),
                ("status", request.status),
                ("priority", request.priority),
                ("risk", request.risk or "-"),
                ("asked for", f"{request.seen_count} times since {moment(request.requested_at)}"),
                ("age", duration(time.time() - request.requested_at)),
                ("attempts", request.attempt_count),
                ("next attempt", moment(request.next_attempt)),
                ("methods", ", ".join(request.methods_tried) or "-"),
                ("approval", request.approval_id or "-"),
                ("reason", request.last_error or "-"),
            ]
        )
        session.screen.text("")
        session.screen.table(
            ("no.", "time", "event", "by"),
            ((one.seq, one.timestamp[:19], one.event_type, one.actor) for one in history),
            empty="No history among the newest entries of the audit trail.",
        )


async def resolve(
    wanted: Annotated[str | None, Parameter(help="The capability.")] = None,
    /,
    *,
    capability_id: CapabilityId = None,
    force: Annotated[
        bool,
        Parameter(
            name=("--force", "-f", "--retry"),
            negative="",
            help="Look even if it failed for good, was rejected, or is not due.",
        ),
    ] = False,
    override_block: Override = None,
    by: By = None,
    common: LongCommon = LONG_COMMON,
) -> ExitCode:
    """Look for a capability now and say what came of it.

    Exit code 0 if it can be called, 1 if it was not found, 3 if looking is switched off, 5 if a
    person has to approve, 6 if it is blocked.
    """
    target = _one_of(wanted, capability_id)
    return await resolve_capability(target, force, override_block, by, common)


async def approve(
    *,
    capability_id: CapabilityId = None,
    approval_id: ApprovalId = None,
    reason: Reason = "",
    by: By = None,
    yes: Yes = False,
    wait: Wait = True,
    timeout: Timeout = None,
    common: LongCommon = LONG_COMMON,
) -> ExitCode:
    """Say yes, and work here until what waited for it has gone on.

    Exit code 0 if the capability is registered, 5 if another approval is needed, 6 if it is
    blocked, 1 if it was not found.
    """
    from ccos.interfaces.cli import decisions

    async with opened(common, tooling=True, work=wait) as session:
        return await decisions.approve(
            session,
            await decisions.question(session, approval_id, capability_id),
            by=by,
            reason=reason,
            yes=yes,
            wait=wait,
            timeout_seconds=timeout,
        )


async def reject(
    *,
    capability_id: CapabilityId = None,
    approval_id: ApprovalId = None,
    reason: Reason = "",
    by: By = None,
    common: LongCommon = LONG_COMMON,
) -> ExitCode:
    """Say no; nobody looks for the capability again until a person asks."""
    from ccos.interfaces.cli import decisions

    async with opened(common, tooling=True) as session:
        found = await decisions.question(session, approval_id, capability_id)
        return await decisions.reject(session, found, by=by, reason=reason)


async def resume(
    *,
    checkpoint_id: Annotated[
        str | None,
        Parameter(name=("--checkpoint-id", "-k"), help="The parked execution."),
    ] = None,
    capability_id: CapabilityId = None,
    common: LongCommon = LONG_COMMON,
) -> ExitCode:
    """Resume a parked execution, or all that wait for a capability, or say what is missing.

    Exit code 5 if something still waits.
    """
    if (checkpoint_id is None) == (capability_id is None):
        raise UsageError("Name either --checkpoint-id or --capability-id.")
    from ccos.capabilities import canonical_id
    from ccos.interfaces.cli.outcomes import outcome_data, show_outcome, show_wanted, wanted_data
    from ccos.interfaces.following import wanted

    async with opened(common, tooling=True) as session:
        runtime = session.ccos.runtime
        if checkpoint_id is not None:
            return await show_outcome(session, await runtime.resume(checkpoint_id))
        target = canonical_id(capability_id or "")
        found = [await outcome_data(session, one) for one in await runtime.resume_waiting(target)]
        waiting = await runtime.waiting(target)
        missing = [wanted_data(one, session) for one in await wanted(session.ccos, [target])]
        session.screen.document(
            {
                "resumed": [data for data, _ in found],
                "still_waiting": waiting,
                "missing": missing if waiting else [],
            }
        )
        session.screen.table(
            ("execution", "outcome"),
            ((data["execution_id"], data["outcome"]) for data, _ in found),
            empty="Nothing could be resumed.",
        )
        if waiting:
            session.screen.text(f"{len(waiting)} executions wait for it or for something else:")
            show_wanted(session, missing)
        return ExitCode.WAITING if waiting else ExitCode.DONE


async def validate(
    *, capability_id: CapabilityId = None, common: LongCommon = LONG_COMMON
) -> ExitCode:
    """Check the configuration, or that a capability may be called.

    The configuration is shown with every value and warning. A capability is sound if its seal
    holds, its definition is the pinned one, and nobody withheld it; exit code 1 if not.
    """
    if capability_id is None:
        from ccos.interfaces.cli.config import show_settings

        show_settings(common)
        return ExitCode.DONE
    from ccos.capabilities import canonical_id
    from ccos.marketplace import Standing
    from ccos.runtime.calls import unknown_capability

    target = canonical_id(capability_id)
    async with opened(common, tooling=True) as session:
        registered = await session.ccos.marketplace.get(target)
        if registered is None:
            raise await unknown_capability(session.ccos.marketplace, target)
        checks = {
            "attestation": registered.fault or "holds",
            "standing": registered.standing.value,
            "approval": registered.manifest.approval_status.value,
        }
        sound = registered.fault is None and registered.standing is Standing.ACTIVE
        session.screen.document({"id": registered.manifest.id, "sound": sound, **checks})
        session.screen.fields([("capability", registered.manifest.id), *checks.items()])
        return ExitCode.DONE if sound else ExitCode.FAILED


async def search(
    *,
    query: Annotated[str, Parameter(name=("--query", "-q"), help="What it should be about.")],
    limit: Annotated[int, Parameter(name=("--limit", "-l"), help="At most so many.")] = 10,
    common: Common = COMMON,
) -> None:
    """Search the registered capabilities by words, best first."""
    from ccos.interfaces.cli.capabilities import search_capabilities

    await search_capabilities(query, limit, common)


async def info(*, capability_id: CapabilityId = None, common: LongCommon = LONG_COMMON) -> None:
    """Show the state of this CCOS, or a capability with its provenance."""
    if capability_id is not None:
        from ccos.interfaces.cli.capabilities import show_capability

        await show_capability(capability_id, common)
        return
    from ccos.config.settings import masked_url
    from ccos.interfaces.cli.program import version
    from ccos.runtime import ExecutionState

    warnings = load(common).warnings
    async with opened(common) as session:
        settings, ccos = session.settings, session.ccos
        figures = await ccos.resolver.stats()
        flags = settings.missing.feature_flags
        parked = await ccos.runtime.executions(state=ExecutionState.PARKED, limit=_HISTORY)
        trail = await ccos.audit.verify()
        state: dict[str, Any] = {
            "version": version(),
            "home": str(settings.home),
            "configuration": str(settings.config_file or "defaults and environment"),
            "database": masked_url(settings.database_url),
            "capabilities": len(await ccos.marketplace.registered()),
            "parked_executions": len(parked),
            "queue": figures.by_status,
            "approvals": figures.approvals_by_status,
            "audit_entries": trail.entries,
            "audit_intact": trail.intact,
            "resolution": flags.enabled and flags.auto_resolution,
            "loop": flags.continuous_resolution,
            "registry": settings.missing.mcp_registry_config.base_url
            if flags.mcp_registry_enabled
            else "off",
            "warnings": list(warnings),
        }
        session.screen.document(state)
        session.screen.fields((name.replace("_", " "), value) for name, value in state.items())


def _named(capability_id: str | None) -> str:
    if capability_id is None:
        raise UsageError("Name a capability with --capability-id.")
    return capability_id


def _one_of(positional: str | None, option: str | None) -> str:
    if (positional is None) == (option is None):
        raise UsageError("Name the capability once: as an argument or with --capability-id.")
    return positional or option or ""
