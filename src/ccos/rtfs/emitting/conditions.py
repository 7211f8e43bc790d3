"""Truth: nodes as Python conditions."""

from __future__ import annotations

from ccos.rtfs import nodes
from ccos.rtfs.emitting.inference import Inference
from ccos.rtfs.emitting.text import (
    AND,
    CHOICE,
    COMPARISON,
    NOT,
    OR,
    SUM,
    Block,
    Code,
    as_elif,
    is_one_if,
    is_simple,
    negated,
    without_marks,
)
from ccos.rtfs.emitting.writer import Destination
from ccos.rtfs.forms import Literal
from ccos.rtfs.nodes import Node


class Conditions(Inference):
    """Writes tests."""

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
            if not is_simple(code):
                self._line(code)
            return Code("False" if kind == "nil" else "True")
        if is_simple(code):
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
            self._choose(negated(test) if is_and else test, block, [])
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
            target += [f"if {test if is_and else negated(test)}:", block]

    def _choose(self, test: Code, then: Block, otherwise: Block) -> None:
        """``if``, with ``elif`` where the rest is an ``if`` itself."""
        if not then and not otherwise:
            if not is_simple(test):
                self._line(test)
            return
        if not then:
            test, then, otherwise = negated(test), otherwise, []
        self._line(f"if {test}:")
        self._block.append(then)
        if not otherwise:
            return
        first = otherwise[0]
        if (
            isinstance(first, str)
            and without_marks(first).startswith("if ")
            and is_one_if(otherwise)
        ):
            self._line("el" + first if not first.startswith("\x01") else as_elif(first))
            self._block.extend(otherwise[1:])
            return
        self._line("else:")
        self._block.append(otherwise)
