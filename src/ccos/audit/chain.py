"""The chain: what makes an entry follow from the one before it, and a head belong to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from ccos.audit.head import Head
from ccos.canonical import content_hash
from ccos.storage.schema import audit_entries

GENESIS: Final = "sha256:" + "0" * 64
"""What the first entry follows."""


def holds(connection: sa.Connection, head: Head | None) -> bool:
    """Whether a head is signed, and signs an entry that is there."""
    if head is None or not head.signed:
        return False
    if head.seq == 0:
        return True
    query = sa.select(audit_entries.c.hash).where(audit_entries.c.seq == head.seq)
    return connection.execute(query).scalar() == head.hash


def hash_of(entry: Mapping[str, Any]) -> str:
    """The hash of an entry: SHA-256 over the canonical JSON of all its other fields."""
    content = {name: value for name, value in entry.items() if name != "hash"}
    return content_hash(content)
