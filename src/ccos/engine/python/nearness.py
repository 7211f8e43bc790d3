"""Nearness: a worker on the processor of the thread that waits for it.

A short script takes less time than waking another processor that has gone to sleep, twice for every
turn. While the event loop's thread waits for a worker, its own processor has nothing to do, so the
worker is brought there: one goes to sleep as the other wakes up, and nothing has to be sent across.

The interpreter's library passes messages on in threads of its own, which are brought along. Where
threads cannot be placed, as on other systems than Linux, everything works as it would anyway.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

_PASSING_ON: Final = "tokio-rt-worker"
"""Name of the library's threads."""
_HERE: Final = 0


class Nearness:
    """Keeps a worker on the processor of the thread that waits for it."""

    def __init__(self) -> None:
        self._processor_of_this_thread = _find_processor()
        self._processor = -1
        self._allowed: set[int] = set()
        self._near: set[int] = set()

    def stay(self) -> None:
        """Keep this thread on its processor until :meth:`end`."""
        if self._processor_of_this_thread is not None:
            self._allowed = os.sched_getaffinity(_HERE)
            if len(self._allowed) > 1:
                processor = self._processor_of_this_thread()
                if processor != self._processor:
                    self._processor = processor
                    self._near.clear()
                os.sched_setaffinity(_HERE, {processor})

    def end(self) -> None:
        """Let this thread run wherever it may."""
        if len(self._allowed) > 1:
            os.sched_setaffinity(_HERE, self._allowed)

    def bring(self, worker_id: int) -> None:
        """Bring a worker here, with what passes its messages on."""
        if len(self._allowed) > 1 and worker_id not in self._near:
            try:
                self._near = {worker_id}
                for thread in (*_threads(worker_id), *_threads(os.getpid(), name=_PASSING_ON)):
                    os.sched_setaffinity(thread, {self._processor})
            except OSError:  # it has just ended, or may not be placed
                return


def _find_processor() -> Callable[[], int] | None:
    """What tells the processor of the calling thread, where there is such a thing."""
    if sys.platform != "linux":
        return None
    # The interpreter's lock is kept: the answer takes less time than letting go of it.
    found: Any = getattr(ctypes.PyDLL(None), "sched_getcpu", None)
    return found  # type: ignore[no-any-return]


def _threads(process_id: int, *, name: str | None = None) -> list[int]:
    folder = Path(f"/proc/{process_id}/task")
    return [
        int(one.name)
        for one in folder.iterdir()
        if name is None or (one / "comm").read_text().strip() == name
    ]
