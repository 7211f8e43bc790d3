"""Nodes become Python text for Monty.

A node is written as an expression where it can be, and as statements that end in a destination
otherwise. Places of the RTFS text travel inside the generated text as marks and leave it at the
end as a source map.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, TypeAlias

from ccos.rtfs import kinds, nodes, prelude
from ccos.rtfs.diagnostics import Diagnostic, Lines
from ccos.rtfs.forms import (
    Form,
    Keyword,
    ListForm,
    Literal,
    MapForm,
    Symbol,
    VectorForm,
    head_name,
)
from ccos.rtfs.library import BY_NAME, IMPURE
from ccos.rtfs.nodes import Node, place
from ccos.rtfs.printer import printed
from ccos.rtfs.typedata import type_data
from ccos.rtfs.types import Scalar, Type, describes_sequence, type_text

# How tightly Python binds, from loose to tight.
CHOICE, OR, AND, NOT, COMPARISON, SUM, PRODUCT, SIGN, ATOM = range(9)

RESULT: Final = "result"
HELD: Final = "#held"
"""The kind of a literal that stands for a Python name."""
_DEPTH: Final = 25
_BLOCK_DEPTH: Final = 80
_ALTERNATIVES: Final = 90
_CLAUSES: Final = 20
"""From how many clauses on a choice is written without nesting."""
_MARK: Final = re.compile(r"\x01(\d+)\x02|\x03")
_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_CHAIN: Final = 20


class Code(str):
    """Python text of an expression, and how tightly it binds."""

    __slots__ = ("level",)
    level: int

    def __new__(cls, text: str, level: int = ATOM) -> Code:  # noqa: D102
        code = super().__new__(cls, text)
        code.level = level
        return code

    def at_least(self, level: int) -> str:
        """The text, in parentheses if it would bind looser than ``level``."""
        return str(self) if self.level >= level else f"({self})"


Block: TypeAlias = "list[str | Block]"


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


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the generated text and the place in the program that it comes from."""

    line: int
    start: int
    end: int
    at: int


@dataclass(frozen=True, slots=True)
class Emitted:
    """The generated text of a program.

    Attributes:
        text: Python text, without the prelude.
        spans: Where its parts come from, by line.
        names: Names of the prelude that it uses.
        diagnostics: What was noticed on the way.
    """

    text: str
    spans: dict[int, list[Span]]
    names: frozenset[str]
    diagnostics: tuple[Diagnostic, ...]


class TooDeepError(Exception):
    """The generated text would be nested deeper than Monty reads; never leaves this package."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at


def emit(body: Sequence[Node], text: str, module: nodes.Frame) -> Emitted:
    """Write a program.

    Args:
        body: Its top-level nodes.
        text: The RTFS text they come from.
        module: The frame of the module itself.
    """
    return Emitter(text, module).program(body)


@dataclass(slots=True)
class Emitter:
    """Writes one program."""

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

    def program(self, body: Sequence[Node]) -> Emitted:
        """Write all; the value of the last node ends in ``result``."""
        for node in body[:-1]:
            self.into(node, DISCARD)
        self.into(body[-1], Destination("assign", RESULT))
        header: Block = [f"{name} = {text}" for text, name in self._types.items()]
        text, spans = _without_marks("\n".join(_written([*header, *self._block], 0)))
        return Emitted(text, spans, frozenset(_NAME.findall(text)), tuple(self._diagnostics))

    # --- Text -----------------------------------------------------------------------------

    def _line(self, text: str, at: int | None = None) -> None:
        self._block.append(_marked(at, text) if at is not None else text)

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
        if _is_simple(code):
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

    # --- Destinations ---------------------------------------------------------------------

    def into(self, node: Node, to: Destination) -> None:
        """Write a node as statements."""
        writer = _STATEMENTS.get(type(node))
        if writer is not None:
            writer(self, node, to)
        else:
            self._finish(self.expr(node), to, node)

    def _finish(self, code: Code, to: Destination, node: Node) -> None:
        if to.way == "return":
            self._return(code, to, node)
            return
        if to.way == "assign":
            if to.name != code:
                self._line(f"{to.name} = {code}", node.at)
        elif not _is_constant(code):
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
        return _called("typed", [code, Code(self._type(kind)), Code(repr(path))], at)

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

    # --- Expressions ----------------------------------------------------------------------

    def expr(self, node: Node) -> Code:
        """Write a node as an expression, with statements before it where it needs some."""
        self._depth += 1
        try:
            code = self._expression(node)
            if self._depth % _DEPTH == 0:
                return self._held(code)
            return code
        finally:
            self._depth -= 1

    def _expression(self, node: Node) -> Code:
        writer = _EXPRESSIONS.get(type(node))
        if writer is not None:
            code: Code = writer(self, node)
            return code
        name = self._temporary()
        self.into(node, Destination("assign", name))
        return Code(name)

    def _const(self, node: nodes.Const) -> Code:
        return data_code(self._shallow(node.form, 0))

    def _shallow(self, form: Form, depth: int) -> Form:
        """Data that is nested deeply, with names at the places of inner parts."""
        if not isinstance(form, ListForm | VectorForm | MapForm):
            return form
        changed = tuple(self._shallow(item, depth + 1) for item in form.items)
        if any(one is not item for one, item in zip(changed, form.items, strict=True)):
            form = type(form)(changed, form.start, form.end)
        if depth == 0 or depth % _DEPTH:
            return form
        name = self._temporary()
        self._line(f"{name} = {data_code(form)}")
        return Literal(HELD, name)

    def _ref(self, node: nodes.Ref) -> Code:
        return (
            Code(_marked(node.at, node.variable.python))
            if node.variable.is_global
            else Code(node.variable.python)
        )

    def _library_ref(self, node: nodes.LibraryRef) -> Code:
        return Code(BY_NAME[node.name].python)

    def _raw(self, node: nodes.Raw) -> Code:
        if node.kind == "reference":
            return Code(node.python)
        return _called(node.python, self._arguments(node.arguments), node.at)

    def _vector(self, node: nodes.VectorNode) -> Code:
        return Code(f"[{', '.join(self._arguments(node.items))}]")

    def _map(self, node: nodes.MapNode) -> Code:
        flat = [part for pair in node.pairs for part in pair]
        codes = self._arguments(flat)
        if all(_is_plain_key(key) for key, _ in node.pairs):
            pairs = [f"{codes[i]}: {codes[i + 1]}" for i in range(0, len(codes), 2)]
            return Code(f"{{{', '.join(pairs)}}}")
        return _called("map_of", codes, node.at)

    def _template(self, node: nodes.Template) -> Code:
        codes = self._arguments([item for item, _ in node.items])
        parts = [
            f"*items({code})" if spliced else code
            for code, (_, spliced) in zip(codes, node.items, strict=True)
        ]
        if node.shape == "vector":
            return Code(_marked(node.at, f"[{', '.join(parts)}]"))
        if node.shape == "list":
            comma = "," if len(parts) == 1 else ""
            return Code(_marked(node.at, f"({', '.join(parts)}{comma})"))
        return Code(_marked(node.at, f"hash_map({', '.join(parts)})"))

    def _fresh_symbol(self, node: nodes.FreshSymbol) -> Code:
        return Code(f"fresh_symbol({node.name!r})")

    def _check(self, node: nodes.Check) -> Code:
        return self._checked(self.expr(node.value), node.type, node.path, node.at)

    def _host_call(self, node: nodes.HostCall) -> Code:
        target, *arguments = self._arguments([node.target, *node.arguments])
        line = Code(str(self._lines.place(node.at)[0]))
        return _called("host_call", [target, line, *arguments], node.at)

    def _host_function(self, node: nodes.HostFunction) -> Code:
        line = self._lines.place(node.at)[0]
        return Code(f"partial(host_call, {node.identifier!r}, {line})")

    def _do(self, node: nodes.Do) -> Code:
        for one in node.body[:-1]:
            self.into(one, DISCARD)
        return self.expr(node.body[-1])

    def _let(self, node: nodes.Let) -> Code:
        for binding in node.bindings:
            self._bind(binding)
        return self.expr(node.body)

    def _if(self, node: nodes.If) -> Code:
        if _chain_length(node) > _CLAUSES:
            name = self._temporary()
            self._long_choice(node, Destination("assign", name))
            return Code(name)
        test = self.condition(node.test)
        if test in ("True", "False"):
            return self.expr(node.then if test == "True" else node.otherwise)
        then_block, then = self._captured(node.then)
        else_block, otherwise = self._captured(node.otherwise)
        if not then_block and not else_block:
            text = f"{then.at_least(OR)} if {test.at_least(OR)} else {otherwise}"
            return Code(text, CHOICE)
        name = self._temporary()
        self._choose(
            test, [*then_block, f"{name} = {then}"], [*else_block, f"{name} = {otherwise}"]
        )
        return Code(name)

    def _choose(self, test: Code, then: Block, otherwise: Block) -> None:
        """``if``, with ``elif`` where the rest is an ``if`` itself."""
        if not then and not otherwise:
            if not _is_simple(test):
                self._line(test)
            return
        if not then:
            test, then, otherwise = _negated(test), otherwise, []
        self._line(f"if {test}:")
        self._block.append(then)
        if not otherwise:
            return
        first = otherwise[0]
        if isinstance(first, str) and _plain(first).startswith("if ") and _is_one_if(otherwise):
            self._line("el" + first if not first.startswith("\x01") else _elif(first))
            self._block.extend(otherwise[1:])
            return
        self._line("else:")
        self._block.append(otherwise)

    # --- Truth ----------------------------------------------------------------------------

    def condition(self, node: Node) -> Code:
        """A Python expression that is true if the value is neither nil nor false."""
        test = self.test(node)
        if test is not None:
            return test
        kind = self.kind(node)
        if kind == "bool":
            return Code(f"{self.expr(node).at_least(SUM)} is TRUE", COMPARISON)
        code = self.expr(node)
        if kind not in ("any", "never"):
            if not _is_simple(code):
                self._line(code)
            return Code("False" if kind == "nil" else "True")
        if _is_simple(code):
            return Code(f"{code} is not None and {code} is not FALSE", AND)
        name = self._temporary()
        return Code(f"({name} := {code}) is not None and {name} is not FALSE", AND)

    def test(self, node: Node) -> Code | None:
        """A Python boolean, if the node is written as one anyway; None otherwise."""
        match node:
            case nodes.Const(Literal(kind="boolean" | "nil", value=value)):
                return Code("True" if value else "False")
            case nodes.And(parts):
                return self._all_parts(parts, " and ", AND)
            case nodes.Or(parts):
                return self._all_parts(parts, " or ", OR)
            case nodes.LibraryCall():
                folded = self._folded(node)
                if isinstance(folded, nodes.Const):
                    return self.test(folded)
                return self._library_test(node)
        return None

    def _all_parts(self, parts: list[Node], word: str, level: int) -> Code | None:
        """Conditions joined; None if one needs statements before it."""
        codes: list[Code] = []
        for part in parts:
            with self._inside([]) as block:
                codes.append(self.condition(part))
            if block:
                if not codes[:-1]:
                    self._block.extend(block)
                    continue
                return self._sequential(parts, word)
        return Code(word.join(code.at_least(level + 1) for code in codes), level)

    def _sequential(self, parts: list[Node], word: str) -> Code:
        """``and``, ``or`` of conditions of which some need statements."""
        name = self._temporary()
        going = Code(name) if word == " and " else Code(f"not {name}", NOT)
        self._line(f"{name} = {self.condition(parts[0])}")
        target: Block = self._block
        for part in parts[1:]:
            with self._inside([]) as block:
                self._line(f"{name} = {self.condition(part)}")
            target += [f"if {going}:", block]
        return Code(name)

    def _boolean(self, test: Code) -> Code:
        """The value of a Python boolean."""
        if test in ("True", "False"):
            return Code(test.upper())
        return Code(f"TRUE if {test.at_least(OR)} else FALSE", CHOICE)

    def _and(self, node: nodes.And) -> Code:
        return self._logical(node.parts, node.at, is_and=True)

    def _or(self, node: nodes.Or) -> Code:
        return self._logical(node.parts, node.at, is_and=False)

    def _logical(self, parts: list[Node], at: int, *, is_and: bool) -> Code:
        if all(self.kind(part) == "bool" for part in parts):
            test = self._all_parts(parts, " and " if is_and else " or ", AND if is_and else OR)
            assert test is not None
            return self._boolean(test)
        name = self._temporary()
        self._logical_into(parts, Destination("assign", name), is_and=is_and)
        return Code(name)

    def _logical_statement(self, node: nodes.And | nodes.Or, to: Destination) -> None:
        if to.way == "assign" and not to.leaves:
            self._logical_into(node.parts, to, is_and=isinstance(node, nodes.And))
        elif to.jumps:
            self._logical_jumping(node.parts, to, is_and=isinstance(node, nodes.And))
        else:
            self._finish(self.expr(node), to, node)

    def _logical_jumping(self, parts: list[Node], to: Destination, *, is_and: bool) -> None:
        for part in parts[:-1]:
            if self.kind(part) == "bool":
                test = self.condition(part)
                value = Code("FALSE" if is_and else "TRUE")
            else:
                value = self._held(self.expr(part))
                test = Code(f"{value} is not None and {value} is not FALSE", AND)
            with self._inside([]) as block:
                self._finish(value, to, part)
            self._choose(_negated(test) if is_and else test, block, [])
        self.into(parts[-1], to)

    def _logical_into(self, parts: list[Node], to: Destination, *, is_and: bool) -> None:
        self.into(parts[0], to)
        target = self._block
        for index, part in enumerate(parts[1:], 1):
            if all(self.kind(previous) == "bool" for previous in parts[:index]):
                test = Code(f"{to.name} is TRUE", COMPARISON)
            else:
                test = Code(f"{to.name} is not None and {to.name} is not FALSE", AND)
            block: Block = []
            with self._inside(block):
                self.into(part, to)
            target += [f"if {test if is_and else _negated(test)}:", block]

    # --- Kinds ----------------------------------------------------------------------------

    def kind(self, node: Node, depth: int = 0) -> str:
        """What is known of the value of a node."""
        if depth > 12:
            return "any"
        match node:
            case nodes.Const(form):
                return _CONST_KINDS.get(_data_kind(form), "any")
            case nodes.Ref(variable):
                return variable.kind
            case nodes.LibraryCall():
                return self._library_kind(node, depth)
            case nodes.If(_, then, otherwise):
                return kinds.joined(self.kind(then, depth + 1), self.kind(otherwise, depth + 1))
            case nodes.Do(body):
                return self.kind(body[-1], depth + 1)
            case nodes.Let(_, body):
                return self.kind(body, depth + 1)
            case nodes.And(parts) | nodes.Or(parts):
                found = {self.kind(part, depth + 1) for part in parts}
                return "bool" if found == {"bool"} else "any"
            case nodes.VectorNode(items):
                found_kind = "never"
                for item in items[:50]:
                    found_kind = kinds.joined(found_kind, self.kind(item, depth + 1))
                unknown = found_kind == "never" or len(items) > 50
                return "vec" if unknown else kinds.vector_of(found_kind)
            case nodes.MapNode():
                return "map"
            case nodes.Function() | nodes.LibraryRef() | nodes.HostFunction():
                return "fn"
            case nodes.For(_, _, collect):
                return "vec" if collect else "nil"
            case nodes.Recur():
                return "never"
            case nodes.Raw():
                return "any" if node.kind == "reference" else node.kind
        return "any"

    def _library_kind(self, node: nodes.LibraryCall, depth: int) -> str:
        function = BY_NAME[node.name]
        if not function.accepts(len(node.arguments)):
            return "never"
        arguments = [self.kind(one, depth + 1) for one in node.arguments[:_CHAIN]]
        match function.python:
            case "add" | "subtract":
                result = arguments[0]
                for one in arguments[1:]:
                    result = kinds.total(result, one)
                return result if kinds.is_number(result) else "num"
            case "inc" | "dec":
                return kinds.total(arguments[0], "small")
            case "multiply":
                result = arguments[0]
                for one in arguments[1:]:
                    result = kinds.total(result, one)
                result = result if kinds.is_number(result) else "num"
                return "int" if result == "small" else result
            case "modulo" | "remainder":
                if kinds.is_integer(arguments[0]) and kinds.is_integer(arguments[1]):
                    return "int"
            case "maximum" | "minimum":
                result = "never"
                for one in arguments:
                    result = kinds.joined(result, one)
                return result if kinds.is_number(result) else "num"
            case "count" | "length" | "string_length":
                return "small"
            case "keep" | "remove":
                return kinds.vector_of(kinds.item_of(arguments[1]))
            case "each":
                return self._mapped_kind(node, depth)
            case "conj" if kinds.is_vector(arguments[0]):
                return "vec"
            case "number_range" | "numbers":
                whole = all(kinds.is_integer(one) for one in arguments)
                return "vec:small" if whole else "vec:num"
            case "get" if len(arguments) == 1:
                return "any"
        return function.kind

    def _mapped_kind(self, node: nodes.LibraryCall, depth: int) -> str:
        function = node.arguments[0]
        if isinstance(function, nodes.LibraryRef):
            if BY_NAME[function.name].python in ("inc", "dec"):
                return kinds.vector_of("num")
            return kinds.vector_of(BY_NAME[function.name].kind.replace("small", "int"))
        if isinstance(function, nodes.Function) and len(function.clauses) == 1:
            [clause] = function.clauses
            if len(clause.parameters) == 1 and isinstance(clause.parameters[0].pattern, nodes.Name):
                item = kinds.item_of(self.kind(node.arguments[1], depth + 1))
                clause.parameters[0].pattern.variable.kind = item
            return kinds.vector_of(self.kind(clause.body, depth + 1))
        return "vec"

    # --- Binding --------------------------------------------------------------------------

    def _bind(self, binding: nodes.Bind) -> None:
        pattern, value = binding.pattern, binding.value
        if isinstance(pattern, nodes.Name):
            variable = pattern.variable
            if isinstance(value, nodes.Function):
                self._function_named(value, variable)
            else:
                variable.kind = self.kind(value)
                self.into(value, Destination("assign", variable.python))
            self._check_variable(variable.python, binding.type, variable.name, value, binding.at)
            return
        code = self.expr(value)
        if binding.type is not None:
            code = self._checked(code, binding.type, "value", binding.at)
        self._take_apart(pattern, code)

    def _check_variable(
        self, name: str, kind: Type | None, path: str, value: Node | None, at: int
    ) -> None:
        """A statement that checks the type of a variable."""
        if kind is None or (value is not None and self._is_of(value, kind)):
            return
        if value is not None:
            self._warn_mismatch(value, kind, path, at)
        test = _SCALAR_TESTS.get(kind.name) if isinstance(kind, Scalar) else None
        if test is None:
            if kind != Scalar("any"):
                self._line(f"typed({name}, {self._type(kind)}, {path!r})", at)
            return
        self._line(f"if {test.format(name)}:", at)
        message = f"differs({type_text(kind)!r}, {name}, {path!r})"
        self._block.append([_marked(at, f"type_error({message})")])

    def _warn_mismatch(self, value: Node, kind: Type, path: str, at: int) -> None:
        """Say that a value is never of the type that it has to be of."""
        known = _KIND_TYPES.get(self.kind(value).partition(":")[0])
        if known is None or not isinstance(kind, Scalar) or kind.name in ("any", known):
            return
        if known in ("int", "a float") and kind.name == "float":
            return
        self._warn(f"{path} is never {type_text(kind)} here", at, "TypeValidationError")

    def _take_apart(self, pattern: nodes.Pattern, code: Code) -> None:
        """Statements that bind the variables of a pattern."""
        match pattern:
            case nodes.Ignore():
                if not _is_simple(code):
                    self._line(code)
            case nodes.Name(variable):
                self._line(f"{variable.python} = {code}")
            case nodes.Items():
                self._take_items(pattern, code)
            case nodes.Members():
                self._take_members(pattern, code)

    def _take_items(self, pattern: nodes.Items, code: Code) -> None:
        if pattern.whole is not None:
            self._line(f"{pattern.whole.python} = {code}")
            code = Code(pattern.whole.python)
        open_end = ", True" if pattern.open_end else ", False"
        unpacked = _marked(pattern.at, f"unpacked({code}, {len(pattern.parts)}{open_end})")
        simple = all(isinstance(part, nodes.Name | nodes.Ignore) for part in pattern.parts)
        if simple and not pattern.open_end and pattern.parts:
            names = [
                part.variable.python if isinstance(part, nodes.Name) else "_"
                for part in pattern.parts
            ]
            comma = "," if len(names) == 1 else ""
            self._line(f"{', '.join(names)}{comma} = {unpacked}")
            return
        parts = self._held(Code(unpacked), "parts")
        for index, part in enumerate(pattern.parts):
            if not isinstance(part, nodes.Ignore):
                self._take_apart(part, Code(f"{parts}[{index}]"))
        if pattern.rest is not None:
            rest = f"list({parts}[{len(pattern.parts)}:]) or None"
            self._line(f"{pattern.rest.python} = {rest}")

    def _take_members(self, pattern: nodes.Members, code: Code) -> None:
        if pattern.whole is not None:
            self._line(f"{pattern.whole.python} = {code}")
            code = Code(pattern.whole.python)
        name = self._temporary("entries")
        self._line(f"{name} = {_marked(pattern.at, f'opened({code})')}")
        for member in pattern.members:
            self._take_member(member, name)
        if pattern.rest is not None:
            exact = [key_code(member.key) for member in pattern.members if not member.lenient]
            lenient = [key_code(member.key) for member in pattern.members if member.lenient]
            used = f"[{', '.join(exact)}], [{', '.join(lenient)}]"
            self._line(f"{pattern.rest.python} = without({name}, {used})")

    def _take_member(self, member: nodes.Member, name: str) -> None:
        key = key_code(member.key)
        found = f"lookup({name}, {key}" if member.lenient else f"{name}.get({key}"
        if member.default is None:
            self._take_apart(member.pattern, Code(f"{found})"))
            return
        if isinstance(member.default, nodes.Const):
            code = Code(f"{found}, {self.expr(member.default)})")
            self._take_apart(member.pattern, code)
            return
        held = self._temporary("found")
        self._line(f"{held} = {found}, MISSING)")
        self._line(f"if {held} is MISSING:")
        with self._inside([]) as block:
            self.into(member.default, Destination("assign", held))
        self._block.append(block)
        self._take_apart(member.pattern, Code(held))

    # --- Functions ------------------------------------------------------------------------

    def _function(self, node: nodes.Function) -> Code:
        """A function as a value: a lambda where one line will do."""
        own = node.variable is not None and node.variable.used and node.variable.function is node
        if own and node.variable is not None and node.variable.frame is self._frame:
            self._function_named(node, node.variable)
            return Code(node.variable.python)
        name = self._frame.fresh(_function_name(node.name))
        body, header = self._definition(node)
        short = _as_lambda(header, body)
        frozen = self._frozen(node, None)
        if short is not None:
            if not frozen:
                return Code(short, CHOICE)
            names = ", ".join(frozen)
            return Code(f"(lambda {names}: {short})({names})")
        self._write_definition(name, header, body, frozen)
        return Code(name)

    def _function_named(self, node: nodes.Function, variable: nodes.Variable) -> None:
        """A function under the name of the variable it is bound to."""
        body, header = self._definition(node)
        if variable.step is None:
            self._write_definition(variable.python, header, body, self._frozen(node, variable))
            return
        self._write_definition(variable.step, header, body, [])
        first = f"{variable.step}({header})"
        self._block += [f"def {variable.python}({header}):", [f"return bounced({first})"]]

    def _tail_call(self, node: nodes.Call, to: Destination) -> None:
        """A call that ends a function; between functions that end with each other it bounces."""
        callee = node.callee
        bounces = (
            node.tail
            and to.way == "return"
            and isinstance(callee, nodes.Ref)
            and callee.variable.step is not None
            and self._bouncing
        )
        if not bounces:
            self._finish(self.expr(node), to, node)
            return
        assert isinstance(callee, nodes.Ref)
        arguments = [callee.variable.step or "", *self._arguments(node.arguments)]
        self._line(f"return Bounce({', '.join(arguments)})", node.at)

    def _write_definition(self, name: str, header: str, body: Block, frozen: list[str]) -> None:
        """``def``; what a loop would change under it goes through a function around it."""
        definition: Block = [f"def {name}({header}):", body]
        if not frozen:
            self._block += definition
            return
        maker = self._frame.fresh("make_" + name)
        self._block += [
            f"def {maker}({', '.join(frozen)}):",
            [*definition, f"return {name}"],
            f"{name} = {maker}({', '.join(frozen)})",
        ]

    def _frozen(self, node: nodes.Function, variable: nodes.Variable | None) -> list[str]:
        """The variables that a loop gives other values while the function lives."""
        return [
            free.python
            for free in node.free
            if free is not variable
            and free is not node.variable
            and free.repeat is not None
            and free.repeat.varies()
            and free.function is None
        ]

    def _definition(self, node: nodes.Function) -> tuple[Block, str]:
        """The statements and the parameters of a function."""
        if len(node.clauses) == 1:
            [clause] = node.clauses
            body = self._clause(node, clause)
            return body, ", ".join(_parameter(one) for one in clause.parameters)
        return self._clauses(node), "*arguments"

    def _clauses(self, node: nodes.Function) -> Block:
        """A function with several arities asks how many arguments it got."""
        block: Block = []
        for clause in sorted(node.clauses, key=lambda one: one.has_rest):
            test = ">=" if clause.has_rest else "=="
            inner: Block = []
            if clause.parameters:
                names = [_parameter(one) for one in clause.parameters]
                comma = "," if len(names) == 1 else ""
                inner.append(f"{', '.join(names)}{comma} = arguments")
            inner += self._clause(node, clause)
            block += [f"if len(arguments) {test} {clause.required}:", inner]
        block.append(f"return arity_fault({node.name!r}, len(arguments))")
        return block

    def _clause(self, node: nodes.Function, clause: nodes.Clause) -> Block:
        saved = self._frame, self._bouncing
        self._frame = clause.frame
        variable = node.variable
        self._bouncing = variable is not None and variable.function is node and bool(variable.step)
        try:
            with self._inside([]) as block:
                if clause.has_rest:
                    self._rest_parameter(clause.parameters[-1], len(node.clauses) > 1)
                if clause.repeat.active:
                    with self._inside([]) as inner:
                        self._clause_body(node, clause)
                    self._block += ["while True:", inner]
                else:
                    self._clause_body(node, clause)
            return block
        finally:
            self._frame, self._bouncing = saved

    def _rest_parameter(self, parameter: nodes.Parameter, unpacked: bool) -> None:
        name = parameter.variable.python
        if isinstance(parameter.pattern, nodes.Name):
            name = parameter.pattern.variable.python
        if not isinstance(parameter.pattern, nodes.Ignore):
            self._line(
                f"{name} = tuple({name}) or None" if unpacked else f"{name} = {name} or None"
            )

    def _clause_body(self, node: nodes.Function, clause: nodes.Clause) -> None:
        for parameter in clause.parameters:
            self._parameter_check(parameter)
        for parameter in clause.parameters:
            if not isinstance(parameter.pattern, nodes.Name | nodes.Ignore):
                self._take_apart(parameter.pattern, Code(parameter.variable.python))
        for condition in clause.before:
            test = self.condition(condition)
            self._line(f"if {_negated(test)}:")
            self._block.append([_marked(condition.at, f"condition_failed(':pre', {node.name!r})")])
        path = f"the result of {node.name}"
        to = replace(RETURN, check=clause.returns, path=path)
        if clause.result is None:
            self.into(clause.body, to)
            return
        self.into(clause.body, Destination("assign", clause.result.python))
        for condition in clause.after:
            test = self.condition(condition)
            self._line(f"if {_negated(test)}:")
            self._block.append([_marked(condition.at, f"condition_failed(':post', {node.name!r})")])
        self._return(Code(clause.result.python), to, clause.body)

    def _parameter_check(self, parameter: nodes.Parameter) -> None:
        kind = parameter.type
        if kind is None:
            return
        name, path = parameter.variable.python, "the argument"
        if isinstance(parameter.pattern, nodes.Name):
            name = parameter.pattern.variable.python
            path = parameter.pattern.variable.name
        if not parameter.rest:
            self._check_variable(name, kind, path, None, parameter.at)
            if isinstance(parameter.pattern, nodes.Name) and isinstance(kind, Scalar):
                known = _TYPE_KINDS.get(kind.name, "any")
                parameter.pattern.variable.kind = known
            return
        if describes_sequence(kind):
            self._line(f"typed({name} or (), {self._type(kind)}, {path!r})", parameter.at)
            return
        item = self._temporary("item")
        self._line(f"for {item} in {name} or ():", parameter.at)
        self._block.append([_marked(parameter.at, f"typed({item}, {self._type(kind)}, {path!r})")])

    # --- Calls ----------------------------------------------------------------------------

    def _call(self, node: nodes.Call) -> Code:
        callee = node.callee
        if isinstance(callee, nodes.Const) and isinstance(callee.form, Keyword):
            return self._keyword_call(node, callee.form)
        function, *arguments = self._arguments([callee, *node.arguments])
        known = self._known_function(callee)
        if known is not None:
            self._check_arity(known, node)
        elif self.kind(callee) != "fn":
            if _is_simple(function):
                function = Code(
                    f"{function} if type({function}) is Function else callee({function})", 0
                )
            else:
                function = Code(f"callee({function})")
        return _called(function.at_least(ATOM), arguments, node.at)

    def _known_function(self, callee: Node) -> nodes.Function | None:
        if isinstance(callee, nodes.Function):
            return callee
        if isinstance(callee, nodes.Ref) and callee.variable.is_stable:
            return callee.variable.function
        return None

    def _check_arity(self, function: nodes.Function, node: nodes.Call) -> None:
        count = len(node.arguments)
        for clause in function.clauses:
            if clause.accepts(count):
                for parameter, argument in zip(clause.parameters, node.arguments, strict=False):
                    if parameter.type is not None and not parameter.rest:
                        path = f"argument `{_parameter_name(parameter)}` of `{function.name}`"
                        self._warn_mismatch(argument, parameter.type, path, place(argument))
                return
        takes = " or ".join(
            f"{clause.required}{' or more' if clause.has_rest else ''}"
            for clause in function.clauses
        )
        self._warn(
            f"`{function.name}` takes {takes} arguments, got {count}", node.at, "ArityMismatch"
        )

    def _warn(self, message: str, at: int, kind: str) -> None:
        self._diagnostics.append(Diagnostic(message, at, at + 1, "", "warning", kind))

    def _keyword_call(self, node: nodes.Call, key: Keyword) -> Code:
        if not 1 <= len(node.arguments) <= 2:
            self._warn(f"`:{key.name}` takes 1 or 2 arguments", node.at, "ArityMismatch")
            return self._arity_fault(f":{key.name}", node.arguments, node.at)
        codes = self._arguments(node.arguments)
        code = key_code(key)
        if len(codes) == 1 and _is_simple(codes[0]):
            fast = f"{codes[0]}[{code}] if type({codes[0]}) is dict and {code} in {codes[0]}"
            slow = _called("lookup", [codes[0], code], node.at)
            return Code(f"{fast} else {slow}", CHOICE)
        return _called("lookup", [codes[0], code, *codes[1:]], node.at)

    def _arity_fault(self, name: str, arguments: Sequence[Node], at: int) -> Code:
        for argument in arguments:
            self.into(argument, DISCARD)
        return Code(_marked(at, f"arity_fault({name!r}, {len(arguments)})"))

    # --- Library calls --------------------------------------------------------------------

    def _library_call(self, node: nodes.LibraryCall) -> Code:
        function = BY_NAME[node.name]
        count = len(node.arguments)
        if not function.accepts(count):
            words = f"`{node.name}` takes {function.arity} arguments, got {count}"
            self._warn(words, node.at, "ArityMismatch")
            return self._arity_fault(node.name, node.arguments, node.at)
        folded = self._folded(node)
        if isinstance(folded, nodes.Const):
            return self._const(folded)
        test = self._library_test(node)
        if test is not None:
            return self._boolean(test)
        writer = _LIBRARY.get(function.python)
        if writer is not None:
            code: Code | None = writer(self, node)
            if code is not None:
                return code
        if function.python == "get" and count == 1:
            return _called("context_get", self._arguments(node.arguments), node.at)
        return _called(function.python, self._arguments(node.arguments), node.at)

    def _folded(self, node: nodes.LibraryCall) -> Node:
        """A constant, if all arguments are and the function is cheap and pure."""
        function = BY_NAME[node.name]
        if function.python not in _FOLDABLE or not function.accepts(len(node.arguments)):
            return node
        values: list[Any] = []
        for argument in node.arguments:
            one = self._folded(argument) if isinstance(argument, nodes.LibraryCall) else argument
            if not isinstance(one, nodes.Const) or not isinstance(one.form, Literal | Keyword):
                return node
            values.append(_constant_value(one.form))
            if values[-1] is _NO_VALUE:
                return node
        try:
            result = getattr(prelude, function.python)(*values)
        except Exception as failure:
            self._warn_failure(node, failure)
            return node
        form = _constant_form(result, node.at)
        return node if form is None else nodes.Const(form, node.at)

    def _warn_failure(self, node: nodes.LibraryCall, failure: Exception) -> None:
        """Say that a call with constant arguments always fails."""
        try:
            error = prelude.caught(failure)
        except Exception:
            return
        self._warn(f"`{node.name}` always fails here: {error.message}", node.at, error.kind)

    def _library_test(self, node: nodes.LibraryCall) -> Code | None:
        """A Python boolean for a library function that answers true or false."""
        function = BY_NAME[node.name]
        if function.kind != "bool" or not function.accepts(len(node.arguments)):
            return None
        writer = _TESTS.get(function.python)
        if writer is not None:
            code: Code | None = writer(self, node)
            if code is not None:
                return code
        called = _called(function.python, self._arguments(node.arguments), node.at)
        return Code(f"{called} is TRUE", COMPARISON)

    def _sum(self, node: nodes.LibraryCall) -> Code | None:
        return self._arithmetic(node, "+")

    def _difference(self, node: nodes.LibraryCall) -> Code | None:
        if len(node.arguments) == 1:
            [code] = self._arguments(node.arguments)
            return Code(_marked(node.at, f"-{code.at_least(SIGN)}"), SIGN)
        return self._arithmetic(node, "-")

    def _product(self, node: nodes.LibraryCall) -> Code | None:
        return self._arithmetic(node, "*")

    def _arithmetic(self, node: nodes.LibraryCall, sign: str) -> Code | None:
        """Python's operators. A sign before an operand refuses what is no number."""
        arguments = node.arguments
        if len(arguments) > _CHAIN:
            return None
        codes = self._arguments(arguments)
        numbers = [kinds.is_number(self.kind(one)) for one in arguments]
        level = PRODUCT if sign == "*" else SUM
        if len(codes) == 1:
            code = codes[0]
            return code if numbers[0] else Code(_marked(node.at, f"+{code.at_least(SIGN)}"), SIGN)
        signed = self._signed(sign, numbers)
        text = ""
        for index, code in enumerate(codes):
            tight = level if index == 0 else level + 1
            operand = f"+{code.at_least(SIGN)}" if signed[index] else code.at_least(tight)
            text = f"{text} {sign} {operand}" if index else operand
        return Code(_marked(node.at, text), level)

    def _signed(self, sign: str, numbers: list[bool]) -> list[bool]:
        """Which operands need a sign so that only numbers get through."""
        if sign == "-":
            return [False] * len(numbers)
        if sign == "*":
            return [not one for one in numbers]
        first_two = numbers[0] or numbers[1]
        return [not first_two, *[False] * (len(numbers) - 1)]

    def _increment(self, node: nodes.LibraryCall) -> Code:
        [code] = self._arguments(node.arguments)
        sign = "+" if BY_NAME[node.name].python == "inc" else "-"
        return Code(_marked(node.at, f"{code.at_least(SUM)} {sign} 1"), SUM)

    def _modulo(self, node: nodes.LibraryCall) -> Code | None:
        left, right = node.arguments
        if not kinds.is_integer(self.kind(left)) or not _is_nonzero(right):
            return None
        codes = self._arguments(node.arguments)
        return Code(f"{codes[0].at_least(PRODUCT)} % {codes[1].at_least(SIGN)}", PRODUCT)

    def _text_of(self, node: nodes.LibraryCall) -> Code | None:
        if not node.arguments or len(node.arguments) > _CHAIN:
            return None
        codes = self._arguments(node.arguments)
        parts: list[str] = []
        for argument, code in zip(node.arguments, codes, strict=True):
            match self.kind(argument):
                case "str":
                    parts.append(code.at_least(SUM))
                case "small":
                    parts.append(f"str({code})")
                case _:
                    parts.append(f"text({code})")
        return Code(
            _marked(node.at, " + ".join(parts)), SUM if len(parts) > 1 else codes_level(parts)
        )

    def _join(self, node: nodes.LibraryCall) -> Code | None:
        separator, parts = node.arguments
        if self.kind(separator) != "str" or kinds.item_of(self.kind(parts)) != "str":
            return None
        joint, items = self._arguments([separator, parts])
        return Code(f"{joint.at_least(ATOM)}.join({items})")

    def _count(self, node: nodes.LibraryCall) -> Code | None:
        kind = self.kind(node.arguments[0])
        if kinds.is_vector(kind) or kind in ("str", "map"):
            return _called("len", self._arguments(node.arguments), node.at)
        return None

    def _conj(self, node: nodes.LibraryCall) -> Code | None:
        if not kinds.is_vector(self.kind(node.arguments[0])) or len(node.arguments) < 2:
            return None
        target, *items = self._arguments(node.arguments)
        return Code(f"{target.at_least(SUM)} + [{', '.join(items)}]", SUM)

    def _get(self, node: nodes.LibraryCall) -> Code | None:
        if len(node.arguments) != 2 or not _is_plain_key(node.arguments[1]):
            return None
        target, key = self._arguments(node.arguments)
        if self.kind(node.arguments[0]) == "map":
            return Code(f"{target.at_least(ATOM)}.get({key})")
        if not _plain(target).isidentifier() or self.kind(node.arguments[1]) == "small":
            return _called("get", [target, key], node.at)
        slow = _called("get", [target, key], node.at)
        return Code(f"{target}.get({key}) if type({target}) is dict else {slow}", CHOICE)

    def _equality(self, node: nodes.LibraryCall) -> Code | None:
        if len(node.arguments) != 2:
            return None
        left, right = node.arguments
        if isinstance(left, nodes.Const) and not isinstance(right, nodes.Const):
            left, right = right, left
        codes = self._arguments([left, right])
        a, b = codes
        one, other = self.kind(left), self.kind(right)
        for kind, text in (("nil", "None"), ("bool", b)):
            if other == kind and (kind == "nil" or isinstance(right, nodes.Const)):
                return Code(f"{a.at_least(SUM)} is {text}", COMPARISON)
        plain = ("str", "kw")
        if one in plain or other in plain or (kinds.is_integer(one) and kinds.is_integer(other)):
            return Code(f"{a.at_least(SUM)} == {b.at_least(SUM)}", COMPARISON)
        if kinds.is_integer(other) and isinstance(right, nodes.Const):
            if not _is_simple(a):
                name = self._temporary()
                return Code(f"({name} := {a}) == {b} and type({name}) is int", AND)
            return Code(f"{a} == {b} and type({a}) is int", AND)
        return _called("equal", [a, b], node.at)

    def _inequality(self, node: nodes.LibraryCall) -> Code | None:
        test = self._equality(node)
        return None if test is None else _negated(test)

    def _order(self, node: nodes.LibraryCall) -> Code | None:
        if len(node.arguments) != 2:
            return None
        sign = {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}[BY_NAME[node.name].python]
        left, right = (self.kind(one) for one in node.arguments)
        a, b = self._arguments(node.arguments)
        direct = f"{a.at_least(SUM)} {sign} {b.at_least(SUM)}"
        if any(kinds.is_number(one) or one == "str" for one in (left, right)):
            return Code(_marked(node.at, direct), COMPARISON)
        name = {"<": "less", "<=": "less_or_equal", ">": "greater", ">=": "greater_or_equal"}[sign]
        slow = _called(name, [a, b], node.at)
        if _is_simple(a) and _is_simple(b):
            fast = _marked(node.at, direct)
            return Code(f"{fast} if type({a}) is int else {slow}", CHOICE)
        return slow

    def _not(self, node: nodes.LibraryCall) -> Code:
        return _negated(self.condition(node.arguments[0]))

    def _is_type(self, node: nodes.LibraryCall) -> Code:
        [code] = self._arguments(node.arguments)
        name = _PYTHON_TYPES[BY_NAME[node.name].python]
        return Code(f"type({code}) is {name}", COMPARISON)

    def _is_nil(self, node: nodes.LibraryCall) -> Code:
        [code] = self._arguments(node.arguments)
        return Code(f"{code.at_least(SUM)} is None", COMPARISON)

    def _is_some(self, node: nodes.LibraryCall) -> Code | None:
        if len(node.arguments) != 1:
            return None
        [code] = self._arguments(node.arguments)
        return Code(f"{code.at_least(SUM)} is not None", COMPARISON)

    def _parity(self, node: nodes.LibraryCall) -> Code | None:
        if not kinds.is_integer(self.kind(node.arguments[0])):
            return None
        [code] = self._arguments(node.arguments)
        wanted = 0 if BY_NAME[node.name].python == "is_even" else 1
        return Code(f"{code.at_least(PRODUCT)} % 2 == {wanted}", COMPARISON)

    def _sign_test(self, node: nodes.LibraryCall) -> Code:
        [code] = self._arguments(node.arguments)
        sign = {"is_zero": "==", "is_positive": ">", "is_negative": "<"}[BY_NAME[node.name].python]
        number = sign != "==" or kinds.is_number(self.kind(node.arguments[0]))
        text = code.at_least(SUM) if number else f"+{code.at_least(SIGN)}"
        return Code(_marked(node.at, f"{text} {sign} 0"), COMPARISON)

    def _emptiness(self, node: nodes.LibraryCall) -> Code:
        [code] = self._arguments(node.arguments)
        kind = self.kind(node.arguments[0])
        if kinds.is_vector(kind) or kind in ("str", "map"):
            return Code(f"not {code.at_least(NOT)}", NOT)
        return Code(f"{_called('count', [code], node.at)} == 0", COMPARISON)

    # --- Functions over sequences ---------------------------------------------------------

    def _each(self, node: nodes.LibraryCall) -> Code | None:
        """``map`` as a comprehension or a loop."""
        item = self._inlined(node.arguments[0], 1)
        if item is None:
            return None
        generator = self._generator(item, node)
        return self._comprehension(nodes.For([generator], item.body, True, node.at))

    def _keep(self, node: nodes.LibraryCall) -> Code | None:
        """``filter`` and ``remove``."""
        item = self._inlined(node.arguments[0], 1)
        if item is None or not isinstance(item.parameters[0], nodes.Name):
            return None
        test = item.body
        if BY_NAME[node.name].python == "remove":
            test = nodes.LibraryCall("not", [test], node.at)
        generator = self._generator(item, node)
        generator.steps.append(test)
        kept = nodes.Ref(item.parameters[0].variable, node.at)
        return self._comprehension(nodes.For([generator], kept, True, node.at))

    def _generator(self, item: Inlined, node: nodes.LibraryCall) -> nodes.Generator:
        [pattern] = item.parameters
        return nodes.Generator(pattern, node.arguments[1], [], item.repeat, node.at)

    def _reduce(self, node: nodes.LibraryCall) -> Code | None:
        """``reduce`` as a loop."""
        item = self._inlined(node.arguments[0], 2)
        if item is None or not isinstance(item.parameters[0], nodes.Name):
            return None
        total = item.parameters[0].variable
        sequence = node.arguments[-1]
        kind = kinds.item_of(self.kind(sequence))
        if isinstance(item.parameters[1], nodes.Name):
            item.parameters[1].variable.kind = kind
        if len(node.arguments) == 3:
            start, xs = self._arguments([node.arguments[1], sequence])
            total.kind = self._stable_kind(total, self.kind(node.arguments[1]), item.body)
            items = self._items_of(xs, sequence)
            self._line(f"{total.python} = {start}")
        else:
            [xs] = self._arguments([sequence])
            whole = self._held(self._items_of(xs, sequence), "xs")
            total.kind = self._stable_kind(total, kind, item.body)
            self._line(f"{total.python} = {_marked(node.at, f'first_of({whole})')}")
            items = Code(f"{whole}[1:]")
        name, apart = self._loop_name(item.parameters[1])
        with self._inside([]) as block:
            if apart is not None:
                self._take_apart(apart, Code(name))
            self.into(item.body, Destination("assign", total.python))
        self._block += [f"for {name} in {items}:", block]
        return Code(total.python)

    def _stable_kind(self, variable: nodes.Variable, start: str, body: Node) -> str:
        """The kind of a variable that a loop starts with one value and goes on with others."""
        variable.kind = start
        for _ in range(3):
            found = kinds.joined(variable.kind, self.kind(body))
            if found == variable.kind:
                return found
            variable.kind = found
        return "any"

    def _loop_name(self, pattern: nodes.Pattern) -> tuple[str, nodes.Pattern | None]:
        """The Python name of a loop's items, and what is left to take apart."""
        match pattern:
            case nodes.Name(variable):
                return variable.python, None
            case nodes.Ignore():
                return "_", None
        return self._temporary("item"), pattern

    def _inlined(self, function: Node, count: int) -> Inlined | None:
        """A function that is written where it is applied; None if it has to be called."""
        match function:
            case nodes.Function(clauses=[clause]):
                plain = not (clause.before or clause.after or clause.returns or clause.has_rest)
                typed = any(one.type is not None for one in clause.parameters)
                if plain and not typed and not clause.repeat.active and clause.accepts(count):
                    if function.variable is not None and function.variable.used:
                        return None
                    clause.repeat.active = True
                    patterns = [one.pattern for one in clause.parameters]
                    return Inlined(patterns, clause.body, clause.repeat)
            case nodes.LibraryRef(name) if BY_NAME[name].accepts(count):
                if BY_NAME[name].python in IMPURE:
                    return None
                return self._applied(
                    lambda refs: nodes.LibraryCall(name, refs, function.at), count, function.at
                )
            case nodes.Const(Keyword()):
                return self._applied(
                    lambda refs: nodes.Call(function, refs, function.at), count, function.at
                )
            case nodes.Ref() if self._known_function(function) is not None:
                return self._applied(
                    lambda refs: nodes.Call(function, refs, function.at), count, function.at
                )
        return None

    def _applied(self, make: Callable[[list[Node]], Node], count: int, at: int) -> Inlined:
        """The application of a function to new variables."""
        repeat = nodes.Repeat(None, self._frame, active=True)
        variables = [
            nodes.Variable(name, self._frame.fresh(name), self._frame, repeat, definitions=1)
            for name in (("item",) if count == 1 else ("total", "item"))
        ]
        patterns: list[nodes.Pattern] = [nodes.Name(variable, at) for variable in variables]
        body = make([nodes.Ref(variable, at) for variable in variables])
        return Inlined(patterns, body, repeat)

    def _items_of(self, code: Code, node: Node) -> Code:
        """Something that Python can loop over."""
        kind = self.kind(node)
        if kinds.is_vector(kind) or kind == "str":
            return code
        return _called("items", [code], node.at)

    # --- for ------------------------------------------------------------------------------

    def _for(self, node: nodes.For) -> Code:
        if node.collect:
            return self._comprehension(node)
        self._loops(node, None)
        return Code("None")

    def _for_statement(self, node: nodes.For, to: Destination) -> None:
        if node.collect and to.way != "discard":
            self._finish(self._comprehension(node), to, node)
            return
        self._loops(node, None)
        if to.way != "discard" or to.leaves:
            self._finish(Code("None"), to, node)

    def _comprehension(self, node: nodes.For) -> Code:
        with self._inside([]) as outside:
            written = self._clauses_of(node)
        if written is not None:
            self._block.extend(outside)
            return written
        name = self._temporary("collected")
        self._line(f"{name} = []")
        self._loops(node, name)
        return Code(name)

    def _clauses_of(self, node: nodes.For) -> Code | None:
        """A Python comprehension; None if a part needs statements."""
        parts: list[str] = []
        for index, generator in enumerate(node.generators):
            if not isinstance(generator.pattern, nodes.Name | nodes.Ignore):
                return None
            block, source = self._captured_source(generator)
            if block and index:
                return None
            self._block.extend(block)
            name, _ = self._loop_name(generator.pattern)
            parts.append(f"for {name} in {source.at_least(OR)}")
            for step in generator.steps:
                clause = self._comprehension_step(step)
                if clause is None:
                    return None
                parts.append(clause)
        block, body = self._captured(node.body)
        if block:
            return None
        return Code(f"[{body} {' '.join(parts)}]")

    def _captured_source(self, generator: nodes.Generator) -> tuple[Block, Code]:
        """What a generator loops over, without an assignment inside, which Python forbids there."""
        if isinstance(generator.pattern, nodes.Name):
            generator.pattern.variable.kind = kinds.item_of(self.kind(generator.collection))
        with self._inside([]) as block:
            code = self._source(generator)
            if ":=" in code:
                code = self._held(code)
        return block, code

    def _source(self, generator: nodes.Generator) -> Code:
        collection = generator.collection
        if isinstance(collection, nodes.LibraryCall):
            counted = self._counted(collection)
            if counted is not None:
                return counted
        return self._items_of(self.expr(collection), collection)

    def _counted(self, node: nodes.LibraryCall) -> Code | None:
        """Python's own ``range`` where no list has to be made."""
        function = BY_NAME[node.name]
        if function.python != "number_range" or not 1 <= len(node.arguments) <= 2:
            return None
        if not all(kinds.is_integer(self.kind(one)) for one in node.arguments):
            return None
        return Code(f"range({', '.join(self._arguments(node.arguments))})")

    def _comprehension_step(self, step: Node | nodes.Bind) -> str | None:
        if isinstance(step, nodes.Bind):
            if not isinstance(step.pattern, nodes.Name) or step.type is not None:
                return None
            step.pattern.variable.kind = self.kind(step.value)
            block, code = self._captured(step.value)
            name = step.pattern.variable.python
            return None if block or ":=" in code else f"for {name} in [{code}]"
        with self._inside([]) as block:
            test = self.condition(step)
        return None if block else f"if {test.at_least(OR)}"

    def _loops(self, node: nodes.For, collected: str | None) -> None:
        """Loops inside loops, one for each generator."""
        self._loop_of(node, 0, collected)

    def _loop_of(self, node: nodes.For, index: int, collected: str | None) -> None:
        if index == len(node.generators):
            if collected is None:
                self.into(node.body, DISCARD)
            else:
                self._line(f"{collected}.append({self.expr(node.body)})", node.body.at)
            return
        generator = node.generators[index]
        block, source = self._captured_source(generator)
        self._block.extend(block)
        name, apart = self._loop_name(generator.pattern)
        with self._inside([]) as inner:
            if apart is not None:
                self._take_apart(apart, Code(name))
            self._steps(node, index, 0, collected)
        self._block += [f"for {name} in {source}:", inner]

    def _steps(self, node: nodes.For, index: int, step: int, collected: str | None) -> None:
        steps = node.generators[index].steps
        if step == len(steps):
            self._loop_of(node, index + 1, collected)
            return
        one = steps[step]
        if isinstance(one, nodes.Bind):
            self._bind(one)
            self._steps(node, index, step + 1, collected)
            return
        test = self.condition(one)
        with self._inside([]) as block:
            self._steps(node, index, step + 1, collected)
        self._block += [f"if {test}:", block]

    # --- Statements -----------------------------------------------------------------------

    def _if_statement(self, node: nodes.If, to: Destination) -> None:
        if not to.jumps and _chain_length(node) > _CLAUSES:
            self._long_choice(node, to)
            return
        test = self.condition(node.test)
        if test in ("True", "False"):
            self.into(node.then if test == "True" else node.otherwise, to)
            return
        with self._inside([]) as then:
            self.into(node.then, to)
        if to.jumps:
            self._line(f"if {test}:")
            self._block.append(then)
            self.into(node.otherwise, to)
            return
        with self._inside([]) as otherwise:
            self.into(node.otherwise, to)
        self._choose(test, then, otherwise)

    def _long_choice(self, node: nodes.If, to: Destination) -> None:
        """A chain of choices one after another, with a flag instead of nesting."""
        flag = self._temporary("undecided")
        self._line(f"{flag} = True")
        rest: Node = node
        while isinstance(rest, nodes.If):
            with self._inside([]) as block:
                test = self.condition(rest.test)
                with self._inside([]) as then:
                    self._line(f"{flag} = False")
                    self.into(rest.then, to)
                self._block += [f"if {test}:", then]
            self._block += [f"if {flag}:", block]
            rest = rest.otherwise
        with self._inside([]) as block:
            self.into(rest, to)
        self._block += [f"if {flag}:", block]

    def _do_statement(self, node: nodes.Do, to: Destination) -> None:
        for one in node.body[:-1]:
            self.into(one, DISCARD)
        self.into(node.body[-1], to)

    def _let_statement(self, node: nodes.Let, to: Destination) -> None:
        for binding in node.bindings:
            self._bind(binding)
        self.into(node.body, to)

    def _define(self, node: nodes.Define, to: Destination) -> None:
        name = node.variable.python
        if isinstance(node.value, nodes.Function):
            self._function_named(node.value, node.variable)
        else:
            if node.variable.is_stable:
                node.variable.kind = self.kind(node.value)
            self.into(node.value, Destination("assign", name))
        self._check_variable(name, node.type, node.variable.name, node.value, node.at)
        if to.way != "discard" or to.leaves:
            self._finish(Code(name), to, node)

    def _define_expression(self, node: nodes.Define) -> Code:
        self._define(node, DISCARD)
        return Code(node.variable.python)

    def _name_type(self, node: nodes.NameType, to: Destination) -> None:
        data = repr_data(type_data(node.type))
        self._line(f"NAMED_TYPES[{node.name!r}] = {data}", node.at)
        if to.way != "discard" or to.leaves:
            self._finish(Code("None"), to, node)

    def _loop(self, node: nodes.Loop, to: Destination) -> None:
        for binding, variable in zip(node.bindings, node.variables, strict=True):
            self.into(binding.value, Destination("assign", variable.python))
            variable.kind = self.kind(binding.value)
        if not node.repeat.active:
            self._enter_loop(node)
            self.into(node.body, to)
            return
        self._settle_kinds(node)
        inner = to if to.way == "return" else replace(to, leaves=True)
        rest = self._while_loop(node, to)
        if rest is not None:
            self.into(rest, to)
            return
        with self._inside([]) as block:
            self._enter_loop(node)
            self.into(node.body, inner)
        self._block += ["while True:", block]
        if to.leaves:
            self._line("break")

    def _enter_loop(self, node: nodes.Loop) -> None:
        for binding, variable in zip(node.bindings, node.variables, strict=True):
            self._check_variable(variable.python, binding.type, variable.name, None, binding.at)
            if not isinstance(binding.pattern, nodes.Name | nodes.Ignore):
                self._take_apart(binding.pattern, Code(variable.python))

    def _settle_kinds(self, node: nodes.Loop) -> None:
        """Find kinds of the loop's variables that hold for every round."""
        if self._inferring > 3:
            for variable in node.variables:
                variable.kind = "any"
            return
        self._inferring += 1
        recurs = [one for one in _recurs(node.body) if one.target is node]
        for _ in range(4):
            changed = False
            for index, variable in enumerate(node.variables):
                found = variable.kind
                for one in recurs:
                    found = kinds.joined(found, self.kind(one.arguments[index]))
                changed = changed or found != variable.kind
                variable.kind = found
            if not changed:
                break
        else:
            for variable in node.variables:
                variable.kind = "any"
        self._inferring -= 1

    def _while_loop(self, node: nodes.Loop, to: Destination) -> Node | None:
        """``while test``, if one branch always goes round and the other never does.

        Answers the other branch, which comes after the loop.
        """
        body = node.body
        plain = all(isinstance(one.pattern, nodes.Name) for one in node.bindings)
        if not isinstance(body, nodes.If) or not plain or any(one.type for one in node.bindings):
            return None
        rounds = body.then, body.otherwise
        always = [_always_recurs(one, node) for one in rounds]
        never = [not any(one.target is node for one in _recurs(branch)) for branch in rounds]
        if not (always[0] and never[1]) and not (always[1] and never[0]):
            return None
        with self._inside([]) as before:
            test = self.condition(body.test)
        if before:
            return None
        with self._inside([]) as block:
            self.into(body.then if always[0] else body.otherwise, replace(DISCARD, leaves=True))
        if block and block[-1] == "continue":
            block.pop()
        self._line(f"while {test if always[0] else _negated(test)}:")
        self._block.append(block)
        return body.otherwise if always[0] else body.then

    def _recur(self, node: nodes.Recur, to: Destination) -> None:
        codes = self._arguments(node.arguments)
        if isinstance(node.target, nodes.Loop):
            names = [variable.python for variable in node.target.variables]
        else:
            names = [_parameter_name(one) for one in node.target.parameters]
            if node.target.has_rest:
                codes[-1] = Code(f"tuple(items({codes[-1]})) or None", OR)
        for name, code in _ordered(list(zip(names, codes, strict=True)), self._temporary):
            self._line(f"{name} = {code}", node.at)
        self._line("continue")

    def _while(self, node: nodes.While, to: Destination) -> None:
        turns = self._temporary("turns")
        value = self._temporary("value")
        self._line(f"{turns} = 0")
        self._line(f"{value} = None")
        with self._inside([]) as block:
            test = self.condition(node.test)
            self._line(f"if {_negated(test)}:")
            self._block.append(["break"])
            self._line(f"{turns} = turned({turns})", node.at)
            self.into(node.body, Destination("assign", value))
        self._block += ["while True:", block]
        self._finish(Code(value), to, node)

    # --- match ----------------------------------------------------------------------------

    def _match(self, node: nodes.Match, to: Destination) -> None:
        code = self.expr(node.subject)
        subject = code
        if not _is_simple(code) or isinstance(node.subject, nodes.Const):
            subject = Code(node.variable.python)
            self._line(f"{subject} = {code}")
        node.variable.kind = self.kind(node.subject)
        if to.jumps:
            self._match_jumping(node, subject, to)
        else:
            self._match_choosing(node, subject, to)

    def _no_match(self, node: nodes.Match, subject: Code, to: Destination) -> None:
        fault = Code(_marked(node.at, f"no_match({subject})"))
        if to.way == "return":
            self._line(f"return {fault}")
        else:
            self._line(fault)

    def _match_jumping(self, node: nodes.Match, subject: Code, to: Destination) -> None:
        """Clauses one after another; each that fits leaves."""
        for clause in node.clauses:
            tests: list[MatchStep] = list(self._steps_of(clause.pattern, subject))
            if clause.guard is not None:
                tests.append(clause.guard)
            if not any(not isinstance(step, tuple) for step in tests):
                self._bindings(tests)
                self.into(clause.body, to)
                return
            self._nested(tests, partial(self.into, clause.body, to), clause.at)
        self._no_match(node, subject, to)

    def _nested(self, steps: list[MatchStep], finish: Callable[[], None], at: int) -> None:
        """Tests, bindings and guards in order, each test an ``if``."""
        tests = list(itertools.takewhile(lambda step: isinstance(step, Code), steps))
        rest = steps[len(tests) :]
        if not tests:
            self._bindings(rest)
            guards = [step for step in rest if not isinstance(step, tuple | Code)]
            if not guards:
                finish()
                return
            place = next(i for i, step in enumerate(rest) if step is guards[0])
            condition = self.condition(guards[0])
            with self._inside([]) as block:
                self._nested(rest[place + 1 :], finish, at)
            self._block += [f"if {condition}:", block]
            return
        with self._inside([]) as block:
            self._nested(rest, finish, at)
        self._block += [f"if {_joint([one for one in tests if isinstance(one, Code)])}:", block]

    def _bindings(self, steps: Sequence[MatchStep]) -> None:
        """The bindings up to the next guard or test."""
        for step in steps:
            if not isinstance(step, tuple):
                break
            variable, code = step
            self._line(f"{variable.python} = {code}")

    def _match_choosing(self, node: nodes.Match, subject: Code, to: Destination) -> None:
        """``if … elif … else``, or a flag where guards follow bindings."""
        flat = [list(self._steps_of(clause.pattern, subject)) for clause in node.clauses]
        guarded = any(clause.guard is not None for clause in node.clauses) or any(
            not isinstance(step, tuple | Code) for steps in flat for step in steps
        )
        if guarded or len(node.clauses) > _CLAUSES:
            self._match_flagged(node, flat, subject, to)
            return
        word = "if"
        for clause, steps in zip(node.clauses, flat, strict=True):
            tests = _joint([step for step in steps if isinstance(step, Code)])
            with self._inside([]) as block:
                self._bindings([step for step in steps if isinstance(step, tuple)])
                self.into(clause.body, to)
            if not tests and word == "if":
                self._block.extend(block)
                return
            self._line(f"{word} {tests}:" if tests else "else:")
            self._block.append(block)
            if not tests:
                return
            word = "elif"
        with self._inside([]) as block:
            self._no_match(node, subject, to)
        if node.clauses:
            self._line("else:")
            self._block.append(block)
        else:
            self._block.extend(block)

    def _match_flagged(
        self,
        node: nodes.Match,
        flat: list[list[MatchStep]],
        subject: Code,
        to: Destination,
    ) -> None:
        flag = self._temporary("unmatched")
        self._line(f"{flag} = True")
        for index, (clause, steps) in enumerate(zip(node.clauses, flat, strict=True)):
            if clause.guard is not None:
                steps = [*steps, clause.guard]

            def finish(body: Node = clause.body) -> None:
                self._line(f"{flag} = False")
                self.into(body, to)

            with self._inside([]) as block:
                self._nested(steps, finish, clause.at)
            if index == 0:
                self._block.extend(block)
            else:
                self._block += [f"if {flag}:", block]
        with self._inside([]) as block:
            self._no_match(node, subject, to)
        self._block += [f"if {flag}:", block]

    def _steps_of(self, pattern: nodes.MatchPattern, path: Code) -> Iterator[MatchStep]:
        """Tests, then bindings, then guards: what it takes to match ``path``."""
        tests: list[MatchStep] = []
        bindings: list[MatchStep] = []
        self._collect(pattern, path, tests, bindings)
        yield from tests
        yield from bindings

    def _collect(
        self,
        pattern: nodes.MatchPattern,
        path: Code,
        tests: list[MatchStep],
        bindings: list[MatchStep],
    ) -> None:
        match pattern:
            case nodes.Name(variable):
                bindings.append((variable, path))
            case nodes.Equals(form):
                tests.append(self._equals(path, form, pattern.at))
            case nodes.OneOf(forms):
                choices = [self._equals(path, form, pattern.at) for form in forms]
                if not choices:
                    tests.append(Code("False"))
                else:
                    level = OR if len(choices) > 1 else choices[0].level
                    tests.append(Code(" or ".join(one.at_least(AND) for one in choices), level))
            case nodes.MatchItems(parts, rest, open_end):
                tests.append(Code(f"type({path}) is list or type({path}) is tuple", OR))
                sign = ">=" if open_end else "=="
                tests.append(Code(f"len({path}) {sign} {len(parts)}", COMPARISON))
                for index, part in enumerate(parts):
                    self._collect(part, Code(f"{path}[{index}]"), tests, bindings)
                if rest is not None:
                    bindings.append((rest, Code(f"list({path}[{len(parts)}:]) or None", OR)))
            case nodes.MatchMembers():
                self._collect_members(pattern, path, tests, bindings)
            case nodes.Whole(variable, inner):
                bindings.append((variable, path))
                self._collect(inner, path, tests, bindings)
            case nodes.OfType(kind, inner):
                tests.append(self._type_test(path, kind))
                self._collect(inner, path, tests, bindings)
            case nodes.Guarded(inner, guard):
                self._collect(inner, path, tests, bindings)
                bindings.append(guard)

    def _collect_members(
        self,
        pattern: nodes.MatchMembers,
        path: Code,
        tests: list[MatchStep],
        bindings: list[MatchStep],
    ) -> None:
        tests.append(Code(f"type({path}) is dict", COMPARISON))
        if not pattern.members and pattern.rest is None:
            tests.append(Code(f"not {path}", NOT))
        keys = [key_code(key) for key, _ in pattern.members]
        for (_, inner), key in zip(pattern.members, keys, strict=True):
            tests.append(Code(f"{key} in {path}", COMPARISON))
            self._collect(inner, Code(f"{path}[{key}]"), tests, bindings)
        if pattern.rest is not None:
            bindings.append((pattern.rest, Code(f"without({path}, [{', '.join(keys)}], [])")))

    def _equals(self, path: Code, form: Form, at: int) -> Code:
        """A test that a value equals a constant."""
        if head_name(form) == "quote":
            assert isinstance(form, ListForm)
            form = form.items[1]
        code = data_code(form)
        match form:
            case Keyword() | Literal("string"):
                return Code(f"{path} == {code}", COMPARISON)
            case Literal("nil" | "boolean"):
                return Code(f"{path} is {code}", COMPARISON)
            case Literal("integer"):
                return Code(f"{path} == {code} and type({path}) is int", AND)
        return Code(f"equal({path}, {code})")

    def _type_test(self, path: Code, kind: Type) -> Code:
        if isinstance(kind, Scalar) and kind.name in _SCALAR_TYPES:
            return Code(f"type({path}) is {_SCALAR_TYPES[kind.name]}", COMPARISON)
        return Code(f"is_of({self._type(kind)}, {path})")

    # --- try ------------------------------------------------------------------------------

    def _try(self, node: nodes.Try, to: Destination) -> None:
        if to.way == "return" or to.leaves:
            name = self._temporary("value")
            self._try(node, Destination("assign", name))
            self._finish(Code(name), to, node)
            return
        if node.cleanup is not None:
            self._try_finally(node, to)
        elif node.catches:
            self._try_catch(node, to)
        else:
            self.into(node.body, to)

    def _try_finally(self, node: nodes.Try, to: Destination) -> None:
        assert node.cleanup is not None
        body, _ = self._definition(node.cleanup)
        cleanup = self._frame.fresh("cleanup")
        self._write_definition(cleanup, "", body, self._frozen(node.cleanup, None))
        failure = self._temporary("failure")
        with self._inside([]) as block:
            self._try(nodes.Try(node.body, node.catches, None, node.at), to)
        error = self._temporary("error")
        self._block += [
            "try:",
            block,
            f"except Exception as {failure}:",
            [
                f"{error} = caught({failure})",
                f"{cleanup}()",
                f"again({failure}, {error})",
            ],
            f"{cleanup}()",
        ]

    def _try_catch(self, node: nodes.Try, to: Destination) -> None:
        with self._inside([]) as block:
            self.into(node.body, to)
        failure = self._temporary("failure")
        error = self._temporary("error")
        with self._inside([]) as handler:
            self._line(f"{error} = caught({failure})")
            self._catches(node, error, failure, to)
        self._block += ["try:", block, f"except Exception as {failure}:", handler]

    def _catches(self, node: nodes.Try, error: str, failure: str, to: Destination) -> None:
        word = "if"
        for catch in node.catches:
            with self._inside([]) as block:
                if catch.variable.used:
                    self._line(f"{catch.variable.python} = {error}")
                self.into(catch.body, to)
            test = _selection(catch, error)
            if test is None:
                if word == "if":
                    self._block.extend(block)
                else:
                    self._block += ["else:", block]
                return
            self._block += [f"{word} {test}:", block]
            word = "elif"
        self._block += ["else:", [f"again({failure}, {error})"]]


@dataclass(slots=True)
class Inlined:
    """A function that is written where it is applied."""

    parameters: list[nodes.Pattern]
    body: Node
    repeat: nodes.Repeat


MatchStep: TypeAlias = "Code | tuple[nodes.Variable, Code] | Node"

_NO_VALUE: Final = object()
_CONST_KINDS: Final = {
    "integer": "small",
    "float": "float",
    "string": "str",
    "boolean": "bool",
    "nil": "nil",
    "keyword": "kw",
}
_TYPE_KINDS: Final = {"int": "int", "float": "num", "string": "str", "bool": "bool"}
_KIND_TYPES: Final = {
    "small": "int",
    "int": "int",
    "float": "a float",
    "str": "string",
    "bool": "bool",
    "kw": "keyword",
    "nil": "nil",
    "vec": "a vector",
    "map": "a map",
}
_SCALAR_TYPES: Final = {
    "int": "int",
    "string": "str",
    "bool": "Bool",
    "keyword": "bytes",
    "symbol": "Symbol",
    "timestamp": "Timestamp",
    "uuid": "Uuid",
}
_SCALAR_TESTS: Final = {
    **{name: "type({0}) is not " + python for name, python in _SCALAR_TYPES.items()},
    "nil": "{0} is not None",
    "float": "type({0}) is not float and type({0}) is not int",
}
_PYTHON_TYPES: Final = {
    "is_int": "int",
    "is_float": "float",
    "is_string": "str",
    "is_bool": "Bool",
    "is_keyword": "bytes",
    "is_symbol": "Symbol",
    "is_vector": "list",
    "is_list": "tuple",
    "is_map": "dict",
    "is_function": "Function",
    "is_error": "Error",
}
_FOLDABLE: Final = frozenset(
    {
        "add",
        "subtract",
        "multiply",
        "divide",
        "inc",
        "dec",
        "absolute",
        "maximum",
        "minimum",
        "modulo",
        "remainder",
        "integer_quotient",
        "all_equal",
        "not_equal",
        "lt",
        "le",
        "gt",
        "ge",
        "negated",
        "concat_text",
        "upper",
        "lower",
        "string_length",
        "is_even",
        "is_odd",
        "is_zero",
        "is_positive",
        "is_negative",
    }
)

_STATEMENTS: Final[dict[type, Any]] = {
    nodes.If: Emitter._if_statement,
    nodes.Call: Emitter._tail_call,
    nodes.And: Emitter._logical_statement,
    nodes.Or: Emitter._logical_statement,
    nodes.Do: Emitter._do_statement,
    nodes.Let: Emitter._let_statement,
    nodes.Define: Emitter._define,
    nodes.NameType: Emitter._name_type,
    nodes.Loop: Emitter._loop,
    nodes.Recur: Emitter._recur,
    nodes.For: Emitter._for_statement,
    nodes.While: Emitter._while,
    nodes.Match: Emitter._match,
    nodes.Try: Emitter._try,
}
_EXPRESSIONS: Final[dict[type, Any]] = {
    nodes.Const: Emitter._const,
    nodes.Ref: Emitter._ref,
    nodes.LibraryRef: Emitter._library_ref,
    nodes.Raw: Emitter._raw,
    nodes.Call: Emitter._call,
    nodes.LibraryCall: Emitter._library_call,
    nodes.HostCall: Emitter._host_call,
    nodes.HostFunction: Emitter._host_function,
    nodes.If: Emitter._if,
    nodes.And: Emitter._and,
    nodes.Or: Emitter._or,
    nodes.Do: Emitter._do,
    nodes.Let: Emitter._let,
    nodes.Define: Emitter._define_expression,
    nodes.Function: Emitter._function,
    nodes.For: Emitter._for,
    nodes.VectorNode: Emitter._vector,
    nodes.MapNode: Emitter._map,
    nodes.Template: Emitter._template,
    nodes.FreshSymbol: Emitter._fresh_symbol,
    nodes.Check: Emitter._check,
}
_LIBRARY: Final[dict[str, Any]] = {
    "add": Emitter._sum,
    "subtract": Emitter._difference,
    "multiply": Emitter._product,
    "inc": Emitter._increment,
    "dec": Emitter._increment,
    "modulo": Emitter._modulo,
    "concat_text": Emitter._text_of,
    "join": Emitter._join,
    "count": Emitter._count,
    "length": Emitter._count,
    "conj": Emitter._conj,
    "get": Emitter._get,
    "each": Emitter._each,
    "keep": Emitter._keep,
    "remove": Emitter._keep,
    "reduce": Emitter._reduce,
}
_TESTS: Final[dict[str, Any]] = {
    "all_equal": Emitter._equality,
    "not_equal": Emitter._inequality,
    "lt": Emitter._order,
    "le": Emitter._order,
    "gt": Emitter._order,
    "ge": Emitter._order,
    "negated": Emitter._not,
    "is_nil": Emitter._is_nil,
    "is_some": Emitter._is_some,
    "is_even": Emitter._parity,
    "is_odd": Emitter._parity,
    "is_zero": Emitter._sign_test,
    "is_positive": Emitter._sign_test,
    "is_negative": Emitter._sign_test,
    "is_empty": Emitter._emptiness,
    **dict.fromkeys(_PYTHON_TYPES, Emitter._is_type),
}


def data_code(form: Form) -> Code:
    """Python text of a form as data."""
    match form:
        case Keyword(name):
            return Code(repr(name.encode()))
        case Symbol(name):
            return Code(f"Symbol({name!r})")
        case Literal():
            return _literal_code(form)
        case ListForm(items):
            comma = "," if len(items) == 1 else ""
            return Code(f"({', '.join(map(data_code, items))}{comma})")
        case VectorForm(items):
            return Code(f"[{', '.join(map(data_code, items))}]")
        case MapForm():
            if all(isinstance(key, Keyword | Literal) for key, _ in form.pairs):
                pairs = [f"{key_code(key)}: {data_code(value)}" for key, value in form.pairs]
                return Code(f"{{{', '.join(pairs)}}}")
            return Code(f"map_of({', '.join(map(data_code, form.items))})")
    raise AssertionError(f"{printed(form)} is no data")


def _literal_code(form: Literal) -> Code:
    match form.kind, form.value:
        case "nil", _:
            return Code("None")
        case "boolean", value:
            return Code("TRUE" if value else "FALSE")
        case "float", float(number):
            if number != number or number in (float("inf"), -float("inf")):
                return Code(f'float("{number!r}")')
            return Code(repr(number), SIGN if number < 0 or repr(number)[0] == "-" else ATOM)
        case "integer", int(number):
            if number.bit_length() > 10_000:
                return Code(f"int({hex(number)!r}, 16)")
            return Code(str(number), SIGN if number < 0 else ATOM)
        case "string", text:
            return Code(repr(text))
        case "timestamp", text:
            return Code(f"Timestamp({text!r})")
        case "uuid", text:
            return Code(f"Uuid({text!r})")
        case _ if form.kind == HELD:
            return Code(str(form.value))
    return Code(f"Handle({form.value!r})")


def key_code(form: Form) -> Code:
    """Python text of a constant as the key of a dict."""
    code = data_code(form)
    return Code(f"key({code})") if isinstance(form, Literal) and form.kind == "float" else code


def repr_data(data: Any) -> str:
    """Python text of the data of a type: tuples with forms at the places of values."""
    if isinstance(data, tuple):
        comma = "," if len(data) == 1 else ""
        return f"({', '.join(map(repr_data, data))}{comma})"
    if data is None or isinstance(data, str | int | float | bool):
        return repr(data)
    return data_code(data)


def codes_level(parts: list[str]) -> int:
    """How tightly a single part of a text binds."""
    return ATOM if _is_simple(Code(parts[0])) or parts[0].endswith(")") else SUM


def _marked(at: int | None, text: str) -> str:
    return text if at is None else f"\x01{at}\x02{text}\x03"


def _plain(text: str) -> str:
    return _MARK.sub("", text)


def _called(name: str, arguments: Sequence[str], at: int) -> Code:
    return Code(_marked(at, f"{name}({', '.join(arguments)})"))


def _is_simple(code: str) -> bool:
    """Whether an expression is a name or a constant."""
    text = _plain(code) if "\x01" in code else code
    return text.isidentifier() or _is_constant(text)


def _is_constant(text: str) -> bool:
    return text.isidentifier() or text.isdigit() or bool(_CONSTANT.fullmatch(text))


_CONSTANT: Final = re.compile(r"-?\d[\w.]*|b?'[^'\\]*'|\(\)|\[\]|\{\}")


def _joint(tests: Sequence[Code]) -> str:
    """Tests that all have to hold."""
    return str(tests[0]) if len(tests) == 1 else " and ".join(one.at_least(NOT) for one in tests)


def _negated(test: Code) -> Code:
    match str(test):
        case "True":
            return Code("False")
        case "False":
            return Code("True")
        case text if text.startswith("not ") and test.level == NOT and text[4:].isidentifier():
            return Code(text[4:])
    found = _NEGATABLE.fullmatch(str(test)) if test.level == COMPARISON else None
    if found is not None:
        return Code(f"{found[1]} {_OPPOSITE[found[2]]} {found[3]}", COMPARISON)
    return Code(f"not {test.at_least(NOT)}", NOT)


_OPPOSITE: Final = {"is": "is not", "is not": "is", "==": "!=", "!=": "=="}
_NEGATABLE: Final = re.compile(r"([\w()\[\], .']+?) (is not|is|==|!=) ([\w']+)")


def _written(block: Block, indent: int) -> Iterator[str]:
    if not block and indent:
        yield "    " * indent + "pass"
    alternatives = 0
    for one in block:
        if isinstance(one, list):
            yield from _written(one, indent + 1)
            continue
        alternatives = alternatives + 1 if _plain(one).startswith("elif ") else 0
        if indent > _BLOCK_DEPTH or alternatives > _ALTERNATIVES:
            found = _MARK.search(one)
            raise TooDeepError(int(found[1]) if found and found[1] else 0)
        yield "    " * indent + one


def _without_marks(text: str) -> tuple[str, dict[int, list[Span]]]:
    """The text without marks, and a map from its lines to places."""
    spans: dict[int, list[Span]] = {}
    lines: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if "\x01" not in line:
            lines.append(line)
            continue
        parts: list[str] = []
        length = position = 0
        opened: list[tuple[int, int]] = []
        found_spans: list[Span] = []
        for found in _MARK.finditer(line):
            piece = line[position : found.start()]
            parts.append(piece)
            length += len(piece)
            position = found.end()
            if found[1] is not None:
                opened.append((int(found[1]), length))
            else:
                at, start = opened.pop()
                found_spans.append(Span(number, start, length, at))
        parts.append(line[position:])
        lines.append("".join(parts))
        spans[number] = found_spans
    return "\n".join(lines), spans


def _chain_length(node: Node) -> int:
    """How many choices follow each other, each in place of the last ``else``."""
    length = 0
    while isinstance(node, nodes.If):
        node, length = node.otherwise, length + 1
    return length


def _is_one_if(block: Block) -> bool:
    """Whether a block is a single ``if`` with its other branches."""
    for one in block[1:]:
        if isinstance(one, str) and not _plain(one).startswith(("elif ", "else:")):
            return False
    return True


def _elif(line: str) -> str:
    return _MARK.sub("", line).replace("if ", "elif ", 1)


def _is_plain_key(node: Node) -> bool:
    return isinstance(node, nodes.Const) and (
        isinstance(node.form, Keyword)
        or (isinstance(node.form, Literal) and node.form.kind not in ("float",))
    )


def _is_nonzero(node: Node) -> bool:
    match node:
        case nodes.Const(Literal("integer", value)):
            return value != 0
    return False


def _data_kind(form: Form) -> str:
    match form:
        case Keyword():
            return "keyword"
        case Literal("integer", int(value)) if value.bit_length() > 10_000:
            return "long"
        case Literal(kind):
            return kind
    return "other"


def _function_name(name: str) -> str:
    from ccos.rtfs.analysis import python_name

    return python_name(name)


def _parameter(parameter: nodes.Parameter) -> str:
    star = "*" if parameter.rest else ""
    return star + _parameter_name(parameter)


def _parameter_name(parameter: nodes.Parameter) -> str:
    if isinstance(parameter.pattern, nodes.Name):
        return parameter.pattern.variable.python
    return parameter.variable.python


def _as_lambda(header: str, body: Block) -> str | None:
    """A function of one ``return`` as a lambda."""
    if len(body) != 1 or not isinstance(body[0], str):
        return None
    line = body[0]
    found = re.fullmatch(r"(\x01\d+\x02)?return (.*?)(\x03)?", line, re.DOTALL)
    if found is None:
        return None
    inner = f"{found[1] or ''}{found[2]}{found[3] or ''}"
    return f"lambda {header}: {inner}" if header else f"lambda: {inner}"


def _recurs(node: Any) -> Iterator[nodes.Recur]:
    """The tail ``recur`` nodes below a node."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        match one:
            case nodes.Recur():
                yield one
            case nodes.If(_, then, otherwise):
                waiting += [then, otherwise]
            case nodes.Do(body):
                waiting.append(body[-1])
            case nodes.Let(_, body):
                waiting.append(body)
            case nodes.And(parts) | nodes.Or(parts):
                waiting.append(parts[-1])
            case nodes.Match(_, _, clauses):
                waiting += [clause.body for clause in clauses]


def _always_recurs(node: Any, loop: nodes.Loop) -> bool:
    match node:
        case nodes.Recur(target):
            return target is loop
        case nodes.If(_, then, otherwise):
            return _always_recurs(then, loop) and _always_recurs(otherwise, loop)
        case nodes.Do(body):
            return _always_recurs(body[-1], loop)
        case nodes.Let(_, body):
            return _always_recurs(body, loop)
    return False


def _ordered(
    pairs: list[tuple[str, Code]], temporary: Callable[[], str]
) -> Iterator[tuple[str, str]]:
    """Assignments one by one that do what they would do at once."""
    waiting = [(name, str(code)) for name, code in pairs if name != _plain(code)]
    while waiting:
        for index, (name, _) in enumerate(waiting):
            others = [code for i, (_, code) in enumerate(waiting) if i != index]
            if not any(name in _NAME.findall(code) for code in others):
                yield waiting.pop(index)
                break
        else:
            name = waiting[0][0]
            held = temporary()
            yield held, name
            waiting = [
                (other, re.sub(rf"\b{re.escape(name)}\b", held, text) if i else text)
                for i, (other, text) in enumerate(waiting)
            ]
            yield waiting.pop(0)


def _selection(catch: nodes.Catch, error: str) -> str | None:
    if catch.selector is None:
        return None
    if catch.by_keyword:
        return f"selects_keyword({error}, {catch.selector!r})"
    if catch.selector in ("Exception", "Throwable", "Error"):
        return None
    return f"selects_name({error}, {catch.selector!r})"


def _constant_value(form: Form) -> Any:
    match form:
        case Keyword(name):
            return name.encode()
        case Literal("boolean", value):
            return prelude.TRUE if value else prelude.FALSE
        case Literal("integer", int(value)) if value.bit_length() > 256:
            return _NO_VALUE
        case Literal("nil" | "integer" | "float" | "string", value):
            return value
    return _NO_VALUE


def _constant_form(value: Any, at: int) -> Form | None:
    match value:
        case prelude.Bool():
            return Literal("boolean", value is prelude.TRUE, at, at)
        case int():
            return Literal("integer", value, at, at)
        case float():
            return Literal("float", value, at, at)
        case str():
            return Literal("string", value, at, at)
    return None
