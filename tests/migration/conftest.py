"""What tests of migration may use."""

from __future__ import annotations

import pytest

from interfaces.conftest import ccos, home, program  # noqa: F401 - fixtures
from migration.inspecting import Remembering


@pytest.fixture
def inspector() -> Remembering:
    """Reads sources with real workers, and remembers the names of what it read."""
    return Remembering()
