"""What the tests of resolution share."""

from __future__ import annotations

import pytest


@pytest.fixture
def store() -> dict[str, str]:
    """The variables that choose the database."""
    return {}
