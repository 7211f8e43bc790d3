"""A quick look at an audit trail: its newest entries and its signed head."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from ccos.audit.chain import GENESIS, hash_of, holds
from ccos.audit.head import HeadFile
from ccos.audit.trail import Verification
from ccos.storage.schema import audit_entries

_ENTRIES: Final = 100


def verify_tail(
    connection: sa.Connection, head_file: HeadFile, *, count: int = _ENTRIES
) -> Verification:
    """Check the newest ``count`` entries, the links between them, and the signed head.

    What lies before them is not looked at; `AuditTrail.verify` does that. The ``entries`` of the
    result are those that were checked.

    Raises:
        AuditError: if the file of the head cannot be read as a head.
    """
    head = head_file.read()
    query = sa.select(audit_entries).order_by(audit_entries.c.seq.desc()).limit(count)
    rows = list(reversed(connection.execute(query).all()))
    last = rows[-1].seq if rows else 0

    def found(first_bad: int | None, problem: str) -> Verification:
        return Verification(len(rows), first_bad, problem, head.seq if head else None)

    if (break_ := _first_break(rows)) is not None:
        return found(*break_)
    if head is None:
        return found(last, "The signed head is missing.") if rows else found(None, "")
    if not head.signed:
        return found(head.seq, "The signature of the head is not by this installation's key.")
    if head.seq > last:
        return found(last + 1, f"Entries {last + 1} to {head.seq} were cut off.")
    if not holds(connection, head):
        return found(head.seq, f"Entry {head.seq} is not the one that was signed.")
    return found(None, "")


def _first_break(rows: list[Any]) -> tuple[int, str] | None:
    """The first entry that does not hold, and why."""
    seq, previous = (rows[0].seq, rows[0].prev_hash) if rows else (0, "")
    if seq == 1:
        previous = GENESIS
    for row in rows:
        if row.seq != seq:
            return seq, f"Entry {seq} is missing; entry {row.seq} follows."
        if row.prev_hash != previous:
            return seq, f"Entry {seq} does not continue the one before it."
        try:
            actual = hash_of(row._mapping)
        except ValueError:
            return seq, f"Entry {seq} is not readable."
        if row.hash != actual:
            return seq, f"Entry {seq} was changed after it was written."
        seq, previous = seq + 1, row.hash
    return None
