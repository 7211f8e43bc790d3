"""What the engine keeps: scripts, the tools made of them, and how often they ran.

Times are seconds since the Unix epoch, durations are seconds, sizes are bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ccos.canonical import canonical_json
from ccos.engine.languages import Diagnostic, Severity
from ccos.engine.policy import MIB, SecurityLevel
from ccos.errors import CompilationError

MAX_SOURCE_BYTES: Final = MIB
_ID_DIGITS: Final = 40
_ID_PREFIX: Final = "script_"


def script_id(source: str, language: str, options: Mapping[str, Any]) -> str:
    """The id of a script: equal input has an equal id, in every process and on every machine.

    Args:
        source: The text.
        language: Such as ``python``.
        options: JSON data that its compilation depends on besides, such as the options of its
            policy and its entry.

    Raises:
        ValueError: if the options are not JSON data.
    """
    identity = {
        "source": hashlib.sha256(source.encode(errors="surrogatepass")).hexdigest(),
        "language": language,
        "options": dict(options),
    }
    return _ID_PREFIX + hashlib.sha256(canonical_json(identity)).hexdigest()[:_ID_DIGITS]


def check_source(source: str, name: str, *, max_bytes: int = MAX_SOURCE_BYTES) -> None:
    """Make sure that a text can be kept, whatever its language.

    Args:
        source: The text.
        name: What people call it, for the message.
        max_bytes: Most bytes that it may have in UTF-8.

    Raises:
        CompilationError: if it is longer, or has a character that cannot be stored: NUL, or half
            of a surrogate pair.
    """
    # A character has at least one byte, so a huge text is refused without being encoded.
    size = len(source) if len(source) > max_bytes else source_size(source)
    if size > max_bytes:
        raise _unacceptable(
            f"{name} is larger than the {max_bytes} bytes allowed.", "source-size", name, 0, 0
        )
    place = unstorable_character(source)
    if place is not None:
        before = source[:place]
        line, column = before.count("\n") + 1, place - before.rfind("\n")
        raise _unacceptable(
            f"{name} has the character U+{ord(source[place]):04X} in line {line}, column {column}.",
            "source-character",
            name,
            line,
            column,
        )


def source_size(source: str) -> int:
    """How many bytes a text has in UTF-8."""
    return len(source) if source.isascii() else len(source.encode(errors="surrogatepass"))


def unstorable_character(text: str) -> int | None:
    """Index of the first character that a database cannot hold: NUL, or half a surrogate pair."""
    nul = text.find("\0")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start if nul < 0 else min(nul, error.start)
    return None if nul < 0 else nul


def _unacceptable(message: str, code: str, name: str, line: int, column: int) -> CompilationError:
    finding = Diagnostic(message, code, Severity.FATAL, name, line, column)
    return CompilationError(message, details={"diagnostics": [finding.as_dict()]})


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A script that was accepted, with all that is needed to compile it again.

    Attributes:
        script_id: Usually that of :func:`script_id`.
        language: Name of its language.
        name: What people call it, such as its file name.
        source: Its text.
        level: The security level that it was accepted at.
        options: JSON data that its compilation depends on, such as the options of its policy.
        metadata: JSON data of whoever registered it; the engine only keeps it.
    """

    script_id: str
    language: str
    name: str
    source: str
    level: SecurityLevel
    options: Mapping[str, Any]
    description: str = ""
    author: str = ""
    version: str = ""
    tags: tuple[str, ...] = ()
    created_at: float
    updated_at: float
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """How many bytes its text has in UTF-8."""
        return source_size(self.source)

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data, the text among them."""
        return {
            "script_id": self.script_id,
            "language": self.language,
            "name": self.name,
            "source": self.source,
            "security_level": self.level.value,
            "options": dict(self.options),
            "description": self.description,
            "author": self.author,
            "version": self.version,
            "tags": list(self.tags),
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "size_bytes": self.size_bytes,
            "metadata": dict(self.metadata),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptInfo:
    """A script without its text, and how often it ran. ``last_executed`` None is never."""

    script_id: str
    name: str
    description: str
    author: str
    version: str
    language: str
    created_at: float
    updated_at: float
    size_bytes: int
    execution_count: int
    last_executed: float | None
    security_level: SecurityLevel
    tags: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return {
            "script_id": self.script_id,
            "name": self.name,
            "description": self.description,
            "author": self.author,
            "version": self.version,
            "language": self.language,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "size_bytes": self.size_bytes,
            "execution_count": self.execution_count,
            "last_executed": self.last_executed,
            "security_level": self.security_level.value,
            "tags": list(self.tags),
        }


@dataclass(frozen=True, slots=True)
class ToolParameter:
    """A parameter of a tool; ``kind`` is its type as JSON Schema calls it, such as ``string``."""

    name: str
    kind: str = "any"
    description: str = ""
    required: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return {
            "name": self.name,
            "kind": self.kind,
            "description": self.description,
            "required": self.required,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ToolParameter:
        """The parameter that :meth:`as_dict` described."""
        return cls(**data)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptTool:
    """A function of a script that can be called by name.

    Attributes:
        name: What it is called; unique among all tools.
        parameters: What it takes, in order.
        return_type: What it gives, as JSON Schema calls it.
        script_id: The script that it is in.
        function_name: The function of that script.
        metadata: Text of whoever registered it; the engine only keeps it.
    """

    name: str
    description: str
    script_id: str
    function_name: str
    parameters: tuple[ToolParameter, ...] = ()
    return_type: str = "any"
    metadata: Mapping[str, str] = field(default_factory=dict)
    version: str | None = None
    author: str | None = None

    @property
    def signature(self) -> str:
        """How it is called: ``forecast(city: string, days?: integer) -> object``."""
        parameters = (
            f"{one.name}{'' if one.required else '?'}: {one.kind}" for one in self.parameters
        )
        return f"{self.function_name}({', '.join(parameters)}) -> {self.return_type}"

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data, the signature among them."""
        return {
            "name": self.name,
            "description": self.description,
            "signature": self.signature,
            "parameters": [parameter.as_dict() for parameter in self.parameters],
            "return_type": self.return_type,
            "script_id": self.script_id,
            "function_name": self.function_name,
            "metadata": dict(self.metadata),
            "version": self.version,
            "author": self.author,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ScriptTool:
        """The tool that :meth:`as_dict` described."""
        fields = {name: value for name, value in data.items() if name != "signature"}
        parameters = tuple(ToolParameter.from_dict(one) for one in data["parameters"])
        return cls(**{**fields, "parameters": parameters})


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a script that came to its end; what was not measured is None."""

    script_id: str
    succeeded: bool
    seconds: float
    ended_at: float
    peak_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptExecutionStats:
    """How often the scripts of the store ran, from the first day on.

    Attributes:
        average_execution_time: Seconds; None before the first execution.
        total_memory_used: Sum of the peak memory of those executions for which it was measured;
            None if it was measured for none.
        executions_by_script: Executions of each script that ran, by id.
        error_rates_by_script: Share of them that failed, from 0 to 1, by id.
        popular_scripts: The ids of those that ran most often, most often first.
    """

    total_executions: int
    successful_executions: int
    failed_executions: int
    average_execution_time: float | None
    total_memory_used: int | None
    executions_by_script: Mapping[str, int]
    error_rates_by_script: Mapping[str, float]
    popular_scripts: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return {
            "total_executions": self.total_executions,
            "successful_executions": self.successful_executions,
            "failed_executions": self.failed_executions,
            "average_execution_time": self.average_execution_time,
            "total_memory_used": self.total_memory_used,
            "executions_by_script": dict(self.executions_by_script),
            "error_rates_by_script": dict(self.error_rates_by_script),
            "popular_scripts": list(self.popular_scripts),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStatistics:
    """What a compile cache holds, and what it was asked for since it was made.

    Attributes:
        entries: Compiled scripts that it holds.
        bytes: Size of their texts and units.
        hits: Requests that it could serve, from memory or from the database.
        misses: Requests that it could not serve.
        evictions: Compiled scripts that it gave up to keep within its limits.
    """

    entries: int = 0
    bytes: int = 0
    hits: int = 0
    misses: int = 0
    evictions: int = 0

    def as_dict(self) -> dict[str, int]:
        """Its parts as JSON data."""
        return {
            "entries": self.entries,
            "bytes": self.bytes,
            "hits": self.hits,
            "misses": self.misses,
            "evictions": self.evictions,
        }
