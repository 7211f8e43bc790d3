"""Values taken apart into variables, and checked against their types."""

from __future__ import annotations

from typing import Final

from ccos.rtfs import nodes
from ccos.rtfs.emitting.conditions import Conditions
from ccos.rtfs.emitting.constants import key_code
from ccos.rtfs.emitting.text import Code, is_simple, marked
from ccos.rtfs.emitting.writer import Destination
from ccos.rtfs.nodes import Node
from ccos.rtfs.types import Scalar, Type, type_text

TYPE_KINDS: Final = {"int": "int", "float": "num", "string": "str", "bool": "bool"}


KIND_TYPES: Final = {
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


SCALAR_TYPES: Final = {
    "int": "int",
    "string": "str",
    "bool": "Bool",
    "keyword": "bytes",
    "symbol": "Symbol",
    "timestamp": "Timestamp",
    "uuid": "Uuid",
}


SCALAR_TESTS: Final = {
    **{name: "type({0}) is not " + python for name, python in SCALAR_TYPES.items()},
    "nil": "{0} is not None",
    "float": "type({0}) is not float and type({0}) is not int",
}


class Binding(Conditions):
    """Writes bindings."""

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
        test = SCALAR_TESTS.get(kind.name) if isinstance(kind, Scalar) else None
        if test is None:
            if kind != Scalar("any"):
                self._line(f"typed({name}, {self._type(kind)}, {path!r})", at)
            return
        self._line(f"if {test.format(name)}:", at)
        message = f"differs({type_text(kind)!r}, {name}, {path!r})"
        self._block.append([marked(at, f"type_error({message})")])

    def _warn_mismatch(self, value: Node, kind: Type, path: str, at: int) -> None:
        """Say that a value is never of the type that it has to be of."""
        known = KIND_TYPES.get(self.kind(value).partition(":")[0])
        if known is None or not isinstance(kind, Scalar) or kind.name in ("any", known):
            return
        if known in ("int", "a float") and kind.name == "float":
            return
        self._warn(f"{path} is never {type_text(kind)} here", at, "TypeValidationError")

    def _take_apart(self, pattern: nodes.Pattern, code: Code) -> None:
        """Statements that bind the variables of a pattern."""
        match pattern:
            case nodes.Ignore():
                if not is_simple(code):
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
        unpacked = marked(pattern.at, f"unpacked({code}, {len(pattern.parts)}{open_end})")
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
        self._line(f"{name} = {marked(pattern.at, f'opened({code})')}")
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
