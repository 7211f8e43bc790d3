"""One Python script in one Monty worker.

A session stops whenever all of the script's tasks wait for the host, says which calls were made
since, and goes on when some of them are settled. Between two stops a script is a pure function:
its clock and its randomness come from the host as well.
"""

from __future__ import annotations

import builtins
import contextlib
import hashlib
import os
import signal
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final, Protocol

import pydantic_monty as monty

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
    Value,
    Waiting,
)
from ccos.engine.plans import CALL
from ccos.engine.python.naming import full_name
from ccos.engine.python.quick import TRY_SECONDS, QuickPrograms
from ccos.engine.snapshots import SnapshotSeal, UnusableSnapshotError
from ccos.engine.turns import Turn, Turns
from ccos.engine.values import json_data
from ccos.errors import (
    CapabilityError,
    CompilationError,
    ResourceExceededError,
    ScriptError,
    ScriptRaisedError,
)

FORMAT: Final = f"monty {version('pydantic-monty')}"
SLEEP: Final = "ccos.sleep"

_MESSAGE_LIMIT: Final = 2_000
_TRACEBACK_LIMIT: Final = 10_000
_ENTROPY_LIMIT: Final = 1_000_000
_NAMESPACE: Final = uuid.UUID("6e0d1f0c-35d2-4f57-9f6b-3f7c1d1f5a10")
_NAMESPACE_CLASS: Final = uuid.uuid5(_NAMESPACE, "class")
_ARGUMENTS: Final = "__arguments__"
_BUILTINS: Final = frozenset(dir(builtins))
_CLOCKS: Final = frozenset({"time.time", "datetime.now", "date.today"})


@dataclass(frozen=True, slots=True)
class Program:
    """What a session runs.

    Attributes:
        source: Python text.
        name: What people call it, for messages.
        hash: Hash of the text; a snapshot belongs to exactly one.
        namespaces: Names of the text that stand for capabilities, such as ``weather``.
        asynchronous: Functions that have to be awaited.
        recursion: How many calls may be inside each other.
    """

    source: str
    name: str
    hash: str
    namespaces: frozenset[str] = frozenset()
    asynchronous: frozenset[str] = frozenset()
    recursion: int = 1000

    def with_entry(self, entry: Entry) -> tuple[str, dict[str, Any]]:
        """The text to feed and its variables."""
        if entry.function is None:
            return self.source, dict(entry.arguments)
        awaited = "await " if entry.function in self.asynchronous else ""
        call = f"{awaited}{entry.function}(**{_ARGUMENTS})"
        return f"{self.source}\n{call}", {_ARGUMENTS: dict(entry.arguments)}


@dataclass(slots=True)
class _Namespace:
    """Stands for the ids that begin with ``path``; a call of its attribute is a host call."""

    path: str


class Checkout(Protocol):
    """Makes sessions of the interpreter for one script."""

    def __call__(self, seconds: float | None) -> monty.MontySession:
        """A session that may compute for so many seconds."""
        ...

    def prepare(self) -> None:
        """Start the worker for :meth:`at_once`, unless it is there. Blocks."""
        ...

    def at_once(self, seconds: float) -> AbstractContextManager[monty.MontySession] | None:
        """One for the thread that does nothing but wait for it; None if it would have to start."""
        ...


@dataclass(slots=True)
class PythonSession:
    """One script in one worker."""

    _checkout: Checkout
    _program: Program
    _request: SessionRequest
    _turns: Turns
    _quick: QuickPrograms
    _session: monty.MontySession | None = None
    _snapshot: monty.SyncSnapshot | None = None
    worker_id: int | None = None
    """Process id of the worker, once there is one."""
    measured: Measured = UNMEASURED
    """Nothing: the interpreter tells nothing of what it measures."""
    _turn: Turn | None = None
    """What runs in a thread now, or ran last."""
    _ended: ScriptError | None = None
    """Why the host ended the script while it computed."""
    _killed: bool = False
    _has_printed: bool = False
    _sequence: int = 0
    _entropy_requests: int = 0
    _numbers: dict[Any, int] = field(default_factory=dict)
    """What the interpreter knows each unsettled call by, and our sequence for it."""
    _paths: dict[uuid.UUID, str] = field(default_factory=dict)
    _namespaces: dict[str, monty.ClassInstance] = field(default_factory=dict)
    """What the interpreter was given for each path; it wants the same object every time."""
    _blob: bytes = b""
    """What the session was restored from, as long as nothing was delivered to it."""
    _state: bytes = b""
    """The interpreter's part of it, not loaded yet."""

    def at_once(self, entry: Entry) -> Finished | None:
        """Run a program that is known to be quick; see :class:`ccos.engine.languages.Session`."""
        if not self._quick.may_be_tried(self._key):
            return None
        near = self._checkout.at_once(TRY_SECONDS)
        if near is None:
            return None
        finished = self._try(near, entry)
        if finished is None:
            self._quick.failed(self._key)
        return finished

    async def start(self, entry: Entry) -> Stop:
        """Run from the beginning to the first stop; see :class:`ccos.engine.languages.Session`."""
        return await self._in_turn(lambda: self._start(entry))

    @property
    def _key(self) -> tuple[str, int | None]:
        return self._program.hash, self._request.memory_bytes

    def _try(
        self, near: AbstractContextManager[monty.MontySession], entry: Entry
    ) -> Finished | None:
        """Run it on this thread for a moment; None if it needs more, or anything but time."""
        printed: list[str] = []
        text, variables = self._program.with_entry(entry)
        try:
            with near as session:
                worker_id = session.worker_pid
                end = session.feed_start(
                    text,
                    inputs=self._known_names() | variables,
                    print_callback=lambda _, said: printed.append(said),
                )
                if not isinstance(end, monty.MontyComplete) or printed:
                    return None
                finished = Finished(_checked_value(end.output))
        except (monty.MontyError, ScriptError):
            return None
        self.worker_id = worker_id
        self._request.host.step()
        return finished

    def _start(self, entry: Entry) -> Stop:
        self._request.host.step()
        session = self._enter()
        begun = time.monotonic()
        text, variables = self._program.with_entry(entry)
        with self._script_errors():
            self._snapshot = session.feed_start(
                text, inputs=self._known_names() | variables, print_callback=self._print
            )
            seconds = time.monotonic() - begun
            silent = isinstance(self._snapshot, monty.MontyComplete) and not self._has_printed
            if silent and self._quick.saw(self._key, seconds):
                self._checkout.prepare()
            return self._run()

    def _enter(self) -> monty.MontySession:
        self._session = self._checkout(self._request.cpu_seconds).__enter__()
        self.worker_id = self._session.worker_pid
        if self._killed:
            self.kill()
        return self._session

    async def _in_turn(self, work: Callable[[], Stop]) -> Stop:
        self._turn = self._turns.begin(work)
        stop: Stop = await self._turn.future
        return stop

    def kill(self) -> None:
        """End the worker at once, or as soon as there is one."""
        self._killed = True
        if self.worker_id is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.worker_id, signal.SIGKILL)

    async def close(self) -> None:
        """Give the worker back, which nobody waits for; one that still computes is killed."""
        if self._turn is not None and not self._turn.over:
            self.kill()
            await self._turn.end()
        if self._session is not None:
            self._turns.begin(self._leave)

    def _leave(self) -> None:
        if self._session is not None:
            self._session.__exit__(None, None, None)
            self._session = None

    async def deliver(self, settled: Mapping[int, Settled]) -> Stop:
        """Settle some pending calls; see :class:`ccos.engine.languages.Session`.

        Raises:
            ScriptError: as :meth:`start`.
            UnusableSnapshotError: if the interpreter cannot load what was restored.
        """
        return await self._in_turn(lambda: self._deliver(settled))

    def _deliver(self, settled: Mapping[int, Settled]) -> Stop:
        if self._state:
            self._load()
        by_sequence = {number: call_id for call_id, number in self._numbers.items()}
        by_call = {by_sequence[number]: one for number, one in settled.items()}
        for call_id in by_call:
            del self._numbers[call_id]
        with self._script_errors():
            self._request.host.step()
            self._snapshot = self._answered(by_call)
            return self._run()

    def _answered(self, settled: Mapping[Any, Settled]) -> monty.SyncSnapshot:
        """Let the interpreter have answers, by what it knows the calls by."""
        assert isinstance(self._snapshot, monty.FutureSnapshot)
        return self._snapshot.resume({key: _settled_answer(one) for key, one in settled.items()})

    def dump(self, seal: SnapshotSeal, *, printed: str) -> bytes:
        """The stopped session as a sealed blob, for :meth:`restore`.

        Args:
            seal: Of this installation.
            printed: What the script printed so far.
        """
        if self._state:
            return self._blob
        assert isinstance(self._snapshot, monty.FutureSnapshot | monty.FunctionSnapshot)
        header = {
            "format": FORMAT,
            "program": self._program.hash,
            "sequence": self._sequence,
            "entropy_requests": self._entropy_requests,
            "numbers": list(self._numbers.items()),
            "paths": list(self._paths.values()),
            "printed": printed,
        }
        return seal.sealed(header, self._snapshot.dump())

    def restore(self, blob: bytes, seal: SnapshotSeal) -> Waiting:
        """Become the session that was dumped. Only a fresh session can.

        No worker is needed before something is delivered. The host hears again what was printed.

        Raises:
            UnusableSnapshotError: if the blob is not ours, of another interpreter, or of another
                program.
        """
        header, self._state = seal.opened(blob, format=FORMAT, program=self._program.hash)
        self._blob = blob
        self._sequence = header["sequence"]
        self._entropy_requests = header["entropy_requests"]
        self._numbers = dict(header["numbers"])
        self._paths = {_namespace_id(path): path for path in header["paths"]}
        self._request.host.printed("stdout", header["printed"])
        return Waiting((), frozenset(self._numbers.values()))

    def _load(self) -> None:
        session = self._enter()
        try:
            self._snapshot = session.load_snapshot(self._state, print_callback=self._print)
        except monty.MontyError as error:
            raise UnusableSnapshotError(f"the interpreter refuses it: {error}") from error
        self._state = self._blob = b""

    def _run(self) -> Stop:
        """Answer what the host answers at once, until every task waits or the script ends."""
        calls: list[HostCall] = []
        while True:
            match self._snapshot:
                case monty.MontyComplete() as complete:
                    _refuse_unawaited(calls)
                    value = _checked_value(complete.output)
                    self._leave()
                    return Finished(value)
                case monty.FutureSnapshot():
                    return Waiting(tuple(calls), frozenset(self._numbers.values()))
                case monty.NameLookupSnapshot() as lookup:
                    self._snapshot = self._look_up(lookup)
                case monty.FunctionSnapshot(is_os_function=True) as request:
                    self._snapshot = self._ask_system(request, calls)
                case monty.FunctionSnapshot() as request:
                    after = self._call(request, calls)
                    if after is None:
                        return Waiting(tuple(calls), frozenset(self._numbers.values()))
                    self._snapshot = after

    def _known_names(self) -> dict[str, Any]:
        """What the text refers to without defining it."""
        known: dict[str, Any] = {CALL: call} if CALL in self._program.source else {}
        for root in self._program.namespaces:
            known[root] = self._namespace(root)
        return known

    def _look_up(self, lookup: monty.NameLookupSnapshot) -> monty.SyncSnapshot:
        if lookup.object_id is None:
            return lookup.resume()
        path = f"{self._paths[lookup.object_id]}.{lookup.variable_name}"
        return lookup.resume(value=self._namespace(path))

    def _namespace(self, path: str) -> monty.ClassInstance:
        if path not in self._namespaces:
            identity = _namespace_id(path)
            self._paths[identity] = path
            self._namespaces[path] = _AnyAttribute(
                _Namespace(path),
                id=identity,
                class_type=monty.ClassType(_Namespace, id=_NAMESPACE_CLASS),
            )
        return self._namespaces[path]

    def _ask_system(
        self, request: monty.FunctionSnapshot, calls: list[HostCall]
    ) -> monty.SyncSnapshot:
        name = str(request.function_name)
        if name == "import":
            if str(request.args[0]).partition(".")[0] != "crucible":
                self._request.host.forbidden(f"import {request.args[0]}")
            return request.resume_auto()
        if name == "time.sleep":
            words = "A script waits with `await asyncio.sleep(seconds)`."
            return request.resume({"exc_type": "RuntimeError", "message": words})
        if name == "asyncio.sleep":
            return self._put(SLEEP, {"seconds": float(request.args[0])}, request, calls)
        if name in _CLOCKS:
            return request.resume({"return_value": self._time(name, request)})
        if name == "os.urandom":
            return request.resume({"return_value": self._entropy(int(request.args[0]))})
        self._request.host.forbidden(name)
        return request.resume_not_handled()

    def _time(self, name: str, request: monty.FunctionSnapshot) -> Any:
        now = self._request.host.clock(self._next_number())
        moment = datetime.fromtimestamp(now, UTC)
        if name == "date.today":
            return moment.date()
        if name == "time.time":
            return now
        zone = request.args[0] if request.args else None
        return moment.astimezone(zone) if zone else moment.replace(tzinfo=None)

    def _entropy(self, count: int) -> bytes:
        """Random bytes that a replay gets again; drawn from the seed when they are asked for."""
        if not 0 <= count <= _ENTROPY_LIMIT:
            raise ResourceExceededError(
                f"The script asked for {count} random bytes at once.",
                details={"limit": "entropy", "allowed": _ENTROPY_LIMIT},
            )
        self._entropy_requests += 1
        source = f"{self._request.seed}:{self._entropy_requests}".encode()
        return hashlib.shake_256(source).digest(count)

    def _call(
        self, request: monty.FunctionSnapshot, calls: list[HostCall]
    ) -> monty.SyncSnapshot | None:
        """Take up a call; None if the script cannot go on before it is settled."""
        try:
            target, arguments = self._asked_for(request)
        except NameError as error:
            if request.function_name in _BUILTINS:
                self._request.host.forbidden(str(request.function_name))
            return request.resume({"exc_type": "NameError", "message": str(error)})
        except (TypeError, HostFunctionError, CapabilityError) as error:
            words = error.message if isinstance(error, CapabilityError) else str(error)
            return request.resume({"exc_type": "TypeError", "message": words})
        return self._put(target, arguments, request, calls)

    def _put(
        self,
        target: str,
        arguments: dict[str, Any],
        request: monty.FunctionSnapshot,
        calls: list[HostCall],
    ) -> monty.SyncSnapshot:
        """Put a call to the host, which answers at once or lets the script wait."""
        call = HostCall(self._next_number(), target, arguments, self._line(request))
        answer = self._request.host.answer(call)
        if answer is not None:
            return request.resume(_settled_answer(answer))
        calls.append(call)
        self._numbers[request.call_id] = call.sequence
        return request.resume({"future": ...})

    def _asked_for(self, request: monty.FunctionSnapshot) -> tuple[str, dict[str, Any]]:
        """What a call is of, and its arguments by name."""
        name = str(request.function_name)
        known = full_name(name, self._request.functions) if request.object_id is None else None
        if known is not None:
            function = self._request.functions[known]
            return known, bound(function, json_data(request.args), json_data(request.kwargs))
        positional = list(request.args)
        if request.object_id is None:
            if name != CALL:
                raise NameError(f"name {name!r} is not defined")
            if not positional or not isinstance(positional[0], str):
                raise TypeError("call() takes the id of a capability as its first argument.")
            target = positional.pop(0)
        elif name == "__call__":
            target = self._paths[request.object_id]
        else:
            target = f"{self._paths[request.object_id]}.{name}"
        arguments = dict(request.kwargs)
        if len(positional) == 1 and isinstance(positional[0], dict) and not arguments:
            arguments = positional.pop()
        if positional:
            raise TypeError(f"{target} takes named arguments, such as city='Paris'.")
        capability = canonical_id(target)
        if capability in self._request.functions or capability == SLEEP:
            raise HostFunctionError(f"{capability} is no capability; call the function itself.")
        return capability, json_data(arguments)

    def _next_number(self) -> int:
        self._sequence += 1
        return self._sequence - 1

    def _line(self, request: monty.FunctionSnapshot) -> int:
        before = self._program.source.encode()[: request.position.start]
        return before.count(b"\n") + 1

    def _print(self, stream: str, text: str) -> None:
        self._has_printed = True
        if self._ended is None:
            try:
                self._request.host.printed(stream, text)
            except ScriptError as error:
                # What a callback raises, the script could catch; a dead worker it cannot.
                self._ended = error
                self.kill()

    @contextlib.contextmanager
    def _script_errors(self) -> Any:
        try:
            yield
        except monty.MontyError as error:
            raise self._ended or self._failure(error) from error
        if self._ended is not None:  # the script was at its end before its worker was
            raise self._ended

    def _failure(self, error: monty.MontyError) -> ScriptError:
        name = self._program.name
        match error:
            case monty.MontySyntaxError():
                return CompilationError(f"{name}: {error}.", details=self._place(error))
            case monty.MontyRuntimeError():
                return self._runtime_failure(error)
            case monty.MontyCrashedError():
                return ResourceExceededError(
                    f"{name}: the worker died while it ran the script ({error}).",
                    details={"limit": "worker"},
                )
        return ScriptRaisedError(f"{name}: {error}")

    def _runtime_failure(self, error: monty.MontyRuntimeError) -> ScriptError:
        # What the interpreter does not have is no fault of its own.
        text = _cut(str(error).replace("Internal error in monty: ", "", 1), _MESSAGE_LIMIT)
        for limit in ("time", "memory"):
            if f"{limit} limit exceeded" in text or f"exceeded its {limit} limit" in text:
                return ResourceExceededError(
                    f"{self._program.name}: {text}.",
                    details={"limit": limit, **self._place(error)},
                )
        return self._raised(error, text)

    def _raised(self, error: monty.MontyRuntimeError, text: str) -> ScriptError:
        """What the script raised; ``text`` is the error's own, cut."""
        details = {"traceback": _cut(error.display("traceback"), _TRACEBACK_LIMIT), **place(error)}
        line = f", line {details['line']}" if "line" in details else ""
        return ScriptRaisedError(f"{self._program.name}{line}: {text}", details=details)

    def _place(self, error: monty.MontyRuntimeError | monty.MontySyntaxError) -> dict[str, Any]:
        """Where in the text that people know an error happened; empty if that is not known."""
        return place(error)


class _AnyAttribute(monty.ClassInstance):
    """Lets the sandbox ask for any public method; the session answers, never this object."""

    def lookup_lazy_attrs(self, name: str) -> Any:
        raise AttributeError(name)


def call(*_: Any, **__: Any) -> None:
    """The value of the name ``call`` in a script; its calls only ever come to us."""


def place(error: monty.MontyRuntimeError | monty.MontySyntaxError) -> dict[str, Any]:
    """Where an error happened, counted from 1; empty if that is not known."""
    frames = error.traceback()
    return {"line": frames[-1].line, "column": frames[-1].column} if frames else {}


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… [{len(text)} characters]"


def _refuse_unawaited(calls: list[HostCall]) -> None:
    """A call that nothing waits for was not made, which a script should not seem to have done."""
    for one in calls:
        raise ScriptRaisedError(
            f"Line {one.line}: {one.target} was called without `await`, so nothing came of it.",
            next_step="Write `await` before the call.",
            details={"line": one.line},
        )


def _namespace_id(path: str) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, path)


def _settled_answer(settled: Settled) -> monty.ExternalSettledResult:
    match settled:
        case Value(data=data):
            return {"return_value": data}
        case Raised(message=message):
            return {"exc_type": "RuntimeError", "message": message}


def _checked_value(value: Any) -> Any:
    try:
        return json_data(value)
    except TypeError as error:
        raise ScriptRaisedError(
            f"The script's value is not JSON data: {error}",
            next_step="End it with a value made of text, numbers, lists and dictionaries.",
        ) from error
