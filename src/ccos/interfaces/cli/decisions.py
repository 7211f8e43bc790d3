"""Showing a question to a person, carrying the answer out, and following what comes of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from ccos.capabilities import canonical_id, parse_manifest
from ccos.errors import ApprovalNotFoundError, CapabilityError, ScriptNotFoundError
from ccos.interfaces.cli.asking import can_ask, says_yes
from ccos.interfaces.cli.budgets import amount, wish
from ccos.interfaces.cli.candidates import manifest_fields
from ccos.interfaces.cli.exits import ExitCode, UsageError
from ccos.interfaces.cli.outcomes import (
    code_of_parked,
    outcome_data,
    show_wanted,
    wanted_data,
)
from ccos.interfaces.cli.progress import progress
from ccos.interfaces.cli.safe_text import short
from ccos.interfaces.cli.screen import moment
from ccos.interfaces.cli.session import Session
from ccos.interfaces.following import follow, follow_request
from ccos.resolution.approvals import Approval, BudgetExtension

_SHOWN_EXECUTIONS: Final = 20
_Fields = list[tuple[str, object]]


async def question(
    session: Session, approval_id: str | None, capability_id: str | None
) -> Approval:
    """The approval that a command is about.

    Raises:
        UsageError: unless exactly one of the two is given.
        ApprovalNotFoundError: if there is none.
    """
    if (approval_id is None) == (capability_id is None):
        raise UsageError("Name an approval, or a capability with --capability-id.")
    await session.ccos.resolver.close_abandoned_approvals()
    approvals = session.ccos.resolver.approvals
    if approval_id is not None:
        return await approvals.get(approval_id)
    found = await approvals.waiting(canonical_id(capability_id or ""))
    if found is None:
        raise ApprovalNotFoundError(
            f"Nothing about {capability_id} waits for an approval.",
            details={"capability_id": capability_id},
        )
    return found


def approval_data(approval: Approval) -> dict[str, Any]:
    """An approval as JSON data."""
    return asdict(approval)


def what_for(approval: Approval) -> str:
    """In a few words, what a yes would be to; a dash where nothing was found yet."""
    if approval.extension is not None:
        return wish(asdict(approval.extension))
    return str(approval.candidate["manifest"]["id"]) if approval.candidate else "-"


async def show_approval(session: Session, approval: Approval) -> None:
    """What is asked, how risky it is, and exactly what would be registered or granted."""
    decided = "-"
    if approval.decided_at is not None:
        reason = f": {approval.reason}" if approval.reason else ""
        decided = f"{moment(approval.decided_at)} by {approval.decided_by or 'nobody'}{reason}"
    about, found = _risk_fields(approval), _found_fields(approval)
    if approval.extension is not None:
        about, found = await _extension_fields(session, approval, approval.extension), []
    session.screen.fields(
        [
            ("approval", f"{approval.id} ({approval.status})"),
            ("question", _QUESTIONS.get(approval.category, approval.category)),
            *about,
            ("asked", f"{moment(approval.requested_at)}; expires {moment(approval.expires_at)}"),
            ("decided", decided),
            *found,
        ]
    )


def _risk_fields(approval: Approval) -> _Fields:
    risk = approval.risk
    requirements = risk.get("compliance_requirements") or ()
    return [
        ("wanted", approval.capability_id),
        ("risk", risk.get("level", "-")),
        ("factors", "\n".join(risk.get("risk_factors", ())) or "-"),
        ("concerns", "\n".join(risk.get("security_concerns", ())) or "-"),
        ("requirements", "\n".join(requirements) or "-"),
    ]


def _found_fields(approval: Approval) -> _Fields:
    found = approval.candidate
    if found is None:
        return []
    return [
        ("found by", f"{found['source']}: {found['reference']} (score {found['score']})"),
        ("definition hash", approval.candidate_hash),
        *_candidate_fields(found["manifest"]),
    ]


async def _extension_fields(
    session: Session, approval: Approval, extension: BudgetExtension
) -> _Fields:
    try:
        script = await session.ccos.script_engine.find_script(extension.script_id)
        name = f"{script.name} ({script.script_id})"
    except ScriptNotFoundError:
        name = f"{extension.script_id}, which is not kept any more"
    return [
        ("execution", extension.execution_id),
        ("script", name),
        ("on behalf of", approval.requested_by),
        ("dimension", extension.dimension),
        ("allowed", amount(extension.limit)),
        ("would have used", amount(extension.used)),
        ("asks for", f"{amount(extension.more)} more"),
    ]


async def confirmed(session: Session, verb: str, *, yes: bool) -> bool:
    """Whether to go on: without a terminal the command itself is the decision."""
    if yes or not can_ask(session.screen):
        return True
    return await says_yes(session.screen, f"{verb}?")


async def approve(
    session: Session,
    approval: Approval,
    *,
    by: str | None,
    reason: str,
    yes: bool,
    wait: bool,
    remember_days: float | None = None,
    timeout_seconds: float | None,
) -> ExitCode:
    """Say yes, then follow the request and the executions that wait for it."""
    await show_approval(session, approval)
    if not await confirmed(session, f"Approve {approval.id}", yes=yes):
        session.screen.note("Nothing was decided.")
        return ExitCode.WAITING
    if approval.extension is not None:
        return await _grant(session, approval, approval.extension, by=by, reason=reason)
    waiting = await session.ccos.runtime.waiting(approval.capability_id)
    async with progress(session) as shown:
        decided = await session.ccos.resolver.approve(
            approval_id=approval.id,
            by=session.by(by),
            reason=reason,
            remember_seconds=None if remember_days is None else remember_days * 86_400,
        )
        if not wait:
            session.screen.document({"approval": approval_data(decided)})
            worker = session.command("worker")
            session.screen.text(f"{decided.id} is approved. A worker goes on: {worker}")
            return ExitCode.DONE
        standing = await follow_request(
            session.ccos,
            approval.capability_id,
            timeout_seconds=timeout_seconds,
            observe=shown.standing,
        )
        outcomes = []
        if standing.registered:
            for execution_id in waiting:
                outcome = await follow(session.ccos, execution_id, timeout_seconds=timeout_seconds)
                if outcome is not None:
                    outcomes.append((await outcome_data(session, outcome))[0])
    session.screen.document(
        {
            "approval": approval_data(decided),
            "request": wanted_data(standing, session),
            "executions": outcomes,
        }
    )
    if not standing.registered:
        session.screen.text(f"\n{decided.id} is approved, and something else is in the way:")
        show_wanted(session, [wanted_data(standing, session)])
        return code_of_parked([standing]) if standing.approval_id else ExitCode.FAILED
    session.screen.text(f"\n{approval.capability_id} is registered.")
    _show_outcomes(session, outcomes)
    return ExitCode.DONE


async def _grant(
    session: Session, approval: Approval, extension: BudgetExtension, *, by: str | None, reason: str
) -> ExitCode:
    """Say yes to more budget; the process that waits for it goes on by itself."""
    decided = await session.ccos.resolver.approve(
        approval_id=approval.id, by=session.by(by), reason=reason
    )
    session.screen.document({"approval": approval_data(decided)})
    session.screen.text(
        f"\n{decided.id} is approved: {extension.execution_id}, which waits for it, may use "
        f"{wish(asdict(extension))}."
    )
    return ExitCode.DONE


async def reject(session: Session, approval: Approval, *, by: str | None, reason: str) -> ExitCode:
    """Say no."""
    decided = await session.ccos.resolver.reject(
        approval_id=approval.id, by=session.by(by), reason=reason
    )
    session.screen.document({"approval": approval_data(decided)})
    if decided.extension is not None:
        session.screen.text(f"{decided.id} is rejected; {decided.extension.execution_id} ends.")
        return ExitCode.DONE
    session.screen.text(
        f"{decided.id} is rejected; {decided.capability_id} is not looked for again until "
        f"somebody asks: {session.command('resolve', decided.capability_id, '--force')}"
    )
    return ExitCode.DONE


_QUESTIONS: Final = {
    "ServerDiscovery": "May providers for this id be looked for at all?",
    "EffectApproval": "May this candidate be registered and called?",
    "BudgetExtension": "May this execution use more than its budget allows?",
}


def _candidate_fields(manifest: dict[str, Any]) -> _Fields:
    try:
        return manifest_fields(parse_manifest(manifest))
    except CapabilityError as error:
        return [("candidate", f"its manifest cannot be read: {error.message}")]


def _show_outcomes(session: Session, outcomes: list[dict[str, Any]]) -> None:
    session.screen.table(
        ("execution", "outcome", "result"),
        (
            (one["execution_id"], one["outcome"], short(_gist(one), 120))
            for one in outcomes[:_SHOWN_EXECUTIONS]
        ),
        empty="No execution waited for it.",
    )
    if len(outcomes) > _SHOWN_EXECUTIONS:
        session.screen.text(f"and {len(outcomes) - _SHOWN_EXECUTIONS} more")


def _gist(outcome: dict[str, Any]) -> str:
    match outcome["outcome"]:
        case "completed":
            return f"{outcome['printed']} {outcome['value']}".strip()
        case "failed":
            return f"{outcome['error']['code']}: {outcome['error']['message']}"
        case "parked":
            return "waits for " + ", ".join(one["capability_id"] for one in outcome["missing"])
        case _:
            return "a person has to say what became of its calls"
