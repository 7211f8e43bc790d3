"""Forms become nodes: names are resolved, core forms checked, tail positions found.

Macros are expanded on the way, outside in, so that a local name hides a macro of that name.
"""

from __future__ import annotations

import keyword as python_keywords
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ccos.rtfs import nodes
from ccos.rtfs.diagnostics import Diagnostic
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
    is_symbol,
    without_meta,
)
from ccos.rtfs.library import BY_NAME, HOST_FUNCTIONS
from ccos.rtfs.macros import Macro, MacroError, Macros
from ccos.rtfs.nodes import Node
from ccos.rtfs.types import (
    Entry,
    Named,
    Record,
    Type,
    TypeSyntaxError,
    read_type,
)

CORE: Final = frozenset(
    [
        "quote",
        "quasiquote",
        "unquote",
        "unquote-splicing",
        "if",
        "do",
        "let",
        "fn",
        "λ",
        "def",
        "defn",
        "defmacro",
        "defstruct",
        "deftype",
        "loop",
        "recur",
        "match",
        "for",
        "try",
        "step",
        "step-if",
        "step-loop",
        "step-parallel",
        "call",
        "module",
        "import",
        "export",
        "resource:ref",
    ]
)
DERIVED: Final = frozenset(
    [
        "lambda",
        "cond",
        "case",
        "when",
        "when-not",
        "if-not",
        "if-let",
        "when-let",
        "and",
        "or",
        "->",
        "->>",
        "doseq",
        "dotimes",
        "parallel",
    ]
)
HINTS: Final = frozenset(
    [
        "metrics",
        "fallback",
        "cache",
        "circuit-breaker",
        "rate-limit",
        "retry",
        "timeout",
        "idempotent",
    ]
)
LOG_LEVELS: Final = frozenset({"debug", "info", "warn", "error"})
_WHILE: Final = "#while"
_EXPANSION_LIMIT: Final = 1_000
_RECURSION: Final = 30_000
_NIL: Final = Literal("nil", None)
_TRUE: Final = Literal("boolean", True)
_WORD: Final = re.compile(r"[^A-Za-z0-9_]+")
_SPELLED: Final = {
    "+": "plus",
    "-": "minus",
    "*": "star",
    "/": "slash",
    "<": "less",
    ">": "greater",
    "=": "equal",
    "!": "not",
    "%": "percent",
    "λ": "lambda",
    "$": "dollar",
}


class _WrongFormError(Exception):
    """A form is not what it has to be; caught where analysis can go on."""

    def __init__(self, message: str, form: Form, hint: str = "") -> None:
        super().__init__(message)
        self.diagnostic = Diagnostic(message, form.start, form.end, hint)


@dataclass(eq=False, slots=True)
class Scope:
    """Names that are visible in a body, beyond those of the scope around it."""

    outer: Scope | None
    frame: nodes.Frame
    repeat: nodes.Repeat | None
    names: dict[str, nodes.Variable] = field(default_factory=dict)
    pending: dict[str, nodes.Variable] = field(default_factory=dict)
    """Functions bound further on; only function literals see them already."""
    is_body: bool = False


@dataclass(eq=False, slots=True)
class Module:
    """A module of the program: what it defines, and what others may use."""

    name: str
    members: dict[str, nodes.Variable] = field(default_factory=dict)
    macros: dict[str, Macro] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    exports: list[Symbol] | None = None

    def offers(self, name: str) -> bool:
        """Whether others may use a name."""
        return self.exports is None or any(one.name == name for one in self.exports)

    def defines(self, name: str) -> bool:
        """Whether a name is a value, a macro or a type of it."""
        return name in self.members or name in self.macros or name in self.types


@dataclass(frozen=True, slots=True)
class HostTarget:
    """A host call that the text shows.

    Attributes:
        identifier: The id as written, without colon; None if it is computed.
        start: Offset of the call.
        reason: ``call``, or ``fallback`` if a hint names it.
    """

    identifier: str | None
    start: int
    reason: str = "call"


@dataclass(slots=True)
class Program:
    """An analysed text."""

    body: list[Node]
    variables: dict[str, nodes.Variable]
    targets: list[HostTarget]
    diagnostics: list[Diagnostic]
    types: dict[str, Type]
    frame: nodes.Frame


ModuleSource = Callable[[str], str | None]
"""Answers the text of a module, or None if there is none of that name."""


def deepen_recursion() -> None:
    """Let Python recurse as deep as forms may nest.

    Brackets nest up to 500 deep and a pass takes several Python calls for each; those do not use
    the stack of the operating system.
    """
    if sys.getrecursionlimit() < _RECURSION:
        sys.setrecursionlimit(_RECURSION)


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
    deepen_recursion()
    analysis = Analysis(macros, module_source, frozenset(reserved))
    return analysis.program(source, visible or {})


class Analysis:
    """One run over one program."""

    def __init__(
        self,
        macros: Macros,
        module_source: ModuleSource | None,
        reserved: frozenset[str],
    ) -> None:
        self._macros = macros
        self._module_source = module_source
        self._frame = nodes.Frame(None, set(reserved))
        self._top = Scope(None, self._frame, None, is_body=True)
        self._modules: dict[str, Module] = {}
        self._aliases: dict[str, Module] = {}
        self._module = Module("")
        self._imported_types: dict[str, str] = {}
        self._loading: list[str] = []
        self._functions: list[nodes.Function] = []
        self._expansions = 0
        self._named_types: list[Named] = []
        self._tail_calls: list[tuple[nodes.Function, nodes.Variable]] = []
        self.targets: list[HostTarget] = []
        self.diagnostics: list[Diagnostic] = []
        self.types: dict[str, Type] = {}
        self._unresolved: dict[str, Symbol] = {}
        self._foreign = 0
        self._counted: set[int] = set()
        """Definitions that their variable counts already."""

    def program(self, source: Source, visible: Mapping[str, Macro]) -> Program:
        """Analyse all of a text."""
        self._module.macros.update(visible)
        forms = self._expanded_top(source.forms)
        self._declare(forms, self._top)
        body = [self._safely(form, self._top) for form in forms]
        if not body:
            body = [nodes.Const(_NIL, 0)]
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

    # --- Errors ---------------------------------------------------------------------------

    def _safely(self, form: Form, scope: Scope) -> Node:
        """A node, or nil after an error that is reported; the other forms are still looked at."""
        try:
            return self._node(form, scope, tail=None)
        except _WrongFormError as wrong:
            self._report(wrong.diagnostic)
            return nodes.Const(_NIL, form.start)

    def _report(self, diagnostic: Diagnostic) -> None:
        if not self._foreign:
            self.diagnostics.append(diagnostic)
            return
        words = f"in module `{self._loading[-1]}`: {diagnostic.message}"
        self.diagnostics.append(
            Diagnostic(words, 0, 0, diagnostic.hint, diagnostic.severity, diagnostic.kind)
        )

    def _warn(
        self, message: str, form: Form | Named, hint: str = "", kind: str = "UndefinedSymbol"
    ) -> None:
        self._report(Diagnostic(message, form.start, form.end, hint, "warning", kind))

    def _similar(self, name: str) -> str:
        import difflib

        known = [*self._top.names, *BY_NAME, *CORE, *DERIVED]
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        return f"did you mean `{close[0]}`?" if close else ""

    # --- Names ----------------------------------------------------------------------------

    def _variable(self, name: str, scope: Scope) -> nodes.Variable:
        python = scope.frame.fresh(python_name(name))
        return nodes.Variable(name, python, scope.frame, scope.repeat)

    def _bound(self, name: str, scope: Scope) -> nodes.Variable:
        """A new variable that the rest of ``scope`` sees."""
        variable = self._variable(name, scope)
        variable.definitions = 1
        scope.names[name] = variable
        return variable

    def _resolve(self, name: str, scope: Scope) -> nodes.Variable | None:
        inner = scope.frame
        current: Scope | None = scope
        while current is not None:
            found = current.names.get(name)
            if found is None and current.frame is not inner:
                found = current.pending.get(name)
            if found is not None:
                self._capture(found)
                return found
            current = current.outer
        return self._member(name)

    def _capture(self, variable: nodes.Variable) -> None:
        variable.used = True
        for function in reversed(self._functions):
            if function.frame is variable.frame or (variable.is_global and variable.repeat is None):
                break
            if any(clause.frame is variable.frame for clause in function.clauses):
                break
            function.free[variable] = None

    def _member(self, name: str) -> nodes.Variable | None:
        """What ``alias/name`` stands for."""
        module, member = self._split(name)
        if module is None or not (module.offers(member) or module is self._module):
            return None
        found = module.members.get(member)
        if found is not None:
            found.used = True
        return found

    def _split(self, name: str) -> tuple[Module | None, str]:
        prefix, slash, member = name.rpartition("/")
        if not slash or not prefix:
            return None, name
        return self._aliases.get(prefix) or self._modules.get(prefix), member

    def _macro(self, name: str, scope: Scope) -> Macro | None:
        current: Scope | None = scope
        while current is not None and current.outer is not None:
            if name in current.names:
                return None
            current = current.outer
        found = self._module.macros.get(name)
        if found is not None:
            return found
        if name in self._top.names:
            return None
        module, member = self._split(name)
        if module is None or not module.offers(member):
            return None
        return module.macros.get(member)

    # --- Top level ------------------------------------------------------------------------

    def _expanded_top(self, forms: Iterable[Form]) -> list[Form]:
        """Top-level forms without macro calls at their heads; ``do`` is opened."""
        result: list[Form] = []
        waiting = list(reversed(list(forms)))
        while waiting:
            form = waiting.pop()
            try:
                opened = self._opened(form)
            except _WrongFormError as wrong:
                self._report(wrong.diagnostic)
                continue
            if opened is None:
                result.append(form)
            else:
                waiting.extend(reversed(opened))
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
            raise _WrongFormError("`defmacro` takes a name, parameters and a body", form)
        name = without_meta(form.items[1])
        if not isinstance(name, Symbol):
            raise _WrongFormError("the name of a macro is a symbol", name)
        if name.name in CORE:
            raise _WrongFormError(f"`{name.name}` cannot be redefined", name)
        try:
            macro = self._macros.define(form, dict(self._visible_macros()))
        except MacroError as error:
            raise _WrongFormError(error.message, error.form or form) from error
        self._module.macros[name.name] = macro
        self._top.names.pop(name.name, None)

    def _visible_macros(self) -> Mapping[str, Macro]:
        return self._module.macros

    def _expand(self, macro: Macro, form: ListForm) -> Form:
        self._expansions += 1
        if self._expansions > 100_000:
            raise _WrongFormError("the program expands without end", form)
        try:
            expanded = self._macros.expand(macro, form)
        except MacroError as error:
            raise _WrongFormError(error.message, form) from error
        return expanded

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
                        is_function = head != "def" or _is_function(bare.items[-1])
                        if is_function or plain or self._is_new(name.name, scope):
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

    # --- Any form -------------------------------------------------------------------------

    def _node(self, form: Form, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
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
                raise _WrongFormError("a colon stands before a type only", form)

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
            raise _WrongFormError("`&` stands in patterns and parameters only", form)
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
            [nodes.Raw("new_error", [], at, "reference"), _text(kind, at)],
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
        pairs = meta.pairs if isinstance(meta, MapForm) else [(meta, _TRUE)]
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
                self.targets.append(HostTarget(_literal_id(inner), inner.start, "fallback"))

    # --- Lists ----------------------------------------------------------------------------

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
        expanded: Form = form
        for _ in range(_EXPANSION_LIMIT):
            if not isinstance(expanded, ListForm):
                return self._node(expanded, scope, tail)
            expanded = self._expand(macro, expanded)
            name = head_name(expanded)
            again = self._macro(name, scope) if name is not None else None
            if again is None:
                return self._node(expanded, scope, tail)
            macro = again
        raise _WrongFormError(f"a macro expands more than {_EXPANSION_LIMIT} times", form)

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
                _text(identifier, at), self._nodes(arguments, scope), identifier, at
            )
        if len(name) > 1 and name.startswith("."):
            renamed = Symbol(name[1:], head.start, head.end)
            return self._call(ListForm((renamed, *arguments), form.start, form.end), scope, None)
        if len(name) > 1 and name.endswith("."):
            kind = "ApplicationError" if name == "Exception." else name[:-1]
            if not 1 <= len(arguments) <= 2:
                return self._arity_fault(name, len(arguments), at)
            return nodes.Raw("new_error", [_text(kind, at), *self._nodes(arguments, scope)], at)
        return None

    def _arity_fault(self, name: str, count: int, at: int) -> Node:
        given = nodes.Const(Literal("integer", count), at)
        return nodes.Raw("arity_fault", [_text(name, at), given], at, "never")

    # --- Core forms -----------------------------------------------------------------------

    def _quote(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        if len(form.items) != 2:
            raise _WrongFormError("`quote` takes one form", form)
        return nodes.Const(_data(form.items[1]), form.start)

    def _quasiquote(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        if len(form.items) != 2:
            raise _WrongFormError("a quasiquote takes one form", form)
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
                raise _WrongFormError("`~@` stands inside a collection", form)
            case ListForm((_, inner)) if name == "unquote-splicing":
                return self._template_list(form, scope, level - 1)
            case ListForm() if name == "quasiquote":
                return self._template_list(form, scope, level + 1)
            case ListForm() | VectorForm() | MapForm():
                return self._template_list(form, scope, level)
            case Symbol(word) if word.endswith("#") and len(word) > 1:
                return nodes.FreshSymbol(word[:-1], form.start)
        return nodes.Const(_data(form), form.start)

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
                    raise _WrongFormError("`~@` takes one form", bare)
                items.append((self._node(bare.items[1], scope, None), True))
            else:
                items.append((self._template(item, scope, level), False))
        if all(isinstance(node, nodes.Const) and not spliced for node, spliced in items):
            return nodes.Const(_data(form), form.start)
        return nodes.Template(shape, items, form.start)

    def _stray(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        raise _WrongFormError("an unquote stands inside a quasiquote", form)

    def _if(self, form: ListForm, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
        if not 3 <= len(form.items) <= 4:
            raise _WrongFormError(
                "`if` takes a test, a form and perhaps another",
                form,
                "write `(if test then else)`",
            )
        test = self._node(form.items[1], scope, None)
        then = self._node(form.items[2], scope, tail)
        otherwise: Node = nodes.Const(_NIL, form.start)
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
            raise _WrongFormError(
                "`let` takes a vector of bindings first", form, "write `(let [x 1] …)`"
            )
        if len(form.items) < 3:
            raise _WrongFormError("`let` needs a body", form)
        inner = Scope(scope, scope.frame, scope.repeat)
        parts = self._binding_parts(form.items[1])
        for pattern, _, value in parts:
            if isinstance(pattern, Symbol) and _is_function(value) and pattern.name != "_":
                variable = self._variable(pattern.name, inner)
                inner.pending.setdefault(pattern.name, variable)
        bindings = [self._let_binding(part, inner) for part in parts]
        body = self._body(form.items[2:], Scope(inner, scope.frame, scope.repeat), tail, form.start)
        return nodes.Let(bindings, body, form.start)

    def _let_binding(self, part: tuple[Form, Type | None, Form], scope: Scope) -> nodes.Bind:
        pattern, kind, value = part
        at = pattern.start
        if isinstance(pattern, Symbol) and pattern.name in scope.pending and _is_function(value):
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
                    raise _WrongFormError("a type follows the colon", pattern)
                kind = self._type(items.pop(0))
            elif items and isinstance(items[0], Keyword) and self._annotates(pattern, items):
                kind = self._type(items.pop(0))
            if not items:
                raise _WrongFormError(
                    "this name has no value", pattern, "names and values stand in turn"
                )
            parts.append((pattern, kind, items.pop(0)))
        return parts

    def _annotates(self, pattern: Form, items: list[Form]) -> bool:
        """Whether a keyword after a pattern is its type rather than its value."""
        if items[0].start == pattern.end and items[0].end > items[0].start:
            return True
        return not _reads_as_pairs(items[1:])

    def _type(self, form: Form) -> Type:
        try:
            return self._qualified_type(read_type(form))
        except TypeSyntaxError as error:
            raise _WrongFormError(error.message, error.form) from error

    def _qualified_type(self, kind: Type) -> Type:
        """Names of types as the whole program knows them."""
        renamed: Type = _renamed(kind, self._named_type)
        return renamed

    def _named_type(self, kind: Named) -> Named:
        known = Named(self._type_name(kind.name), kind.start, kind.end)
        self._named_types.append(known)
        return known

    def _type_name(self, name: str) -> str:
        if name in self._module.types:
            return self._module.types[name]
        if name in self._imported_types:
            return self._imported_types[name]
        module, member = self._split(name)
        if module is not None and module.offers(member) and member in module.types:
            return module.types[member]
        return name

    # --- Patterns -------------------------------------------------------------------------

    def _pattern(self, form: Form, scope: Scope) -> nodes.Pattern:
        form = without_meta(form)
        match form:
            case Symbol("_"):
                return nodes.Ignore(form.start)
            case Symbol("&"):
                raise _WrongFormError("`&` stands inside a vector of patterns", form)
            case Symbol(name):
                return nodes.Name(self._bound(name, scope), form.start)
            case VectorForm():
                return self._items_pattern(form, scope)
            case MapForm():
                return self._members_pattern(form, scope)
        raise _WrongFormError("a pattern is a name, a vector or a map", form)

    def _items_pattern(self, form: VectorForm, scope: Scope) -> nodes.Items:
        items = list(form.items)
        parts: list[nodes.Pattern] = []
        rest: nodes.Variable | None = None
        whole: nodes.Variable | None = None
        open_end = False
        while items:
            item = items.pop(0)
            if is_symbol(item, "&"):
                if not items or not isinstance(items[0], Symbol) or items[0].name == "&":
                    raise _WrongFormError("`&` is followed by a name", item)
                name = items.pop(0)
                assert isinstance(name, Symbol)
                open_end = True
                rest = None if name.name == "_" else self._bound(name.name, scope)
                if items and not _is_keyword(items[0], "as"):
                    raise _WrongFormError("nothing follows the name after `&`", items[0])
            elif item == Keyword("as"):
                name = items.pop(0) if len(items) == 1 else item
                if not isinstance(name, Symbol):
                    raise _WrongFormError("`:as` is followed by one name", item)
                whole = self._bound(name.name, scope)
            else:
                parts.append(self._pattern(item, scope))
        return nodes.Items(parts, rest, open_end, whole, form.start)

    def _members_pattern(self, form: MapForm, scope: Scope) -> nodes.Members:
        items = list(form.items)
        rest: nodes.Variable | None = None
        whole: nodes.Variable | None = None
        entries: list[tuple[Form, bool, Form]] = []
        defaults: list[tuple[Form, Form]] = []
        while items:
            key = items.pop(0)
            if not items:
                raise _WrongFormError("this key has no pattern", key)
            value = items.pop(0)
            if key == Keyword("keys") or key == Keyword("strs"):
                if not isinstance(value, VectorForm):
                    raise _WrongFormError(f"`:{key.name}` takes a vector of names", key)
                lenient = key == Keyword("keys")
                entries += [self._short_entry(lenient, without_meta(one)) for one in value.items]
            elif key == Keyword("or"):
                if not isinstance(value, MapForm):
                    raise _WrongFormError("`:or` takes a map of defaults", key)
                defaults = value.pairs
            elif key == Keyword("as") and isinstance(value, Symbol):
                whole = self._bound(value.name, scope)
            elif is_symbol(key, "&"):
                if not isinstance(value, Symbol):
                    raise _WrongFormError("`&` is followed by a name", key)
                rest = self._bound(value.name, scope)
            elif isinstance(key, Keyword | Literal):
                entries.append((key, False, value))
            elif isinstance(value, Keyword | Literal):
                entries.append((value, False, key))
            else:
                raise _WrongFormError("an entry is a key and a pattern", key)
        members = [self._pattern_member(entry, defaults, scope) for entry in entries]
        return nodes.Members(members, rest, whole, form.start)

    def _short_entry(self, keywords: bool, name: Form) -> tuple[Form, bool, Form]:
        if isinstance(name, Keyword):
            name = Symbol(name.name, name.start, name.end)
        if not isinstance(name, Symbol):
            raise _WrongFormError("a name is a symbol", name)
        if not keywords:
            return Literal("string", name.name, name.start, name.end), False, name
        local = Symbol(name.name.rpartition("/")[2] or name.name, name.start, name.end)
        return Keyword(name.name, name.start, name.end), True, local

    def _pattern_member(
        self, entry: tuple[Form, bool, Form], defaults: list[tuple[Form, Form]], scope: Scope
    ) -> nodes.Member:
        key, lenient, target = entry
        default: Node | None = None
        for name, value in defaults:
            named = name.name if isinstance(name, Symbol | Keyword) else None
            if isinstance(target, Symbol) and named == target.name:
                default = self._node(value, scope, None)
        return nodes.Member(key, lenient, self._pattern(target, scope), default, key.start)

    # --- Functions ------------------------------------------------------------------------

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
            raise _WrongFormError(
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
        raise _WrongFormError(
            "a function takes a vector of parameters first", form, "write `(fn [x] …)`"
        )

    def _check_arities(self, function: nodes.Function, form: ListForm) -> None:
        fixed = [one.required for one in function.clauses if not one.has_rest]
        if len(set(fixed)) != len(fixed) or len(function.clauses) - len(fixed) > 1:
            raise _WrongFormError("two clauses take the same number of arguments", form)

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
            [], None, nodes.Const(_NIL, 0), [], [], None, repeat, frame, form.start
        )
        self._functions[-1].frame = frame
        clause.parameters = self._parameters(vector, inner)
        rest = items[1:]
        if rest and isinstance(rest[0], Colon):
            if len(rest) < 3:
                raise _WrongFormError("a function needs a body", form)
            clause.returns, rest = self._type(rest[1]), rest[2:]
        elif len(rest) > 1 and isinstance(rest[0], Keyword):
            clause.returns, rest = self._type(rest[0]), rest[1:]
        if not rest:
            raise _WrongFormError("a function needs a body", form)
        body = Scope(inner, frame, repeat)
        if len(rest) > 1 and _is_conditions(rest[0]):
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
                    raise _WrongFormError("`&` is followed by a name", item)
                item = items.pop(0)
            kind: Type | None = None
            if items and isinstance(items[0], Colon):
                items.pop(0)
                if not items:
                    raise _WrongFormError("a type follows the colon", item)
                kind = self._type(items.pop(0))
            elif items and isinstance(items[0], Keyword):
                kind = self._type(items.pop(0))
            if rest and items:
                raise _WrongFormError("nothing follows the parameter after `&`", items[0])
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
            raise _WrongFormError("`#(…)` holds one call", form)
        body = form.items[1]
        used = {name for name in _symbols(body) if re.fullmatch(r"%(\d+|&)?", name)}
        numbers = [1 if name == "%" else int(name[1:]) for name in used if name != "%&"]
        if any(number == 0 or number > 20 for number in numbers):
            raise _WrongFormError("the parameters of `#(…)` are %1 to %20", form)
        count = max(numbers, default=0)
        items: list[Form] = []
        items += [Symbol(f"%{number}") for number in range(1, count + 1)]
        if "%" in used:
            items[0] = Symbol("%")
        if "%" in used and "%1" in used:
            body = _substituted(body, "%1", "%")
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

    # --- Definitions ----------------------------------------------------------------------

    def _def(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        items = list(form.items[1:])
        if not 2 <= len(items) <= 5:
            raise _WrongFormError("`def` takes a name and a value", form)
        name = self._defined_name(items.pop(0))
        kind: Type | None = None
        if isinstance(items[0], Colon) and len(items) == 3:
            kind, items = self._type(items[1]), items[2:]
        elif len(items) == 2 and isinstance(items[0], Literal) and items[0].kind == "string":
            items = items[1:]
        elif len(items) == 2 and not isinstance(items[0], Colon):
            kind, items = self._type(items[0]), items[1:]
        if len(items) != 1:
            raise _WrongFormError("`def` takes a name and a value", form)
        return self._define(name, items[0], kind, scope, form)

    def _define(
        self, name: Symbol, value: Form, kind: Type | None, scope: Scope, form: ListForm
    ) -> Node:
        variable = self._defining(name, scope, form)
        if _is_function(value):
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
            raise _WrongFormError("a name is a symbol", name)
        if name.name in CORE:
            raise _WrongFormError(f"`{name.name}` cannot be redefined", name)
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
            raise _WrongFormError("`defn` takes a name, parameters and a body", form)
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
        raise _WrongFormError("`defmacro` stands at top level or in a module only", form)

    def _deftype(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        items = list(form.items[1:])
        if len(items) == 3 and isinstance(items[1], Colon):
            items.pop(1)
        if len(items) != 2:
            raise _WrongFormError("`deftype` takes a name and a type", form)
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
            raise _WrongFormError("`defstruct` takes a name and fields", form)
        name = self._defined_name(form.items[1])
        full = self._register_type(name)
        items = list(form.items[2:])
        if len(items) == 1 and isinstance(items[0], VectorForm | MapForm):
            items = list(items[0].items)
        entries: list[Entry] = []
        while items:
            key = items.pop(0)
            if not isinstance(key, Keyword):
                raise _WrongFormError("a field is a keyword and a type", key)
            if items and isinstance(items[0], Colon):
                items.pop(0)
            if not items:
                raise _WrongFormError("this field has no type", key)
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
            "partial", [nodes.Raw("constructed", [], at, "reference"), _text(full, at)], at, "fn"
        )
        return nodes.Do(
            [nodes.NameType(full, record, at), nodes.Define(variable, maker, None, at)], at
        )

    # --- Loops ----------------------------------------------------------------------------

    def _loop(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        if len(form.items) < 3 or not isinstance(form.items[1], VectorForm):
            raise _WrongFormError("`loop` takes a vector of bindings and a body", form)
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
        loop = nodes.Loop(bindings, variables, nodes.Const(_NIL, 0), repeat, form.start)
        body = Scope(inner, scope.frame, repeat)
        loop.body = self._body(form.items[2:], body, loop, form.start)
        if repeat.active:
            for variable in variables:
                variable.definitions = 2
        return loop

    def _recur(self, form: ListForm, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
        arguments = self._nodes(form.items[1:], scope)
        if tail is None:
            raise _WrongFormError("`recur` stands in tail position of `loop` or `fn` only", form)
        wanted = len(tail.variables if isinstance(tail, nodes.Loop) else tail.parameters)
        if len(arguments) != wanted:
            raise _WrongFormError(f"`recur` takes {wanted} values here, got {len(arguments)}", form)
        tail.repeat.active = True
        return nodes.Recur(tail, arguments, form.start)

    def _for(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        return self._comprehension(form, scope, collect=True)

    def _comprehension(self, form: ListForm, scope: Scope, *, collect: bool) -> Node:
        name = head_name(form)
        if len(form.items) < 3 or not isinstance(form.items[1], VectorForm):
            raise _WrongFormError(
                f"`{name}` takes a vector of names and collections, and a body", form
            )
        items = list(form.items[1].items)
        generators: list[nodes.Generator] = []
        current = scope
        while items:
            pattern = items.pop(0)
            if not items:
                raise _WrongFormError("this name has no collection", pattern)
            if isinstance(pattern, Keyword):
                if not generators:
                    raise _WrongFormError(f"`:{pattern.name}` follows a collection", pattern)
                current = self._modifier(pattern, items.pop(0), generators[-1], current)
                continue
            collection = self._node(items.pop(0), current, None)
            repeat = nodes.Repeat(current.repeat, current.frame, active=True)
            current = Scope(current, current.frame, repeat)
            bound = self._pattern(pattern, current)
            generators.append(nodes.Generator(bound, collection, [], repeat, pattern.start))
        if not generators:
            raise _WrongFormError(f"`{name}` needs a collection", form)
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
        raise _WrongFormError(
            f"`:{keyword.name}` is neither `:when` nor `:let` with a vector", keyword
        )

    def _doseq(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        return self._comprehension(form, scope, collect=False)

    def _dotimes(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        vector = form.items[1] if len(form.items) > 2 else None
        if not isinstance(vector, VectorForm) or len(vector.items) != 2:
            raise _WrongFormError("`dotimes` takes `[name count]` and a body", form)
        repeat = nodes.Repeat(scope.repeat, scope.frame, active=True)
        inner = Scope(scope, scope.frame, repeat)
        count = nodes.LibraryCall("range", [self._node(vector.items[1], scope, None)], vector.start)
        generator = nodes.Generator(
            self._pattern(vector.items[0], inner), count, [], repeat, vector.start
        )
        body = Scope(inner, scope.frame, repeat)
        node = self._body(form.items[2:], body, None, form.start)
        return nodes.For([generator], node, False, form.start)

    # --- Choices --------------------------------------------------------------------------

    def _match(self, form: ListForm, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
        if len(form.items) < 4:
            raise _WrongFormError("`match` takes a value and clauses", form)
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
                raise _WrongFormError("this pattern has no form", pattern)
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
            if _always(pattern) and clause.guard is None and index < len(clauses) - 1:
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
                raise _WrongFormError("`&` stands inside a pattern of a collection", form)
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
        raise _WrongFormError("this is no pattern", form)

    def _match_items(self, form: Form, items: tuple[Form, ...], scope: Scope) -> nodes.MatchPattern:
        ampersand = next((i for i, item in enumerate(items) if is_symbol(item, "&")), None)
        if ampersand is None:
            parts = [self._match_pattern(item, scope) for item in items]
            return nodes.MatchItems(parts, None, False, form.start)
        name = items[-1]
        if ampersand != len(items) - 2 or not isinstance(name, Symbol):
            raise _WrongFormError("`&` is followed by one name, the last", items[ampersand])
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
                    raise _WrongFormError("`&` is followed by a name", key)
                rest = None if value.name == "_" else self._bound(value.name, scope)
            elif key == Keyword("keys") and isinstance(value, VectorForm):
                members += [self._match_short(name, scope) for name in value.items]
            elif isinstance(key, Keyword | Literal):
                members.append((key, self._match_pattern(value, scope)))
            else:
                raise _WrongFormError("a key of a pattern is a constant", key)
        return nodes.MatchMembers(members, rest, form.start)

    def _match_short(self, name: Form, scope: Scope) -> tuple[Form, nodes.MatchPattern]:
        if not isinstance(name, Symbol):
            raise _WrongFormError("a name is a symbol", name)
        return Keyword(name.name), self._match_pattern(name, scope)

    def _match_list(self, form: ListForm, scope: Scope) -> nodes.MatchPattern:
        at = form.start
        match form.items:
            case (Symbol("quote"), inner):
                return nodes.Equals(ListForm((Symbol("quote"), _data(inner)), at, form.end), at)
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
        raise _WrongFormError("this is no pattern", form)

    # --- Errors, steps, calls -------------------------------------------------------------

    def _try(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        body: list[Form] = []
        catches: list[nodes.Catch] = []
        cleanup: nodes.Function | None = None
        for item in form.items[1:]:
            name = head_name(item)
            if name == "catch" and isinstance(item, ListForm):
                if cleanup is not None:
                    raise _WrongFormError("`finally` comes last", item)
                catches.append(self._catch(item, scope))
            elif name == "finally" and isinstance(item, ListForm):
                if cleanup is not None:
                    raise _WrongFormError("`try` has one `finally`", item)
                cleanup = self._thunk(item.items[1:], scope, "cleanup", item.start)
            elif catches or cleanup is not None:
                raise _WrongFormError("`catch` and `finally` come last", item)
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
            raise _WrongFormError("`catch` takes a kind, a name and a body", form)
        inner = Scope(scope, scope.frame, scope.repeat)
        variable = self._bound(items[0].name, inner)
        body = self._sequence(items[1:], inner, None, form.start)
        return nodes.Catch(selector, by_keyword, variable, body, form.start)

    def _check_selector(self, form: Symbol, name: str) -> None:
        from ccos.rtfs.prelude import KIND_SYNONYMS, KINDS, UNCATCHABLE

        if name in UNCATCHABLE:
            self._warn(f"`{name}` cannot be caught", form, kind="UnknownKind")
        elif name not in KINDS and name not in KIND_SYNONYMS and name != "Exception":
            self._warn(f"`{name}` is no kind of error", form, kind="UnknownKind")

    def _step(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        if len(form.items) < 2:
            raise _WrongFormError("`step` takes a label", form)
        label = form.items[1]
        if isinstance(label, Keyword) and label.name in LOG_LEVELS and len(form.items) in (3, 4):
            level = _text(label.name, label.start)
            return nodes.Raw("log", [level, *self._nodes(form.items[2:], scope)], form.start, "nil")
        if not isinstance(label, Keyword) and not (
            isinstance(label, Literal) and label.kind == "string"
        ):
            raise _WrongFormError("the label of a step is a string or a keyword", label)
        options, body = _step_options(list(form.items[2:]))
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
            raise _WrongFormError("`step-loop` takes a test and a body", form)
        return self._as_step("step-loop", (Symbol(_WHILE), *form.items[1:]), form, scope)

    def _as_step(self, label: str, items: tuple[Form, ...], form: ListForm, scope: Scope) -> Node:
        """A form whose evaluation the host sees as a step."""
        at = form.start
        thunk = self._thunk([ListForm(items, at, form.end)], scope, "step", at)
        return nodes.Raw("in_step", [_text(label, at), nodes.MapNode([], at), thunk], at)

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
                raise _WrongFormError("a branch of `parallel` is `[name form]`", item)
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
            raise _WrongFormError("a branch of `parallel` is `[name form]`", vector)
        return parts

    def _host_call(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        if len(form.items) < 2:
            raise _WrongFormError("`call` takes the id of a capability", form)
        target = form.items[1]
        identifier = _literal_id(target)
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
            raise _WrongFormError("`resource:ref` takes one string", form)
        return nodes.Const(Literal("string", f"@{name.value}", form.start, form.end), form.start)

    def _deref(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        name = form.items[1] if len(form.items) == 2 else form
        if not isinstance(name, Symbol | Keyword):
            raise _WrongFormError("`@` stands before a name only", form)
        return self._context(name.name, form)

    # --- Derived forms --------------------------------------------------------------------

    def _when(self, form: ListForm, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
        if len(form.items) < 2:
            raise _WrongFormError(f"`{head_name(form)}` takes a test", form)
        test = self._node(form.items[1], scope, None)
        body = self._sequence(form.items[2:], scope, tail, form.start)
        nothing = nodes.Const(_NIL, form.start)
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
            raise _WrongFormError(f"`{name}` takes `[name value]` and a body", form)
        if name == "if-let" and len(form.items) > 4:
            raise _WrongFormError("`if-let` takes `[name value]`, a form and perhaps another", form)
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
            otherwise = nodes.Const(_NIL, form.start)
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
            raise _WrongFormError("`cond` takes tests and forms in turn", form)
        result: Node = nodes.Const(_NIL, form.start)
        pairs = [
            (self._node(items[i], scope, None), self._node(items[i + 1], scope, tail), items[i])
            for i in range(0, len(items), 2)
        ]
        for test, then, at in reversed(pairs):
            result = nodes.If(test, then, result, at.start)
        return result

    def _case(self, form: ListForm, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
        if len(form.items) < 2:
            raise _WrongFormError("`case` takes a value", form)
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
            pattern = nodes.OneOf([_data(choice) for choice in choices], key.start)
            clauses.append(nodes.MatchClause(pattern, None, body, key.start))
        if items:
            body = self._node(items[0], scope, tail)
            clauses.append(
                nodes.MatchClause(nodes.Ignore(items[0].start), None, body, items[0].start)
            )
        subject = self._node(form.items[1], scope, None)
        return nodes.Match(subject, variable, clauses, form.start)

    def _and(self, form: ListForm, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node:
        return self._logical(form, scope, tail, _TRUE, nodes.And)

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
            raise _WrongFormError(f"`{head_name(form)}` takes a value", form)
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

    # --- Modules --------------------------------------------------------------------------

    def _module_form(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        if scope is not self._top or self._module.name:
            raise _WrongFormError("`module` stands at top level only", form)
        if len(form.items) < 2 or not isinstance(form.items[1], Symbol):
            raise _WrongFormError("`module` takes a name", form)
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
                body.append(_failure("ModuleError", words, at))
        body.append(nodes.Const(_NIL, at))
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
                            raise _WrongFormError("an export is a name", name)
                        module.exports.append(name)
                case _:
                    rest.append(form)
        return rest

    def _check_definition(self, form: Form) -> None:
        name = head_name(without_meta(form))
        if name not in ("def", "defn", "defstruct", "deftype", "import", "defmacro"):
            raise _WrongFormError("a module holds definitions only", form)
        if name == "def" and _calls(form):
            raise _WrongFormError("an initial value of a module cannot call", form)

    def _export(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        raise _WrongFormError("`export` stands in a module only", form)

    def _import(self, form: ListForm, scope: Scope, tail: Any) -> Node:
        items = list(form.items[1:])
        if len(items) == 1 and isinstance(items[0], VectorForm):
            items = list(items[0].items)
        if not items or not isinstance(items[0], Symbol):
            raise _WrongFormError("`import` takes the name of a module", form)
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
                    raise _WrongFormError("`import` takes `:as name` and `:only [names]`", form)
        if items:
            raise _WrongFormError("`import` takes `:as name` and `:only [names]`", form)
        if "/" in name.name and alias is None and only is None:
            raise _WrongFormError("a module whose name has `/` needs `:as` or `:only`", name)
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
                return _failure("ModuleError", words, at)
            loaded = self._loaded(name)
            if loaded is None:
                words = f"there is no module `{name.name}`"
                self._warn(words, name, kind="ModuleNotFound")
                return _failure("ModuleNotFound", words, at)
            body.append(loaded)
            module = self._modules[name.name]
        self._aliases[name.name] = module
        if alias is not None:
            self._aliases[alias] = module
        for one in only or []:
            if not module.offers(one.name) or not module.defines(one.name):
                words = f"module `{name.name}` does not export `{one.name}`"
                self._warn(words, one, kind="ModuleError")
                body.append(_failure("ModuleError", words, at))
                continue
            if one.name in module.members:
                scope.names[one.name] = module.members[one.name]
            if one.name in module.macros:
                self._module.macros[one.name] = module.macros[one.name]
            if one.name in module.types:
                self._imported_types[one.name] = module.types[one.name]
        body.append(nodes.Const(_NIL, at))
        return nodes.Do(body, at)

    def _loaded(self, name: Symbol) -> Node | None:
        """A module of the host, analysed; None if there is none."""
        text = self._module_source(name.name) if self._module_source is not None else None
        if text is None:
            return None
        from ccos.rtfs.reader import read_leniently

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
    _WHILE: Analysis._while,
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


def mark_bouncing(tail_calls: Iterable[tuple[nodes.Function, nodes.Variable]]) -> None:
    """Find the functions that end with calls of each other; they must not use up depth."""
    calls: dict[nodes.Variable, set[nodes.Variable]] = {}
    for function, callee in tail_calls:
        caller = function.variable
        if caller is not None and _may_bounce(caller) and _may_bounce(callee):
            calls.setdefault(caller, set()).add(callee)
    for variable in calls:
        reached: set[nodes.Variable] = set()
        waiting = [one for one in calls[variable] if one is not variable]
        while waiting:
            one = waiting.pop()
            if one not in reached:
                reached.add(one)
                waiting += calls.get(one, ())
        if variable in reached:
            variable.step = variable.frame.fresh(variable.python + "_step")


def _may_bounce(variable: nodes.Variable) -> bool:
    function = variable.function
    if function is None or not variable.is_stable or len(function.clauses) != 1:
        return False
    [clause] = function.clauses
    # What a loop changes under a function would have to be kept for each round.
    varying = any(one.repeat is not None and one.function is None for one in function.free)
    return clause.returns is None and not clause.after and not varying


def python_name(name: str) -> str:
    """A Python name that looks like an RTFS name."""
    word = name
    if word.endswith("?"):
        word = "is_" + word[:-1]
    if all(character in _SPELLED for character in word):
        word = "_".join(_SPELLED[character] for character in word)
    word = word.replace("->", "_to_").replace("%", "arg")
    word = _WORD.sub("_", word).strip("_") or "_"
    if word[0].isdigit():
        word = "_" + word
    word = word[:60]
    return word + "_" if python_keywords.iskeyword(word) else word


def _text(value: str, at: int) -> nodes.Const:
    return nodes.Const(Literal("string", value), at)


def _failure(kind: str, message: str, at: int) -> Node:
    return nodes.Raw("fail", [_text(kind, at), _text(message, at)], at, "never")


def _is_keyword(form: Form, name: str) -> bool:
    return isinstance(form, Keyword) and form.name == name


def _is_function(form: Form) -> bool:
    return head_name(without_meta(form)) in ("fn", "λ", "lambda", FUNCTION)


def _is_conditions(form: Form) -> bool:
    if not isinstance(form, MapForm) or not form.items:
        return False
    return all(
        key in (Keyword("pre"), Keyword("post")) and isinstance(value, VectorForm)
        for key, value in form.pairs
    )


def _reads_as_pairs(items: Sequence[Form]) -> bool:
    """Whether what follows are patterns and values in turn, with or without annotations."""
    count = len(items)
    reads = [False] * count + [True]
    for i in range(count - 2, -1, -1):
        if not isinstance(without_meta(items[i]), Symbol | VectorForm | MapForm):
            continue
        if isinstance(items[i + 1], Colon):
            reads[i] = i + 4 <= count and reads[i + 4]
        else:
            annotated = isinstance(items[i + 1], Keyword) and i + 3 <= count and reads[i + 3]
            reads[i] = reads[i + 2] or annotated
    return reads[0]


def _always(pattern: nodes.MatchPattern) -> bool:
    if isinstance(pattern, nodes.Whole):
        return _always(pattern.inner)
    return isinstance(pattern, nodes.Name | nodes.Ignore)


def _literal_id(form: Form) -> str | None:
    match form:
        case Keyword(name):
            return name
        case Literal("string", str(text)):
            return text
    return None


def _step_options(items: list[Form]) -> tuple[list[tuple[Form, Form]], list[Form]]:
    if len(items) > 1 and isinstance(items[0], MapForm):
        return items[0].pairs, items[1:]
    options: list[tuple[Form, Form]] = []
    known = (Keyword("params"), Keyword("expose-context"), Keyword("context-keys"))
    while len(items) > 1 and items[0] in known:
        options.append((items[0], items[1]))
        items = items[2:]
    return options, items


def _symbols(form: Form) -> Iterable[str]:
    """Every name in a form."""
    waiting = [form]
    while waiting:
        one = waiting.pop()
        match one:
            case Symbol(name):
                yield name
            case ListForm(items) | VectorForm(items) | MapForm(items):
                waiting.extend(items)
            case MetaForm(meta, inner):
                waiting.extend(meta)
                waiting.append(inner)


def _substituted(form: Form, old: str, new: str) -> Form:
    match form:
        case Symbol(name) if name == old:
            return Symbol(new, form.start, form.end)
        case ListForm(items) | VectorForm(items) | MapForm(items):
            changed = tuple(_substituted(item, old, new) for item in items)
            return type(form)(changed, form.start, form.end)
        case MetaForm(meta, inner):
            return MetaForm(meta, _substituted(inner, old, new), form.start, form.end)
    return form


def _calls(form: Form) -> bool:
    """Whether a ``call`` is evaluated when the form is; not one inside a function."""
    form = without_meta(form)
    if not isinstance(form, ListForm | VectorForm | MapForm):
        return False
    name = head_name(form)
    if name in ("fn", "λ", "lambda", FUNCTION, "quote"):
        return False
    return name == "call" or any(_calls(item) for item in form.items)


def _data(form: Form) -> Form:
    """A quoted form: metadata gone, no stray colon in it."""
    match form:
        case MetaForm(_, inner):
            return _data(inner)
        case Colon():
            raise _WrongFormError("a colon stands before a type only", form)
        case ListForm(items) | VectorForm(items) | MapForm(items):
            return type(form)(tuple(_data(item) for item in items), form.start, form.end)
    return form


def _renamed(kind: Any, rename: Callable[[Named], Named]) -> Any:
    """A type with its names replaced."""
    from dataclasses import fields, is_dataclass, replace

    if isinstance(kind, Named):
        return rename(kind)
    if isinstance(kind, tuple):
        return tuple(_renamed(item, rename) for item in kind)
    if is_dataclass(kind) and type(kind).__module__ == "ccos.rtfs.types":
        changes = {
            one.name: _renamed(getattr(kind, one.name), rename)
            for one in fields(kind)
            if one.name not in ("name", "word")
        }
        return replace(kind, **changes)  # type: ignore[type-var]
    return kind
