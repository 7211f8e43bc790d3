"""``try``, steps, and calls of the host."""

from __future__ import annotations

import re
from typing import Any

from ccos.rtfs import nodes
from ccos.rtfs.analysing.choices import Choices
from ccos.rtfs.analysing.questions import literal_id, step_options, text_node
from ccos.rtfs.analysing.scopes import HostTarget, Scope, WrongFormError
from ccos.rtfs.analysing.words import LOG_LEVELS, WHILE
from ccos.rtfs.forms import (
    Form,
    Keyword,
    ListForm,
    Literal,
    Symbol,
    VectorForm,
    head_name,
)
from ccos.rtfs.nodes import Node
from ccos.rtfs.prelude import KIND_SYNONYMS, KINDS, UNCATCHABLE
from ccos.rtfs.types import (
    Type,
)


class Effects(Choices):
    """Reads what can fail or reach out."""

    def _try(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        body: list[Form] = []
        catches: list[nodes.Catch] = []
        cleanup: nodes.Function | None = None
        for item in form.items[1:]:
            name = head_name(item)
            if name == "catch" and isinstance(item, ListForm):
                if cleanup is not None:
                    raise WrongFormError("`finally` comes last", item)
                catches.append(self._catch(item, scope))
            elif name == "finally" and isinstance(item, ListForm):
                if cleanup is not None:
                    raise WrongFormError("`try` has one `finally`", item)
                cleanup = self._thunk(item.items[1:], scope, "cleanup", item.start)
            elif catches or cleanup is not None:
                raise WrongFormError("`catch` and `finally` come last", item)
            else:
                body.append(item)
        node = self._sequence(body, scope, None, form.start)
        return nodes.Try(node, catches, cleanup, form.start)

    def _catch(self, form: ListForm, scope: Scope) -> nodes.Catch:
        items = list(form.items[1:])
        selector: str | None = None
        by_keyword = False
        if len(items) >= 3 and isinstance(items[1], Symbol):
            first = items[0]
            if isinstance(first, Keyword):
                selector, by_keyword = first.name, True
                items.pop(0)
            elif isinstance(first, Symbol):
                last = re.split(r"[./]", first.name)[-1]
                if last[:1].isupper():
                    selector = last
                    self._check_selector(first, last)
                    items.pop(0)
        if len(items) < 2 or not isinstance(items[0], Symbol):
            raise WrongFormError("`catch` takes a kind, a name and a body", form)
        inner = Scope(scope, scope.frame, scope.repeat)
        variable = self._bound(items[0].name, inner)
        body = self._sequence(items[1:], inner, None, form.start)
        return nodes.Catch(selector, by_keyword, variable, body, form.start)

    def _check_selector(self, form: Symbol, name: str) -> None:
        if name in UNCATCHABLE:
            self._warn(f"`{name}` cannot be caught", form, kind="UnknownKind")
        elif name not in KINDS and name not in KIND_SYNONYMS and name != "Exception":
            self._warn(f"`{name}` is no kind of error", form, kind="UnknownKind")

    def _step(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        if len(form.items) < 2:
            raise WrongFormError("`step` takes a label", form)
        label = form.items[1]
        if isinstance(label, Keyword) and label.name in LOG_LEVELS and len(form.items) in (3, 4):
            level = text_node(label.name, label.start)
            return nodes.Raw("log", [level, *self._nodes(form.items[2:], scope)], form.start, "nil")
        if not isinstance(label, Keyword) and not (
            isinstance(label, Literal) and label.kind == "string"
        ):
            raise WrongFormError("the label of a step is a string or a keyword", label)
        options, body = step_options(list(form.items[2:]))
        pairs: list[tuple[Node, Node]] = [
            (nodes.Const(key, key.start), self._node(value, scope, None)) for key, value in options
        ]
        at = form.start
        inner = Scope(scope, scope.frame, scope.repeat)
        start: list[nodes.Bind] = []
        for index, (key, _) in enumerate(options):
            if key == Keyword("params"):
                variable = self._bound("%params", inner)
                start.append(nodes.Bind(nodes.Name(variable, at), pairs[index][1], None, at))
                pairs[index] = (pairs[index][0], nodes.Ref(variable, at))
        thunk = self._thunk(body, inner, "step", at)
        name = nodes.Const(label, label.start)
        called = nodes.Raw("in_step", [name, nodes.MapNode(pairs, at), thunk], at)
        return nodes.Let(start, called, at) if start else called

    def _step_if(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        return self._as_step("step-if", (Symbol("if"), *form.items[1:]), form, scope)

    def _step_loop(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        if len(form.items) < 2:
            raise WrongFormError("`step-loop` takes a test and a body", form)
        return self._as_step("step-loop", (Symbol(WHILE), *form.items[1:]), form, scope)

    def _as_step(self, label: str, items: tuple[Form, ...], form: ListForm, scope: Scope) -> Node:
        """A form whose evaluation the host sees as a step."""
        at = form.start
        thunk = self._thunk([ListForm(items, at, form.end)], scope, "step", at)
        return nodes.Raw("in_step", [text_node(label, at), nodes.MapNode([], at), thunk], at)

    def _while(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        repeat = nodes.Repeat(scope.repeat, scope.frame, active=True)
        inner = Scope(scope, scope.frame, repeat)
        test = self._node(form.items[1], inner, None)
        body = self._sequence(form.items[2:], inner, None, form.start)
        return nodes.While(test, body, repeat, form.start)

    def _step_parallel(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        branches: list[Node] = [
            self._thunk([item], scope, "branch", item.start) for item in form.items[1:]
        ]
        return nodes.Raw("in_parallel", [nodes.VectorNode(branches, form.start)], form.start, "vec")

    def _parallel(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        branches: list[Node] = []
        for item in form.items[1:]:
            if not isinstance(item, VectorForm) or not item.items:
                raise WrongFormError("a branch of `parallel` is `[name form]`", item)
            [(name, kind, value)] = self._one_binding(item)
            thunk = self._thunk([value], scope, "branch", item.start)
            if kind is not None and isinstance(name, Symbol):
                clause = thunk.clauses[0]
                clause.body = nodes.Check(clause.body, kind, name.name, item.start)
            branches.append(thunk)
        return nodes.Raw("in_parallel", [nodes.VectorNode(branches, form.start)], form.start, "vec")

    def _one_binding(self, vector: VectorForm) -> list[tuple[Form, Type | None, Form]]:
        parts = self._binding_parts(vector)
        if len(parts) != 1:
            raise WrongFormError("a branch of `parallel` is `[name form]`", vector)
        return parts

    def _host_call(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        if len(form.items) < 2:
            raise WrongFormError("`call` takes the id of a capability", form)
        target = form.items[1]
        identifier = literal_id(target)
        if isinstance(target, Literal) and target.kind != "string":
            self._warn("the id of a capability is a keyword or a string", target, kind="TypeError")
        self.targets.append(HostTarget(identifier, form.start))
        return nodes.HostCall(
            self._node(target, scope, None),
            self._nodes(form.items[2:], scope),
            identifier,
            form.start,
        )

    def _resource(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        name = form.items[1] if len(form.items) == 2 else None
        if not isinstance(name, Literal) or name.kind != "string":
            raise WrongFormError("`resource:ref` takes one string", form)
        return nodes.Const(Literal("string", f"@{name.value}", form.start, form.end), form.start)

    def _deref(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        name = form.items[1] if len(form.items) == 2 else form
        if not isinstance(name, Symbol | Keyword):
            raise WrongFormError("`@` stands before a name only", form)
        key = nodes.Const(Keyword(name.name), form.start)
        return nodes.LibraryCall("context/get", [key], form.start)
