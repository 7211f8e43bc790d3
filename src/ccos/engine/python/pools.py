"""Pools of Monty worker processes that share a jail and its bound on memory."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pydantic_monty as monty
from pydantic_monty._binary import find_monty_binary

from ccos.engine.jail import Isolation, Jail, JailSpec

_SESSIONS_PER_WORKER: Final = 10_000


class WorkerPool:
    """Workers that are started when one is first needed.

    Args:
        processes: Most workers at once.
        isolation: Finds out what the machine can hold workers with; None for no jail.
        jail_bytes: Most address space of a worker in its jail; None for no limit.
    """

    def __init__(
        self, processes: int, isolation: Callable[[], Isolation] | None, jail_bytes: int | None
    ) -> None:
        self._processes = processes
        self._isolation = isolation
        self._jail_bytes = jail_bytes
        self._pool: monty.Monty | None = None
        self._starting = threading.Lock()
        self._exits = contextlib.ExitStack()

    def checkout(self, **options: Any) -> monty.MontySession:
        """A session that has not taken its worker yet."""
        return (self._pool or self._start()).checkout(**options)

    def stop(self) -> None:
        """End every worker."""
        self._exits.close()
        self._pool = None

    def _start(self) -> monty.Monty:
        with self._starting:
            if self._pool is None:
                self._pool = self._exits.enter_context(
                    monty.Monty(
                        binary_path=self._program(),
                        min_processes=1,
                        max_processes=self._processes,
                        max_checkouts_per_worker=_SESSIONS_PER_WORKER,
                    )
                )
            return self._pool

    def _program(self) -> Path | None:
        if self._isolation is None:
            return None
        spec = JailSpec(Path(find_monty_binary()).resolve(), memory_bytes=self._jail_bytes)
        return self._exits.enter_context(Jail(spec, self._isolation()))
