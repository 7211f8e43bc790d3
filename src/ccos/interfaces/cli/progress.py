"""What is shown while something runs: events as they arrive, and how the search stands."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from ccos.events import Event, EventType
from ccos.interfaces.cli.budgets import told
from ccos.interfaces.cli.safe_text import printable, short

if TYPE_CHECKING:
    from rich.live import Live

    from ccos.interfaces.cli.session import Session
    from ccos.interfaces.following import Wanted

_REASON_LENGTH: Final = 200


class Progress:
    """Lines on standard error; on a terminal also a table of what is missing, kept up to date."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._live: Live | None = None
        self._known: dict[str, str] = {}

    def start(self) -> None:
        """Begin the table, where there is a terminal for it."""
        console = self._session.screen.err
        if console.is_terminal and not self._session.settings.quiet_resolver:
            from rich.live import Live

            self._live = Live(console=console, transient=True, refresh_per_second=8)
            self._live.start()

    def stop(self) -> None:
        """Take the table away; the lines stay."""
        if self._live is not None:
            self._live.stop()

    def line(self, text: str) -> None:
        """Say something that happened."""
        if self._session.settings.quiet_resolver:
            return
        if self._live is None:
            self._session.screen.note(text)
        else:
            from rich.text import Text

            self._live.console.print(Text(printable(text)))

    def event(self, event: Event) -> None:
        """Say what an event tells a person, if anything."""
        if event.type is EventType.APPROVAL_REQUESTED:
            self.line(_approval_requested(event, self._session))
            return
        describe = _LINES.get(event.type)
        if describe is not None:
            subject = event.capability_id or event.execution_id
            self.line(f"{subject}: {describe(event.data)}")

    def standing(self, found: Sequence[Wanted]) -> None:
        """Show what is missing and how the search for it stands."""
        if self._live is not None:
            self._live.update(_table(found))
            return
        for one in found:
            if self._known.get(one.capability_id) != one.state:
                self._known[one.capability_id] = one.state
                self.line(f"{one.capability_id}: {one.state}")


@contextlib.asynccontextmanager
async def progress(session: Session) -> AsyncIterator[Progress]:
    """Show what happens in this process while the block runs."""
    shown = Progress(session)
    subscription = session.ccos.events.subscribe([*_LINES, EventType.APPROVAL_REQUESTED])

    async def read() -> None:
        async for event in subscription:
            shown.event(event)

    shown.start()
    reader = asyncio.create_task(read())
    try:
        yield shown
    finally:
        session.ccos.events.unsubscribe(subscription)
        with contextlib.suppress(asyncio.CancelledError):
            await reader
        shown.stop()


def next_step(one: Wanted, session: Session) -> str | None:
    """The command that gets a missing capability further; None if it is there."""
    if one.approval_id is not None:
        return session.command("approvals", "approve", one.approval_id)
    if one.registered:
        return None
    flags = session.settings.missing.feature_flags
    if one.searching(flags):
        return session.command("worker")
    if not flags.auto_resolution:
        return "Set CCOS_AUTO_RESOLUTION=true, then " + session.command("worker")
    if one.state == "blocked":
        return session.command("resolve", one.capability_id, "--override-block", "REASON")
    return session.command("resolve", one.capability_id, "--force")


def _table(found: Sequence[Wanted]) -> Any:
    from rich.spinner import Spinner
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for one in found:
        moving = Spinner("dots") if one.approval_id is None else Text("?")
        table.add_row(
            moving,
            Text(printable(one.capability_id)),
            Text(one.state),
            Text(short(one.reason, 80)),
        )
    return table


def _approval_requested(event: Event, session: Session) -> str:
    if event.data["category"] == "BudgetExtension":
        return told(event, session)
    factors = "; ".join(map(str, event.data.get("factors", ()))) or "no particular factor"
    command = session.command("approvals", "approve", event.data["approval_id"])
    return (
        f"{event.capability_id}: needs an approval, {event.data['risk']} risk ({factors}). "
        f"Type: {command}"
    )


def _searched(data: Any) -> str:
    if data["problem"]:
        return f"{data['source']} failed: {short(data['problem'], _REASON_LENGTH)}"
    return f"{data['source']} offers {data['candidates']} in {data['duration_ms']:.0f} ms"


def _discovered(data: Any) -> str:
    if data["selected"] is None:
        return f"none of {data['candidates']} candidates fits"
    return f"chose {data['selected']} of {data['candidates']} candidates, score {data['score']}"


def _failed(data: Any) -> str:
    retry = f"; due again in {data['retry_after']} s" if data["retry_after"] else ""
    return f"attempt {data['attempt']} failed: {short(data['reason'], _REASON_LENGTH)}{retry}"


_LINES: Final[dict[EventType, Callable[[Any], str]]] = {
    EventType.CHECKPOINT_CREATED: lambda data: (
        "parked; missing " + ", ".join(data["missing_capabilities"])
    ),
    EventType.CHECKPOINT_RESUMED: lambda data: "resumed",
    EventType.EXECUTION_RECOVERED: lambda data: "taken over from a worker that died",
    EventType.EXECUTION_COMPLETED: lambda data: "completed",
    EventType.EXECUTION_FAILED: lambda data: f"failed: {short(data['error']['message'], 200)}",
    EventType.EXECUTION_OUTCOME_UNKNOWN: lambda data: (
        f"the outcome of call {data['sequence']} is unknown"
    ),
    EventType.RESOLUTION_STARTED: lambda data: f"attempt {data['attempt']} begins",
    EventType.RESOLUTION_DEFERRED: lambda data: "deferred; too many requests are open",
    EventType.SOURCE_SEARCHED: _searched,
    EventType.CAPABILITY_DISCOVERY_COMPLETED: _discovered,
    EventType.RESOLUTION_SUCCEEDED: lambda data: (
        f"resolved by {data['method']}: {data['capability_id']} {data['version']} "
        f"({data['provider']}, {data['tier']})"
    ),
    EventType.RESOLUTION_FAILED: _failed,
    EventType.RESOLUTION_PERMANENTLY_FAILED: _failed,
    EventType.RESOLUTION_BLOCKED: lambda data: (
        f"blocked, {data['risk']} risk: " + "; ".join(data["factors"])
    ),
    EventType.APPROVAL_GRANTED: lambda data: f"approved by {data['by']}",
    EventType.APPROVAL_DENIED: lambda data: f"rejected by {data['by']}",
    EventType.APPROVAL_EXPIRED: lambda data: f"the question expired: {data['reason']}",
    EventType.CAPABILITY_QUARANTINED: lambda data: "withheld: " + short(data["reason"], 200),
    EventType.SECURITY_VIOLATION: lambda data: f"security: {short(data.get('type'), 200)}",
}
