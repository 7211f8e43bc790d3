"""Quick programs: which ones may be run on the event loop's own thread.

Handing a script to a thread and being woken again can take longer than a short script itself. A
program that was seen to compute for a moment only, without asking the host for anything, is
therefore tried at once, for so short a time that nobody notices. As it asks for nothing, a try that
comes to nothing leaves nothing behind, and the script is run in a thread as any other.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

TRY_SECONDS: Final = 0.005
"""Longest time that a try computes."""

_QUICK_SECONDS: Final = 0.001
_SIGHTINGS: Final = 2
"""How often a program has to be seen first; most that run once never run again."""
_FAILED: Final = -1
_KEPT: Final = 1000


class QuickPrograms:
    """What was seen of programs. A program is known by its hash and the memory it may have."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, int | None], int] = OrderedDict()
        """How often each was seen to be quick."""

    def may_be_tried(self, key: tuple[str, int | None]) -> bool:
        """Whether it was quick when it was seen, and every time it was tried."""
        return self._seen.get(key, 0) >= _SIGHTINGS

    def saw(self, key: tuple[str, int | None], seconds: float) -> bool:
        """Note how long a program took in a thread that asked for nothing.

        Returns whether it may be tried from now on.
        """
        seen = self._seen.get(key, 0)
        if seconds <= _QUICK_SECONDS and 0 <= seen < _SIGHTINGS:
            self._seen[key] = seen + 1
            while len(self._seen) > _KEPT:
                self._seen.popitem(last=False)
        return self.may_be_tried(key)

    def failed(self, key: tuple[str, int | None]) -> None:
        """Note that a try came to nothing; there is no second one."""
        self._seen[key] = _FAILED
