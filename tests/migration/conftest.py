"""What tests of migration may use."""

from __future__ import annotations

import pytest

from migration.inspecting import Remembering, worker


@pytest.fixture
def inspector() -> Remembering:
    """Reads sources with real workers, and remembers the names of what it read."""
    return Remembering()


@pytest.fixture(autouse=True)
def worker_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is opened as a whole finds the worker too."""
    monkeypatch.setenv("CCOS_RUNE_WORKER", str(worker()))
