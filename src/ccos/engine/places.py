"""Places for a bounded number of executions, given out fairly among callers."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator

from ccos.errors import EngineBusyError


class Places:
    """A bounded number of places with a bounded queue before them.

    Callers take turns: one with a thousand executions waiting does not hold up another's first.

    Args:
        count: How many may be inside at once.
        waiting: How many may wait in all.
        purpose: What they wait for, for messages.
    """

    def __init__(self, count: int, *, waiting: int, purpose: str) -> None:
        self._free = count
        self._limit = waiting
        self._purpose = purpose
        self._queued = 0
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._queued

    async def enter(self, caller: str) -> None:
        """Take a place, after those who came before and the other callers' turns.

        Raises:
            EngineBusyError: if too many wait already.
        """
        if self._free > 0:
            self._free -= 1
            return
        if self._queued >= self._limit:
            raise EngineBusyError(
                f"{self._queued} executions wait for {self._purpose} already.",
                details={"waiting": self._queued, "purpose": self._purpose},
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(caller, deque()).append(turn)
        self._queued += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()
            else:
                self._forget(caller, turn)
            raise

    def leave(self) -> None:
        """Give the place to whoever's turn it is."""
        while self._queues:
            caller, queue = self._queues.popitem(last=False)
            turn = queue.popleft()
            self._queued -= 1
            if queue:
                self._queues[caller] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    @contextlib.asynccontextmanager
    async def place(self, caller: str) -> AsyncIterator[None]:
        """A place for the time of an ``async with``.

        Raises:
            EngineBusyError: as :meth:`enter`.
        """
        await self.enter(caller)
        try:
            yield
        finally:
            self.leave()

    def _forget(self, caller: str, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(caller)
        if queue is not None and turn in queue:
            queue.remove(turn)
            self._queued -= 1
            if not queue:
                del self._queues[caller]
