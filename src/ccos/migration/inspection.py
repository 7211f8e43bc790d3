"""What a source says of itself, as the contracts read it; nothing of its work runs for that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from ccos.engine.hosts import HostModules
from ccos.engine.policy import SecurityLevel, level_policy
from ccos.engine.rune import (
    Attribute,
    Constant,
    Finding,
    HeaderEntry,
    InspectedFunction,
    Inspection,
    Module,
    RuneLanguage,
)

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
    """Reads a source: what it has, and the values of :data:`CONSTANTS`."""

    async def inspect(self, source: str, name: str) -> Inspection:
        """Look into a source for which every host function exists.

        Args:
            source: The text.
            name: What people call it, for messages.

        Raises:
            ScriptError: if this source takes the worker down or takes too long.
            ConfigurationError: if there is nothing to read it with.
        """
        ...


class RuneInspector:
    """Reads sources in Rune, whatever host function they name: which of them exist is for later.

    Args:
        language: Of the engine.
        modules: All host modules.
    """

    def __init__(self, language: RuneLanguage, modules: HostModules) -> None:
        self._language = language
        self._functions = modules.granted(level_policy(SecurityLevel.DEVELOPMENT))

    async def inspect(self, source: str, name: str) -> Inspection:
        """Look into a source; see :class:`Inspector`."""
        return await self._language.inspect(
            source, name=name, functions=self._functions, constants=CONSTANTS
        )


@dataclass(frozen=True, slots=True)
class FunctionSeen:
    """A function of a source; ``path`` names its modules, as in ``inner::call``."""

    path: str
    parameters: tuple[str, ...]
    public: bool
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
class Outline:
    """A source as the contracts read it.

    Attributes:
        compiled: Whether the compiler accepts it; without that there are no constants.
        errors: What stands against compiling it.
        warnings: What else the compiler found.
        summary: The lines ``//! text`` at its top, joined.
        header: The lines ``//! @key text`` there.
        functions: By path.
        constants: What metadata functions gave, by path.
    """

    compiled: bool
    errors: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    summary: str
    header: tuple[HeaderEntry, ...]
    functions: Mapping[str, FunctionSeen]
    modules: tuple[Module, ...]
    constants: Mapping[str, Constant]

    @classmethod
    def of(cls, inspection: Inspection) -> Outline:
        """The outline of what an inspector saw."""
        severe = ("error", "fatal")
        findings = inspection.findings
        return cls(
            compiled=inspection.compiled,
            errors=tuple(one for one in findings if one.diagnostic.severity in severe),
            warnings=tuple(one for one in findings if one.diagnostic.severity not in severe),
            summary=inspection.summary.strip(),
            header=inspection.header,
            functions={one.signature.path: _seen(one) for one in inspection.functions},
            modules=inspection.modules,
            constants=inspection.constants,
        )


def _seen(function: InspectedFunction) -> FunctionSeen:
    signature = function.signature
    return FunctionSeen(
        path=signature.path,
        parameters=signature.parameters,
        public=signature.public,
        line=signature.line,
        documentation=(function.documentation or "").strip(),
        attributes=function.attributes,
    )
