"""A Rune worker as the host sees it: what can be asked of it, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ccos.engine.languages import Diagnostic, Raised, Settled, Severity, Value
from ccos.engine.rune.frames import (
    ENCODER,
    MAXIMUM_BYTES,
    PROTOCOL,
    Message,
    WorkerProtocolError,
    frame,
    framed,
)
from ccos.engine.rune.process import WorkerEndedError, WorkerProcess
from ccos.errors import CompilationError, IsolationError

_START_SECONDS: Final = 20.0
_COMPILE_SECONDS: Final = 15.0
"""Longer than the worker allows itself, which is 10 seconds, and 12 to read constants."""
_ABANDON_SECONDS: Final = 1.0
_TEXT_LIMIT: Final = 2000
_ERROR_LIMIT: Final = 1_000_000

ANSWER_BYTES: Final = MAXIMUM_BYTES - 1024
"""Most that the answers of one message may take, with a byte between each two."""


@dataclass(frozen=True, slots=True, eq=False)
class Declared:
    """The host functions of a script, in the worker's terms. Equal only to itself.

    Attributes:
        functions: Those that exist, as the worker's protocol has them.
        forbidden: Paths that exist elsewhere, and at which level.
    """

    functions: tuple[Mapping[str, Any], ...] = ()
    forbidden: tuple[Mapping[str, Any], ...] = ()


NOTHING_DECLARED: Final = Declared()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something the compiler has to say.

    Attributes:
        diagnostic: What and where.
        hint: How to repair it; None if nobody knows.
        path: What is forbidden, for the code ``security``; else None.
        level: The lowest level that has it; empty if none does.
    """

    diagnostic: Diagnostic
    hint: str | None = None
    path: str | None = None
    level: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        data = self.diagnostic.as_dict()
        if self.hint is not None:
            data["hint"] = self.hint
        if self.path is not None:
            data |= {"path": self.path, "level": self.level}
        return data


@dataclass(frozen=True, slots=True)
class Signature:
    """A function of a script. ``path`` is such as ``call`` or ``inner::call``."""

    path: str
    parameters: tuple[str, ...]
    public: bool
    asynchronous: bool
    line: int


@dataclass(frozen=True, slots=True)
class NamedCall:
    """A call of a host function that has to be awaited, as the text has it.

    Attributes:
        function: Its path, such as ``ccos::call``.
        literal: The first argument, if it is a string that is written out.
        line, column: Where it is, counted from 1.
    """

    function: str
    literal: str | None
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """A text that compiles.

    Attributes:
        unit: The worker's name for what it made.
        functions: Those of the text.
        uses: The granted functions that it refers to, such as ``crucible::http::http_get``.
        calls: Its calls of those that have to be awaited; of very many only the first.
        findings: Warnings.
    """

    unit: str
    functions: tuple[Signature, ...]
    uses: tuple[str, ...]
    calls: tuple[NamedCall, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A text that does not compile, and why."""

    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of a function, such as ``#[tool(desc = "…")]``.

    Attributes:
        error: Why its arguments could not be read; ``arguments`` has what was read before.
    """

    name: str
    line: int
    arguments: Mapping[str, Any]
    error: str | None


@dataclass(frozen=True, slots=True)
class InspectedFunction:
    """A function with what is written around it."""

    signature: Signature
    documentation: str | None
    attributes: tuple[Attribute, ...]


@dataclass(frozen=True, slots=True)
class HeaderEntry:
    """A line ``//! @key text`` at the top of a file."""

    key: str
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Module:
    """A ``mod`` of a script. ``path`` is such as ``inner``."""

    path: str
    public: bool
    line: int


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant, or a function without parameters, that was read; ``error`` says why not.

    ``line`` is 0 where it is not known.
    """

    value: Any = None
    error: str | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a text says of itself.

    Attributes:
        compiled: Whether it compiles; without that there are no constants.
        findings: Everything the compiler has to say.
        summary: The lines ``//! text`` at the top.
        header: The entries ``//! @key text`` there.
        constants: Values by path, such as ``NAME`` or ``inner::NAME``.
    """

    compiled: bool
    findings: tuple[Finding, ...]
    summary: str
    header: tuple[HeaderEntry, ...]
    functions: tuple[InspectedFunction, ...]
    modules: tuple[Module, ...]
    constants: Mapping[str, Constant]


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Of one call; None for no limit."""

    instructions: int | None = None
    memory_bytes: int | None = None


def encoded_answer(number: int, settled: Settled) -> bytes:
    """An answer for :meth:`RuneWorker.answer`. One that is too large becomes an error."""
    match settled:
        case Raised(message=message):
            return ENCODER.encode({"id": number, "error": message[:_ERROR_LIMIT]}).encode()
        case Value(data=data):
            try:
                answer = ENCODER.encode({"id": number, "value": data}).encode()
            except (ValueError, TypeError, RecursionError) as error:
                return encoded_answer(number, Raised(f"The answer is no JSON data: {error}."))
    if len(answer) > ANSWER_BYTES:
        words = f"The answer takes {len(answer)} bytes as JSON; at most {ANSWER_BYTES} reach a "
        return encoded_answer(number, Raised(f"{words}script."))
    return answer


class RuneWorker:
    """One worker. One thread at a time uses it; any may call :meth:`kill`.

    Whatever it raises but TimeoutError, and that too, the worker is not to be used again.

    Args:
        program: The worker, or what starts it in a jail.

    Raises:
        IsolationError: if it cannot be started.
    """

    def __init__(self, program: Path) -> None:
        try:
            self._process = WorkerProcess(program)
        except OSError as error:
            raise IsolationError(f"The Rune worker cannot be started: {error}.") from error
        self._requests = 0
        try:
            self._send({"type": "hello", "protocol": PROTOCOL}, _START_SECONDS)
            ready = self._process.receive(_START_SECONDS)
            if ready.type != "ready" or ready.count("protocol") != PROTOCOL:
                words = ready.fields.get("message", "it speaks another protocol")
                raise IsolationError(f"The Rune worker does not fit this service: {words}")
            self.format = ready.text("format")
        except (WorkerEndedError, TimeoutError) as error:
            self._process.close()
            words = getattr(error, "words", "") or str(error) or "it did not answer"
            raise IsolationError(f"The Rune worker did not start: {words}.") from error
        except BaseException:
            self._process.close()
            raise

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.alive

    @property
    def requests(self) -> int:
        """How many requests it was sent."""
        return self._requests

    def kill(self) -> None:
        """End it at once, whatever it does."""
        self._process.kill()

    def close(self) -> None:
        """Kill it and leave nothing of it."""
        self._process.close()

    def compile(self, source: str, name: str, declared: Declared) -> Accepted | Refused:
        """Compile a text, which runs nothing of it.

        Raises:
            CompilationError: if the worker does not survive it, or takes too long.
        """
        answer = self._read("compile", source, name, declared)
        if answer.type == "rejected":
            return Refused(_findings(answer, name))
        if answer.type != "compiled":
            raise WorkerProtocolError(f"{answer.type!r} when asked to compile")
        return Accepted(
            unit=answer.text("unit"),
            functions=tuple(_signature(one) for one in answer.objects("functions")),
            uses=answer.texts("uses"),
            calls=tuple(_named_call(one) for one in answer.objects("calls")),
            findings=_findings(answer, name),
        )

    def inspect(
        self, source: str, name: str, declared: Declared, constants: Sequence[str]
    ) -> Inspection:
        """Read what a text says of itself, and the values of some constants.

        Raises:
            CompilationError: as :meth:`compile`.
        """
        answer = self._read("inspect", source, name, declared, constants=list(constants))
        if answer.type != "inspected":
            raise WorkerProtocolError(f"{answer.type!r} when asked to inspect")
        header = Message("header", answer.object("header"))
        return Inspection(
            compiled=answer.flag("compiled"),
            findings=_findings(answer, name),
            summary=header.optional_text("text") or "",
            header=tuple(
                HeaderEntry(one.text("key"), one.text("text"), one.count("line"))
                for one in header.objects("entries")
            ),
            functions=tuple(_inspected(one) for one in answer.objects("functions")),
            modules=tuple(
                Module(one.text("path"), one.flag("public"), one.count("line"))
                for one in answer.objects("modules")
            ),
            constants=_constants(answer.object("constants")),
        )

    def encoded_call(
        self,
        unit: str,
        function: str,
        arguments: Mapping[str, Any] | Sequence[Any],
        *,
        seed: str,
        limits: CallLimits,
    ) -> bytes:
        """A call for :meth:`begin`, which has to be the next that is begun.

        Raises:
            ValueError: if the arguments are too large.
        """
        message = {
            "type": "call",
            "id": self._requests + 1,
            "unit": unit,
            "function": function,
            "arguments": arguments,
            "seed": seed,
            "limits": {"instructions": limits.instructions, "memory_bytes": limits.memory_bytes},
        }
        return framed(message)

    def begin(self, call: bytes, seconds: float | None) -> None:
        """Begin a call; :meth:`event` tells how it goes."""
        self._requests += 1
        self._process.send(call, seconds)

    def abandon(self) -> bool:
        """End a call that waits for the host; whether the worker is good for others then."""
        self._send({"type": "cancel", "request": self._requests}, _ABANDON_SECONDS)
        message = self.event(_ABANDON_SECONDS)
        return message.type == "error" and not message.flag("exits")

    def event(self, seconds: float | None) -> Message:
        """What happens next in the call.

        Raises:
            TimeoutError: if nothing does within ``seconds``.
            WorkerEndedError: if the worker dies.
            WorkerProtocolError: if it speaks of something else.
        """
        message = self._process.receive(seconds)
        if message.type == "fault":
            raise WorkerProtocolError(f"a fault: {message.text('message')[:_TEXT_LIMIT]}")
        if message.fields.get("request") != self._requests:
            raise WorkerProtocolError(f"{message.type!r} for another request")
        return message

    def answer(self, answers: Sequence[bytes], seconds: float | None) -> None:
        """Settle some host calls of the call at once.

        Args:
            answers: As :func:`encoded_answer` made them; together they fit into a frame.
            seconds: As for :meth:`event`.
        """
        head = b'{"type":"answer","request":%d,"answers":[' % self._requests
        self._process.send(frame(head + b",".join(answers) + b"]}"), seconds)

    def _read(self, kind: str, source: str, name: str, declared: Declared, **more: Any) -> Message:
        self._requests += 1
        message = {
            "type": kind,
            "id": self._requests,
            "name": name,
            "source": source,
            "functions": declared.functions,
            "forbidden": declared.forbidden,
            **more,
        }
        try:
            self._send(message, _COMPILE_SECONDS)
            answer = self._process.receive(_COMPILE_SECONDS)
        except ValueError as error:
            raise CompilationError(f"{name} is too large: {error}.") from error
        except (WorkerEndedError, TimeoutError) as error:
            raise _unreadable(name, "the compiler did not come to its end") from error
        if answer.fields.get("request") != self._requests:
            raise WorkerProtocolError(f"{answer.type!r} for another request")
        if answer.type in ("fault", "error"):
            raise _unreadable(name, answer.text("message")[:_TEXT_LIMIT].rstrip("."))
        return answer

    def _send(self, message: Mapping[str, Any], seconds: float | None) -> None:
        self._process.send(framed(message), seconds)


def _unreadable(name: str, why: str) -> CompilationError:
    diagnostic = Diagnostic(why, "unreadable", Severity.FATAL, name, 0, 0)
    return CompilationError(
        f"{name} cannot be compiled: {why}.", details={"diagnostics": [diagnostic.as_dict()]}
    )


def _findings(message: Message, name: str) -> tuple[Finding, ...]:
    return tuple(_finding(one, name) for one in message.objects("diagnostics"))


def _finding(one: Message, name: str) -> Finding:
    try:
        severity = Severity(one.text("severity"))
    except ValueError as error:
        raise WorkerProtocolError("a finding of unknown severity") from error
    return Finding(
        Diagnostic(
            message=one.text("message"),
            code=one.text("code"),
            severity=severity,
            file=name,
            line=one.count("line"),
            column=one.count("column"),
        ),
        hint=one.optional_text("hint"),
        path=one.optional_text("path"),
        level=one.optional_text("level") or "",
    )


def _signature(one: Message) -> Signature:
    return Signature(
        path=one.text("path"),
        parameters=one.texts("parameters"),
        public=one.flag("public"),
        asynchronous=one.flag("asynchronous"),
        line=one.count("line"),
    )


def _named_call(one: Message) -> NamedCall:
    return NamedCall(
        one.text("function"), one.optional_text("literal"), one.count("line"), one.count("column")
    )


def _inspected(one: Message) -> InspectedFunction:
    return InspectedFunction(
        signature=_signature(one),
        documentation=one.optional_text("documentation"),
        attributes=tuple(
            Attribute(
                name=attribute.text("name"),
                line=attribute.count("line"),
                arguments=attribute.object("arguments"),
                error=attribute.optional_text("error"),
            )
            for attribute in one.objects("attributes")
        ),
    )


def _constants(found: Mapping[str, Any]) -> dict[str, Constant]:
    constants = {}
    for path, fields in found.items():
        if not isinstance(fields, dict):
            raise WorkerProtocolError("a constant that is no object")
        one = Message("constant", fields)
        line = one.count("line") if "line" in fields else 0
        error = one.optional_text("error")
        value = None if error is not None else one.value("value")
        constants[path] = Constant(value, error, line)
    return constants
