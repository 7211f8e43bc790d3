"""Places for a bounded number of executions, given out fairly among callers."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from contextlib import AbstractAsyncContextManager

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
        self._count = count
        self._free = count
        """Below 0 while more are inside than there are places, after there came to be fewer."""
        self._limit = waiting
        self.purpose = purpose
        self._queued = 0
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._queued

    @property
    def inside(self) -> int:
        """How many have a place."""
        return self._count - self._free

    @property
    def free(self) -> bool:
        """Whether the next to enter would not have to wait."""
        return self._free > 0

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
                f"{self._queued} executions wait for {self.purpose} already.",
                details={"waiting": self._queued, "purpose": self.purpose},
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

    def resize(self, count: int, *, waiting: int) -> None:
        """Have another number of places. Nobody inside is put out; they leave when they leave."""
        self._free += count - self._count
        self._count = count
        self._limit = waiting
        while self._free > 0 and self._queues:
            self._free -= 1
            self.leave()

    def leave(self) -> None:
        """Give the place to whoever's turn it is."""
        while self._queues and self._free >= 0:
            caller, queue = self._queues.popitem(last=False)
            turn = queue.popleft()
            self._queued -= 1
            if queue:
                self._queues[caller] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _forget(self, caller: str, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(caller)
        if queue is not None and turn in queue:
            queue.remove(turn)
            self._queued -= 1
            if not queue:
                del self._queues[caller]


class Visit(AbstractAsyncContextManager[None]):
    """A place in each of several :class:`Places`, for the time of an ``async with``.

    Args:
        places: They are entered in this order.
        caller: Who enters.

    Raises:
        EngineBusyError: as :meth:`Places.enter`.
    """

    __slots__ = ("_caller", "_entered", "_places")

    def __init__(self, places: tuple[Places, ...], caller: str) -> None:
        self._places = places
        self._caller = caller
        self._entered = 0

    @property
    def at_once(self) -> bool:
        """Whether nothing would have to be waited for."""
        return all(one.free for one in self._places)

    async def __aenter__(self) -> None:
        try:
            for one in self._places:
                await one.enter(self._caller)
                self._entered += 1
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        for one in self._places[: self._entered]:
            one.leave()
        self._entered = 0
