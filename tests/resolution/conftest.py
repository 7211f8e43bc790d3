"""What these tests share."""

from __future__ import annotations

import pytest


@pytest.fixture
def store(database_url: str) -> dict[str, str]:
    """The variables that choose the database; the test runs once on each kind."""
    return {"CCOS_DATABASE_URL": database_url}
