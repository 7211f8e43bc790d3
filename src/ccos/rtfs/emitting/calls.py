"""Calls of functions of the program, and of values that may be functions."""

from __future__ import annotations

from collections.abc import Sequence

from ccos.rtfs import nodes
from ccos.rtfs.emitting.constants import key_code
from ccos.rtfs.emitting.functions import Functions
from ccos.rtfs.emitting.shapes import parameter_name
from ccos.rtfs.emitting.text import ATOM, CHOICE, Code, call_text, is_simple, marked
from ccos.rtfs.emitting.writer import DISCARD
from ccos.rtfs.forms import Keyword
from ccos.rtfs.nodes import Node, place


class Calls(Functions):
    """Writes calls."""

    def _call(self, node: nodes.Call) -> Code:
        callee = node.callee
        if isinstance(callee, nodes.Const) and isinstance(callee.form, Keyword):
            return self._keyword_call(node, callee.form)
        function, *arguments = self._arguments([callee, *node.arguments])
        known = self._known_function(callee)
        if known is not None:
            self._check_arity(known, node)
        elif self.kind(callee) != "fn":
            if is_simple(function):
                function = Code(
                    f"{function} if type({function}) is Function else callee({function})", 0
                )
            else:
                function = Code(f"callee({function})")
        return call_text(function.at_least(ATOM), arguments, node.at)

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
                        path = f"argument `{parameter_name(parameter)}` of `{function.name}`"
                        self._warn_mismatch(argument, parameter.type, path, place(argument))
                return
        takes = " or ".join(
            f"{clause.required}{' or more' if clause.has_rest else ''}"
            for clause in function.clauses
        )
        self._warn(
            f"`{function.name}` takes {takes} arguments, got {count}", node.at, "ArityMismatch"
        )

    def _keyword_call(self, node: nodes.Call, key: Keyword) -> Code:
        if not 1 <= len(node.arguments) <= 2:
            self._warn(f"`:{key.name}` takes 1 or 2 arguments", node.at, "ArityMismatch")
            return self._arity_fault(f":{key.name}", node.arguments, node.at)
        codes = self._arguments(node.arguments)
        code = key_code(key)
        if len(codes) == 1 and is_simple(codes[0]):
            fast = f"{codes[0]}[{code}] if type({codes[0]}) is dict and {code} in {codes[0]}"
            slow = call_text("lookup", [codes[0], code], node.at)
            return Code(f"{fast} else {slow}", CHOICE)
        return call_text("lookup", [codes[0], code, *codes[1:]], node.at)

    def _arity_fault(self, name: str, arguments: Sequence[Node], at: int) -> Code:
        for argument in arguments:
            self.into(argument, DISCARD)
        return Code(marked(at, f"arity_fault({name!r}, {len(arguments)})"))
