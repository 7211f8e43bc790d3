"""Function literals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ccos.rtfs import nodes
from ccos.rtfs.analysing.patterns import Patterns
from ccos.rtfs.analysing.questions import is_conditions, substituted, symbols_of
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
    is_symbol,
    without_meta,
)
from ccos.rtfs.nodes import Node
from ccos.rtfs.types import (
    Type,
)


class Functions(Patterns):
    """Reads functions."""

    def _fn(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        return self._fn_node(form, scope, None)

    def _fn_node(
        self, form: ListForm, scope: Scope, variable: nodes.Variable | None
    ) -> nodes.Function:
        if head_name(form) == FUNCTION:
            return self._short_function(form, scope, variable)
        items = list(form.items[1:])
        name = ""
        inner_scope = scope
        if items and isinstance(without_meta(items[0]), Symbol):
            symbol = without_meta(items.pop(0))
            assert isinstance(symbol, Symbol)
            name = symbol.name
            if variable is None or variable.name != name:
                inner_scope = Scope(scope, scope.frame, scope.repeat)
                inner = self._bound(name, inner_scope)
                variable = variable or inner
                if variable is not inner:
                    inner_scope.names[name] = variable
        if head_name(form) == "lambda":
            self._check_lambda(items, form)
        return self._function(items, name, variable, inner_scope, form)

    def _check_lambda(self, items: list[Form], form: ListForm) -> None:
        first = without_meta(items[0]) if items else None
        if not isinstance(first, VectorForm) or not all(
            isinstance(item, Symbol) for item in first.items
        ):
            raise WrongFormError(
                "the parameters of `lambda` are names", form, "use `fn` for patterns"
            )

    def _function(
        self,
        items: list[Form],
        name: str,
        variable: nodes.Variable | None,
        scope: Scope,
        form: ListForm,
        *,
        loops: bool = True,
    ) -> nodes.Function:
        """Parameters and body, or one list of them for each arity."""
        frame = nodes.Frame(scope.frame)
        label = name or (variable.name if variable else "fn")
        function = nodes.Function(label, variable, [], frame, {}, form.start)
        if variable is not None and variable.function is None:
            variable.function = function
        tails = self._tails(items, form)
        self._functions.append(function)
        try:
            for one in tails:
                function.clauses.append(self._clause(one, function, scope, form, loops=loops))
        finally:
            self._functions.pop()
        self._check_arities(function, form)
        return function

    def _tails(self, items: list[Form], form: ListForm) -> list[list[Form]]:
        first = without_meta(items[0]) if items else None
        if isinstance(first, VectorForm):
            return [items]
        if items and all(
            isinstance(one, ListForm) and one.items and isinstance(one.items[0], VectorForm)
            for one in map(without_meta, items)
        ):
            return [
                list(one.items) for one in map(without_meta, items) if isinstance(one, ListForm)
            ]
        raise WrongFormError(
            "a function takes a vector of parameters first", form, "write `(fn [x] …)`"
        )

    def _check_arities(self, function: nodes.Function, form: ListForm) -> None:
        fixed = [one.required for one in function.clauses if not one.has_rest]
        if len(set(fixed)) != len(fixed) or len(function.clauses) - len(fixed) > 1:
            raise WrongFormError("two clauses take the same number of arguments", form)

    def _clause(
        self,
        items: list[Form],
        function: nodes.Function,
        scope: Scope,
        form: ListForm,
        *,
        loops: bool,
    ) -> nodes.Clause:
        vector = without_meta(items[0])
        assert isinstance(vector, VectorForm)
        frame = function.frame if not function.clauses else nodes.Frame(scope.frame)
        repeat = nodes.Repeat(None, frame)
        inner = Scope(scope, frame, repeat)
        clause = nodes.Clause(
            [], None, nodes.Const(NIL, 0), [], [], None, repeat, frame, form.start
        )
        self._functions[-1].frame = frame
        clause.parameters = self._parameters(vector, inner)
        rest = items[1:]
        if rest and isinstance(rest[0], Colon):
            if len(rest) < 3:
                raise WrongFormError("a function needs a body", form)
            clause.returns, rest = self._type(rest[1]), rest[2:]
        elif len(rest) > 1 and isinstance(rest[0], Keyword):
            clause.returns, rest = self._type(rest[0]), rest[1:]
        if not rest:
            raise WrongFormError("a function needs a body", form)
        body = Scope(inner, frame, repeat)
        if len(rest) > 1 and is_conditions(rest[0]):
            rest = self._conditions(clause, rest, inner)
        tail = None if clause.after or not loops else clause
        clause.body = self._body(rest, body, tail, form.start)
        self._functions[-1].frame = function.clauses[0].frame if function.clauses else frame
        return clause

    def _conditions(self, clause: nodes.Clause, items: list[Form], scope: Scope) -> list[Form]:
        """``{:pre […] :post […]}``."""
        conditions = items[0]
        assert isinstance(conditions, MapForm)
        for key, value in conditions.pairs:
            assert isinstance(value, VectorForm)
            if key == Keyword("pre"):
                clause.before = self._nodes(value.items, scope)
            else:
                after = Scope(scope, scope.frame, scope.repeat)
                clause.result = self._bound("%", after)
                clause.after = self._nodes(value.items, after)
        return items[1:]

    def _parameters(self, vector: VectorForm, scope: Scope) -> list[nodes.Parameter]:
        items = list(vector.items)
        parameters: list[nodes.Parameter] = []
        while items:
            item = items.pop(0)
            rest = is_symbol(item, "&")
            if rest:
                if not items or not isinstance(items[0], Symbol):
                    raise WrongFormError("`&` is followed by a name", item)
                item = items.pop(0)
            kind: Type | None = None
            if items and isinstance(items[0], Colon):
                items.pop(0)
                if not items:
                    raise WrongFormError("a type follows the colon", item)
                kind = self._type(items.pop(0))
            elif items and isinstance(items[0], Keyword):
                kind = self._type(items.pop(0))
            if rest and items:
                raise WrongFormError("nothing follows the parameter after `&`", items[0])
            parameters.append(self._parameter(item, kind, rest, scope))
        return parameters

    def _parameter(
        self, form: Form, kind: Type | None, rest: bool, scope: Scope
    ) -> nodes.Parameter:
        bare = without_meta(form)
        if isinstance(bare, Symbol) and bare.name != "_":
            variable = self._bound(bare.name, scope)
            pattern: nodes.Pattern = nodes.Name(variable, form.start)
        else:
            name = "_" if isinstance(bare, Symbol) else "whole"
            variable = self._variable(name, scope)
            variable.definitions = 1
            pattern = self._pattern(form, scope)
        return nodes.Parameter(pattern, variable, kind, rest, form.start)

    def _short_function(
        self, form: ListForm, scope: Scope, variable: nodes.Variable | None
    ) -> nodes.Function:
        """``#(…)``: parameters are the ``%`` names used in it."""
        if len(form.items) != 2:
            raise WrongFormError("`#(…)` holds one call", form)
        body = form.items[1]
        used = {name for name in symbols_of(body) if re.fullmatch(r"%(\d+|&)?", name)}
        numbers = [1 if name == "%" else int(name[1:]) for name in used if name != "%&"]
        if any(number == 0 or number > 20 for number in numbers):
            raise WrongFormError("the parameters of `#(…)` are %1 to %20", form)
        count = max(numbers, default=0)
        items: list[Form] = []
        items += [Symbol(f"%{number}") for number in range(1, count + 1)]
        if "%" in used:
            items[0] = Symbol("%")
        if "%" in used and "%1" in used:
            body = substituted(body, "%1", "%")
        if "%&" in used:
            items += [Symbol("&"), Symbol("%&")]
        whole = [VectorForm(tuple(items), form.start, form.start), body]
        return self._function(list(whole), "", variable, scope, form)

    def _thunk(self, forms: Sequence[Form], scope: Scope, name: str, at: int) -> nodes.Function:
        """A function without parameters whose body is ``forms``."""
        vector = VectorForm((), at, at)
        body: list[Form] = [vector, *(forms or [Literal("nil", None, at, at)])]
        whole = ListForm(tuple(forms), at, at)
        return self._function(body, name, None, scope, whole, loops=False)
