"""What analysis keeps track of, and what it makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ccos.rtfs import nodes
from ccos.rtfs.diagnostics import Diagnostic
from ccos.rtfs.forms import (
    Form,
    Literal,
    Symbol,
)
from ccos.rtfs.macros import Macro
from ccos.rtfs.nodes import Node
from ccos.rtfs.types import (
    Type,
)

EXPANSION_LIMIT: Final = 1_000
EXPANSION_SECONDS: Final = 5.0
"""How long the macros of one program may run in all."""

NIL: Final = Literal("nil", None)


TRUE: Final = Literal("boolean", True)


class WrongFormError(Exception):
    """A form is not what it has to be; caught where analysis can go on."""

    def __init__(self, message: str, form: Form, hint: str = "") -> None:
        super().__init__(message)
        self.diagnostic = Diagnostic(message, form.start, form.end, hint)


@dataclass(eq=False, slots=True)
class Scope:
    """Names that are visible in a body, beyond those of the scope around it."""

    outer: Scope | None
    frame: nodes.Frame
    repeat: nodes.Repeat | None
    names: dict[str, nodes.Variable] = field(default_factory=dict)
    pending: dict[str, nodes.Variable] = field(default_factory=dict)
    """Functions bound further on; only function literals see them already."""
    is_body: bool = False


@dataclass(eq=False, slots=True)
class Module:
    """A module of the program: what it defines, and what others may use."""

    name: str
    members: dict[str, nodes.Variable] = field(default_factory=dict)
    macros: dict[str, Macro] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    exports: list[Symbol] | None = None

    def offers(self, name: str) -> bool:
        """Whether others may use a name."""
        return self.exports is None or any(one.name == name for one in self.exports)

    def defines(self, name: str) -> bool:
        """Whether a name is a value, a macro or a type of it."""
        return name in self.members or name in self.macros or name in self.types


@dataclass(frozen=True, slots=True)
class HostTarget:
    """A host call that the text shows.

    Attributes:
        identifier: The id as written, without colon; None if it is computed.
        start: Offset of the call.
        reason: ``call``, or ``fallback`` if a hint names it.
    """

    identifier: str | None
    start: int
    reason: str = "call"


@dataclass(slots=True)
class Program:
    """An analysed text."""

    body: list[Node]
    variables: dict[str, nodes.Variable]
    targets: list[HostTarget]
    diagnostics: list[Diagnostic]
    types: dict[str, Type]
    frame: nodes.Frame


ModuleSource = Callable[[str], str | None]
"""Answers the text of a module, or None if there is none of that name."""
