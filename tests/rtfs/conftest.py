from __future__ import annotations

from collections.abc import Iterator

import pydantic_monty as monty
import pytest


@pytest.fixture(scope="session")
def pool() -> Iterator[monty.Monty]:
    """Workers that run compiled programs."""
    with monty.Monty(max_processes=2) as workers:
        yield workers
