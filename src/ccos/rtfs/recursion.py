"""Recursing as deep as forms may nest.

Brackets nest up to 500 deep, and a pass over them takes several Python calls for each. Those calls
do not use the stack of the operating system, so they may be many; but the limit is one for the
whole process, so it is raised only while somebody compiles.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Final

_DEEP: Final = 30_000


class _Limit:
    """The limit of the interpreter, and how many have asked for a high one."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._asked = 0
        self._usual = 0

    def raise_it(self) -> None:
        with self._changing:
            if self._asked == 0:
                self._usual = sys.getrecursionlimit()
                sys.setrecursionlimit(max(self._usual, _DEEP))
            self._asked += 1

    def give_back(self) -> None:
        with self._changing:
            self._asked -= 1
            if self._asked == 0:
                sys.setrecursionlimit(self._usual)


_limit: Final = _Limit()


@contextlib.contextmanager
def recursing_deeply() -> Iterator[None]:
    """Let Python recurse deeply for the time of a ``with``, in all threads."""
    _limit.raise_it()
    try:
        yield
    finally:
        _limit.give_back()
