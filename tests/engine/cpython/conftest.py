"""Processes of full CPython, and something to run scripts with."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ccos.engine.cpython import CPythonWorkers
from ccos.engine.cpython.worker.containment import (
    PID_NAMESPACE,
    PROCESS_GROUP,
    SUBREAPER,
    USER_NAMESPACE,
)
from ccos.errors import IsolationError

from .running import Runner


@pytest.fixture
async def runner(anyio_backend: str) -> AsyncIterator[Runner]:
    async with CPythonWorkers(processes=4, max_waiting=100) as workers:
        yield Runner(workers)


@pytest.fixture(params=[PID_NAMESPACE, USER_NAMESPACE, SUBREAPER, PROCESS_GROUP])
async def contained(
    anyio_backend: str, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[str, Runner]]:
    """A runner for every way to hold processes together that this machine has."""
    async with CPythonWorkers(
        processes=4, max_waiting=100, containments=(request.param,)
    ) as workers:
        try:
            await workers.containment()
        except IsolationError:
            pytest.skip(f"This machine has no {request.param}.")
        yield request.param, Runner(workers)


@pytest.fixture(params=[PID_NAMESPACE, SUBREAPER])
async def kept(anyio_backend: str, request: pytest.FixtureRequest) -> AsyncIterator[Runner]:
    """A runner for each way in which a keeper works."""
    async with CPythonWorkers(
        processes=4, max_waiting=100, containments=_AT_LEAST[request.param]
    ) as workers:
        yield Runner(workers)


_AT_LEAST = {PID_NAMESPACE: (PID_NAMESPACE, USER_NAMESPACE, SUBREAPER), SUBREAPER: (SUBREAPER,)}
