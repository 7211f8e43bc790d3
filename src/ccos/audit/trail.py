"""The audit trail: an append-only chain of entries with a signed head outside the database.

Each entry's hash covers all its fields and the hash of the entry before it, so an edit, a removal,
a swap or a repetition breaks the chain at that place. The newest hash is signed and kept in a file
beside the database, so that cutting off the tail or replacing the whole table shows too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from ccos.audit.chain import GENESIS, hash_of, holds
from ccos.audit.head import Head, HeadFile
from ccos.audit.redaction import redacted
from ccos.canonical import canonical_json, content_hash
from ccos.errors import AuditError
from ccos.events import Event, EventBus
from ccos.storage import Statement, Storage, Transaction
from ccos.storage.schema import audit_entries

_POSTGRES_LOCK: Final = 0x43434F5341554449
_PAGE: Final = 1000
_BEFORE_ALL: Final = -(2**63)
_LAST: Final = Statement(
    sa.select(audit_entries.c.seq, audit_entries.c.hash)
    .order_by(audit_entries.c.seq.desc())
    .limit(1)
)
_INSERT: Final = Statement(sa.insert(audit_entries))


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry as stored."""

    seq: int
    timestamp: str
    event_type: str
    capability_id: str
    execution_id: str
    actor: str
    data: dict[str, Any]
    prev_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check of the whole trail found.

    ``first_bad`` is the number of the first entry that is wrong or missing; None if all is well.
    """

    entries: int
    first_bad: int | None
    problem: str
    head_seq: int | None

    @property
    def intact(self) -> bool:
        """Whether nothing was found."""
        return self.first_bad is None


class AuditTrail:
    """Records events: as entries of the chain, and to the subscribers once they are on disk.

    Args:
        enabled: Whether entries are written; events reach subscribers in any case.
    """

    def __init__(
        self, storage: Storage, bus: EventBus, head_file: HeadFile, *, enabled: bool = True
    ) -> None:
        self._storage = storage
        self._bus = bus
        self._head_file = head_file
        self._enabled = enabled
        self._newest_seen = 0
        self._anchored = False

    async def start(self) -> None:
        """Anchor an empty trail, or check that the stored one still holds the signed head.

        A trail that lost its head, or entries that were signed, is written on but not signed
        again: :meth:`verify` goes on naming the fault until a person deals with it.
        """
        head, damage = self._stored_head()
        last = await self._storage.read(_LAST.first)
        if head is None and last is None and not damage:
            head = Head(0, GENESIS)
            self._head_file.advance(head)
        self._anchored = await self._storage.read(lambda connection: holds(connection, head))
        self._newest_seen = head.seq if head is not None else 0

    async def adopt(self) -> Verification:
        """Sign the newest entry as this installation's head, if it has none and all entries hold.

        For an installation that joins a database which others have written already.
        """
        found = await self.verify()
        head, damage = self._stored_head()
        last = await self._storage.read(_LAST.first)
        if head is not None or damage or found.entries != (last.seq if last else 0):
            return found
        self._head_file.advance(Head(last.seq, last.hash) if last else Head(0, GENESIS))
        await self.start()
        return await self.verify()

    def record(self, transaction: Transaction, *events: Event) -> None:
        """Append entries as part of ``transaction``; they stand or fall with it."""
        if events:
            transaction.gather(self._write, events)

    def _write(self, transaction: Transaction, events: list[Event]) -> None:
        if self._enabled:
            head = self._append(transaction, events)
            if self._anchored:
                transaction.after_commit("audit-head", lambda: self._advance(head))
        if wanted := [event for event in events if self._bus.wants(event.type)]:
            transaction.after_commit(f"publish-{id(wanted)}", _Publication(self._bus, wanted))

    async def append(self, *events: Event) -> None:
        """Record events that belong to no other write."""
        await self._storage.write("audit", lambda transaction: self.record(transaction, *events))

    def _append(self, transaction: Transaction, events: list[Event]) -> Head:
        if transaction.dialect == "postgresql":
            transaction.execute(sa.select(sa.func.pg_advisory_xact_lock(_POSTGRES_LOCK)))
        last = _LAST.first(transaction.connection)
        seq, previous = (last.seq, last.hash) if last else (0, GENESIS)
        self._anchored = self._anchored and self._still_holds(transaction.connection, seq)
        rows = []
        for event in events:
            seq += 1
            entry = _entry(seq, previous, event)
            previous = entry["hash"]
            rows.append(entry)
        _INSERT.change_each(transaction.connection, rows)
        return Head(seq, previous)

    def _still_holds(self, connection: sa.Connection, last: int) -> bool:
        """Whether the signed head is among the entries up to ``last``, as far as is known here."""
        signed = self._head_file.stored_seq()
        if signed == self._newest_seen:
            return signed <= last
        self._newest_seen = signed  # another process signed since
        return holds(connection, self._stored_head()[0])

    def _stored_head(self) -> tuple[Head | None, str]:
        """The head, and what is wrong with its file if it cannot be read."""
        try:
            return self._head_file.read(), ""
        except AuditError as error:
            return None, error.message

    def _advance(self, head: Head) -> None:
        self._newest_seen = max(self._newest_seen, head.seq)
        self._head_file.advance(head)

    async def tail(self, count: int, *, execution_id: str | None = None) -> list[AuditEntry]:
        """The newest ``count`` entries, oldest first, of one execution if given."""
        query = sa.select(audit_entries).order_by(audit_entries.c.seq.desc()).limit(count)
        if execution_id is not None:
            query = query.where(audit_entries.c.execution_id == execution_id)
        rows = await self._storage.read(lambda connection: connection.execute(query).all())
        return [_from_row(row) for row in reversed(rows)]

    async def verify(self) -> Verification:
        """Check every entry, the links between them, and the signed head."""
        return await self._storage.read(self._verify)

    def _verify(self, connection: sa.Connection) -> Verification:
        head, damage = self._stored_head()
        previous, expected, seen_head = GENESIS, 1, head.seq == 0 if head else False

        def bad(seq: int, problem: str) -> Verification:
            return Verification(expected - 1, seq, problem, head.seq if head else None)

        for row in _all_rows(connection):
            if row.seq != expected:
                return bad(expected, f"Entry {expected} is missing; entry {row.seq} follows.")
            try:
                actual = hash_of(row._mapping)
            except ValueError:
                return bad(row.seq, f"Entry {row.seq} is not readable.")
            if row.prev_hash != previous:
                return bad(row.seq, f"Entry {row.seq} does not continue the one before it.")
            if row.hash != actual:
                return bad(row.seq, f"Entry {row.seq} was changed after it was written.")
            if head is not None and row.seq == head.seq:
                if row.hash != head.hash:
                    return bad(row.seq, f"Entry {row.seq} is not the one that was signed.")
                seen_head = True
            previous = row.hash
            expected += 1
        count = expected - 1
        if damage:
            return bad(max(count, 1), damage)
        if head is None and count:
            return bad(count, "The signed head is missing, so a cut tail could not be noticed.")
        if head is not None and not head.signed:
            return bad(head.seq, "The signature of the head is not by this installation's key.")
        if head is not None and not seen_head:
            return bad(expected, f"Entries {expected} to {head.seq} were cut off.")
        return Verification(count, None, "", head.seq if head else None)


@dataclass(frozen=True, slots=True)
class _Publication:
    bus: EventBus
    events: list[Event]

    def __call__(self) -> None:
        for event in self.events:
            self.bus.publish(event)


def _entry(seq: int, previous: str, event: Event) -> dict[str, Any]:
    content: dict[str, Any] = {
        "seq": seq,
        "timestamp": datetime.fromtimestamp(event.at, UTC).isoformat(timespec="microseconds"),
        "event_type": event.type.value,
        "capability_id": event.capability_id,
        "execution_id": event.execution_id,
        "actor": event.actor,
        "data": canonical_json(redacted(event.data)).decode(),
        "prev_hash": previous,
    }
    content["hash"] = content_hash(content)
    return content


def _from_row(row: Any) -> AuditEntry:
    try:
        data = json.loads(row.data)
    except (ValueError, RecursionError) as error:
        raise AuditError(f"Entry {row.seq} of the audit trail is not readable.") from error
    return AuditEntry(
        row.seq,
        row.timestamp,
        row.event_type,
        row.capability_id,
        row.execution_id,
        row.actor,
        data,
        row.prev_hash,
        row.hash,
    )


def _all_rows(connection: sa.Connection) -> Iterator[Any]:
    last = _BEFORE_ALL
    while True:
        query = (
            sa.select(audit_entries)
            .where(audit_entries.c.seq > last)
            .order_by(audit_entries.c.seq)
            .limit(_PAGE)
        )
        rows = connection.execute(query).all()
        if not rows:
            return
        yield from rows
        last = rows[-1].seq
