"""One script in one process of full CPython."""

from __future__ import annotations

import asyncio
import codecs
import json
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from ccos.engine.cpython.frames import (
    MAXIMUM_BYTES,
    Called,
    Frame,
    FrameReader,
    Idle,
    Ready,
    Rejected,
    Result,
    Threw,
    WorkerProtocolError,
    framed,
)
from ccos.engine.cpython.process import Ended, Printed, Said, ScriptProcess
from ccos.engine.cpython.reading import rejection
from ccos.engine.hosts import Effect, HostFunction, HostFunctionError, bound
from ccos.engine.languages import (
    UNMEASURED,
    Compiled,
    Entry,
    Finished,
    HostCall,
    Measured,
    Raised,
    SessionRequest,
    Settled,
    Stop,
    Value,
    Waiting,
)
from ccos.errors import (
    IsolationError,
    ResourceExceededError,
    ScriptCancelledError,
    ScriptError,
    ScriptRaisedError,
    SecurityViolationError,
)

_PENDING_LIMIT: Final = 10_000
_WORDS_LIMIT: Final = 2000
_PEAK: Final = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
"""The most physical memory that a process held; see proc_pid_status(5)."""


class CPythonSession:
    """A script and its process, which is started by :meth:`start`.

    A turn, from one stop to the next, runs in a thread, where the host is asked as well.

    Args:
        compiled: The script.
        request: Its limits and its host.
        start_process: Starts a process for it.
        threads: Where turns run; as many as there are sessions.
    """

    def __init__(
        self,
        compiled: Compiled,
        request: SessionRequest,
        start_process: Callable[[], ScriptProcess],
        threads: ThreadPoolExecutor,
    ) -> None:
        self._compiled = compiled
        self._request = request
        self._start_process = start_process
        self._threads = threads
        self._starting = threading.Lock()
        self._closing = threading.Lock()
        self._process: ScriptProcess | None = None
        self._killed = False
        self._closed = False
        self._turn: asyncio.Future[Stop] | None = None
        self._worker_id: int | None = None
        self._reader = FrameReader()
        self._decoders = {
            stream: codecs.getincrementaldecoder("utf-8")("replace")
            for stream in ("stdout", "stderr")
        }
        self._calls = 0
        self._answered = 0
        self._new: list[HostCall] = []
        self._pending: set[int] = set()
        self.measured = UNMEASURED
        """What the process used, once the script is at its end."""

    @property
    def worker_id(self) -> int | None:
        """Process id of the script's first process; None before it runs and after its end."""
        return self._worker_id

    def at_once(self, entry: Entry) -> None:
        """Nothing; see :class:`ccos.engine.languages.Session`."""

    async def start(self, entry: Entry) -> Stop:
        """Run from the beginning to the first stop; see :class:`ccos.engine.languages.Session`.

        Raises:
            CompilationError: if the compiler refuses the text.
            ScriptRaisedError: if the script raises, or ends its process before it has a value.
            ResourceExceededError: if it uses more than it may, dies of a signal, or interferes
                with its worker.
            ScriptCancelledError: if it was killed through :meth:`kill`.
        """
        return await self._in_turn(lambda: self._start(entry))

    async def deliver(self, settled: Mapping[int, Settled]) -> Stop:
        """Settle some pending calls; see :class:`ccos.engine.languages.Session`.

        Raises:
            ScriptError: as :meth:`start`.
        """
        return await self._in_turn(lambda: self._deliver(settled))

    def kill(self) -> None:
        """End the script and everything it started at once, whatever they do."""
        with self._starting:
            self._killed = True
            if self._process is not None and not self._closed:
                self._process.terminate()

    async def close(self) -> None:
        """Leave nothing of the script: no process, no file, no thread. May be repeated."""
        self.kill()
        if self._turn is not None:
            await asyncio.wait([self._turn])
            self._turn.exception()  # it counts as seen now
        await asyncio.wrap_future(self._threads.submit(self._close))

    def _close(self) -> None:
        with self._closing:
            with self._starting:
                process = None if self._closed else self._process
                self._closed = True
            if process is not None:
                process.close()
        self._worker_id = None

    async def _in_turn(self, function: Callable[[], Stop]) -> Stop:
        self._turn = asyncio.wrap_future(self._threads.submit(function))
        # A wait that is cancelled does not cancel the turn: whoever closes waits for its end.
        await asyncio.wait([self._turn])
        return self._turn.result()

    def _start(self, entry: Entry) -> Stop:
        self._request.host.step()
        order = self._order(entry)
        with self._starting:
            if self._killed:
                raise self._cancelled()
            try:
                self._process = self._start_process()
            except OSError as error:
                raise ResourceExceededError(
                    f"No process can be started for {self._compiled.name}: {error.strerror}.",
                    details={"limit": "processes"},
                ) from error
        self._heard = self._hear(self._process)
        self._process.write(order)
        return self._run()

    def _order(self, entry: Entry) -> bytes:
        request = self._request
        data = json.dumps(
            {
                "name": self._compiled.name,
                "source": self._compiled.source,
                "function": entry.function,
                "arguments": dict(entry.arguments),
                "functions": [_described(one) for one in request.functions.values()],
                "memory_bytes": request.memory_bytes,
                "cpu_seconds": request.cpu_seconds,
                "maximum_bytes": MAXIMUM_BYTES,
            },
            allow_nan=False,
        ).encode()
        if len(data) > 2 * MAXIMUM_BYTES:
            raise ResourceExceededError(
                f"{self._compiled.name} and its arguments have {len(data)} bytes as JSON; at most "
                f"{2 * MAXIMUM_BYTES} reach a script.",
                details={"limit": "arguments", "allowed": 2 * MAXIMUM_BYTES},
            )
        return framed(data)

    def _deliver(self, settled: Mapping[int, Settled]) -> Stop:
        self._request.host.step()
        for number, one in settled.items():
            self._pending.remove(number)
            self._answer(number, one)
        return self._run()

    def _run(self) -> Stop:
        """Take what the process says and prints, to the next stop."""
        while True:
            match next(self._heard):
                case Printed(stream=stream, data=data):
                    self._print(stream, self._decoders[stream].decode(data))
                case Ended(status=status):
                    self._end_output()
                    raise self._failure(status)
                case frame:
                    stop = self._take(frame)
                    if stop is not None:
                        return stop

    def _hear(self, process: ScriptProcess) -> Iterator[Frame | Printed | Ended]:
        """What happens, in order. Threads of a script go on at a stop, so some may be left then."""
        while True:
            for happening in process.happenings():
                match happening:
                    case Said(data=data):
                        yield from self._reader.feed(data)
                    case _:
                        yield happening

    def _take(self, frame: Frame) -> Stop | None:
        if isinstance(frame, Ready) != (self._worker_id is None):
            raise WorkerProtocolError("a frame out of turn")
        match frame:
            case Ready(process=process):
                self._worker_id = process
            case Called():
                self._call(frame)
            case Idle(seen=seen) if seen < self._answered:
                pass  # an answer is on its way
            case Idle(seen=seen):
                if seen > self._answered or not self._pending:
                    raise WorkerProtocolError("it waits for nothing")
                calls, self._new = tuple(self._new), []
                return Waiting(calls, frozenset(self._pending))
            case Result(value=value):
                self.measured = self._measured()
                self._end_output()
                return Finished(value)
            case Rejected(message=message, line=line, column=column):
                raise rejection(self._compiled.name, message, line, column)
            case Threw():
                self.measured = self._measured()
                self._end_output()
                raise self._raised(frame)
        return None

    def _measured(self) -> Measured:
        """What the kernel says of the process, which waits for its end."""
        try:
            status = Path(f"/proc/{self._worker_id}/status").read_text()
        except OSError:
            return UNMEASURED
        peak = _PEAK.search(status)
        return Measured(memory_peak_bytes=int(peak[1]) * 1024) if peak else UNMEASURED

    def _call(self, frame: Called) -> None:
        if frame.number != self._calls:
            raise WorkerProtocolError("a call out of turn")
        self._calls += 1
        function = self._request.functions.get(frame.target)
        if function is None:
            raise SecurityViolationError(
                f"{self._compiled.name} called {frame.target[:100]!a}, which does not exist at "
                f"level {self._request.policy.name}.",
                details={
                    "module": frame.target[:100],
                    "level": self._request.policy.name,
                    "line": frame.line,
                    "violation": "module",
                },
            )
        if len(self._pending) >= _PENDING_LIMIT:
            raise ResourceExceededError(
                f"More than {_PENDING_LIMIT} calls of {self._compiled.name} wait at once.",
                details={"limit": "pending_calls", "allowed": _PENDING_LIMIT},
            )
        try:
            arguments = bound(function, (), frame.arguments)
        except HostFunctionError as error:
            self._answer(frame.number, Raised(str(error)))
            return
        call = HostCall(frame.number, frame.target, arguments, frame.line)
        answer = self._request.host.answer(call)
        if answer is None:
            self._new.append(call)
            self._pending.add(call.sequence)
        else:
            self._answer(call.sequence, answer)

    def _answer(self, number: int, settled: Settled) -> None:
        assert self._process is not None
        match settled:
            case Value(data=data):
                frame = json.dumps({"number": number, "value": data}, allow_nan=False).encode()
                if len(frame) > MAXIMUM_BYTES:
                    self._answer(number, Raised(_too_large(len(frame))))
                    return
            case Raised(message=message):
                frame = json.dumps({"number": number, "error": message}).encode()
        self._answered += 1
        self._process.write(framed(frame))

    def _print(self, stream: str, text: str) -> None:
        if text:
            self._request.host.printed(stream, text)

    def _end_output(self) -> None:
        """Print what may be left of a character that was cut off."""
        for stream, decoder in self._decoders.items():
            self._print(stream, decoder.decode(b"", final=True))

    def _raised(self, threw: Threw) -> ScriptError:
        name = self._compiled.name
        where = f"{name}, line {threw.line}" if threw.line else name
        words = f"{where}: {threw.type}: {threw.message}"[:_WORDS_LIMIT]
        if threw.type == "MemoryError" and self._request.memory_bytes is not None:
            return ResourceExceededError(
                f"{where}: it used more than {self._request.memory_bytes} bytes of memory.",
                details={"limit": "memory", "allowed": self._request.memory_bytes},
            )
        return ScriptRaisedError(
            words,
            details={
                "type": threw.type,
                "line": threw.line,
                "column": threw.column,
                "traceback": threw.traceback,
            },
        )

    def _failure(self, status: int | None) -> ScriptError:
        """Why the script has no value although its process is gone."""
        name = self._compiled.name
        if self._killed:
            return self._cancelled()
        if status is None:
            return WorkerProtocolError("it closed its pipe")
        if self._worker_id is None:
            return IsolationError(f"The worker of {name} ended before it could begin.")
        if status >= 0:
            return ScriptRaisedError(
                f"{name} ended its process with status {status} before it had a value.",
                details={"status": status},
            )
        died_of = signal.Signals(-status).name if -status in _SIGNALS else f"signal {-status}"
        if -status == signal.SIGXCPU:
            return ResourceExceededError(
                f"{name} computed for more than {self._request.cpu_seconds} s.",
                details={"limit": "cpu", "signal": died_of},
            )
        return ResourceExceededError(
            f"The process of {name} died of {died_of}.",
            details={"limit": "worker", "signal": died_of},
        )

    def _cancelled(self) -> ScriptError:
        return ScriptCancelledError(f"{self._compiled.name} was stopped.")


_SIGNALS: Final = frozenset(int(one) for one in signal.Signals)


def _described(function: HostFunction) -> dict[str, Any]:
    return {
        "module": function.module,
        "name": function.name,
        "parameters": [parameter.name for parameter in function.parameters],
        "pure": function.effect is Effect.PURE,
        "summary": function.summary,
    }


def _too_large(size: int) -> str:
    return f"The answer has {size} bytes as JSON; at most {MAXIMUM_BYTES} reach a script."
