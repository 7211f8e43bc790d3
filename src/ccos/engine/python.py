"""Python plans on Monty: an allow-list interpreter in worker processes.

A session runs one plan. It stops whenever all of the plan's tasks wait for the host, says which
calls were made since, and goes on when some of them are settled. Between two stops a plan is a
pure function: its clock and its randomness come from the host as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import os
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final, TypeVar, cast

import pydantic_monty as monty

from ccos.capabilities import canonical_id
from ccos.engine.plans import CALL, Plan
from ccos.engine.snapshots import SnapshotSeal, UnusableSnapshotError
from ccos.errors import CapabilityError, LimitExceededError, PlanError

T = TypeVar("T")

FORMAT: Final = f"monty {version('pydantic-monty')}"
SLEEP: Final = "ccos.sleep"
CLOCK: Final = "ccos.clock"

_DEPTH_LIMIT: Final = 100
_PRINT_LIMIT: Final = 1_000_000
_ENTROPY_LIMIT: Final = 1_000_000
_NAMESPACE: Final = uuid.UUID("6e0d1f0c-35d2-4f57-9f6b-3f7c1d1f5a10")
_NAMESPACE_CLASS: Final = uuid.uuid5(_NAMESPACE, "class")


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """What one plan may use."""

    memory_bytes: int = 100 * 1024 * 1024
    seconds: float = 30.0
    """Running time; waiting for the host is not counted."""
    calls: int = 1000


@dataclass(frozen=True, slots=True)
class HostCall:
    """Something the plan asks of the host. ``sequence`` counts a plan's calls from 0."""

    sequence: int
    target: str
    arguments: dict[str, Any]
    line: int


@dataclass(frozen=True, slots=True)
class Value:
    """A host call came back with JSON data."""

    data: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """A host call failed; the plan sees a ``RuntimeError`` with this message."""

    message: str


Settled = Value | Raised


@dataclass(frozen=True, slots=True)
class Waiting:
    """Every task of the plan waits: ``calls`` are new, ``pending`` are all that are unsettled."""

    calls: tuple[HostCall, ...]
    pending: frozenset[int]


@dataclass(frozen=True, slots=True)
class Finished:
    """The plan came to its end with this value."""

    value: Any


Stop = Waiting | Finished
Clock = Callable[[int], float]
"""Answers the plan's clock; gets the call's sequence, returns seconds since the epoch."""


class PythonWorkers:
    """A pool of interpreter processes. Each session has one to itself.

    A session's turns run in threads, one hop for all that the plan does between two stops.
    Use it as an async context manager.
    """

    def __init__(self, limits: PlanLimits, *, processes: int) -> None:
        self._limits = limits
        self._pool = monty.Monty(min_processes=1, max_processes=processes)
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="ccos-plan")
        self._free = asyncio.Semaphore(processes)

    async def __aenter__(self) -> PythonWorkers:
        await self._in_thread(self._pool.__enter__)
        return self

    async def __aexit__(self, *exception: Any) -> None:
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self._pool.__exit__, *exception)

    @contextlib.asynccontextmanager
    async def session(self, plan: Plan, *, seed: str, clock: Clock) -> AsyncIterator[PlanSession]:
        """A session for ``plan``.

        Leaving it while the plan computes kills its worker.

        Args:
            plan: What it will run.
            seed: Of the plan's random numbers; the same seed gives the same numbers, and nobody
                who does not know it can tell them.
            clock: Answers when the plan asks for the time; called from another thread.
        """
        async with self._free:
            session = PlanSession(self._checkout(), plan, seed, self._limits, clock, self._threads)
            try:
                yield session
            finally:
                await session.close()

    def _checkout(self) -> monty.MontySession:
        limits = self._limits
        return self._pool.checkout(
            script_name="plan.py",
            limits={
                "max_memory": limits.memory_bytes,
                "max_feed_duration_secs": limits.seconds,
                "max_suspensions": 10 * limits.calls + 1000,
            },
            os_policy={
                "datetime": "call_host",
                "sleep": "call_host",
                "random_start": "call_host",
            },
        )

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.wrap_future(self._threads.submit(function, *arguments))


@dataclass(slots=True)
class _Namespace:
    """Stands for the ids that begin with ``path``; a call of its attribute is a host call."""

    path: str


@dataclass(slots=True)
class PlanSession:
    """One plan in one worker."""

    _session: monty.MontySession
    _plan: Plan
    _seed: str
    _limits: PlanLimits
    _clock: Clock
    _threads: ThreadPoolExecutor
    _snapshot: monty.SyncSnapshot | None = None
    _worker: int | None = None
    """Process id of the worker, once there is one."""
    _turn: Future[Any] | None = None
    """What runs in a thread now, or ran last."""
    _sequence: int = 0
    _entropy_requests: int = 0
    _numbers: dict[int, int] = field(default_factory=dict)
    """Monty's call id of each unsettled call, and our sequence for it."""
    _paths: dict[uuid.UUID, str] = field(default_factory=dict)
    _namespaces: dict[str, monty.ClassInstance] = field(default_factory=dict)
    """What the interpreter was given for each path; it wants the same object every time."""
    _blob: bytes = b""
    """What the session was restored from, as long as nothing was delivered to it."""
    _state: bytes = b""
    """The interpreter's part of it, not loaded yet."""
    _printed: list[str] = field(default_factory=list)
    _printed_characters: int = 0

    @property
    def printed(self) -> str:
        """What the plan printed so far."""
        return "".join(self._printed)

    async def start(self) -> Stop:
        """Run from the beginning to the first stop.

        Raises:
            PlanError: if the plan does not compile or raises.
            LimitExceededError: if it uses more than it may.
        """
        stop: Stop = await self._in_turn(self._start)
        return stop

    def _start(self) -> Stop:
        self._enter()
        with self._plan_errors():
            self._snapshot = self._session.feed_start(
                self._plan.source, inputs=self._known_names(), print_callback=self._print
            )
            return self._run()

    def _enter(self) -> None:
        self._session.__enter__()
        self._worker = self._session.worker_pid

    async def _in_turn(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self._turn = self._threads.submit(function, *arguments)
        return await asyncio.wrap_future(self._turn)

    async def close(self) -> None:
        """Give the worker back, which nobody waits for; one that still computes is killed."""
        if self._turn is not None and not self._turn.done():
            if self._worker is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._worker, signal.SIGKILL)
            with contextlib.suppress(Exception):
                await asyncio.wrap_future(self._turn)
        if self._worker is not None:
            self._threads.submit(self._session.__exit__, None, None, None)

    async def deliver(self, settled: Mapping[int, Settled]) -> Stop:
        """Settle some pending calls, by sequence, and run to the next stop.

        Raises:
            PlanError, LimitExceededError: as :meth:`start`.
            UnusableSnapshotError: if the interpreter cannot load what was restored.
        """
        stop: Stop = await self._in_turn(self._deliver, settled)
        return stop

    def _deliver(self, settled: Mapping[int, Settled]) -> Stop:
        if self._state:
            self._load()
        snapshot = self._snapshot
        assert isinstance(snapshot, monty.FutureSnapshot)
        by_sequence = {number: call_id for call_id, number in self._numbers.items()}
        answers = {by_sequence[number]: _answer(one) for number, one in settled.items()}
        for call_id in answers:
            del self._numbers[call_id]
        with self._plan_errors():
            self._snapshot = snapshot.resume(answers)
            return self._run()

    def dump(self, seal: SnapshotSeal) -> bytes:
        """The stopped session as a sealed blob, for :meth:`restore`."""
        if self._state:
            return self._blob
        assert isinstance(self._snapshot, monty.FutureSnapshot)
        header = {
            "format": FORMAT,
            "plan": self._plan.hash,
            "sequence": self._sequence,
            "entropy_requests": self._entropy_requests,
            "numbers": list(self._numbers.items()),
            "paths": list(self._paths.values()),
            "printed": self.printed,
        }
        return seal.sealed(header, self._snapshot.dump())

    def restore(self, blob: bytes, seal: SnapshotSeal) -> Waiting:
        """Become the session that was dumped. Only a fresh session can.

        No worker is needed before something is delivered.

        Raises:
            UnusableSnapshotError: if the blob is not ours, of another interpreter, or of another
                plan.
        """
        header, self._state = seal.opened(blob, format=FORMAT, plan=self._plan.hash)
        self._blob = blob
        self._sequence = header["sequence"]
        self._entropy_requests = header["entropy_requests"]
        self._numbers = dict(header["numbers"])
        self._paths = {_namespace_id(path): path for path in header["paths"]}
        self._print("stdout", header["printed"])
        return Waiting((), frozenset(self._numbers.values()))

    def _load(self) -> None:
        self._enter()
        try:
            self._snapshot = self._session.load_snapshot(self._state, print_callback=self._print)
        except monty.MontyError as error:
            raise UnusableSnapshotError(f"the interpreter refuses it: {error}") from error
        self._state = self._blob = b""

    def _run(self) -> Stop:
        """Answer what the host answers at once, until every task waits or the plan ends."""
        calls: list[HostCall] = []
        while True:
            match self._snapshot:
                case monty.MontyComplete() as complete:
                    _refuse_unawaited(calls)
                    return Finished(_checked_value(complete.output))
                case monty.FutureSnapshot():
                    return Waiting(tuple(calls), frozenset(self._numbers.values()))
                case monty.NameLookupSnapshot() as lookup:
                    self._snapshot = self._look_up(lookup)
                case monty.FunctionSnapshot(is_os_function=True) as request:
                    self._snapshot = self._ask_system(request, calls)
                case monty.FunctionSnapshot() as request:
                    self._snapshot = self._call(request, calls)

    def _known_names(self) -> dict[str, Any]:
        """What the plan's text refers to without defining it."""
        return {
            CALL: call,
            **{root: self._namespace(root) for root in self._plan.namespaces},
        }

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
        if name == "time.sleep":
            words = "A plan waits with `await asyncio.sleep(seconds)`."
            return request.resume({"exc_type": "RuntimeError", "message": words})
        if name == "asyncio.sleep":
            call = self._next(SLEEP, {"seconds": float(request.args[0])}, request)
            calls.append(call)
            self._numbers[request.call_id] = call.sequence
            return request.resume({"future": ...})
        if name in ("time.time", "datetime.now", "date.today"):
            now = self._clock(self._next(CLOCK, {}, request).sequence)
            moment = datetime.fromtimestamp(now, UTC)
            zone = request.args[0] if name == "datetime.now" and request.args else None
            values = {
                "time.time": now,
                "datetime.now": moment.astimezone(zone) if zone else moment.replace(tzinfo=None),
                "date.today": moment.date(),
            }
            return request.resume({"return_value": values[name]})
        if name == "os.urandom":
            return request.resume({"return_value": self._entropy(int(request.args[0]))})
        return request.resume_not_handled()

    def _entropy(self, count: int) -> bytes:
        """Random bytes that a replay gets again; drawn from the seed when they are asked for."""
        if not 0 <= count <= _ENTROPY_LIMIT:
            raise LimitExceededError(
                f"The plan asked for {count} random bytes at once.",
                details={"limit": "entropy", "allowed": _ENTROPY_LIMIT},
            )
        self._entropy_requests += 1
        source = f"{self._seed}:{self._entropy_requests}".encode()
        return hashlib.shake_256(source).digest(count)

    def _call(self, request: monty.FunctionSnapshot, calls: list[HostCall]) -> monty.SyncSnapshot:
        try:
            call = self._host_call(request)
        except NameError as error:
            return request.resume({"exc_type": "NameError", "message": str(error)})
        except (TypeError, CapabilityError) as error:
            words = error.message if isinstance(error, CapabilityError) else str(error)
            return request.resume({"exc_type": "TypeError", "message": words})
        calls.append(call)
        self._numbers[request.call_id] = call.sequence
        return request.resume({"future": ...})

    def _host_call(self, request: monty.FunctionSnapshot) -> HostCall:
        positional = list(request.args)
        if request.object_id is None:
            if request.function_name != CALL:
                raise NameError(f"name {str(request.function_name)!r} is not defined")
            if not positional or not isinstance(positional[0], str):
                raise TypeError("call() takes the id of a capability as its first argument.")
            target = positional.pop(0)
        elif request.function_name == "__call__":
            target = self._paths[request.object_id]
        else:
            target = f"{self._paths[request.object_id]}.{request.function_name}"
        arguments = dict(request.kwargs)
        if len(positional) == 1 and isinstance(positional[0], dict) and not arguments:
            arguments = positional.pop()
        if positional:
            raise TypeError(f"{target} takes named arguments, such as city='Paris'.")
        return self._next(canonical_id(target), json_data(arguments), request)

    def _next(
        self, target: str, arguments: dict[str, Any], request: monty.FunctionSnapshot
    ) -> HostCall:
        if self._sequence >= self._limits.calls:
            raise LimitExceededError(
                f"The plan made more than {self._limits.calls} calls.",
                next_step="Raise CCOS_PLAN_MAX_CALLS if a plan may make so many.",
                details={"limit": "calls", "allowed": self._limits.calls},
            )
        before = self._plan.source.encode()[: request.position.start]
        call = HostCall(self._sequence, target, arguments, before.count(b"\n") + 1)
        self._sequence += 1
        return call

    def _print(self, _stream: str, text: str) -> None:
        room = _PRINT_LIMIT - self._printed_characters
        if room > 0:
            self._printed.append(text[:room])
            self._printed_characters += len(text[:room])

    @contextlib.contextmanager
    def _plan_errors(self) -> Any:
        try:
            yield
        except monty.MontySyntaxError as error:
            raise PlanError(f"{self._plan.name}: {error}.", details=_place(error)) from error
        except monty.MontyRuntimeError as error:
            raise self._failure(error) from error
        except monty.MontyCrashedError as error:
            raise LimitExceededError(
                f"{self._plan.name}: the worker died while it ran the plan ({error}).",
                details={"limit": "worker"},
            ) from error

    def _failure(self, error: monty.MontyRuntimeError) -> PlanError | LimitExceededError:
        text = str(error)
        for limit in ("time", "memory"):
            if f"{limit} limit exceeded" in text:
                return LimitExceededError(
                    f"{self._plan.name}: {text}.", details={"limit": limit, **_place(error)}
                )
        details = {"traceback": error.display("traceback"), **_place(error)}
        line = f", line {details['line']}" if "line" in details else ""
        return PlanError(f"{self._plan.name}{line}: {text}", details=details)


class _AnyAttribute(monty.ClassInstance):
    """Lets the sandbox ask for any public method; the session answers, never this object."""

    def lookup_lazy_attrs(self, name: str) -> Any:
        raise AttributeError(name)


def call(*_: Any, **__: Any) -> None:
    """The value of the name ``call`` in a plan; the sandbox only ever sends its calls to us."""


def _refuse_unawaited(calls: list[HostCall]) -> None:
    """A call that nothing waits for was not made, which a plan should not seem to have done."""
    for one in calls:
        raise PlanError(
            f"Line {one.line}: {one.target} was called without `await`, so nothing came of it.",
            next_step="Write `await` before the call.",
            details={"line": one.line},
        )


def _namespace_id(path: str) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, path)


def _answer(settled: Settled) -> monty.ExternalSettledResult:
    match settled:
        case Value(data=data):
            return {"return_value": data}
        case Raised(message=message):
            return {"exc_type": "RuntimeError", "message": message}


def _place(error: monty.MontyRuntimeError | monty.MontySyntaxError) -> dict[str, Any]:
    frames = error.traceback()
    return {"line": frames[-1].line, "column": frames[-1].column} if frames else {}


def _checked_value(value: Any) -> Any:
    try:
        return json_data(value)
    except TypeError as error:
        raise PlanError(
            f"The plan's value is not JSON data: {error}",
            next_step="End the plan with a value made of text, numbers, lists and dictionaries.",
        ) from error


def json_data(value: Any, *, depth: int = _DEPTH_LIMIT) -> Any:
    """``value`` as plain JSON data; tuples become lists.

    Raises:
        TypeError: saying what in it is not JSON data.
    """
    if depth == 0:
        raise TypeError(f"it is nested deeper than {_DEPTH_LIMIT} levels.")
    match value:
        case None | bool() | int():
            return value
        case str():
            if any("\ud800" <= character <= "\udfff" for character in value):
                raise TypeError("it has text with a lone surrogate.")
            return value
        case float():
            if not math.isfinite(value):
                raise TypeError(f"{value} has no JSON form.")
            return value
        case list() | tuple():
            return [json_data(item, depth=depth - 1) for item in value]
        case dict():
            for key in value:
                if not isinstance(key, str):
                    raise TypeError(f"the key {key!r} is not text.")
            return {
                cast(str, json_data(key, depth=depth)): json_data(item, depth=depth - 1)
                for key, item in value.items()
            }
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form.")
