"""What tests of migration may use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from migration.inspecting import WorkerInspector


@pytest.fixture
def inspector() -> Iterator[WorkerInspector]:
    """Reads sources with a real worker, and remembers the names of what it read."""
    found = WorkerInspector()
    yield found
    found.close()
