"""``module`` and ``import``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ccos.rtfs import nodes
from ccos.rtfs.analysing.derived import Derived
from ccos.rtfs.analysing.questions import calls_at_once, failure_node
from ccos.rtfs.analysing.scopes import NIL, Module, Scope, WrongFormError
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
from ccos.rtfs.reader import read_leniently


class Modules(Derived):
    """Reads modules."""

    def _module_form(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        if scope is not self._top or self._module.name:
            raise WrongFormError("`module` stands at top level only", form)
        if len(form.items) < 2 or not isinstance(form.items[1], Symbol):
            raise WrongFormError("`module` takes a name", form)
        name = form.items[1].name
        return self._module_body(name, form.items[2:], form)

    def _module_body(self, name: str, forms: Sequence[Form], form: Form) -> Node:
        module = Module(name)
        saved = (self._top, self._module, dict(self._imported_types))
        self._top = Scope(None, self._frame, None, is_body=True)
        self._module = module
        body: list[Node] = []
        try:
            definitions = self._expanded_top(self._exports_taken(module, forms))
            self._declare(definitions, self._top)
            for definition in definitions:
                self._check_definition(definition)
                body.append(self._node(definition, self._top, None))
        finally:
            self._top, self._module, self._imported_types = saved
        self._modules[name] = module
        at = form.start
        for export in module.exports or []:
            if not module.defines(export.name):
                words = f"module `{name}` exports `{export.name}`, which it does not define"
                self._warn(words, export, kind="ModuleError")
                body.append(failure_node("ModuleError", words, at))
        body.append(nodes.Const(NIL, at))
        return nodes.Do(body, at)

    def _exports_taken(self, module: Module, forms: Sequence[Form]) -> list[Form]:
        """The forms of a module without what names its exports."""
        rest: list[Form] = []
        for form in forms:
            match form:
                case ListForm((Keyword("exports"), VectorForm(names))) | ListForm(
                    (Symbol("export"), *names)
                ):
                    module.exports = module.exports or []
                    for name in names:
                        if not isinstance(name, Symbol):
                            raise WrongFormError("an export is a name", name)
                        module.exports.append(name)
                case _:
                    rest.append(form)
        return rest

    def _check_definition(self, form: Form) -> None:
        name = head_name(without_meta(form))
        if name not in ("def", "defn", "defstruct", "deftype", "import", "defmacro"):
            raise WrongFormError("a module holds definitions only", form)
        if name == "def" and calls_at_once(form):
            raise WrongFormError("an initial value of a module cannot call", form)

    def _export(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        raise WrongFormError("`export` stands in a module only", form)

    def _import(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        items = list(form.items[1:])
        if len(items) == 1 and isinstance(items[0], VectorForm):
            items = list(items[0].items)
        if not items or not isinstance(items[0], Symbol):
            raise WrongFormError("`import` takes the name of a module", form)
        name = items.pop(0)
        assert isinstance(name, Symbol)
        alias: str | None = None
        only: list[Symbol] | None = None
        while len(items) > 1:
            match items.pop(0), items.pop(0):
                case Keyword("as"), Symbol(word):
                    alias = word
                case Keyword("only" | "refer"), VectorForm(names):
                    only = [one for one in names if isinstance(one, Symbol)]
                case _:
                    raise WrongFormError("`import` takes `:as name` and `:only [names]`", form)
        if items:
            raise WrongFormError("`import` takes `:as name` and `:only [names]`", form)
        if "/" in name.name and alias is None and only is None:
            raise WrongFormError("a module whose name has `/` needs `:as` or `:only`", name)
        return self._imported(name, alias, only, form, scope)

    def _imported(
        self,
        name: Symbol,
        alias: str | None,
        only: list[Symbol] | None,
        form: ListForm,
        scope: Scope,
    ) -> Node:
        at = form.start
        body: list[Node] = []
        module = self._modules.get(name.name)
        if module is None:
            if name.name in self._loading or name.name == self._module.name:
                words = f"module `{name.name}` imports itself"
                self._warn(words, name, kind="ModuleError")
                return failure_node("ModuleError", words, at)
            loaded = self._loaded(name)
            if loaded is None:
                words = f"there is no module `{name.name}`"
                self._warn(words, name, kind="ModuleNotFound")
                return failure_node("ModuleNotFound", words, at)
            body.append(loaded)
            module = self._modules[name.name]
        self._aliases[name.name] = module
        if alias is not None:
            self._aliases[alias] = module
        for one in only or []:
            if not module.offers(one.name) or not module.defines(one.name):
                words = f"module `{name.name}` does not export `{one.name}`"
                self._warn(words, one, kind="ModuleError")
                body.append(failure_node("ModuleError", words, at))
                continue
            if one.name in module.members:
                scope.names[one.name] = module.members[one.name]
            if one.name in module.macros:
                self._module.macros[one.name] = module.macros[one.name]
            if one.name in module.types:
                self._imported_types[one.name] = module.types[one.name]
        body.append(nodes.Const(NIL, at))
        return nodes.Do(body, at)

    def _loaded(self, name: Symbol) -> Node | None:
        """A module of the host, analysed; None if there is none."""
        text = self._module_source(name.name) if self._module_source is not None else None
        if text is None:
            return None
        self._loading.append(name.name)
        self._foreign += 1
        try:
            source, diagnostics = read_leniently(text, name.name)
            for one in diagnostics:
                self._report(one)
            forms: Sequence[Form] = source.forms
            if len(forms) == 1 and head_name(forms[0]) == "module":
                [only] = forms
                assert isinstance(only, ListForm)
                forms = only.items[2:]
            return self._module_body(name.name, forms, name)
        finally:
            self._loading.pop()
            self._foreign -= 1
