"""Forms become nodes: names are resolved, core forms checked, tail positions found.

Macros are expanded on the way, outside in, so that a local name hides a macro of that name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from ccos.rtfs import nodes
from ccos.rtfs.analysing.modules import Modules
from ccos.rtfs.analysing.naming import mark_bouncing
from ccos.rtfs.analysing.questions import literal_id, text_node
from ccos.rtfs.analysing.scopes import (
    EXPANSION_LIMIT,
    NIL,
    TRUE,
    HostTarget,
    ModuleSource,
    Program,
    Scope,
    WrongFormError,
)
from ccos.rtfs.analysing.words import DERIVED, HINTS, WHILE
from ccos.rtfs.forms import (
    DEREF,
    FUNCTION,
    Colon,
    Form,
    Keyword,
    ListForm,
    Literal,
    MapForm,
    MetaForm,
    Source,
    Symbol,
    VectorForm,
    head_name,
    without_meta,
)
from ccos.rtfs.library import BY_NAME, HOST_FUNCTIONS
from ccos.rtfs.macros import Macro, Macros
from ccos.rtfs.nodes import Node


def analyse(
    source: Source,
    macros: Macros,
    *,
    module_source: ModuleSource | None = None,
    reserved: Iterable[str] = (),
    visible: Mapping[str, Macro] | None = None,
) -> Program:
    """Resolve a program.

    Args:
        source: What was read.
        macros: Expands macros.
        module_source: Texts of modules that the program does not define itself.
        reserved: Python names that variables must not get.
        visible: Macros that are defined already.
    """
    analysis = Analysis(macros, module_source, frozenset(reserved))
    return analysis.program(source, visible or {})


class Analysis(Modules):
    """One run over one program."""

    def program(self, source: Source, visible: Mapping[str, Macro]) -> Program:
        """Analyse all of a text."""
        self._module.macros.update(visible)
        forms = self._expanded_top(source.forms)
        self._declare(forms, self._top)
        body = [self._top_node(form) for form in forms]
        if not body:
            body = [nodes.Const(NIL, 0)]
        mark_bouncing(self._tail_calls)
        for kind in self._named_types:
            if kind.name not in self.types:
                self._warn(f"there is no type `{kind.name}`", kind, kind="TypeValidationError")
        for name, symbol in self._unresolved.items():
            if name not in self._top.names:
                self._warn(f"`{name}` is not defined", symbol, self._similar(name))
        return Program(
            body,
            dict(self._top.names),
            self.targets,
            self.diagnostics,
            self.types,
            self._frame,
        )

    def _top_node(self, form: Form) -> Node:
        try:
            return self._node(form, self._top, None)
        except RecursionError:
            self._report(WrongFormError("this is nested too deeply to be read", form).diagnostic)
            return nodes.Const(NIL, form.start)

    def _node(self, form: Form, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
        """A node, or nil after an error that is reported; the forms around it are still read."""
        try:
            return self._read(form, scope, tail)
        except WrongFormError as wrong:
            self._report(wrong.diagnostic)
            return nodes.Const(NIL, form.start)

    def _read(self, form: Form, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
        match form:
            case Literal() | Keyword():
                return nodes.Const(form, form.start)
            case Symbol():
                return self._symbol(form, scope)
            case ListForm():
                return self._list(form, scope, tail)
            case VectorForm(items):
                return nodes.VectorNode(
                    [self._node(item, scope, None) for item in items], form.start
                )
            case MapForm():
                pairs = [
                    (self._node(key, scope, None), self._node(value, scope, None))
                    for key, value in form.pairs
                ]
                return nodes.MapNode(pairs, form.start)
            case MetaForm():
                return self._meta(form, scope, tail)
            case Colon():
                raise WrongFormError("a colon stands before a type only", form)

    def _symbol(self, form: Symbol, scope: Scope) -> Node:
        name = form.name
        variable = self._resolve(name, scope)
        if variable is not None:
            return nodes.Ref(variable, form.start)
        if name in BY_NAME:
            return nodes.LibraryRef(name, form.start)
        if name in HOST_FUNCTIONS:
            return self._host_function(form)
        if re.fullmatch(r"<[^<>]+>", name):
            return self._context(name[1:-1], form)
        if name == "&":
            raise WrongFormError("`&` stands in patterns and parameters only", form)
        if len(name) > 1 and name.endswith(".") and not name.startswith("."):
            return self._constructor(form)
        if len(name) > 1 and name.startswith("."):
            return self._symbol(Symbol(name[1:], form.start, form.end), scope)
        self._unresolved.setdefault(name, form)
        text = Literal("string", name)
        return nodes.Raw("undefined", [nodes.Const(text, form.start)], form.start, "never")

    def _context(self, name: str, form: Form) -> Node:
        key = nodes.Const(Keyword(name), form.start)
        return nodes.LibraryCall("context/get", [key], form.start)

    def _constructor(self, form: Symbol) -> Node:
        """``Name.`` as a function that makes error values."""
        kind = "ApplicationError" if form.name == "Exception." else form.name[:-1]
        at = form.start
        return nodes.Raw(
            "partial",
            [nodes.Raw("new_error", [], at, "reference"), text_node(kind, at)],
            at,
            "fn",
        )

    def _host_function(self, form: Symbol) -> Node:
        """A function that calls a capability with all its arguments."""
        identifier = HOST_FUNCTIONS[form.name]
        self.targets.append(HostTarget(identifier, form.start))
        return nodes.HostFunction(identifier, form.start)

    def _meta(self, form: MetaForm, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
        hints: list[tuple[Node, Node]] = []
        meta = form.meta[0]
        pairs = meta.pairs if isinstance(meta, MapForm) else [(meta, TRUE)]
        for key, value in pairs:
            if not isinstance(key, Keyword) or not key.name.startswith("runtime."):
                continue
            name = key.name.removeprefix("runtime.").removeprefix("learning.")
            if name not in HINTS:
                self._warn(f"`:{key.name}` is no hint", key, kind="UnknownHint")
            node = self._node(value, scope, None)
            if name == "fallback":
                self._fallback(value)
            hints.append((nodes.Const(Literal("string", name), key.start), node))
        if not hints:
            return self._node(form.form, scope, tail)
        body = self._thunk([form.form], scope, "hinted", form.start)
        return nodes.Raw("with_hints", [nodes.MapNode(hints, form.start), body], form.start)

    def _fallback(self, value: Form) -> None:
        for key, inner in value.pairs if isinstance(value, MapForm) else []:
            if key == Keyword("capability"):
                self.targets.append(HostTarget(literal_id(inner), inner.start, "fallback"))

    def _list(self, form: ListForm, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
        if not form.items:
            return nodes.Const(form, form.start)
        head = without_meta(form.items[0])
        if not isinstance(head, Symbol):
            return self._call(form, scope, tail)
        name = head.name
        if name in _CORE_FORMS:
            return self._core(name, form, scope, tail)
        macro = self._macro(name, scope)
        if macro is not None:
            return self._expansion(macro, form, scope, tail)
        if name in DERIVED and self._resolve(name, scope) is None:
            return _DERIVED_FORMS[name](self, form, scope, tail)
        return self._call(form, scope, tail)

    def _expansion(
        self, macro: Macro, form: ListForm, scope: Scope, tail: nodes.Loop | nodes.Clause | None
    ) -> Node:
        """What the call of a macro becomes; calls in what it becomes are levels further down."""
        if self._expansion_level >= EXPANSION_LIMIT:
            raise WrongFormError(f"a macro expands more than {EXPANSION_LIMIT} times", form)
        expanded = self._expand(macro, form)
        before = self._expansion_level
        self._expansion_level += 1
        try:
            while isinstance(expanded, ListForm) and (again := self._macro_of(expanded, scope)):
                if self._expansion_level >= EXPANSION_LIMIT:
                    words = f"a macro expands more than {EXPANSION_LIMIT} times"
                    raise WrongFormError(words, form)
                self._expansion_level += 1
                expanded = self._expand(again, expanded)
            return self._node(expanded, scope, tail)
        finally:
            self._expansion_level = before

    def _macro_of(self, form: ListForm, scope: Scope) -> Macro | None:
        name = head_name(form)
        return None if name is None else self._macro(name, scope)

    def _core(
        self, name: str, form: ListForm, scope: Scope, tail: nodes.Loop | nodes.Clause | None
    ) -> Node:
        return _CORE_FORMS[name](self, form, scope, tail)

    def _call(self, form: ListForm, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
        head = without_meta(form.items[0])
        at = form.start
        if isinstance(head, Symbol):
            special = self._named_call(head, form, scope)
            if special is not None:
                return special
        callee = self._node(form.items[0], scope, None)
        arguments = self._nodes(form.items[1:], scope)
        if isinstance(callee, nodes.Raw) and callee.kind == "never":
            return callee
        if isinstance(callee, nodes.LibraryRef):
            return nodes.LibraryCall(callee.name, arguments, at)
        if isinstance(callee, nodes.Ref):
            loop = self._self_call(callee.variable, arguments, tail)
            if loop is not None:
                return nodes.Recur(loop, arguments, at)
        in_tail = isinstance(tail, nodes.Clause)
        if in_tail and isinstance(callee, nodes.Ref) and self._functions:
            self._tail_calls.append((self._functions[-1], callee.variable))
        return nodes.Call(callee, arguments, at, in_tail)

    def _self_call(
        self,
        variable: nodes.Variable,
        arguments: list[Node],
        tail: nodes.Loop | nodes.Clause | None,
    ) -> nodes.Clause | None:
        """The clause that a tail call of the function itself goes back to."""
        if not isinstance(tail, nodes.Clause) or not self._functions:
            return None
        function = self._functions[-1]
        if function.variable is not variable or variable.definitions > 1:
            return None
        if tail.has_rest or tail.required != len(arguments) or tail.after:
            return None
        tail.repeat.active = True
        return tail

    def _nodes(self, forms: Iterable[Form], scope: Scope) -> list[Node]:
        return [self._node(form, scope, None) for form in forms]

    def _named_call(self, head: Symbol, form: ListForm, scope: Scope) -> Node | None:
        name = head.name
        if self._resolve(name, scope) is not None or name in BY_NAME:
            return None
        arguments = form.items[1:]
        at = form.start
        if name in HOST_FUNCTIONS:
            identifier = HOST_FUNCTIONS[name]
            self.targets.append(HostTarget(identifier, at))
            return nodes.HostCall(
                text_node(identifier, at), self._nodes(arguments, scope), identifier, at
            )
        if len(name) > 1 and name.startswith("."):
            renamed = Symbol(name[1:], head.start, head.end)
            return self._call(ListForm((renamed, *arguments), form.start, form.end), scope, None)
        if len(name) > 1 and name.endswith("."):
            kind = "ApplicationError" if name == "Exception." else name[:-1]
            if not 1 <= len(arguments) <= 2:
                return self._arity_fault(name, len(arguments), at)
            return nodes.Raw("new_error", [text_node(kind, at), *self._nodes(arguments, scope)], at)
        return None

    def _arity_fault(self, name: str, count: int, at: int) -> Node:
        given = nodes.Const(Literal("integer", count), at)
        return nodes.Raw("arity_fault", [text_node(name, at), given], at, "never")


FormReader = Callable[[Any, ListForm, Scope, Any], Node]
"""Reads the lists with one head: analysis, form, scope, what a tail call goes back to."""


_CORE_FORMS: Final[dict[str, FormReader]] = {
    "quote": Analysis._quote,
    "quasiquote": Analysis._quasiquote,
    "unquote": Analysis._stray,
    "unquote-splicing": Analysis._stray,
    "if": Analysis._if,
    "do": Analysis._do,
    "let": Analysis._let,
    "fn": Analysis._fn,
    "λ": Analysis._fn,
    FUNCTION: Analysis._fn,
    DEREF: Analysis._deref,
    "def": Analysis._def,
    "defn": Analysis._defn,
    "defmacro": Analysis._defmacro,
    "defstruct": Analysis._defstruct,
    "deftype": Analysis._deftype,
    "loop": Analysis._loop,
    "recur": Analysis._recur,
    "match": Analysis._match,
    "for": Analysis._for,
    "try": Analysis._try,
    "step": Analysis._step,
    "step-if": Analysis._step_if,
    "step-loop": Analysis._step_loop,
    WHILE: Analysis._while,
    "step-parallel": Analysis._step_parallel,
    "call": Analysis._host_call,
    "module": Analysis._module_form,
    "import": Analysis._import,
    "export": Analysis._export,
    "resource:ref": Analysis._resource,
}


_DERIVED_FORMS: Final[dict[str, FormReader]] = {
    "lambda": Analysis._fn,
    "cond": Analysis._cond,
    "case": Analysis._case,
    "when": Analysis._when,
    "when-not": Analysis._when,
    "if-not": Analysis._if_not,
    "if-let": Analysis._if_let,
    "when-let": Analysis._if_let,
    "and": Analysis._and,
    "or": Analysis._or,
    "->": Analysis._thread,
    "->>": Analysis._thread,
    "doseq": Analysis._doseq,
    "dotimes": Analysis._dotimes,
    "parallel": Analysis._parallel,
}
