"""An installation's audit trail, and hands to tamper with it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ccos.audit import AuditTrail, HeadFile, Verification
from ccos.events import Event, EventBus, EventType
from ccos.keys import LocalKey
from ccos.storage import Storage, Transaction
from ccos.storage.schema import audit_entries

KEY = LocalKey(b"k" * 32)

Row = dict[str, Any]


@dataclass
class Installation:
    """One installation's trail; every method starts and ends an event loop of its own."""

    storage: Storage
    head: Path
    key: LocalKey = KEY

    def trail(self, *, bus: EventBus | None = None, enabled: bool = True) -> AuditTrail:
        """The trail as it is after a start of the program."""
        trail = AuditTrail(
            self.storage, bus or EventBus(), HeadFile(self.head, self.key), enabled=enabled
        )
        asyncio.run(trail.start())
        return trail

    def append(self, trail: AuditTrail, count: int, **fields: Any) -> None:
        for number in range(count):
            event = Event(
                EventType.CAPABILITY_CALL, "a.b", f"e{number}", data={"n": number}, **fields
            )
            asyncio.run(trail.append(event))

    def verify(self) -> Verification:
        return asyncio.run(self.trail().verify())

    def rows(self) -> list[Row]:
        query = sa.select(audit_entries).order_by(audit_entries.c.seq)
        found = self.storage.read_blocking(lambda connection: connection.execute(query).all())
        return [dict(row._mapping) for row in found]

    def replace(self, rows: list[Row]) -> None:
        """Make the table hold exactly these rows."""

        def unit(transaction: Transaction) -> None:
            transaction.execute(sa.delete(audit_entries))
            if rows:
                transaction.execute(sa.insert(audit_entries), rows)

        self.storage.write_blocking("tamper", unit)
