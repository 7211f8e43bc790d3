"""One Rune script in one worker.

A session stops whenever all of the script's tasks wait for the host, says which calls were made
since, and goes on when some of them are settled. Between two stops a script is a pure function of
its seed and of what it was answered: it has no clock and no random numbers of its own.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ccos.capabilities import canonical_id
from ccos.engine.hosts import HostFunctionError, bound
from ccos.engine.languages import (
    UNMEASURED,
    Entry,
    Finished,
    HostCall,
    Measured,
    Raised,
    SessionRequest,
    Settled,
    Stop,
    Waiting,
)
from ccos.engine.python import SLEEP
from ccos.engine.python.quick import TRY_SECONDS, QuickPrograms
from ccos.engine.rune.client import (
    ANSWER_BYTES,
    Accepted,
    CallLimits,
    Declared,
    RuneWorker,
    encoded_answer,
)
from ccos.engine.rune.frames import Message, WorkerProtocolError
from ccos.engine.rune.naming import CALL, full_name, path
from ccos.engine.rune.process import WorkerEndedError
from ccos.engine.snapshots import SnapshotSeal, UnusableSnapshotError
from ccos.engine.turns import Turn, Turns
from ccos.engine.values import json_data
from ccos.errors import (
    CapabilityError,
    CompilationError,
    ConfigurationError,
    ResourceExceededError,
    ScriptCancelledError,
    ScriptError,
    ScriptRaisedError,
)

INSTRUCTIONS_PER_SECOND: Final = 200_000_000
"""Instructions that a script may use for each second of computing. It ends an endless loop at the
same place on every machine that is fast enough, and leaves its worker usable."""

_PIPE_BYTES: Final = 65_536
"""So much can be written to an empty pipe without waiting for its reader; see pipe(7)."""
_MESSAGE_LIMIT: Final = 2_000
_TRACE_LIMIT: Final = 100
_PENDING_LIMIT: Final = 10_000
_MAIN: Final = "main"
_TOOL: Final = "call"


@dataclass(frozen=True, slots=True)
class Program:
    """What a session runs.

    Attributes:
        source: Rune text.
        name: What people call it, for messages.
        unit: The name that workers have for what they make of it.
        functions: Parameters by path.
        declared: The host functions that exist for it.
    """

    source: str
    name: str
    unit: str
    functions: Mapping[str, tuple[str, ...]]
    declared: Declared

    def with_entry(self, entry: Entry) -> tuple[str, dict[str, Any] | list[Any]]:
        """The function to call, and its arguments by name or in order.

        A text of Rune has nothing to run from top to bottom: without a function it is ``main``,
        with the arguments by name, or ``call`` of a tool, which gets them as one object.

        Raises:
            ScriptRaisedError: if there is no such function.
        """
        arguments = dict(entry.arguments)
        if entry.function is not None:
            if entry.function not in self.functions:
                raise self._lacks(f"no function {entry.function[:100]!a}")
            return entry.function, arguments
        if _MAIN in self.functions:
            return _MAIN, arguments
        if len(self.functions.get(_TOOL, ())) == 1:
            return _TOOL, [arguments]
        raise self._lacks("neither a function main nor a function call(args)")

    def _lacks(self, what: str) -> ScriptRaisedError:
        return ScriptRaisedError(
            f"{self.name} has {what}.",
            next_step="Name one of its functions.",
            details={"functions": sorted(self.functions)},
        )


@dataclass(frozen=True, slots=True)
class _Call:
    """A function and its arguments, by name or in order."""

    function: str
    arguments: Any


@dataclass(frozen=True, slots=True)
class Quickly:
    """How quick programs are run.

    Attributes:
        programs: What was seen of programs.
        take_idle: Gives a worker that runs and that nobody uses; None if there is none.
    """

    programs: QuickPrograms
    take_idle: Callable[[], RuneWorker | None]


class RuneSession:
    """One Rune script in one worker.

    A turn, from one stop to the next, runs in a thread, where the host is asked as well. The first
    moment of a program that is known to be quick is awaited where it is.

    Args:
        take: Gives a worker; called in a thread.
        give_back: Takes it, and whether it is good for others.
        program: The script.
        request: Its limits and its host.
        turns: Where turns run.
        quick: How quick programs are run.
    """

    def __init__(
        self,
        take: Callable[[], RuneWorker],
        give_back: Callable[[RuneWorker, bool], None],
        program: Program,
        request: SessionRequest,
        turns: Turns,
        quick: Quickly,
    ) -> None:
        self._take = take
        self._give_back = give_back
        self._program = program
        self._request = request
        self._turns = turns
        self._quick = quick
        self._turn: Turn | None = None
        self._lock = threading.Lock()
        self._worker: RuneWorker | None = None
        self._killed = False
        self._waits = False
        """Whether the worker waits for answers, and can be told that none will come."""
        self._going_on: Callable[[], Stop] | None = None
        """What is to be done for a call that was not over at once."""
        self._heard: Message | None = None
        """What the worker said and nobody dealt with yet."""
        self._silent = True
        """Whether the script neither asked the host for anything nor said anything."""
        self._ended = False
        """Whether the script came to an end that leaves its worker as it was."""
        self._left = request.cpu_seconds
        self._sequence = 0
        self._calls: list[HostCall] = []
        self._pending: frozenset[int] = frozenset()
        self._ready: deque[bytes] = deque()
        """Answers that the worker did not get yet."""
        self.measured = UNMEASURED
        """What the worker measured, once the script is at its end."""

    @property
    def worker_id(self) -> int | None:
        """Process id of the worker; None while there is none."""
        worker = self._worker
        return None if worker is None else worker.pid

    def at_once(self, entry: Entry) -> Finished | None:
        """Run a program that is known to be quick; see :class:`ccos.engine.languages.Session`.

        One that turns out to take longer goes on from there.
        """
        quick = self._quick
        worker = quick.take_idle() if quick.programs.may_be_tried(self._key) else None
        if worker is None:
            return None
        call = self._prepared(entry)
        data = self._entered(call, worker)
        if len(data) > _PIPE_BYTES:
            self._going_on = lambda: self._begin_and_run(data, call)
            return None
        if not self._is_over_at_once(data):
            self._going_on = lambda: self._run(call)
            quick.programs.failed(self._key)
            return None
        stop = self._run(call)
        assert isinstance(stop, Finished)
        return stop

    async def start(self, entry: Entry) -> Stop:
        """Run from the beginning to the first stop; see :class:`ccos.engine.languages.Session`."""
        return await self._in_turn(self._going_on or (lambda: self._start(entry)))

    async def deliver(self, settled: Mapping[int, Settled]) -> Stop:
        """Settle some pending calls; see :class:`ccos.engine.languages.Session`."""
        return await self._in_turn(lambda: self._deliver(settled))

    def kill(self) -> None:
        """End the worker at once, or as soon as there is one."""
        with self._lock:
            self._killed = True
            if self._worker is not None:
                self._worker.kill()

    def dump(self, _seal: SnapshotSeal, *, printed: str) -> None:
        """Nothing: a virtual machine of Rune cannot be written down. It is run again instead."""

    def restore(self, _blob: bytes, _seal: SnapshotSeal) -> Waiting:
        """Refuse what is no snapshot of a Rune script, since there are none.

        Raises:
            UnusableSnapshotError: always.
        """
        raise UnusableSnapshotError("scripts in Rune have no snapshots")

    async def close(self) -> None:
        """Give the worker back; one whose script computes is killed."""
        if self._turn is not None and not self._turn.over:
            self.kill()
            await self._turn.end()
        if self._worker is not None:
            await self._turns.begin(self._abandon).future

    async def _in_turn(self, work: Callable[[], Stop]) -> Stop:
        self._turn = self._turns.begin(work)
        stop: Stop = await self._turn.future
        return stop

    @property
    def _key(self) -> tuple[str, int | None]:
        return self._program.unit, self._request.memory_bytes

    def _start(self, entry: Entry) -> Stop:
        call = self._prepared(entry)
        stop = self._run_from_start(call, self._take())
        seconds = self.measured.compute_seconds
        if self._silent and seconds is not None:
            self._quick.programs.saw(self._key, seconds)
        return stop

    def _prepared(self, entry: Entry) -> _Call:
        """Count the first step, and find out what to call."""
        self._request.host.step()
        function, arguments = self._program.with_entry(entry)
        try:
            return _Call(function, json_data(arguments))
        except TypeError as error:
            raise ScriptRaisedError(f"The arguments are no JSON data: {error}") from error

    def _run_from_start(self, call: _Call, worker: RuneWorker) -> Stop:
        return self._begin_and_run(self._entered(call, worker), call)

    def _entered(self, call: _Call, worker: RuneWorker) -> bytes:
        """What begins the call in this worker."""
        with self._lock:
            self._worker = worker
            if self._killed:
                worker.kill()
        try:
            return self._encoded(self._program.unit, call)
        finally:
            self._leave_ended()

    def _begin_and_run(self, data: bytes, call: _Call) -> Stop:
        self._begin(data)
        return self._run(call)

    def _is_over_at_once(self, data: bytes) -> bool:
        """Begin a call, on this thread; whether it is over within a moment, and asked nothing.

        If not, it goes on in another thread.
        """
        self._begin(data)
        begun = time.monotonic()
        try:
            self._heard = self._the_worker.event(TRY_SECONDS)
        except TimeoutError:
            return False
        except WorkerEndedError as error:
            raise self._died(error) from error
        finally:
            self._computed(time.monotonic() - begun)
        return self._heard.type == "result"

    def _deliver(self, settled: Mapping[int, Settled]) -> Stop:
        self._request.host.step()
        # A call whose future the script dropped is settled for nobody.
        for number in sorted(self._pending & settled.keys()):
            self._ready.append(encoded_answer(number, settled[number]))
        if not self._ready:
            return Waiting((), self._pending)
        self._waits = False
        self._send_ready()
        return self._run()

    def _leave_ended(self) -> None:
        if self._ended:
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            worker, self._worker = self._worker, None
            healthy = self._ended and not self._killed
        if worker is not None:
            self._give_back(worker, healthy)

    def _abandon(self) -> None:
        """Leave, after telling a worker that waits for answers that none will come."""
        if self._waits and not self._killed:
            with contextlib.suppress(TimeoutError, ResourceExceededError):
                self._ended = self._the_worker.abandon()
        self._leave()

    def _encoded(self, unit: str, call: _Call) -> bytes:
        request = self._request
        limits = CallLimits(self._instructions, request.memory_bytes)
        try:
            return self._the_worker.encoded_call(
                unit, call.function, call.arguments, seed=request.seed, limits=limits
            )
        except ValueError as error:
            self._ended = True
            raise ResourceExceededError(
                f"The arguments of {self._program.name} are too large: {error}.",
                details={"limit": "arguments"},
            ) from error

    def _begin(self, call: bytes) -> None:
        self._timed(lambda left: self._the_worker.begin(call, left))

    def _run(self, call: _Call | None = None) -> Stop:
        """Take what the worker says, to the next stop.

        Args:
            call: What was begun just now; None when a script goes on.
        """
        try:
            return self._heard_out(call)
        finally:
            self._leave_ended()

    def _heard_out(self, call: _Call | None) -> Stop:
        while True:
            message, self._heard = self._heard, None
            if message is None:
                message = self._timed(self._the_worker.event)
            if message.type != "result":
                self._silent = False
            match message.type:
                case "print":
                    self._request.host.printed("stdout", message.text("text"))
                case "host_call":
                    self._asked(message)
                case "waiting":
                    stop = self._waiting(message)
                    if stop is not None:
                        self._waits = True
                        return stop
                case "result":
                    value = message.value("value")
                    self.measured = _measured(message)
                    self._ended = True
                    self._warn_of_unawaited(message)
                    return Finished(value)
                case "error":
                    self.measured = _measured(message)
                    self._ended = not message.flag("exits")
                    raise self._failure(message)
                case "unknown_unit" if call is not None:
                    self._begin(self._encoded(self._compiled_again(), call))
                    call = None
                case _:
                    raise WorkerProtocolError(f"{message.type[:100]!r} out of turn")

    def _warn_of_unawaited(self, message: Message) -> None:
        """Say which calls the script began and never awaited: they were not made."""
        for one in message.objects("unawaited"):
            line = one.count("line")
            where = f"{self._program.name}, line {line}" if line else self._program.name
            self._request.host.printed(
                "stderr",
                f"WARN {where}: {one.text('function')} was called without .await, so nothing "
                "came of it.\n",
            )

    def _compiled_again(self) -> str:
        """Have a worker that has never seen it, or forgot it, make the unit."""
        program = self._program
        made = self._the_worker.compile(program.source, program.name, program.declared)
        if not isinstance(made, Accepted):
            self._ended = True
            raise CompilationError(
                f"{program.name} does not compile any more.",
                details={"diagnostics": [one.as_dict() for one in made.findings]},
            )
        return made.unit

    def _waiting(self, message: Message) -> Waiting | None:
        """Every task waits; None if answers for it are at hand."""
        pending = frozenset(message.counts("pending"))
        if self._ready:
            self._send_ready()
            return None
        calls, self._calls = tuple(self._calls), []
        known = self._pending | {call.sequence for call in calls}
        if not pending or not pending <= known:
            raise WorkerProtocolError("that it waits for what it did not call")
        self._pending = pending
        return Waiting(calls, pending)

    def _send_ready(self) -> None:
        answers, size = [self._ready.popleft()], 0
        size = len(answers[0])
        while self._ready and size + len(self._ready[0]) < ANSWER_BYTES:
            answers.append(self._ready.popleft())
            size += len(answers[-1]) + 1
        self._timed(lambda left: self._the_worker.answer(answers, left))

    def _asked(self, message: Message) -> None:
        """Put a call to the host, which answers at once or lets the script wait."""
        number = message.count("id")
        if number != self._sequence:
            raise WorkerProtocolError("a call out of turn")
        self._sequence += 1
        blocking = message.flag("blocking")
        answer: Settled | None
        try:
            call = self._host_call(number, message)
        except (HostFunctionError, CapabilityError, TypeError) as error:
            answer = Raised(error.message if isinstance(error, CapabilityError) else str(error))
        else:
            answer = self._request.host.answer(call)
        if blocking:
            if answer is None:
                raise ConfigurationError(f"{call.target} cannot be waited for.")
            self._timed(
                lambda left: self._the_worker.answer([encoded_answer(number, answer)], left)
            )
        elif answer is None:
            if len(self._pending) + len(self._calls) >= _PENDING_LIMIT:
                raise ResourceExceededError(
                    f"More than {_PENDING_LIMIT} calls of {self._program.name} wait at once.",
                    details={"limit": "pending_calls", "allowed": _PENDING_LIMIT},
                )
            self._calls.append(call)
        else:
            self._ready.append(encoded_answer(number, answer))

    def _host_call(self, number: int, message: Message) -> HostCall:
        target = full_name(message.text("function"))
        arguments, line = message.object("arguments"), message.count("line")
        if target == CALL:
            capability, given = _capability_call(arguments)
            if capability in self._request.functions or capability == SLEEP:
                raise HostFunctionError(
                    f"{capability} is no capability; write {path(capability)}(…)."
                )
            return HostCall(number, capability, given, line)
        function = self._request.functions.get(target)
        if function is None:
            raise WorkerProtocolError("a call of a function that does not exist for the script")
        return HostCall(number, target, bound(function, (), arguments), line)

    @property
    def _instructions(self) -> int | None:
        seconds = self._request.cpu_seconds
        return None if seconds is None else int(seconds * INSTRUCTIONS_PER_SECOND)

    @property
    def _the_worker(self) -> RuneWorker:
        assert self._worker is not None
        return self._worker

    def _timed(self, work: Callable[[float | None], Any]) -> Any:
        """Do what waits for the worker, which computes meanwhile; only that time is counted."""
        begun = time.monotonic()
        try:
            return work(self._left)
        except TimeoutError:
            raise self._too_long() from None
        except WorkerEndedError as error:
            raise self._died(error) from error
        finally:
            self._computed(time.monotonic() - begun)

    def _computed(self, seconds: float) -> None:
        if self._left is not None:
            self._left = max(0.0, self._left - seconds)

    def _too_long(self) -> ScriptError:
        self.kill()
        return ResourceExceededError(
            f"{self._program.name} computed for more than {self._request.cpu_seconds:g} s.",
            details={"limit": "time", "allowed_seconds": self._request.cpu_seconds},
        )

    def _died(self, error: WorkerEndedError) -> ScriptError:
        if self._killed:
            return ScriptCancelledError(f"{self._program.name} was stopped.")
        return ResourceExceededError(
            f"{self._program.name}: the worker died while it ran the script "
            f"({error.message.removesuffix('.')}).",
            details=error.details,
        )

    def _failure(self, message: Message) -> ScriptError:
        kind, text = message.text("kind"), _cut(message.text("message"))
        place = message.optional_object("location")
        where = (
            {} if place is None else {"line": place.count("line"), "column": place.count("column")}
        )
        name = self._program.name
        at = f"{name}, line {where['line']}" if where else name
        limit = _LIMITS.get(kind)
        if kind == "budget":
            text = f"It computed for more than {self._instructions} instructions."
        if limit is not None:
            return ResourceExceededError(f"{at}: {text}", details={"limit": limit, **where})
        if kind == "cancelled":
            return ScriptCancelledError(f"{name} was stopped.")
        details: dict[str, Any] = {"kind": kind, **where}
        if "value" in message.fields:
            details["value"] = message.value("value")
        trace = message.objects("trace")[:_TRACE_LIMIT]
        if trace:
            details["traceback"] = "\n".join(
                f"{name}, line {one.count('line')}, in {one.text('function')}" for one in trace
            )
        return ScriptRaisedError(f"{at}: {text}", details=details)


_LIMITS: Final[Mapping[str, str]] = {
    "budget": "time",
    "deadline": "time",
    "memory": "memory",
    "output": "output",
}


def _measured(message: Message) -> Measured:
    """The statistics of a message that ends a call."""
    told = message.optional_object("statistics")
    if told is None:
        return UNMEASURED
    return Measured(
        instructions=told.optional_count("instructions"),
        memory_peak_bytes=told.count("memory_peak"),
        compute_seconds=told.count("compute_us") / 1_000_000,
    )


def _capability_call(arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    identity, given = arguments.get("id"), arguments.get("args")
    if not isinstance(identity, str):
        raise TypeError("ccos::call() takes the id of a capability as its first argument.")
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise TypeError('ccos::call() takes an object as arguments, such as #{city: "Paris"}.')
    return canonical_id(identity), given


def _cut(text: str) -> str:
    if len(text) <= _MESSAGE_LIMIT:
        return text
    return f"{text[:_MESSAGE_LIMIT]}… [{len(text)} characters]"
