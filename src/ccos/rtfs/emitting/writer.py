"""What every part of the emitter uses: blocks, temporary names, destinations of values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from ccos.rtfs import kinds, nodes
from ccos.rtfs.diagnostics import Diagnostic, Lines
from ccos.rtfs.emitting.constants import repr_data
from ccos.rtfs.emitting.text import Block, Code, call_text, is_constant, is_simple, marked
from ccos.rtfs.nodes import Node
from ccos.rtfs.typedata import type_data
from ccos.rtfs.types import Scalar, Type

DEPTH: Final = 25


CLAUSES: Final = 20
"""From how many clauses on a choice is written without nesting."""


CHAIN: Final = 20


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the value of a node goes.

    Attributes:
        way: ``return``, ``assign`` or ``discard``.
        name: What is assigned to.
        leaves: Whether a ``break`` follows.
        check: The type that a returned value has to be of.
        path: How an error calls that value.
    """

    way: str
    name: str = ""
    leaves: bool = False
    check: Type | None = None
    path: str = ""

    @property
    def jumps(self) -> bool:
        """Whether nothing that is written after it runs."""
        return self.way == "return" or self.leaves


RETURN: Final = Destination("return")


DISCARD: Final = Destination("discard")


@dataclass(slots=True)
class Writer(ABC):
    """Writes statements into a block; the parts that write nodes build on it."""

    _text: str
    _frame: nodes.Frame
    _block: Block = field(default_factory=list)
    _depth: int = 0
    _types: dict[str, str] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)
    _diagnostics: list[Diagnostic] = field(default_factory=list)
    _inferring: int = 0
    _bouncing: bool = False
    """Whether the function being written is a step of several that end with each other."""
    _lines: Lines = field(init=False)

    def __post_init__(self) -> None:
        self._lines = Lines(self._text)

    @abstractmethod
    def into(self, node: Node, to: Destination) -> None:
        """Write a node as statements."""

    @abstractmethod
    def expr(self, node: Node) -> Code:
        """Write a node as an expression, with statements before it where it needs some."""

    @abstractmethod
    def kind(self, node: Node, depth: int = 0) -> str:
        """What is known of the value of a node."""

    @abstractmethod
    def _folded(self, node: nodes.LibraryCall) -> Node: ...

    @abstractmethod
    def _library_test(self, node: nodes.LibraryCall) -> Code | None: ...

    @abstractmethod
    def _function_named(self, node: nodes.Function, variable: nodes.Variable) -> None: ...

    def _line(self, text: str, at: int | None = None) -> None:
        self._block.append(marked(at, text) if at is not None else text)

    @contextmanager
    def _inside(self, block: Block) -> Iterator[Block]:
        """Write into another block for a while."""
        saved, self._block = self._block, block
        try:
            yield block
        finally:
            self._block = saved

    def _captured(self, node: Node) -> tuple[Block, Code]:
        """An expression, and the statements that it needs before it."""
        with self._inside([]) as block:
            code = self.expr(node)
        return block, code

    def _temporary(self, base: str = "t") -> str:
        return self._frame.fresh(base)

    def _held(self, code: Code, base: str = "t") -> Code:
        """A name for the value of an expression."""
        if is_simple(code):
            return code
        name = self._temporary(base)
        self._line(f"{name} = {code}")
        return Code(name)

    def _arguments(self, arguments: Sequence[Node]) -> list[Code]:
        """Expressions that are evaluated from left to right, whatever statements they need."""
        parts = [self._captured(argument) for argument in arguments]
        last = max((i for i, (block, _) in enumerate(parts) if block), default=-1)
        codes: list[Code] = []
        for index, (block, code) in enumerate(parts):
            self._block.extend(block)
            if index < last and not self._is_settled(arguments[index], code):
                code = self._named(code)
            codes.append(code)
        return codes

    def _named(self, code: Code) -> Code:
        name = self._temporary()
        self._line(f"{name} = {code}")
        return Code(name)

    def _is_settled(self, node: Node, code: Code) -> bool:
        """Whether an expression can be evaluated later as well."""
        match node:
            case nodes.Const() | nodes.LibraryRef():
                return True
            case nodes.Ref(variable):
                return variable.is_stable or variable.frame is not self._frame
        return False

    def _warn(self, message: str, at: int, kind: str) -> None:
        self._diagnostics.append(Diagnostic(message, at, at + 1, "", "warning", kind))

    def _finish(self, code: Code, to: Destination, node: Node) -> None:
        if to.way == "return":
            self._return(code, to, node)
            return
        if to.way == "assign":
            if to.name != code:
                self._line(f"{to.name} = {code}", node.at)
        elif not is_constant(code):
            self._line(code, node.at)
        if to.leaves:
            self._line("break")

    def _return(self, code: Code, to: Destination, node: Node) -> None:
        if to.check is not None and not self._is_of(node, to.check):
            code = self._checked(code, to.check, to.path, node.at)
        self._line(f"return {code}", node.at)

    def _is_of(self, node: Node, kind: Type) -> bool:
        """Whether a value is certainly of a type."""
        known = self.kind(node)
        match kind:
            case Scalar("any"):
                return True
            case Scalar("int"):
                return kinds.is_integer(known)
            case Scalar("float"):
                return kinds.is_number(known)
            case Scalar("string"):
                return known == "str"
            case Scalar("bool"):
                return known == "bool"
        return False

    def _checked(self, code: Code, kind: Type, path: str, at: int) -> Code:
        return call_text("typed", [code, Code(self._type(kind)), Code(repr(path))], at)

    def _type(self, kind: Type) -> str:
        """The name of a constant that holds a type."""
        text = repr_data(type_data(kind))
        if len(text) <= 12:
            return text
        if text not in self._types:
            root = self._frame
            while root.outer is not None:
                root = root.outer
            self._types[text] = root.fresh("type_" + str(len(self._types) + 1))
        return self._types[text]
