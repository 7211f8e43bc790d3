"""``match`` and its patterns."""

from __future__ import annotations

from ccos.rtfs import nodes
from ccos.rtfs.analysing.loops import Loops
from ccos.rtfs.analysing.questions import always_matches, plain_data
from ccos.rtfs.analysing.scopes import Scope, WrongFormError
from ccos.rtfs.diagnostics import Diagnostic
from ccos.rtfs.forms import (
    Form,
    Keyword,
    ListForm,
    Literal,
    MapForm,
    Symbol,
    VectorForm,
    is_symbol,
    without_meta,
)
from ccos.rtfs.nodes import Node


class Choices(Loops):
    """Reads matches."""

    def _match(self, form: ListForm, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
        if len(form.items) < 4:
            raise WrongFormError("`match` takes a value and clauses", form)
        subject = self._node(form.items[1], scope, None)
        variable = self._variable("subject", scope)
        variable.definitions = 1
        items = list(form.items[2:])
        clauses: list[nodes.MatchClause] = []
        while items:
            pattern = items.pop(0)
            inner = Scope(scope, scope.frame, scope.repeat)
            matched = self._match_pattern(pattern, inner)
            guard: Node | None = None
            if len(items) > 2 and is_symbol(items[0], "when"):
                guard = self._node(items[1], inner, None)
                items = items[2:]
            if not items:
                raise WrongFormError("this pattern has no form", pattern)
            body = self._node(items.pop(0), inner, tail)
            clauses.append(nodes.MatchClause(matched, guard, body, pattern.start))
        self._warn_unreachable(clauses, form)
        return nodes.Match(subject, variable, clauses, form.start)

    def _warn_unreachable(self, clauses: list[nodes.MatchClause], form: ListForm) -> None:
        seen: set[Form] = set()
        for index, clause in enumerate(clauses):
            pattern = clause.pattern
            if isinstance(pattern, nodes.Equals) and clause.guard is None:
                if pattern.form in seen:
                    self._warn(
                        "this pattern is never reached: an earlier one is the same",
                        pattern.form,
                        kind="Unreachable",
                    )
                seen.add(pattern.form)
            if always_matches(pattern) and clause.guard is None and index < len(clauses) - 1:
                at = clauses[index + 1].at
                self._report(
                    Diagnostic(
                        "this pattern is never reached: the one before matches everything",
                        at,
                        at + 1,
                        "",
                        "warning",
                        "Unreachable",
                    )
                )
                return

    def _match_pattern(self, form: Form, scope: Scope) -> nodes.MatchPattern:
        form = without_meta(form)
        at = form.start
        match form:
            case Symbol("_"):
                return nodes.Ignore(at)
            case Symbol("&"):
                raise WrongFormError("`&` stands inside a pattern of a collection", form)
            case Symbol(name):
                return nodes.Name(self._bound(name, scope), at)
            case Literal() | Keyword():
                return nodes.Equals(form, at)
            case VectorForm(items):
                return self._match_items(form, items, scope)
            case MapForm(items):
                return self._match_members(form, items, scope)
            case ListForm():
                return self._match_list(form, scope)
        raise WrongFormError("this is no pattern", form)

    def _match_items(self, form: Form, items: tuple[Form, ...], scope: Scope) -> nodes.MatchPattern:
        ampersand = next((i for i, item in enumerate(items) if is_symbol(item, "&")), None)
        if ampersand is None:
            parts = [self._match_pattern(item, scope) for item in items]
            return nodes.MatchItems(parts, None, False, form.start)
        name = items[-1]
        if ampersand != len(items) - 2 or not isinstance(name, Symbol):
            raise WrongFormError("`&` is followed by one name, the last", items[ampersand])
        parts = [self._match_pattern(item, scope) for item in items[:ampersand]]
        rest = None if name.name == "_" else self._bound(name.name, scope)
        return nodes.MatchItems(parts, rest, True, form.start)

    def _match_members(
        self, form: MapForm, items: tuple[Form, ...], scope: Scope
    ) -> nodes.MatchPattern:
        members: list[tuple[Form, nodes.MatchPattern]] = []
        rest: nodes.Variable | None = None
        for key, value in form.pairs:
            if is_symbol(key, "&"):
                if not isinstance(value, Symbol):
                    raise WrongFormError("`&` is followed by a name", key)
                rest = None if value.name == "_" else self._bound(value.name, scope)
            elif key == Keyword("keys") and isinstance(value, VectorForm):
                members += [self._match_short(name, scope) for name in value.items]
            elif isinstance(key, Keyword | Literal):
                members.append((key, self._match_pattern(value, scope)))
            else:
                raise WrongFormError("a key of a pattern is a constant", key)
        return nodes.MatchMembers(members, rest, form.start)

    def _match_short(self, name: Form, scope: Scope) -> tuple[Form, nodes.MatchPattern]:
        if not isinstance(name, Symbol):
            raise WrongFormError("a name is a symbol", name)
        return Keyword(name.name), self._match_pattern(name, scope)

    def _match_list(self, form: ListForm, scope: Scope) -> nodes.MatchPattern:
        at = form.start
        match form.items:
            case (Symbol("quote"), inner):
                return nodes.Equals(
                    ListForm((Symbol("quote"), plain_data(inner)), at, form.end), at
                )
            case (Keyword("as"), Symbol(name), inner):
                matched = self._match_pattern(inner, scope)
                return nodes.Whole(self._bound(name, scope), matched, at)
            case (inner, Keyword("when"), guard):
                matched = self._match_pattern(inner, scope)
                return nodes.Guarded(matched, self._node(guard, scope, None), at)
            case (kind,):
                return nodes.OfType(self._type(kind), nodes.Ignore(at), at)
            case (kind, inner):
                return nodes.OfType(self._type(kind), self._match_pattern(inner, scope), at)
        raise WrongFormError("this is no pattern", form)
