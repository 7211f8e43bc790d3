"""Quick programs: which ones may be run on the event loop's own thread.

Handing a script to a thread and being woken again can take longer than a short script itself. A
program that was seen to compute for a moment only, without asking the host for anything, is
therefore tried at once, for so short a time that nobody notices. As it asks for nothing, a try that
comes to nothing leaves nothing behind, and the script is run in a thread as any other.

While other scripts run, that pays only where the worker answers swiftly; a machine whose processors
take long to wake does better with several threads.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import Final

TRY_SECONDS: Final = 0.005
"""Longest time that a try computes."""

_QUICK_SECONDS: Final = 0.001
_SWIFT_SECONDS: Final = 0.0002
"""How long tries may take on average for them to pay among other scripts."""
_WEIGHT: Final = 0.1
_LOOK_AGAIN: Final = 64
_TURN_SECONDS: Final = 0.001
"""How long the event loop is not given back to others."""
_KEPT: Final = 1000


class QuickPrograms:
    """What was seen of programs. A program is known by its hash and the memory it may have."""

    def __init__(self) -> None:
        self._quick: OrderedDict[tuple[str, int | None], bool] = OrderedDict()
        self._average = 0.0
        self._passed_over = 0
        self._given_back = 0.0

    def may_be_tried(self, key: tuple[str, int | None], *, alone: bool) -> bool:
        """Whether it was quick when it was seen, and every time it was tried.

        Args:
            key: The program.
            alone: Whether nothing else runs.
        """
        if not self._quick.get(key, False):
            return False
        if alone or self._average <= _SWIFT_SECONDS:
            return True
        self._passed_over = (self._passed_over + 1) % _LOOK_AGAIN
        return self._passed_over == 0

    def saw(self, key: tuple[str, int | None], seconds: float) -> None:
        """Note how long a program took in a thread that asked for nothing."""
        if seconds <= _QUICK_SECONDS and key not in self._quick:
            self._quick[key] = True
            while len(self._quick) > _KEPT:
                self._quick.popitem(last=False)

    def failed(self, key: tuple[str, int | None]) -> None:
        """Note that a try came to nothing; there is no second one."""
        self._quick[key] = False

    async def succeeded(self, seconds: float) -> None:
        """Note how long a try took, and let others have the event loop from time to time."""
        self._average += _WEIGHT * (seconds - self._average)
        now = time.monotonic()
        if now - self._given_back > _TURN_SECONDS:
            await asyncio.sleep(0)
            self._given_back = time.monotonic()
