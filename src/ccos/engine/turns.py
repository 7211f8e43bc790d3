"""Turns of scripts: calls that block, made in threads for whoever awaits them.

Most turns are so short that they would mostly consist of being handed over. So two threads serve
all of them, one while the other waits: more would only fight for the interpreter. The event loop is
woken once for all turns that came to their end meanwhile. A thread whose turn turns out to be long
is replaced by another one, so that long turns run side by side.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

_SERVING: Final = 2
"""Threads that take the turns as they come."""
_PATIENCE_SECONDS: Final = 0.001


class Turn:
    """One call in a thread."""

    __slots__ = ("_arrivals", "_error", "_value", "_waiting", "_work", "future", "over")

    def __init__(self, work: Callable[[], Any], arrivals: _Arrivals) -> None:
        self.future: asyncio.Future[Any] = arrivals.loop.create_future()
        """Gives its value, or raises what it raised. Cancelling this does not stop the turn."""
        self.over = False
        """Whether the thread is done with it."""
        self._work = work
        self._arrivals = arrivals
        self._value: Any = None
        self._error: BaseException | None = None
        self._waiting: asyncio.Future[None] | None = None

    async def end(self) -> None:
        """Wait until the thread is done with it, whatever came of it."""
        if not self.over:
            if self._waiting is None:
                self._waiting = self._arrivals.loop.create_future()
            await asyncio.shield(self._waiting)

    def take(self) -> None:
        """Make the call. In the thread."""
        try:
            self._value = self._work()
        except BaseException as error:  # it is raised again where the turn is awaited
            self._error = error
        self.over = True
        self._arrivals.add(self)

    def settle(self) -> None:
        """Let those who wait go on. On the event loop."""
        if not self.future.done():
            if self._error is None:
                self.future.set_result(self._value)
            else:
                self.future.set_exception(self._error)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class Turns:
    """Threads for turns; they are started when they are first needed.

    Args:
        threads: Most turns at once; further ones wait.
        name: Of the threads.
        patience_seconds: How long others wait for a turn before another thread serves them.
    """

    def __init__(
        self, threads: int, *, name: str, patience_seconds: float = _PATIENCE_SECONDS
    ) -> None:
        self._most = threads
        self._name = name
        self._patience_seconds = patience_seconds
        self._queue: queue.SimpleQueue[Turn | None] = queue.SimpleQueue()
        self._servers: list[_Server] = []
        self._serving: list[_Server] = []
        self._resting: list[_Server] = []
        self._changing = threading.Lock()
        self._stopped = False
        self._arrivals: dict[asyncio.AbstractEventLoop, _Arrivals] = {}

    def begin(self, work: Callable[[], Any]) -> Turn:
        """Have ``work`` called in a thread. Called on an event loop.

        What it raises is raised where the ``future`` of the turn is awaited.
        """
        arrivals = self._arrivals_of(asyncio.get_running_loop())
        turn = Turn(work, arrivals)
        self._queue.put(turn)
        if len(self._serving) < _SERVING:
            self.look_after_waiting()
        arrivals.expect()
        return turn

    def stop(self) -> None:
        """Take the turns that were begun to their end, and no more. Blocks."""
        with self._changing:
            self._stopped = True
            servers = list(self._servers)
        self._queue.put(None)
        for server in servers:
            server.call()
        for server in servers:
            server.thread.join()

    def look_after_waiting(self) -> None:
        """Let another thread serve if turns wait and too few serve. From any thread."""
        if self._queue.empty():
            return
        with self._changing:
            if self._stopped or not self._has_opening():
                return
            if self._resting:
                self._serving.append(self._resting.pop())
                self._serving[-1].call()
            elif len(self._servers) < self._most:
                server = _Server(self._serve, f"{self._name}-{len(self._servers)}")
                self._servers.append(server)
                self._serving.append(server)
                server.thread.start()

    def _has_opening(self) -> bool:
        """Whether fewer serve than should; one that takes long does not serve any more."""
        if len(self._serving) == _SERVING:
            patience = self._patience_seconds
            self._serving = [one for one in self._serving if not one.is_at_it_for(patience)]
        return len(self._serving) < _SERVING

    def _serve(self, server: _Server) -> None:
        while (turn := self._queue.get()) is not None:
            server.since = time.monotonic()
            turn.take()
            server.since = None
            del turn  # or it, and all it refers to, would live until the next one
            if server not in self._serving:
                self._rest(server)
        self._queue.put(None)  # for the next one that looks

    def _rest(self, server: _Server) -> None:
        """Wait to be called, unless there is need for it at once."""
        with self._changing:
            if self._stopped or server in self._serving:
                return
            if self._has_opening():
                self._serving.append(server)
                return
            self._resting.append(server)
        server.wait()

    def _arrivals_of(self, loop: asyncio.AbstractEventLoop) -> _Arrivals:
        arrivals = self._arrivals.get(loop)
        if arrivals is None:
            for ended in [one for one in self._arrivals if one.is_closed()]:
                del self._arrivals[ended]
            arrivals = self._arrivals[loop] = _Arrivals(
                loop, self.look_after_waiting, self._patience_seconds
            )
        return arrivals


class _Server:
    """A thread that serves turns, or rests."""

    __slots__ = ("_calls", "since", "thread")

    def __init__(self, serve: Callable[[_Server], None], name: str) -> None:
        self.since: float | None = None
        """When its present turn began; None between two turns."""
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=serve, args=(self,), name=name, daemon=True)

    def is_at_it_for(self, seconds: float) -> bool:
        """Whether its present turn takes so long already."""
        since = self.since
        return since is not None and time.monotonic() - since >= seconds

    def call(self) -> None:
        """End its rest, or the next one."""
        self._calls.put(None)

    def wait(self) -> None:
        """Rest until it is called."""
        self._calls.get()


class _Arrivals:
    """The turns of one event loop: those it waits for, and the ends it has not heard of yet."""

    __slots__ = ("_ended", "_expected", "_look", "_pause_seconds", "_told", "_watching", "loop")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, look: Callable[[], None], pause_seconds: float
    ) -> None:
        self.loop: Final = loop
        self._look = look
        self._pause_seconds = pause_seconds
        self._ended: deque[Turn] = deque()
        self._expected = 0
        self._told = False
        self._watching = False

    def expect(self) -> None:
        """Look after the turns from time to time until all are over. On the loop."""
        self._expected += 1
        if not self._watching:
            self._watching = True
            self.loop.call_later(self._pause_seconds, self._watch)

    def add(self, turn: Turn) -> None:
        """Tell the event loop of an end, unless it is about to look anyway. From any thread."""
        self._ended.append(turn)
        if not self._told:
            self._told = True
            with contextlib.suppress(RuntimeError):  # the loop is gone, and who waited with it
                self.loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        self._told = False  # before the first is taken, so that none is overlooked
        while self._ended:
            self._expected -= 1
            self._ended.popleft().settle()

    def _watch(self) -> None:
        self._watching = self._expected > 0
        if self._watching:
            self._look()
            self.loop.call_later(self._pause_seconds, self._watch)
