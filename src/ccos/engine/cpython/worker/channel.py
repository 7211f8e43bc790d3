"""The script's end of the pipes to its host: frames of JSON, each after its length.

A frame is its length in bytes, 4 bytes with the highest first, and an object in JSON. Calls are
numbered from 0. After a call, and whenever all tasks wait, the host is told how many answers were
seen, so that it can tell a script that waits from one that has an answer on the way.
"""

from __future__ import annotations

import json
import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

_READ_BYTES = 65536
_LENGTH_BYTES = 4

Answer = dict[str, Any]


class Channel:
    """Both pipes. Any thread of the script may use it, but no other process."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading = reading
        self._writing = writing
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._buffer = bytearray()
        self._sent = 0
        self._seen = 0
        self._told = (0, 0)
        self._waiters: dict[int, Callable[[Answer], object]] = {}
        self._awaiting: dict[int, int] = {}
        """How many calls the loop of each thread awaits."""
        self._open = True
        self.maximum_bytes = _READ_BYTES
        """Most bytes of a frame; the host says how many."""
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)

    def receive(self) -> dict[str, Any]:
        """The next frame, waiting for it.

        Raises:
            EOFError: if the host is gone.
        """
        while (frame := self._next_frame()) is None:
            select.select([self._reading], [], [])
            self._read()
        return frame

    def send(self, frame: dict[str, Any]) -> None:
        """Send a frame, reading meanwhile what comes, so that neither side blocks the other.

        Raises:
            ValueError: if it is too large.
        """
        with self._lock:
            self._write(self._encoded(frame))

    def call(self, target: str, arguments: dict[str, Any], line: int) -> Any:
        """Call the host and wait for its answer, and nothing else meanwhile.

        Raises:
            RuntimeError: with the words of the host, if the call fails.
        """
        answers: list[Answer] = []
        with self._lock:
            self._post(target, arguments, line, answers.append)
            self._tell_waiting()
            while not answers:
                self._dispatch(self.receive())
            self._dispatch_rest()
            if self._waiters and self._awaiting.keys() - {threading.get_ident()}:
                # Their loop may have said that it waits while this answer was still on its way.
                self._tell_waiting()
        return _value(answers[0])

    async def call_async(self, target: str, arguments: dict[str, Any], line: int) -> Any:
        """Call the host; other tasks go on meanwhile.

        Raises:
            RuntimeError: as :meth:`call`.
        """
        import asyncio

        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()

        def settle(answer: Answer) -> None:
            loop.call_soon_threadsafe(_settle, future, answer)

        with self._lock:
            number = self._post(target, arguments, line, settle)
            self._dispatch_rest()
        loop.add_reader(self._reading, self._readable, loop)
        if not hasattr(loop, "tells_when_idle"):
            loop.call_soon(self.idle)
        thread = threading.get_ident()
        self._awaiting[thread] = self._awaiting.get(thread, 0) + 1
        try:
            return _value(await future)
        finally:
            self._waiters.pop(number, None)
            self._awaiting[thread] -= 1
            if not self._awaiting[thread]:
                del self._awaiting[thread]

    def idle(self) -> None:
        """Tell the host, if anybody waits for it and it does not know yet."""
        with self._lock:
            if self._waiters and self._told != (self._sent, self._seen):
                self._tell_waiting()
                self._dispatch_rest()

    def _post(
        self,
        target: str,
        arguments: dict[str, Any],
        line: int,
        waiter: Callable[[Answer], object],
    ) -> int:
        if os.getpid() != self._process:
            raise RuntimeError("Only the first process of a script can call the host.")
        number = self._sent
        frame = {
            "kind": "call",
            "number": number,
            "target": target,
            "arguments": arguments,
            "line": line,
        }
        data = self._encoded(frame)
        self._sent += 1
        self._waiters[number] = waiter
        self._write(data)
        return number

    def _tell_waiting(self) -> None:
        self._told = (self._sent, self._seen)
        self._write(self._encoded({"kind": "waiting", "seen": self._seen}))

    def _readable(self, loop: asyncio.AbstractEventLoop) -> None:
        # A thread that holds the lock reads for everybody.
        if self._lock.acquire(blocking=False):
            try:
                self._read()
                self._dispatch_rest()
            except EOFError:
                loop.remove_reader(self._reading)
                self._fail_all()
            finally:
                self._lock.release()
            if not hasattr(loop, "tells_when_idle"):
                loop.call_soon(self.idle)

    def _fail_all(self) -> None:
        for number in list(self._waiters):
            self._waiters.pop(number)({"error": "The host is gone."})

    def _dispatch(self, frame: dict[str, Any]) -> None:
        self._seen += 1
        waiter = self._waiters.pop(frame["number"], None)
        if waiter is not None:
            waiter(frame)

    def _dispatch_rest(self) -> None:
        """Hand out the answers that were read with others; nothing tells of them any more."""
        while (frame := self._next_frame()) is not None:
            self._dispatch(frame)

    def _next_frame(self) -> dict[str, Any] | None:
        if len(self._buffer) < _LENGTH_BYTES:
            return None
        end = _LENGTH_BYTES + int.from_bytes(self._buffer[:_LENGTH_BYTES], "big")
        if len(self._buffer) < end:
            return None
        frame: dict[str, Any] = json.loads(self._buffer[_LENGTH_BYTES:end])
        del self._buffer[:end]
        return frame

    def _read(self) -> None:
        try:
            data = os.read(self._reading, _READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._open = False
            raise EOFError("The host is gone.")
        self._buffer += data

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._writing, left) :]
            except BlockingIOError:
                readers = [self._reading] if self._open else []
                readable, _, _ = select.select(readers, [self._writing], [])
                if readable:
                    with suppress(EOFError):
                        self._read()

    def _encoded(self, frame: dict[str, Any]) -> bytes:
        data = json.dumps(frame, allow_nan=False).encode()
        if len(data) > self.maximum_bytes:
            raise ValueError(f"it has {len(data)} bytes as JSON; at most {self.maximum_bytes} pass")
        return len(data).to_bytes(_LENGTH_BYTES, "big") + data


def _settle(future: asyncio.Future[Answer], answer: Answer) -> None:
    if not future.done():
        future.set_result(answer)


def _value(answer: Answer) -> Any:
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer["value"]
