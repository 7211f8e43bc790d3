"""Forms that stand for others."""

from __future__ import annotations

from ccos.rtfs import nodes
from ccos.rtfs.analysing.effects import Effects
from ccos.rtfs.analysing.questions import plain_data
from ccos.rtfs.analysing.scopes import NIL, TRUE, Scope, WrongFormError
from ccos.rtfs.forms import (
    FUNCTION,
    ListForm,
    Literal,
    VectorForm,
    head_name,
    without_meta,
)
from ccos.rtfs.nodes import Node


class Derived(Effects):
    """Reads derived forms."""

    def _when(self, form: ListForm, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
        if len(form.items) < 2:
            raise WrongFormError(f"`{head_name(form)}` takes a test", form)
        test = self._node(form.items[1], scope, None)
        body = self._sequence(form.items[2:], scope, tail, form.start)
        nothing = nodes.Const(NIL, form.start)
        if head_name(form) == "when-not":
            return nodes.If(test, nothing, body, form.start)
        return nodes.If(test, body, nothing, form.start)

    def _if_not(self, form: ListForm, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
        node = self._if(form, scope, tail)
        assert isinstance(node, nodes.If)
        return nodes.If(node.test, node.otherwise, node.then, form.start)

    def _if_let(self, form: ListForm, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
        name = head_name(form)
        if len(form.items) < 3 or not isinstance(form.items[1], VectorForm):
            raise WrongFormError(f"`{name}` takes `[name value]` and a body", form)
        if name == "if-let" and len(form.items) > 4:
            raise WrongFormError("`if-let` takes `[name value]`, a form and perhaps another", form)
        [(pattern, kind, value)] = self._one_binding(form.items[1])
        outer = Scope(scope, scope.frame, scope.repeat)
        held = self._variable("found", outer)
        held.definitions = 1
        node = self._node(value, scope, None)
        inner = Scope(scope, scope.frame, scope.repeat)
        reference = nodes.Ref(held, form.start)
        bound = nodes.Bind(self._pattern(pattern, inner), reference, kind, pattern.start)
        if name == "if-let":
            body = self._sequence(form.items[2:3], inner, tail, form.start)
            otherwise = self._sequence(form.items[3:], scope, tail, form.start)
        else:
            body = self._body(form.items[2:], inner, tail, form.start)
            otherwise = nodes.Const(NIL, form.start)
        choice = nodes.If(
            nodes.Ref(held, form.start),
            nodes.Let([bound], body, form.start),
            otherwise,
            form.start,
        )
        hold = nodes.Bind(nodes.Name(held, form.start), node, None, form.start)
        return nodes.Let([hold], choice, form.start)

    def _cond(self, form: ListForm, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
        items = form.items[1:]
        if len(items) % 2:
            raise WrongFormError("`cond` takes tests and forms in turn", form)
        result: Node = nodes.Const(NIL, form.start)
        pairs = [
            (self._node(items[i], scope, None), self._node(items[i + 1], scope, tail), items[i])
            for i in range(0, len(items), 2)
        ]
        for test, then, at in reversed(pairs):
            result = nodes.If(test, then, result, at.start)
        return result

    def _case(self, form: ListForm, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
        if len(form.items) < 2:
            raise WrongFormError("`case` takes a value", form)
        items = list(form.items[2:])
        variable = self._variable("subject", scope)
        variable.definitions = 1
        clauses: list[nodes.MatchClause] = []
        while len(items) > 1:
            key = items.pop(0)
            body = self._node(items.pop(0), scope, tail)
            bare = without_meta(key)
            choices = bare.items if isinstance(bare, ListForm) else (bare,)
            if isinstance(bare, ListForm) and head_name(bare) == "quote":
                choices = (bare.items[1],)
            pattern = nodes.OneOf([plain_data(choice) for choice in choices], key.start)
            clauses.append(nodes.MatchClause(pattern, None, body, key.start))
        if items:
            body = self._node(items[0], scope, tail)
            clauses.append(
                nodes.MatchClause(nodes.Ignore(items[0].start), None, body, items[0].start)
            )
        subject = self._node(form.items[1], scope, None)
        return nodes.Match(subject, variable, clauses, form.start)

    def _and(self, form: ListForm, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
        return self._logical(form, scope, tail, TRUE, nodes.And)

    def _or(self, form: ListForm, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
        return self._logical(form, scope, tail, Literal("boolean", False), nodes.Or)

    def _logical(
        self,
        form: ListForm,
        scope: Scope,
        tail: nodes.Loop | nodes.Clause | None,
        empty: Literal,
        make: type[nodes.And] | type[nodes.Or],
    ) -> Node:
        items = form.items[1:]
        if not items:
            return nodes.Const(empty, form.start)
        parts = [self._node(item, scope, None) for item in items[:-1]]
        parts.append(self._node(items[-1], scope, tail))
        return make(parts, form.start) if len(parts) > 1 else parts[0]

    def _thread(self, form: ListForm, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
        if len(form.items) < 2:
            raise WrongFormError(f"`{head_name(form)}` takes a value", form)
        result = form.items[1]
        last = head_name(form) == "->>"
        for step in form.items[2:]:
            bare = without_meta(step)
            if isinstance(bare, ListForm) and bare.items and head_name(bare) != FUNCTION:
                items = bare.items
                items = (*items, result) if last else (items[0], result, *items[1:])
            else:
                items = (step, result)
            result = ListForm(items, step.start, step.end)
        return self._node(result, scope, tail)
