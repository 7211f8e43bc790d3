"""Rune workers for tests. Without an installed worker, one that was built here is used."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ccos.engine.jail import probe
from ccos.engine.rune import RuneWorkers, find_worker
from ccos.errors import ConfigurationError

BUILT = Path(__file__).parents[3] / "native/rune-worker/target/release/ccos-rune-worker"
VARIABLE = "CCOS_RUNE_WORKER"


@pytest.fixture(scope="session")
def program() -> Iterator[Path]:
    """The worker, which the variable names as long as it is needed."""
    before = os.environ.get(VARIABLE)
    try:
        found = find_worker()
    except ConfigurationError:
        if not BUILT.exists():
            pytest.skip("no Rune worker is installed, and none is built in native/rune-worker")
        found = BUILT
    os.environ[VARIABLE] = str(found)
    yield found
    os.environ.pop(VARIABLE)
    if before is not None:
        os.environ[VARIABLE] = before


@pytest.fixture
async def workers(anyio_backend: str, program: Path) -> AsyncIterator[RuneWorkers]:
    async with RuneWorkers(
        processes=2, max_waiting=100, isolation=probe, find_program=lambda: program
    ) as started:
        yield started
