"""``ccos audit``: read and verify the audit trail."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from ccos.interfaces.cli.exits import ExitCode
from ccos.interfaces.cli.options import COMMON, Common
from ccos.interfaces.cli.safe_text import short
from ccos.interfaces.cli.session import Session, opened

if TYPE_CHECKING:
    from ccos.audit import AuditTrail
    from ccos.audit.trail import AuditEntry

app = App(name="audit", help="Read and verify the audit trail.")

_POLL_SECONDS: Final = 0.5
_PAGE: Final = 100


@app.command
async def tail(
    *,
    lines: Annotated[int, Parameter(name=("--lines", "-n"), help="How many entries.")] = 20,
    execution: Annotated[str | None, Parameter(help="Only those of this execution.")] = None,
    follow: Annotated[
        bool,
        Parameter(
            name=("--follow", "-f"),
            negative="",
            help="Go on with new entries until interrupted; with --json one entry a line.",
        ),
    ] = False,
    common: Common = COMMON,
) -> None:
    """Show the newest entries, oldest first."""
    async with opened(common) as session:
        trail = session.ccos.audit
        entries = await trail.tail(lines, execution_id=execution)
        if follow:
            await _follow(session, trail, entries, execution)
        session.screen.document({"entries": [asdict(entry) for entry in entries]})
        session.screen.table(
            ("no.", "time", "event", "capability", "execution", "by", "data"),
            (
                (
                    entry.seq,
                    entry.timestamp[:19],
                    entry.event_type,
                    entry.capability_id or "-",
                    entry.execution_id or "-",
                    short(entry.actor, 30),
                    short(json.dumps(entry.data), 80),
                )
                for entry in entries
            ),
            empty="No entries.",
        )


@app.command
async def verify(*, common: Common = COMMON) -> ExitCode:
    """Check every entry, the links between them and the signed head. Exit code 1 if broken."""
    async with opened(common) as session:
        found = await session.ccos.audit.verify()
        session.screen.document({"intact": found.intact, **asdict(found)})
        if found.intact:
            session.screen.text(f"The audit trail is intact: {found.entries} entries.")
            return ExitCode.DONE
        session.screen.text(f"Entry {found.first_bad} is the first that is bad. {found.problem}")
        return ExitCode.FAILED


async def _follow(
    session: Session, trail: AuditTrail, entries: list[AuditEntry], execution: str | None
) -> None:
    last = 0
    while True:
        for entry in entries:
            last = entry.seq
            session.screen.json_line(asdict(entry))
            subject = entry.capability_id or entry.execution_id
            session.screen.text(
                short(
                    f"{entry.seq} {entry.timestamp[:19]} {entry.event_type} {subject} "
                    f"{json.dumps(entry.data)}",
                    300,
                )
            )
        await asyncio.sleep(_POLL_SECONDS)
        entries = await _newer(trail, last, execution)


async def _newer(trail: AuditTrail, last: int, execution: str | None) -> list[AuditEntry]:
    """Every entry after number ``last``."""
    count = _PAGE
    while True:
        page = await trail.tail(count, execution_id=execution)
        if len(page) < count or page[0].seq <= last:
            return [entry for entry in page if entry.seq > last]
        count *= 4
