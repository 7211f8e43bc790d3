"""What the engine asks of a language: compile a text, and run it stop by stop.

A session runs one script in one worker. It computes until it needs the host, says which calls
were made since, and goes on when some of them are settled. What the host answers at once never
stops it. The engine, the broker and the runtime know sessions only through these types, so a
further language is one more adapter.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol

from ccos.engine.hosts import HostFunction
from ccos.engine.policy import SecurityPolicy


class Severity(StrEnum):
    """How bad a finding of a compiler is."""

    FATAL = "fatal"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A finding of a compiler. Lines and columns count from 1; 0 is unknown."""

    message: str
    code: str
    severity: Severity
    file: str
    line: int
    column: int

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return {
            "message": self.message,
            "code": self.code,
            "severity": self.severity.value,
            "file": self.file,
            "line": self.line,
            "column": self.column,
        }


@dataclass(frozen=True, slots=True)
class Compiled:
    """A text that a language accepted.

    Attributes:
        source: The text.
        name: What people call it, such as its file name.
        unit: What the language wants to have when it runs the script, in its own form; opaque,
            and good only for the language's ``format``.
        exports: Functions that can be called by name, with the names of their parameters.
        modules: Host modules that it uses.
        warnings: What the compiler found besides.
    """

    source: str
    name: str
    unit: bytes
    exports: Mapping[str, tuple[str, ...]]
    modules: frozenset[str] = frozenset()
    warnings: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True, slots=True)
class HostCall:
    """Something a script asks of the host. ``sequence`` counts a script's calls from 0."""

    sequence: int
    target: str
    arguments: dict[str, Any]
    line: int


@dataclass(frozen=True, slots=True)
class Value:
    """A host call came back with JSON data.

    ``shape`` says what the type of the data says beyond JSON, for languages with more types.
    """

    data: Any
    shape: Any = None


@dataclass(frozen=True, slots=True)
class Raised:
    """A host call failed; the script sees an error with this message and can deal with it.

    ``code`` is that of the error in :mod:`ccos.errors`, for languages that tell errors apart;
    ``reason`` is its message without the code, and ``details`` are its parts.
    """

    message: str
    code: str = ""
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


Settled = Value | Raised


@dataclass(frozen=True, slots=True)
class Waiting:
    """Every task of the script waits: ``calls`` are new, ``pending`` are all unsettled ones."""

    calls: tuple[HostCall, ...]
    pending: frozenset[int]


@dataclass(frozen=True, slots=True)
class Finished:
    """The script came to its end with this value."""

    value: Any


Stop = Waiting | Finished


@dataclass(frozen=True, slots=True)
class Measured:
    """What a worker measured of a session; None is unknown.

    Attributes:
        instructions: Of the virtual machine.
        memory_peak_bytes: The most memory that it used at one time. What is counted depends on the
            language: the values of the script, or all of its process.
        compute_seconds: Without waiting for the host.
    """

    instructions: int | None = None
    memory_peak_bytes: int | None = None
    compute_seconds: float | None = None


UNMEASURED: Final = Measured()


@dataclass(frozen=True, slots=True)
class Entry:
    """What to run of a script.

    ``function`` None runs its text from top to bottom; its value is that of the last expression,
    and ``arguments`` are there as variables. With a function the text is run first, then the
    function is called with the arguments by name.
    """

    function: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)


class ScriptHost(Protocol):
    """The host of one session. Called from the thread or task that drives the worker."""

    def answer(self, call: HostCall) -> Settled | None:
        """Answer a call at once, or return None for one that the script waits for.

        Raises:
            ScriptError: to end the script, which cannot catch it.
        """
        ...

    def clock(self, sequence: int) -> float:
        """The time, in seconds since the Unix epoch, for the call numbered ``sequence``."""
        ...

    def printed(self, stream: str, text: str) -> None:
        """Take what the script printed; ``stream`` is ``stdout`` or ``stderr``.

        Raises:
            ScriptError: to end the script, such as for a flood.
        """
        ...

    def forbidden(self, what: str) -> None:
        """Note that the script tried something that no level of its language gives.

        Args:
            what: The operation, such as ``open``.
        """
        ...

    def notice(self, call: HostCall) -> None:
        """Take notice of what the script tells, such as that a step of it began.

        Raises:
            ScriptError: to end the script.
        """
        ...

    def step(self) -> None:
        """Count a stretch of computing that is about to begin.

        Raises:
            ScriptError: to end the script.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRequest:
    """What a session is opened for.

    Attributes:
        functions: The host functions that exist for the script, by full name.
        policy: Its limits.
        memory_bytes: Most memory; None for no limit.
        cpu_seconds: Longest time of computing, host calls not counted; None for no limit.
        host: Who answers it.
        seed: Of its random numbers; the same seed gives the same numbers, and nobody who does
            not know it can tell them.
        caller: On whose behalf; callers take turns when all workers are busy.
    """

    functions: Mapping[str, HostFunction]
    policy: SecurityPolicy
    memory_bytes: int | None
    cpu_seconds: float | None
    host: ScriptHost
    seed: str
    caller: str = ""


class Session(Protocol):
    """One script in one worker, as an async context manager; leaving it frees the worker."""

    def at_once(self, entry: Entry) -> Finished | None:
        """Run to the end on this thread, if that is expected to take but a moment.

        None says that it takes more, and that :meth:`start` is next; the host was asked for
        nothing but a step.

        Raises:
            ScriptError: as :meth:`start`.
        """
        ...

    async def start(self, entry: Entry) -> Stop:
        """Run from the beginning to the first stop.

        Raises:
            CompilationError: if the worker does not accept the text after all.
            ScriptRaisedError: if the script raises.
            ResourceExceededError: if it uses more than it may, or takes its worker down.
            ScriptError: whatever the host raised to end it.
        """
        ...

    async def deliver(self, settled: Mapping[int, Settled]) -> Stop:
        """Settle some pending calls, by sequence, and run to the next stop.

        Raises:
            ScriptError: as :meth:`start`.
        """
        ...

    def kill(self) -> None:
        """End the worker at once, whatever it does; the turn that runs fails."""
        ...

    @property
    def worker_id(self) -> int | None:
        """Process id of the worker; None while there is none."""
        ...

    @property
    def measured(self) -> Measured:
        """What was measured, once the script is at its end."""
        ...


class Language(Protocol):
    """An adapter: one language on one kind of worker."""

    @property
    def name(self) -> str:
        """Such as ``python``."""
        ...

    @property
    def suffixes(self) -> tuple[str, ...]:
        """File endings that mean this language, such as ``.py``."""
        ...

    @property
    def format(self) -> str:
        """Name and version of the interpreter; a compiled unit is good for exactly one."""
        ...

    def check_isolation(self, policy: SecurityPolicy) -> None:
        """Make sure that scripts under ``policy`` are as isolated as its level promises.

        May block for some hundredths of a second.

        Raises:
            IsolationError: if this machine or this language cannot provide that.
        """
        ...

    async def compile(
        self, source: str, *, name: str, functions: Mapping[str, HostFunction], level: str
    ) -> Compiled:
        """Read a text without running it.

        Args:
            source: The text.
            name: What people call it, for messages.
            functions: The host functions that exist for it, by full name.
            level: Name of the policy, for messages.

        Raises:
            CompilationError: with every diagnostic.
            SecurityViolationError: if it uses a module or function that does not exist for it.
        """
        ...

    def session(
        self, compiled: Compiled, request: SessionRequest
    ) -> AbstractAsyncContextManager[Session]:
        """A fresh worker, or a warm one without any trace of who had it before."""
        ...

    def worker_ids(self) -> tuple[int, ...]:
        """Process ids of all living workers."""
        ...
