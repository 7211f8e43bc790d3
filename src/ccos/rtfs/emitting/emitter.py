"""Nodes become Python text for Monty.

A node is written as an expression where it can be, and as statements that end in a destination
otherwise. Places of the RTFS text travel inside the generated text as marks and leave it at the
end as a source map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ccos.rtfs import nodes
from ccos.rtfs.diagnostics import Diagnostic
from ccos.rtfs.emitting.constants import HELD, data_code
from ccos.rtfs.emitting.handling import Handling
from ccos.rtfs.emitting.shapes import chain_length, is_plain_key
from ccos.rtfs.emitting.text import (
    CHOICE,
    NAME,
    OR,
    Block,
    Code,
    Span,
    call_text,
    marked,
    unmarked,
    written_lines,
)
from ccos.rtfs.emitting.writer import CLAUSES, DEPTH, DISCARD, Destination
from ccos.rtfs.forms import Form, ListForm, Literal, MapForm, VectorForm
from ccos.rtfs.library import BY_NAME
from ccos.rtfs.nodes import Node

RESULT: Final = "result"


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


def emit(body: Sequence[Node], text: str, module: nodes.Frame) -> Emitted:
    """Write a program.

    Args:
        body: Its top-level nodes.
        text: The RTFS text they come from.
        module: The frame of the module itself.
    """
    return Emitter(text, module).program(body)


class Emitter(Handling):
    """Writes one program."""

    def program(self, body: Sequence[Node]) -> Emitted:
        """Write all; the value of the last node ends in ``result``."""
        for node in body[:-1]:
            self.into(node, DISCARD)
        self.into(body[-1], Destination("assign", RESULT))
        header: Block = [f"{name} = {text}" for text, name in self._types.items()]
        text, spans = unmarked("\n".join(written_lines([*header, *self._block], 0)))
        return Emitted(text, spans, frozenset(NAME.findall(text)), tuple(self._diagnostics))

    def into(self, node: Node, to: Destination) -> None:
        """Write a node as statements."""
        writer = _STATEMENTS.get(type(node))
        if writer is not None:
            writer(self, node, to)
        else:
            self._finish(self.expr(node), to, node)

    def expr(self, node: Node) -> Code:
        """Write a node as an expression, with statements before it where it needs some."""
        self._depth += 1
        try:
            code = self._expression(node)
            if self._depth % DEPTH == 0:
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
        if depth == 0 or depth % DEPTH:
            return form
        name = self._temporary()
        self._line(f"{name} = {data_code(form)}")
        return Literal(HELD, name)

    def _ref(self, node: nodes.Ref) -> Code:
        return (
            Code(marked(node.at, node.variable.python))
            if node.variable.is_global
            else Code(node.variable.python)
        )

    def _library_ref(self, node: nodes.LibraryRef) -> Code:
        return Code(BY_NAME[node.name].python)

    def _raw(self, node: nodes.Raw) -> Code:
        if node.kind == "reference":
            return Code(node.python)
        return call_text(node.python, self._arguments(node.arguments), node.at)

    def _vector(self, node: nodes.VectorNode) -> Code:
        return Code(f"[{', '.join(self._arguments(node.items))}]")

    def _map(self, node: nodes.MapNode) -> Code:
        flat = [part for pair in node.pairs for part in pair]
        codes = self._arguments(flat)
        if all(is_plain_key(key) for key, _ in node.pairs):
            pairs = [f"{codes[i]}: {codes[i + 1]}" for i in range(0, len(codes), 2)]
            return Code(f"{{{', '.join(pairs)}}}")
        return call_text("map_of", codes, node.at)

    def _template(self, node: nodes.Template) -> Code:
        codes = self._arguments([item for item, _ in node.items])
        parts = [
            f"*items({code})" if spliced else code
            for code, (_, spliced) in zip(codes, node.items, strict=True)
        ]
        if node.shape == "vector":
            return Code(marked(node.at, f"[{', '.join(parts)}]"))
        if node.shape == "list":
            comma = "," if len(parts) == 1 else ""
            return Code(marked(node.at, f"({', '.join(parts)}{comma})"))
        return Code(marked(node.at, f"hash_map({', '.join(parts)})"))

    def _fresh_symbol(self, node: nodes.FreshSymbol) -> Code:
        return Code(f"fresh_symbol({node.name!r})")

    def _check(self, node: nodes.Check) -> Code:
        return self._checked(self.expr(node.value), node.type, node.path, node.at)

    def _host_call(self, node: nodes.HostCall) -> Code:
        target, *arguments = self._arguments([node.target, *node.arguments])
        line = Code(str(self._lines.place(node.at)[0]))
        return call_text("host_call", [target, line, *arguments], node.at)

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
        if chain_length(node) > CLAUSES:
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
