"""``loop``, ``for`` and their kin."""

from __future__ import annotations

from typing import Any

from ccos.rtfs import nodes
from ccos.rtfs.analysing.definitions import Definitions
from ccos.rtfs.analysing.scopes import NIL, Scope, WrongFormError
from ccos.rtfs.forms import (
    Form,
    Keyword,
    ListForm,
    Symbol,
    VectorForm,
    head_name,
    without_meta,
)
from ccos.rtfs.nodes import Node


class Loops(Definitions):
    """Reads loops."""

    def _loop(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        if len(form.items) < 3 or not isinstance(form.items[1], VectorForm):
            raise WrongFormError("`loop` takes a vector of bindings and a body", form)
        repeat = nodes.Repeat(scope.repeat, scope.frame)
        outer = Scope(scope, scope.frame, scope.repeat)
        inner = Scope(outer, scope.frame, repeat)
        bindings: list[nodes.Bind] = []
        variables: list[nodes.Variable] = []
        for pattern, kind, value in self._binding_parts(form.items[1]):
            node = self._node(value, inner, None)
            bare = without_meta(pattern)
            if isinstance(bare, Symbol) and bare.name != "_":
                variable = self._bound(bare.name, inner)
                bound: nodes.Pattern = nodes.Name(variable, pattern.start)
            else:
                variable = self._variable("_" if isinstance(bare, Symbol) else "whole", inner)
                bound = self._pattern(pattern, inner)
            variables.append(variable)
            bindings.append(nodes.Bind(bound, node, kind, pattern.start))
        loop = nodes.Loop(bindings, variables, nodes.Const(NIL, 0), repeat, form.start)
        body = Scope(inner, scope.frame, repeat)
        loop.body = self._body(form.items[2:], body, loop, form.start)
        if repeat.active:
            for variable in variables:
                variable.definitions = 2
        return loop

    def _recur(self, form: ListForm, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
        arguments = self._nodes(form.items[1:], scope)
        if tail is None:
            raise WrongFormError("`recur` stands in tail position of `loop` or `fn` only", form)
        wanted = len(tail.variables if isinstance(tail, nodes.Loop) else tail.parameters)
        if len(arguments) != wanted:
            raise WrongFormError(f"`recur` takes {wanted} values here, got {len(arguments)}", form)
        tail.repeat.active = True
        return nodes.Recur(tail, arguments, form.start)

    def _for(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        return self._comprehension(form, scope, collect=True)

    def _comprehension(self, form: ListForm, scope: Scope, *, collect: bool) -> Node:
        name = head_name(form)
        if len(form.items) < 3 or not isinstance(form.items[1], VectorForm):
            raise WrongFormError(
                f"`{name}` takes a vector of names and collections, and a body", form
            )
        items = list(form.items[1].items)
        generators: list[nodes.Generator] = []
        current = scope
        while items:
            pattern = items.pop(0)
            if not items:
                raise WrongFormError("this name has no collection", pattern)
            if isinstance(pattern, Keyword):
                if not generators:
                    raise WrongFormError(f"`:{pattern.name}` follows a collection", pattern)
                current = self._modifier(pattern, items.pop(0), generators[-1], current)
                continue
            collection = self._node(items.pop(0), current, None)
            repeat = nodes.Repeat(current.repeat, current.frame, active=True)
            current = Scope(current, current.frame, repeat)
            bound = self._pattern(pattern, current)
            generators.append(nodes.Generator(bound, collection, [], repeat, pattern.start))
        if not generators:
            raise WrongFormError(f"`{name}` needs a collection", form)
        body = Scope(current, current.frame, current.repeat)
        node = self._body(form.items[2:], body, None, form.start)
        return nodes.For(generators, node, collect, form.start)

    def _modifier(
        self, keyword: Keyword, form: Form, generator: nodes.Generator, scope: Scope
    ) -> Scope:
        if keyword.name == "when":
            generator.steps.append(self._node(form, scope, None))
            return scope
        if keyword.name == "let" and isinstance(form, VectorForm):
            inner = Scope(scope, scope.frame, scope.repeat)
            for part in self._binding_parts(form):
                generator.steps.append(self._let_binding(part, inner))
            return inner
        raise WrongFormError(
            f"`:{keyword.name}` is neither `:when` nor `:let` with a vector", keyword
        )

    def _doseq(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        return self._comprehension(form, scope, collect=False)

    def _dotimes(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        vector = form.items[1] if len(form.items) > 2 else None
        if not isinstance(vector, VectorForm) or len(vector.items) != 2:
            raise WrongFormError("`dotimes` takes `[name count]` and a body", form)
        repeat = nodes.Repeat(scope.repeat, scope.frame, active=True)
        inner = Scope(scope, scope.frame, repeat)
        count = nodes.LibraryCall("range", [self._node(vector.items[1], scope, None)], vector.start)
        generator = nodes.Generator(
            self._pattern(vector.items[0], inner), count, [], repeat, vector.start
        )
        body = Scope(inner, scope.frame, repeat)
        node = self._body(form.items[2:], body, None, form.start)
        return nodes.For([generator], node, False, form.start)
