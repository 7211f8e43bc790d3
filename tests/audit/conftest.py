"""A trail in a database of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from ccos.storage import Storage

from .installation import Installation


@pytest.fixture
def installation(database_url: str, tmp_path: Path) -> Iterator[Installation]:
    storage = Storage(database_url)
    asyncio.run(storage.__aenter__())
    yield Installation(storage, tmp_path / "home" / "audit-head.json")
    storage.close()
