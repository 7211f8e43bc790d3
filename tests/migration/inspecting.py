"""Rune for tests: a pool of workers, a language over it, and an inspector that remembers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from ccos.engine.modules import host_modules
from ccos.engine.rune import Inspection, RuneLanguage, RuneWorkers
from ccos.migration import RuneInspector


@contextlib.asynccontextmanager
async def rune() -> AsyncIterator[RuneLanguage]:
    """Rune in workers without a jail of ours, which start quickly."""
    async with RuneWorkers(processes=2, max_waiting=100, isolation=None) as workers:
        yield RuneLanguage(workers, host_modules())


class Remembering:
    """Reads sources with real workers, and remembers the names of what it read.

    The workers end with each reading, so that it can be used from several event loops.
    """

    def __init__(self) -> None:
        self.inspected: list[str] = []
        self._inner: RuneInspector | None = None

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        async with rune() as language:
            self._inner = RuneInspector(language, host_modules())
            yield

    async def inspect(self, source: str, name: str) -> Inspection:
        self.inspected.append(name)
        assert self._inner is not None
        return await self._inner.inspect(source, name)
