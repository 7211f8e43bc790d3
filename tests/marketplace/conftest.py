"""A marketplace in a database of its own, and a second process's view of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from ccos.audit import AuditTrail, HeadFile
from ccos.events import EventBus
from ccos.keys import LocalKey
from ccos.marketplace import Marketplace
from ccos.providers.local import LocalInvoker
from ccos.storage import Storage

KEY = LocalKey(b"k" * 32)

Open = Callable[..., Marketplace]


@pytest.fixture
def marketplace_in(tmp_path: Path) -> Open:
    """Makes a marketplace of a storage, as another process of the installation would have it."""

    def make(storage: Storage, key: LocalKey = KEY) -> Marketplace:
        trail = AuditTrail(storage, EventBus(), HeadFile(tmp_path / "audit-head.json", key))
        return Marketplace(storage, trail, key, LocalInvoker())

    return make


@pytest.fixture
async def marketplace(storage: Storage, marketplace_in: Open) -> Marketplace:
    made = marketplace_in(storage)
    await made.audit.start()
    return made


@pytest.fixture
async def elsewhere(
    storage: Storage, marketplace: Marketplace, marketplace_in: Open, database_url: str
) -> AsyncIterator[Marketplace]:
    """The same marketplace through another storage."""
    async with Storage(database_url) as second:
        made = marketplace_in(second)
        await made.audit.start()
        yield made
