"""What an inspector tells of a source, without running its work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

CONSTANTS: Final = (
    "NAME",
    "DESCRIPTION",
    "INPUT_SCHEMA",
    "OUTPUT_SCHEMA",
    "VERSION",
    "CATEGORY",
    "TAGS",
    "AUTHOR",
    "PERMISSIONS",
    "DEPENDENCIES",
)
"""Functions that describe a tool; their values are read where no host function exists."""


class Inspector(Protocol):
    """Reads a source: what it has, and the values of its metadata functions."""

    async def inspect(self, source: str, name: str) -> Mapping[str, Any]:
        """Look into a source for which every host function exists.

        Args:
            source: The text.
            name: What people call it, for messages.

        Returns:
            The answer ``inspected`` of the Rune worker, with the values of :data:`CONSTANTS`.

        Raises:
            ScriptError: if this source takes the worker down or takes too long.
        """
        ...


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute before a function: ``#[name(arguments)]``."""

    name: str
    line: int
    arguments: Mapping[str, Any]
    error: str | None
    """Why its arguments could not be read; None if they could."""


@dataclass(frozen=True, slots=True)
class FunctionSeen:
    """A function of a source; ``path`` names its modules, as in ``inner::call``."""

    path: str
    parameters: tuple[str, ...]
    public: bool
    asynchronous: bool
    line: int
    documentation: str
    attributes: tuple[Attribute, ...]

    @property
    def name(self) -> str:
        """Its own name."""
        return self.path.rpartition("::")[2]

    @property
    def module(self) -> str:
        """The path of its module; empty at the top."""
        return self.path.rpartition("::")[0]

    def has(self, attribute: str) -> bool:
        """Whether an attribute of that name stands before it."""
        return any(one.name == attribute for one in self.attributes)


@dataclass(frozen=True, slots=True)
class ModuleSeen:
    """A module within a source."""

    path: str
    public: bool
    line: int


@dataclass(frozen=True, slots=True)
class HeaderEntry:
    """A line ``//! @key text``."""

    key: str
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class ConstantSeen:
    """What a metadata function gave, or why it gave nothing."""

    value: Any
    error: str | None
    line: int


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding of the compiler."""

    message: str
    code: str
    severity: str
    hint: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Inspection:
    """Everything that was seen in a source.

    Attributes:
        compiled: Whether the compiler accepts it; without that there are no constants.
        header_text: The lines ``//! text`` at its top, joined.
    """

    compiled: bool
    findings: tuple[Finding, ...]
    header_text: str
    header: tuple[HeaderEntry, ...]
    functions: Mapping[str, FunctionSeen]
    modules: tuple[ModuleSeen, ...]
    constants: Mapping[str, ConstantSeen]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What stands against compiling it."""
        return tuple(one for one in self.findings if one.severity == "error")

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Inspection:
        """The inspection in an answer of an :class:`Inspector`."""
        return cls(
            compiled=data["compiled"],
            findings=tuple(_finding(one) for one in data["diagnostics"]),
            header_text=data["header"]["text"].strip(),
            header=tuple(
                HeaderEntry(one["key"], one["text"].strip(), one["line"])
                for one in data["header"]["entries"]
            ),
            functions={one["path"]: _function(one) for one in data["functions"]},
            modules=tuple(
                ModuleSeen(one["path"], one["public"], one["line"]) for one in data["modules"]
            ),
            constants={
                path: ConstantSeen(one.get("value"), one.get("error"), one.get("line", 0))
                for path, one in data["constants"].items()
            },
        )


def _finding(data: Mapping[str, Any]) -> Finding:
    return Finding(
        message=data["message"],
        code=data["code"],
        severity=data["severity"],
        hint=data.get("hint") or "",
        line=data["line"],
        column=data["column"],
    )


def _function(data: Mapping[str, Any]) -> FunctionSeen:
    return FunctionSeen(
        path=data["path"],
        parameters=tuple(data["parameters"]),
        public=data["public"],
        asynchronous=data["asynchronous"],
        line=data["line"],
        documentation=(data["documentation"] or "").strip(),
        attributes=tuple(_attributes(data["attributes"])),
    )


def _attributes(data: Iterable[Mapping[str, Any]]) -> Iterable[Attribute]:
    for one in data:
        yield Attribute(one["name"], one["line"], one["arguments"], one["error"])
