"""A watchdog for the thread that must not be held: it kills what holds it.

The interpreter looks at its clock between two steps of a script. A single step can take long all
the same, such as a power of huge numbers, and a thread that waits for it cannot look at anything.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from typing import Final

_LOOKS_BEFORE_REST: Final = 50
"""How often it looks in vain before it waits to be called."""


class Watchdog:
    """Kills a process if it is watched for too long.

    Args:
        seconds: How long that is. It is looked at twice in that time.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._watched: tuple[int, float] | None = None
        """The process, and when it is killed."""
        self._resting = True
        self._calls: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def begin(self, process_id: int) -> None:
        """Watch a process until :meth:`end`."""
        self._watched = (process_id, time.monotonic() + self._seconds)
        if self._resting:
            self._resting = False
            self._call()

    def end(self) -> None:
        """Watch it no more."""
        self._watched = None

    def stop(self) -> None:
        """End the thread. Blocks for a moment."""
        if self._thread is not None:
            self._calls.put(False)
            self._thread.join()
            self._thread = None

    def _call(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="ccos-watchdog", daemon=True)
            self._thread.start()
        self._calls.put(True)

    def _serve(self) -> None:
        while self._calls.get():
            in_vain = 0
            while in_vain < _LOOKS_BEFORE_REST and self._calls.empty():
                time.sleep(self._seconds / 2)
                in_vain = 0 if self._look() else in_vain + 1
            self._resting = True
            if self._watched is not None:  # it came as the rest began, and may not have called
                self._resting = False
                self._calls.put(True)

    def _look(self) -> bool:
        """Kill what is watched for too long; whether anything is watched."""
        watched = self._watched
        if watched is None:
            return False
        process_id, until = watched
        if time.monotonic() > until:
            self._watched = None
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
        return True
