"""The core forms that everything is made of: data, choices, bodies, ``let``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ccos.rtfs import nodes
from ccos.rtfs.analysing.functions import Functions
from ccos.rtfs.analysing.questions import is_function, plain_data, reads_as_pairs
from ccos.rtfs.analysing.scopes import NIL, Scope, WrongFormError
from ccos.rtfs.forms import (
    FUNCTION,
    Colon,
    Form,
    Keyword,
    ListForm,
    Literal,
    MapForm,
    Symbol,
    VectorForm,
    head_name,
    without_meta,
)
from ccos.rtfs.nodes import Node
from ccos.rtfs.types import (
    Type,
)


class Basics(Functions):
    """Reads core forms."""

    def _quote(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        if len(form.items) != 2:
            raise WrongFormError("`quote` takes one form", form)
        return nodes.Const(plain_data(form.items[1]), form.start)

    def _quasiquote(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        if len(form.items) != 2:
            raise WrongFormError("a quasiquote takes one form", form)
        return self._template(form.items[1], scope, 1)

    def _template(self, form: Form, scope: Scope, level: int) -> Node:
        form = without_meta(form)
        name = head_name(form)
        match form:
            case ListForm((_, inner)) if name == "unquote":
                if level == 1:
                    return self._node(inner, scope, None)
                return self._template_list(form, scope, level - 1)
            case ListForm((_, inner)) if name == "unquote-splicing" and level == 1:
                raise WrongFormError("`~@` stands inside a collection", form)
            case ListForm((_, inner)) if name == "unquote-splicing":
                return self._template_list(form, scope, level - 1)
            case ListForm() if name == "quasiquote":
                return self._template_list(form, scope, level + 1)
            case ListForm() | VectorForm() | MapForm():
                return self._template_list(form, scope, level)
            case Symbol(word) if word.endswith("#") and len(word) > 1:
                return nodes.FreshSymbol(word[:-1], form.start)
        return nodes.Const(plain_data(form), form.start)

    def _template_list(
        self, form: ListForm | VectorForm | MapForm, scope: Scope, level: int
    ) -> Node:
        shape = {ListForm: "list", VectorForm: "vector", MapForm: "map"}[type(form)]
        items: list[tuple[Node, bool]] = []
        for item in form.items:
            bare = without_meta(item)
            if level == 1 and head_name(bare) == "unquote-splicing":
                assert isinstance(bare, ListForm)
                if len(bare.items) != 2:
                    raise WrongFormError("`~@` takes one form", bare)
                items.append((self._node(bare.items[1], scope, None), True))
            else:
                items.append((self._template(item, scope, level), False))
        if all(isinstance(node, nodes.Const) and not spliced for node, spliced in items):
            return nodes.Const(plain_data(form), form.start)
        return nodes.Template(shape, items, form.start)

    def _stray(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        raise WrongFormError("an unquote stands inside a quasiquote", form)

    def _if(self, form: ListForm, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
        if not 3 <= len(form.items) <= 4:
            raise WrongFormError(
                "`if` takes a test, a form and perhaps another",
                form,
                "write `(if test then else)`",
            )
        test = self._node(form.items[1], scope, None)
        then = self._node(form.items[2], scope, tail)
        otherwise: Node = nodes.Const(NIL, form.start)
        if len(form.items) == 4:
            otherwise = self._node(form.items[3], scope, tail)
        return nodes.If(test, then, otherwise, form.start)

    def _do(self, form: ListForm, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
        return self._sequence(form.items[1:], scope, tail, form.start)

    def _sequence(
        self,
        forms: Sequence[Form],
        scope: Scope,
        tail: nodes.Loop | nodes.Clause | None,
        at: int,
    ) -> Node:
        """Several forms; all but the last for nothing."""
        if not forms:
            return nodes.Const(Literal("nil", None, at, at), at)
        if len(forms) == 1:
            return self._node(forms[0], scope, tail)
        body = [self._node(form, scope, None) for form in forms[:-1]]
        body.append(self._node(forms[-1], scope, tail))
        return nodes.Do(body, at)

    def _body(
        self,
        forms: Sequence[Form],
        scope: Scope,
        tail: nodes.Loop | nodes.Clause | None,
        at: int,
    ) -> Node:
        """As :meth:`_sequence`, in a scope where ``def`` binds."""
        scope.is_body = True
        self._declare(forms, scope, plain=False)
        return self._sequence(forms, scope, tail, at)

    def _let(self, form: ListForm, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
        if len(form.items) < 2 or not isinstance(form.items[1], VectorForm):
            raise WrongFormError(
                "`let` takes a vector of bindings first", form, "write `(let [x 1] …)`"
            )
        if len(form.items) < 3:
            raise WrongFormError("`let` needs a body", form)
        inner = Scope(scope, scope.frame, scope.repeat)
        parts = self._binding_parts(form.items[1])
        for pattern, _, value in parts:
            if isinstance(pattern, Symbol) and is_function(value) and pattern.name != "_":
                variable = self._variable(pattern.name, inner)
                inner.pending.setdefault(pattern.name, variable)
        bindings = [self._let_binding(part, inner) for part in parts]
        body = self._body(form.items[2:], Scope(inner, scope.frame, scope.repeat), tail, form.start)
        return nodes.Let(bindings, body, form.start)

    def _let_binding(self, part: tuple[Form, Type | None, Form], scope: Scope) -> nodes.Bind:
        pattern, kind, value = part
        at = pattern.start
        if isinstance(pattern, Symbol) and pattern.name in scope.pending and is_function(value):
            variable = scope.pending[pattern.name]
            if variable.definitions:
                variable = self._variable(pattern.name, scope)
            variable.definitions = 1
            node = self._function_literal(value, scope, variable)
            scope.names[pattern.name] = variable
            return nodes.Bind(nodes.Name(variable, at), node, kind, at)
        node = self._node(value, scope, None)
        return nodes.Bind(self._pattern(pattern, scope), node, kind, at)

    def _function_literal(self, form: Form, scope: Scope, variable: nodes.Variable) -> Node:
        """A function that is bound to ``variable`` for good."""
        bare = without_meta(form)
        assert isinstance(bare, ListForm)
        name = head_name(bare)
        if name == FUNCTION or name in ("fn", "λ", "lambda"):
            node = self._fn_node(bare, scope, variable)
            if isinstance(node, nodes.Function):
                variable.function = node
            return node
        return self._node(form, scope, None)

    def _binding_parts(self, vector: VectorForm) -> list[tuple[Form, Type | None, Form]]:
        """Pattern, annotation and value of each binding of a ``let``."""
        items = list(vector.items)
        parts: list[tuple[Form, Type | None, Form]] = []
        while items:
            pattern = items.pop(0)
            kind: Type | None = None
            if items and isinstance(items[0], Colon):
                items.pop(0)
                if not items:
                    raise WrongFormError("a type follows the colon", pattern)
                kind = self._type(items.pop(0))
            elif items and isinstance(items[0], Keyword) and self._annotates(pattern, items):
                kind = self._type(items.pop(0))
            if not items:
                raise WrongFormError(
                    "this name has no value", pattern, "names and values stand in turn"
                )
            parts.append((pattern, kind, items.pop(0)))
        return parts

    def _annotates(self, pattern: Form, items: list[Form]) -> bool:
        """Whether a keyword after a pattern is its type rather than its value."""
        if items[0].start == pattern.end and items[0].end > items[0].start:
            return True
        return not reads_as_pairs(items[1:])
