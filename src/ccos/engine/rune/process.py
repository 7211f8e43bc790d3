"""The process of a Rune worker, and the pipes to it."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from pathlib import Path
from typing import Final

from ccos.engine.rune.frames import FrameReader, Message
from ccos.errors import ResourceExceededError

_READ_BYTES: Final = 65536
_WORDS_BYTES: Final = 2000


class WorkerEndedError(ResourceExceededError):
    """A worker is gone; ``details['limit']`` is ``worker``, ``words`` what it said at its end."""

    def __init__(self, status: int, words: str) -> None:
        how = f"signal {-status}" if status < 0 else f"status {status}"
        super().__init__(
            f"The Rune worker died ({how}).", details={"limit": "worker", "status": status}
        )
        self.status = status
        self.words = words


class WorkerProcess:
    """A worker and its pipes. One thread at a time uses it; any may call :meth:`kill`.

    Args:
        program: The worker, or what starts it in a jail.

    Raises:
        OSError: if it cannot be started.
    """

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - the program is our own
            [program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd="/",
            env={},
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._files = (self._process.stdin, self._process.stdout, self._process.stderr)
        self._orders, self._words, self._errors = (file.fileno() for file in self._files)
        for descriptor in (self._orders, self._words, self._errors):
            os.set_blocking(descriptor, False)
        self._writable, self._readable = select.poll(), select.poll()
        self._writable.register(self._orders, select.POLLOUT)
        self._readable.register(self._words, select.POLLIN)
        self._reader = FrameReader()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def send(self, data: bytes, seconds: float | None) -> None:
        """Write all of ``data``.

        Raises:
            TimeoutError: if that takes longer than ``seconds``; None waits for any time.
            WorkerEndedError: if nobody reads it any more.
        """
        deadline = _deadline(seconds)
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._orders, rest) :]
            except BlockingIOError:
                _wait(self._writable, deadline)
            except BrokenPipeError:
                raise self._ended() from None

    def receive(self, seconds: float | None) -> Message:
        """The next message.

        Raises:
            TimeoutError: if it does not come within ``seconds``; None waits for any time.
            WorkerEndedError: if the worker ends before.
            WorkerProtocolError: if it is none.
        """
        deadline = _deadline(seconds)
        while (message := self._reader.next()) is None:
            _wait(self._readable, deadline)
            data = os.read(self._words, _READ_BYTES)
            if not data:
                raise self._ended()
            self._reader.feed(data)
        return message

    def kill(self) -> None:
        """End it at once, whatever it does."""
        self._process.kill()

    def close(self) -> None:
        """Kill it if it lives, and leave nothing of it. Blocks for a moment."""
        self.kill()
        self._process.wait()
        for file in self._files:
            with contextlib.suppress(OSError):
                file.close()

    def _ended(self) -> WorkerEndedError:
        """Why it is gone. One that only closed its pipe is killed."""
        self.kill()
        status = self._process.wait()
        words = b""
        with contextlib.suppress(BlockingIOError):
            words = os.read(self._errors, _WORDS_BYTES)
        return WorkerEndedError(status, words.decode(errors="replace").strip())


def _deadline(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds


def _wait(poll: select.poll, deadline: float | None) -> None:
    left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
    if not poll.poll(left):
        raise TimeoutError
