"""Bringing a capability back to what it was: versions, pins, signatures and aliases."""

from __future__ import annotations

import json
from typing import Any, Final

import sqlalchemy as sa

from ccos.audit import AuditTrail
from ccos.capabilities import parse_manifest
from ccos.events import Event, EventType
from ccos.marketplace import search
from ccos.marketplace.store import Standing
from ccos.storage import Statement, Transaction
from ccos.storage.schema import aliases, capabilities, counters

_VERSIONS: Final = Statement(
    sa.select(capabilities)
    .where(capabilities.c.id == sa.bindparam("id"))
    .order_by(capabilities.c.registered_at)
)
_ALIASES: Final = Statement(
    sa.select(aliases)
    .where(aliases.c.capability_id == sa.bindparam("id"))
    .order_by(aliases.c.alias)
)

CapabilityState = dict[str, list[dict[str, Any]]]
"""Every stored version of a capability, and its aliases, as JSON data."""


def state_of(connection: sa.Connection, capability_id: str) -> CapabilityState:
    """All that is stored of a capability; empty lists if there is nothing."""
    key = {"id": capability_id}
    versions = [row._asdict() for row in _VERSIONS.rows(connection, key)]
    if not versions:
        return {"versions": [], "aliases": []}  # an alias leads to something
    names = [row._asdict() for row in _ALIASES.rows(connection, key)]
    return {"versions": versions, "aliases": names}


def restore(
    transaction: Transaction,
    audit: AuditTrail,
    capability_id: str,
    state: CapabilityState,
    *,
    actor: str,
    reason: str,
) -> None:
    """Put back what :func:`state_of` found, and nothing else, as part of ``transaction``.

    Args:
        transaction: What it stands or falls with.
        audit: Where it is recorded.
        capability_id: The capability.
        state: What was stored of it.
        actor: Who wants it.
        reason: Why.
    """
    transaction.execute(sa.delete(capabilities).where(capabilities.c.id == capability_id))
    transaction.execute(sa.delete(aliases).where(aliases.c.capability_id == capability_id))
    for table, rows in ((capabilities, state["versions"]), (aliases, state["aliases"])):
        if rows:
            transaction.execute(sa.insert(table), rows)
    gone = (Standing.SUPERSEDED, Standing.REMOVED)
    current = next((row for row in state["versions"] if row["standing"] not in gone), None)
    if current is None:
        search.unindex(transaction, capability_id)
    else:
        search.index(transaction, parse_manifest(json.loads(current["manifest"])))
    transaction.execute(
        sa.update(counters)
        .where(counters.c.name == "marketplace")
        .values(value=counters.c.value + 1)
    )
    audit.record(
        transaction,
        Event(
            EventType.CAPABILITY_REMOVED if current is None else EventType.CAPABILITY_UPDATED,
            capability_id,
            actor=actor,
            data={"version": current["version"] if current else None, "reason": reason},
        ),
    )
