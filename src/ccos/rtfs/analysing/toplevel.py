"""Top-level forms: macros are expanded, definitions made known."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from ccos.rtfs.analysing.questions import is_function
from ccos.rtfs.analysing.resolver import Resolver
from ccos.rtfs.analysing.scopes import (
    EXPANSION_LIMIT,
    EXPANSION_SECONDS,
    Scope,
    WrongFormError,
)
from ccos.rtfs.analysing.words import CORE
from ccos.rtfs.forms import (
    Form,
    ListForm,
    Literal,
    Symbol,
    head_name,
    without_meta,
)
from ccos.rtfs.macros import Macro, MacroError


class TopLevel(Resolver):
    """Reads what stands at top level."""

    def _expanded_top(self, forms: Iterable[Form]) -> list[Form]:
        """Top-level forms without macro calls at their heads; ``do`` is opened."""
        result: list[Form] = []
        waiting = [(form, 0) for form in reversed(list(forms))]
        while waiting:
            form, level = waiting.pop()
            try:
                if level > EXPANSION_LIMIT:
                    raise WrongFormError(f"a macro expands more than {EXPANSION_LIMIT} times", form)
                opened = self._opened(form)
            except WrongFormError as wrong:
                self._report(wrong.diagnostic)
                continue
            if opened is None:
                result.append(form)
            else:
                waiting.extend((one, level + 1) for one in reversed(opened))
        return result

    def _opened(self, form: Form) -> Sequence[Form] | None:
        """What a top-level form stands for; None if it stands for itself."""
        bare = without_meta(form)
        if not isinstance(bare, ListForm) or not bare.items:
            return None
        name = head_name(bare)
        if name is None:
            return None
        macro = self._macro(name, self._top)
        if macro is not None:
            return [self._expand(macro, bare)]
        if name == "defmacro":
            self._define_macro(bare)
            return [Literal("nil", None, bare.start, bare.end)] if self._module.name == "" else []
        if name == "do" and len(bare.items) > 1:
            return bare.items[1:]
        return None

    def _define_macro(self, form: ListForm) -> None:
        if len(form.items) < 4:
            raise WrongFormError("`defmacro` takes a name, parameters and a body", form)
        name = without_meta(form.items[1])
        if not isinstance(name, Symbol):
            raise WrongFormError("the name of a macro is a symbol", name)
        if name.name in CORE:
            raise WrongFormError(f"`{name.name}` cannot be redefined", name)
        try:
            macro = self._macros.define(form, dict(self._visible_macros()))
        except MacroError as error:
            raise WrongFormError(error.message, error.form or form) from error
        self._module.macros[name.name] = macro
        self._top.names.pop(name.name, None)

    def _visible_macros(self) -> Mapping[str, Macro]:
        return self._module.macros

    def _expand(self, macro: Macro, form: ListForm) -> Form:
        if self._expanding_seconds > EXPANSION_SECONDS:
            words = f"the macros of the program take more than {EXPANSION_SECONDS:g} s"
            raise WrongFormError(words, form)
        begun = time.monotonic()
        try:
            return self._macros.expand(macro, form)
        except MacroError as error:
            raise WrongFormError(error.message, form) from error
        finally:
            self._expanding_seconds += time.monotonic() - begun

    def _declare(self, forms: Iterable[Form], scope: Scope, *, plain: bool = True) -> None:
        """Make the names that forms of a body define known before the body is looked at."""
        for form in forms:
            bare = without_meta(form)
            if not isinstance(bare, ListForm) or not bare.items:
                continue
            match head_name(bare):
                case "defn" | "def" | "defstruct" as head if len(bare.items) > 1:
                    name = without_meta(bare.items[1])
                    if isinstance(name, Symbol) and name.name not in CORE:
                        defines_function = head != "def" or is_function(bare.items[-1])
                        if defines_function or plain or self._is_new(name.name, scope):
                            self._declare_one(name, scope)
                            scope.names[name.name].definitions += 1
                            self._counted.add(id(bare))
                    if head == "defstruct":
                        self._declare_type(name)
                case "deftype" if len(bare.items) > 1:
                    self._declare_type(bare.items[1])
                case "do" | "try" | "if" | "when" | "when-not" | "catch" | "finally":
                    self._declare(bare.items[1:], scope, plain=plain)

    def _declare_type(self, form: Form) -> None:
        name = without_meta(form)
        if isinstance(name, Symbol):
            self._register_type(name)

    def _is_new(self, name: str, scope: Scope) -> bool:
        current: Scope | None = scope
        while current is not None and current.outer is not None:
            if name in current.names:
                return False
            current = current.outer
        return True

    def _declare_one(self, name: Symbol, scope: Scope) -> None:
        variable = scope.names.get(name.name)
        if variable is None:
            variable = self._variable(self._qualified(name.name, scope), scope)
            variable.name = name.name
            scope.names[name.name] = variable
            if scope is self._top:
                self._module.members[name.name] = variable

    def _qualified(self, name: str, scope: Scope) -> str:
        if scope is self._top and self._module.name:
            return f"{self._module.name}-{name}"
        return name
