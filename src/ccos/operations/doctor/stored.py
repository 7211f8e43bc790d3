"""What the database says about the installation: its audit trail, what waits, and who works."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from ccos.audit import HeadFile, Verification
from ccos.audit.tail import verify_tail
from ccos.errors import AuditError, StorageError
from ccos.keys import LocalKey
from ccos.operations.doctor.checks import Check, Status
from ccos.operations.doctor.home import key_path, secret
from ccos.operations.doctor.reading import NothingStoredError, OtherSchemaError, own_schema
from ccos.resolution.approvals import ApprovalState
from ccos.runtime import ExecutionState
from ccos.runtime.workers import HEARTBEAT_SECONDS
from ccos.storage.schema import approvals, audit_entries, executions, resolutions, workers

_SILENT_SECONDS: Final = 6 * HEARTBEAT_SECONDS
_LONG_SECONDS: Final = 24 * 3600.0
_HOUR: Final = 3600.0
_FULL_CHECK: Final = "Run `ccos audit verify`, which checks every entry."

Look = Callable[[sa.Connection], Iterator[Check]]


def reading(name: str, url: str, look: Look) -> Iterator[Check]:
    """What ``look`` finds in the database, or why it could not look."""
    try:
        with own_schema(url) as connection:
            yield from look(connection)
    except NothingStoredError:
        yield Check(name, Status.OK, "Nothing is stored yet.")
    except (OtherSchemaError, StorageError):
        message = "Not examined, since the database cannot be used as it is."
        yield Check(name, Status.WARNING, message, "See the check of the database.")


def audit(home: Path, *, enabled: bool) -> Look:
    """Whether the newest entries of the audit trail and its signed head hold."""

    def look(connection: sa.Connection) -> Iterator[Check]:
        try:
            content = secret(key_path(home))
        except OSError:
            content = None
        if content is None:
            message = "Not examined, since the key that signs its head cannot be read."
            yield Check("audit", Status.WARNING, message, "See the check of the key.")
            return
        try:
            found = verify_tail(
                connection, HeadFile(home / "audit" / "head.json", LocalKey(content))
            )
        except AuditError as error:
            yield Check("audit", Status.FAILED, error.message, _FULL_CHECK)
            return
        yield _audit_check(found, enabled=enabled)

    return look


def _audit_check(found: Verification, *, enabled: bool) -> Check:
    details = {
        "checked": found.entries,
        "first_bad": found.first_bad,
        "head": found.head_seq,
        "enabled": enabled,
    }
    if not found.intact:
        step = _FULL_CHECK
        if found.head_seq is None:
            step += " If this installation has just joined the database, run `ccos init`."
        return Check("audit", Status.FAILED, found.problem, step, details)
    message = f"The newest {found.entries} entries and the signed head hold."
    if not found.entries:
        message = "The trail is empty."
    if not enabled:
        message += " Nothing is added to it."
        step = "Set CCOS_AUDIT_LOGGING=true to have it written."
        return Check("audit", Status.WARNING, message, step, details)
    return Check("audit", Status.OK, message, details=details)


def waiting(now: float) -> Look:
    """What waits for a capability or for a person, and for how long; for information."""

    def look(connection: sa.Connection) -> Iterator[Check]:
        counts = {
            "parked": _count(connection, executions, "state", ExecutionState.PARKED, "updated_at"),
            "outcome_unknown": _count(
                connection, executions, "state", ExecutionState.OUTCOME_UNKNOWN, "updated_at"
            ),
            "approvals": _count(
                connection, approvals, "status", ApprovalState.PENDING, "requested_at"
            ),
        }
        details = {
            name: {"count": count, "oldest_seconds": None if since is None else now - since}
            for name, (count, since) in counts.items()
        }
        parts = [
            f"{counts[name][0]} {words}" for name, words in _WAITING.items() if counts[name][0]
        ]
        oldest = min((since for _, since in counts.values() if since is not None), default=now)
        message = "Nothing waits."
        if parts:
            hours = max(0.0, now - oldest) / _HOUR
            message = f"{', '.join(parts)}; the oldest waits for {hours:.1f} hours."
        steps = [
            step
            for name, step in _WAITING_STEPS.items()
            if (since := counts[name][1]) is not None
            and (now - since > _LONG_SECONDS or name == "outcome_unknown")
        ]
        yield Check("waiting", Status.OK, message, " ".join(steps), details)

    return look


_WAITING: Final = {
    "parked": "parked",
    "outcome_unknown": "of unknown outcome",
    "approvals": "for approval",
}
_WAITING_STEPS: Final = {
    "parked": "See `ccos queue` for what is missing.",
    "outcome_unknown": "Say what became of a call: `ccos executions decide`.",
    "approvals": "See `ccos approvals list` for what a person has to decide.",
}


def _count(
    connection: sa.Connection, table: sa.Table, column: str, value: str, time: str
) -> tuple[int, float | None]:
    query = sa.select(sa.func.count(), sa.func.min(table.c[time])).where(table.c[column] == value)
    count, since = connection.execute(query).one()
    return count, since


def at_work(now: float, *, wanted: bool) -> Look:
    """Whether a process is at work where the settings want one and something waits for it.

    Args:
        now: Seconds since the Unix epoch.
        wanted: Whether the settings leave anything to a process in the background.
    """

    def look(connection: sa.Connection) -> Iterator[Check]:
        beats = [row.heartbeat_at for row in connection.execute(sa.select(workers)).all()]
        alive = [beat for beat in beats if now - beat < _SILENT_SECONDS]
        open_ = connection.scalar(
            sa.select(sa.func.count()).where(resolutions.c.finished_at.is_(None))
        )
        parked, _ = _count(connection, executions, "state", ExecutionState.PARKED, "updated_at")
        silent = len(beats) - len(alive)
        details: dict[str, Any] = {
            "alive": len(alive),
            "silent": silent,
            "wanted": wanted,
            "open_requests": open_,
            "parked": parked,
        }
        left = f" {silent} ended without leaving the register." if silent else ""
        if alive:
            age = max(0.0, now - max(alive))
            message = f"{len(alive)} at work; the last was heard of {age:.0f} seconds ago.{left}"
            yield Check("workers", Status.OK, message, details=details)
        elif wanted and (open_ or parked):
            message = f"Nobody is at work, and something waits for that.{left}"
            yield Check("workers", Status.WARNING, message, "Run: ccos worker", details)
        else:
            message = f"Nobody is at work, and nothing waits for that.{left}"
            yield Check("workers", Status.OK, message, details=details)

    return look


def newest(url: str) -> float | None:
    """The latest moment that the database speaks of; None if it says nothing, or cannot."""
    moments: list[float] = []
    with contextlib.suppress(NothingStoredError, OtherSchemaError, StorageError):
        with own_schema(url) as connection:
            heartbeat = connection.scalar(sa.select(sa.func.max(workers.c.heartbeat_at)))
            last = sa.select(audit_entries.c.timestamp).order_by(audit_entries.c.seq.desc())
            entry = connection.scalar(last.limit(1))
        moments += [heartbeat] if heartbeat is not None else []
        with contextlib.suppress(ValueError):
            moments += [datetime.fromisoformat(entry).timestamp()] if entry else []
    return max(moments, default=None)
