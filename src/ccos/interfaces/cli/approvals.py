"""``ccos approvals``: see and decide what waits for a person."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Parameter

from ccos.interfaces.cli.exits import ExitCode
from ccos.interfaces.cli.options import COMMON, By, Common, Limit, Reason, Timeout, Wait
from ccos.interfaces.cli.safe_text import short
from ccos.interfaces.cli.screen import moment
from ccos.interfaces.cli.session import opened

app = App(name="approvals", help="See and decide what waits for a person.")

State = Literal["pending", "approved", "rejected", "expired", "superseded", "all"]
CapabilityId = Annotated[
    str | None, Parameter(name="--capability-id", help="The capability whose approval waits.")
]
Yes = Annotated[
    bool, Parameter(name=("--yes", "-y"), negative="", help="Do not ask again on a terminal.")
]


RememberDays = Annotated[
    float | None,
    Parameter(help="Let the answer also count for candidates of the same kind for so many days."),
]


@app.command(name="list")
async def list_approvals(
    *,
    status: Annotated[State, Parameter(help="Only those of this status.")] = "pending",
    limit: Limit = 100,
    common: Common = COMMON,
) -> None:
    """List approvals, newest first; by default those that wait."""
    from ccos.interfaces.cli.decisions import approval_data, what_for
    from ccos.resolution.approvals import ApprovalState

    async with opened(common, tooling=True) as session:
        wanted = None if status == "all" else ApprovalState(status)
        resolver = session.ccos.resolver
        await resolver.close_abandoned_approvals()
        found = await resolver.approvals.recent(status=wanted, limit=limit)
        session.screen.document({"approvals": [approval_data(one) for one in found]})
        session.screen.table(
            ("approval", "about", "status", "risk", "what for", "expires"),
            (
                (
                    one.id,
                    one.extension.execution_id if one.extension else one.capability_id,
                    one.status,
                    one.risk.get("level", "-"),
                    short(what_for(one), 60),
                    moment(one.expires_at),
                )
                for one in found
            ),
            empty="Nothing waits for an approval." if status == "pending" else "No approvals.",
        )


@app.command
async def show(
    approval_id: str | None = None,
    /,
    *,
    capability_id: CapabilityId = None,
    common: Common = COMMON,
) -> None:
    """Show an approval: the risk, and exactly what would be registered, run or granted."""
    from ccos.interfaces.cli.decisions import approval_data, question, show_approval

    async with opened(common, tooling=True) as session:
        found = await question(session, approval_id, capability_id)
        session.screen.document(approval_data(found))
        await show_approval(session, found)


@app.command
async def approve(
    approval_id: str | None = None,
    /,
    *,
    capability_id: CapabilityId = None,
    reason: Reason = "",
    by: By = None,
    yes: Yes = False,
    remember_days: RememberDays = None,
    wait: Wait = True,
    timeout: Timeout = None,
    common: Common = COMMON,
) -> ExitCode:
    """Say yes, and work here until what waited for it has gone on.

    Exit code 0 if the capability is registered, 5 if another approval is needed, 6 if it is
    blocked, 1 if it was not found. On a terminal you are asked once more; elsewhere the command
    is the decision. A script that waits for more of its budget goes on by itself: exit code 0.
    """
    from ccos.interfaces.cli import decisions

    async with opened(common, tooling=True, work=wait) as session:
        return await decisions.approve(
            session,
            await decisions.question(session, approval_id, capability_id),
            by=by,
            reason=reason,
            yes=yes,
            remember_days=remember_days,
            wait=wait,
            timeout_seconds=timeout,
        )


@app.command
async def reject(
    approval_id: str | None = None,
    /,
    *,
    capability_id: CapabilityId = None,
    reason: Reason = "",
    by: By = None,
    common: Common = COMMON,
) -> ExitCode:
    """Say no; the capability is not looked for until a person asks, the script gets no more."""
    from ccos.interfaces.cli import decisions

    async with opened(common, tooling=True) as session:
        found = await decisions.question(session, approval_id, capability_id)
        return await decisions.reject(session, found, by=by, reason=reason)


@app.command
async def rules(*, common: Common = COMMON) -> None:
    """List the approval rules of the operator and the grants that are remembered."""
    from ccos.resolution.approvals.rules import read_rules

    async with opened(common, tooling=True) as session:
        resolver = session.ccos.resolver
        written = read_rules(resolver.gates.rules_file)
        grants = await resolver.standing.listed()
        session.screen.document(
            {
                "file": str(resolver.gates.rules_file),
                "rules": [one.model_dump(mode="json") for one in written],
                "grants": [{"id": one.id, "rule": one.candidate} for one in grants],
            }
        )
        rows = [(one.action, ", ".join(one.id), one.expires_at, one.reason) for one in written]
        kept = [
            ("grant " + one.id, one.capability_id, one.expires_at, one.reason) for one in grants
        ]
        session.screen.table(
            ("rule", "capabilities", "expires", "reason"),
            (
                (
                    rule,
                    short(ids, 60),
                    "-" if until is None else moment(until),
                    short(why or "", 60),
                )
                for rule, ids, until, why in (*rows, *kept)
            ),
            empty="There are no rules and no remembered grants.",
        )


@app.command
async def forget(grant_id: str, /, *, by: By = None, common: Common = COMMON) -> None:
    """End a remembered grant; what it let in stays registered."""
    async with opened(common, tooling=True) as session:
        ended = await session.ccos.resolver.standing.withdraw(grant_id, actor=session.by(by))
        session.screen.document({"grant": ended.id, "status": ended.status})
        session.screen.text(f"{ended.id} counts no longer.")
