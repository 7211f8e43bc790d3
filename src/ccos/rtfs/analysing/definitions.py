"""``def`` and its kin."""

from __future__ import annotations

from typing import Any

from ccos.rtfs import nodes
from ccos.rtfs.analysing.basics import Basics
from ccos.rtfs.analysing.questions import is_function, text_node
from ccos.rtfs.analysing.scopes import Scope, WrongFormError
from ccos.rtfs.analysing.words import CORE
from ccos.rtfs.forms import (
    Colon,
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
from ccos.rtfs.types import (
    Entry,
    Record,
    Type,
)


class Definitions(Basics):
    """Reads definitions."""

    def _def(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        items = list(form.items[1:])
        if not 2 <= len(items) <= 5:
            raise WrongFormError("`def` takes a name and a value", form)
        name = self._defined_name(items.pop(0))
        kind: Type | None = None
        if isinstance(items[0], Colon) and len(items) == 3:
            kind, items = self._type(items[1]), items[2:]
        elif len(items) == 2 and isinstance(items[0], Literal) and items[0].kind == "string":
            items = items[1:]
        elif len(items) == 2 and not isinstance(items[0], Colon):
            kind, items = self._type(items[0]), items[1:]
        if len(items) != 1:
            raise WrongFormError("`def` takes a name and a value", form)
        return self._define(name, items[0], kind, scope, form)

    def _define(
        self, name: Symbol, value: Form, kind: Type | None, scope: Scope, form: ListForm
    ) -> Node:
        variable = self._defining(name, scope, form)
        if is_function(value):
            node = self._function_literal(value, scope, variable)
            if variable.definitions > 1:
                variable.function = None
        else:
            node = self._node(value, scope, None)
            variable.function = None
        return nodes.Define(variable, node, kind, form.start)

    def _defined_name(self, form: Form) -> Symbol:
        name = without_meta(form)
        if not isinstance(name, Symbol) or name.name == "&":
            raise WrongFormError("a name is a symbol", name)
        if name.name in CORE:
            raise WrongFormError(f"`{name.name}` cannot be redefined", name)
        return name

    def _defining(self, name: Symbol, scope: Scope, form: Form) -> nodes.Variable:
        """The variable that a definition gives a value to; of the nearest body."""
        current = scope
        while not current.is_body and current.outer is not None:
            current = current.outer
        if name.name not in current.names:
            self._declare_one(name, current)
        variable = current.names[name.name]
        if id(form) not in self._counted:
            variable.definitions += 1
        if current is not self._top and current.repeat is not None:
            variable.repeat = current.repeat
        self._capture(variable)
        return variable

    def _defn(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        items = list(form.items[1:])
        if len(items) < 2:
            raise WrongFormError("`defn` takes a name, parameters and a body", form)
        name = self._defined_name(items.pop(0))
        if len(items) > 1 and isinstance(items[0], Literal) and items[0].kind == "string":
            items.pop(0)
        if len(items) > 1 and isinstance(items[0], MapForm):
            items.pop(0)
        variable = self._defining(name, scope, form)
        node = self._function(items, name.name, variable, scope, form)
        variable.function = node if variable.definitions == 1 else None
        return nodes.Define(variable, node, None, form.start)

    def _defmacro(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        raise WrongFormError("`defmacro` stands at top level or in a module only", form)

    def _deftype(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        items = list(form.items[1:])
        if len(items) == 3 and isinstance(items[1], Colon):
            items.pop(1)
        if len(items) != 2:
            raise WrongFormError("`deftype` takes a name and a type", form)
        name = self._defined_name(items[0])
        full = self._register_type(name)
        kind = self._type(items[1])
        self.types[full] = kind
        return nodes.NameType(full, kind, form.start)

    def _register_type(self, name: Symbol) -> str:
        full = f"{self._module.name}/{name.name}" if self._module.name else name.name
        self._module.types[name.name] = full
        return full

    def _defstruct(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        if len(form.items) < 2:
            raise WrongFormError("`defstruct` takes a name and fields", form)
        name = self._defined_name(form.items[1])
        full = self._register_type(name)
        items = list(form.items[2:])
        if len(items) == 1 and isinstance(items[0], VectorForm | MapForm):
            items = list(items[0].items)
        entries: list[Entry] = []
        while items:
            key = items.pop(0)
            if not isinstance(key, Keyword):
                raise WrongFormError("a field is a keyword and a type", key)
            if items and isinstance(items[0], Colon):
                items.pop(0)
            if not items:
                raise WrongFormError("this field has no type", key)
            kind = self._type(items.pop(0))
            optional = bool(items) and is_symbol(items[0], "?")
            if optional:
                items.pop(0)
            entries.append(Entry(key, kind, optional))
        record = Record(tuple(entries))
        self.types[full] = record
        at = form.start
        variable = self._defining(name, scope, form)
        variable.function = None
        maker = nodes.Raw(
            "partial",
            [nodes.Raw("constructed", [], at, "reference"), text_node(full, at)],
            at,
            "fn",
        )
        return nodes.Do(
            [nodes.NameType(full, record, at), nodes.Define(variable, maker, None, at)], at
        )
