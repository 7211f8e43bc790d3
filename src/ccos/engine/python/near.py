"""The worker for quick programs: near the thread of the event loop, and not holding it for long."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import Any, Final

import pydantic_monty as monty

from ccos.engine.python.nearness import Nearness
from ccos.engine.python.pools import WorkerPool
from ccos.engine.python.watchdog import Watchdog

_LONGEST_SECONDS: Final = 0.02
"""How long the event loop may be held by a step that the interpreter does not interrupt."""


class NearWorker:
    """One worker, used by the thread of one event loop.

    Args:
        pool: Of this worker alone.
    """

    def __init__(self, pool: WorkerPool) -> None:
        self.pool = pool
        self.nearness = Nearness()
        self.watchdog = Watchdog(_LONGEST_SECONDS)
        self.is_ready = False
        """Whether it lives, as far as is known."""
        self._preparing = threading.Lock()

    def prepare(self) -> None:
        """Start it unless it lives. Blocks, so it is not for the event loop."""
        with self._preparing:
            if not self.is_ready:
                with self.pool.checkout():
                    self.is_ready = True

    def stop(self) -> None:
        """End it."""
        self.is_ready = False
        self.watchdog.stop()
        self.pool.stop()


class NearSession(AbstractContextManager[monty.MontySession]):
    """A session in a near worker, for the thread that does nothing but wait for it.

    Args:
        near: The worker.
        session: Of its pool.
    """

    __slots__ = ("_near", "_session")

    def __init__(self, near: NearWorker, session: monty.MontySession) -> None:
        self._near = near
        self._session = session

    def __enter__(self) -> monty.MontySession:
        near = self._near
        near.nearness.stay()
        try:
            self._session.__enter__()
            if self._session.worker_pid is not None:
                near.nearness.bring(self._session.worker_pid)
                near.watchdog.begin(self._session.worker_pid)
        except BaseException:
            near.nearness.end()
            raise
        return self._session

    def __exit__(self, kind: type[BaseException] | None, *exception: Any) -> None:
        near = self._near
        near.watchdog.end()
        if kind is not None and issubclass(kind, monty.MontyCrashedError):
            near.is_ready = False
        try:
            self._session.__exit__(kind, *exception)
        finally:
            near.nearness.end()
