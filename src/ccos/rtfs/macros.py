"""Macros: forms in, one form out, before anything runs.

A macro whose body is one quasiquote is filled in here. Any other body is compiled and run in the
sandbox that programs run in; it sees the library and earlier macros, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ccos.rtfs.forms import (
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
from ccos.rtfs.printer import printed

META: Final = "#meta"
COLON: Final = "#colon"

MacroRunner = Callable[[str], Any]
"""Runs Python text in a sandbox and answers the JSON data of its last expression.

It raises :class:`MacroError` if the text fails.
"""


class MacroError(Exception):
    """A macro is wrong, or its expansion failed; never leaves this package."""

    def __init__(self, message: str, form: Form | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.form = form


@dataclass(eq=False, slots=True)
class Macro:
    """One macro.

    Attributes:
        name: How calls name it.
        parameters: Its parameter vector.
        body: What makes the expansion.
        visible: The macros that its body may use.
        start: Where it is defined.
        program: Python text that defines it, once it was needed.
    """

    name: str
    parameters: VectorForm
    body: tuple[Form, ...]
    visible: Mapping[str, Macro]
    start: int
    program: str | None = None
    python: str = ""


@dataclass(slots=True)
class Macros:
    """Defines and expands the macros of one compilation.

    Args:
        run: Runs the bodies that are more than a template.
    """

    run: MacroRunner
    _expansions: int = field(default=0)

    def define(self, form: ListForm, visible: Mapping[str, Macro]) -> Macro:
        """A macro from its ``defmacro``.

        Raises:
            MacroError: if its shape is wrong, or its body calls a capability.
        """
        name = without_meta(form.items[1])
        assert isinstance(name, Symbol)
        rest = list(form.items[2:])
        if isinstance(rest[0], Literal) and rest[0].kind == "string" and len(rest) > 2:
            rest.pop(0)
        parameters = without_meta(rest[0])
        if not isinstance(parameters, VectorForm):
            raise MacroError("the parameters of a macro are a vector", rest[0])
        macro = Macro(name.name, parameters, tuple(rest[1:]), visible, form.start)
        if _template(macro) is None:
            self._compile(macro)
        return macro

    def expand(self, macro: Macro, form: ListForm) -> Form:
        """What a call of a macro stands for.

        Raises:
            MacroError: if the arguments do not fit, or the body fails.
        """
        self._expansions += 1
        template = _template(macro)
        if template is not None:
            return _Filling(macro, form, self._expansions).form(template)
        assert macro.program is not None
        arguments = ", ".join(_argument_code(item) for item in form.items[1:])
        last = f"tagged({macro.python}({arguments}))"
        data = self.run(f"{macro.program}\nFRESH[0] = {self._expansions}\n{last}")
        expanded = form_of(data, form.start, form.end)
        return _with_places(expanded, form)

    def _compile(self, macro: Macro) -> None:
        from ccos.rtfs.compiler import macro_program

        symbol = Symbol("defn", macro.start, macro.start)
        name = Symbol(macro.name, macro.start, macro.start)
        items = (symbol, name, macro.parameters, *macro.body)
        source = Source(macro.name, "", (ListForm(items, macro.start, macro.start),))
        macro.program, macro.python = macro_program(source, self, macro.visible)


def _template(macro: Macro) -> Form | None:
    """What a macro fills in, if that is all it does."""
    plain = all(isinstance(item, Symbol) for item in macro.parameters.items)
    if not plain or len(macro.body) != 1 or head_name(macro.body[0]) != "quasiquote":
        return None
    body = macro.body[0]
    assert isinstance(body, ListForm)
    names = {item.name for item in macro.parameters.items if isinstance(item, Symbol)}
    if len(body.items) != 2 or not _fills_in(body.items[1], names):
        return None
    return body.items[1]


def _fills_in(form: Form, names: set[str]) -> bool:
    match form:
        case MetaForm():
            return False
        case ListForm((Symbol("unquote" | "unquote-splicing"), inner)):
            return isinstance(inner, Symbol) and inner.name in names
        case ListForm((Symbol("quasiquote" | "unquote" | "unquote-splicing"), *_)):
            return False
        case ListForm(items) | VectorForm(items) | MapForm(items):
            return all(_fills_in(item, names) for item in items)
    return True


class _Filling:
    """One template with the arguments of one call."""

    def __init__(self, macro: Macro, call: ListForm, number: int) -> None:
        self._call = call
        self._number = number
        self._values: dict[str, Form] = {}
        self._rest: set[str] = set()
        self._bind(macro, list(call.items[1:]))

    def _bind(self, macro: Macro, arguments: list[Form]) -> None:
        names = [item.name for item in macro.parameters.items if isinstance(item, Symbol)]
        fixed = names[: names.index("&")] if "&" in names else names
        exact = len(fixed) == len(names)
        if len(arguments) < len(fixed) or (exact and len(arguments) > len(fixed)):
            more = "" if exact else " or more"
            raise MacroError(
                f"macro `{macro.name}` takes {len(fixed)}{more} forms, got {len(arguments)}"
            )
        self._values = dict(zip(fixed, arguments, strict=False))
        if not exact:
            rest = names[-1]
            at = self._call
            self._values[rest] = ListForm(tuple(arguments[len(fixed) :]), at.start, at.end)
            self._rest.add(rest)

    def form(self, template: Form) -> Form:
        start, end = self._call.start, self._call.end
        match template:
            case ListForm((Symbol("unquote"), Symbol(name))):
                value = self._values[name]
                if name in self._rest and isinstance(value, ListForm) and not value.items:
                    return Literal("nil", None, start, end)
                return value
            case ListForm((Symbol("unquote-splicing"), _)):
                raise MacroError("`~@` stands inside a collection")
            case ListForm(items) | VectorForm(items) | MapForm(items):
                return type(template)(tuple(self._items(items)), start, end)
            case Symbol(name):
                fresh = name.endswith("#") and len(name) > 1
                return Symbol(f"{name[:-1]}·{self._number}" if fresh else name, start, end)
            case Keyword(name):
                return Keyword(name, start, end)
        return template

    def _items(self, items: tuple[Form, ...]) -> list[Form]:
        result: list[Form] = []
        for item in items:
            if head_name(item) == "unquote-splicing":
                assert isinstance(item, ListForm)
                assert isinstance(item.items[1], Symbol)
                result.extend(self._spliced(self._values[item.items[1].name]))
            else:
                result.append(self.form(item))
        return result

    def _spliced(self, value: Form) -> tuple[Form, ...]:
        match value:
            case ListForm(items) | VectorForm(items):
                return items
            case Literal("nil"):
                return ()
        raise MacroError(f"`~@` splices a sequence, not `{printed(value)[:60]}`")


def _argument_code(form: Form) -> str:
    from ccos.rtfs.emitting.constants import data_code

    return str(data_code(_as_data(form)))


def _as_data(form: Form) -> Form:
    """A form whose metadata and colons are lists and symbols, as macro bodies see them."""
    match form:
        case MetaForm(meta, inner):
            parts = VectorForm(tuple(_as_data(one) for one in meta))
            return ListForm((Symbol(META), parts, _as_data(inner)))
        case Colon():
            return Symbol(COLON)
        case ListForm(items) | VectorForm(items) | MapForm(items):
            return type(form)(tuple(_as_data(item) for item in items))
    return form


def form_of(data: Any, start: int, end: int) -> Form:
    """The form that tagged JSON data stands for.

    Raises:
        MacroError: if a value has no form: a function or an error.
    """
    match data:
        case None:
            return Literal("nil", None, start, end)
        case bool():
            return Literal("boolean", data, start, end)
        case int():
            return Literal("integer", data, start, end)
        case str():
            return Literal("string", data, start, end)
    [(tag, value)] = data.items()
    match tag:
        case "float":
            return Literal("float", float(value), start, end)
        case "integer":
            return Literal("integer", int(value, 16), start, end)
        case "kw":
            return Keyword(value, start, end)
        case "sym":
            return Colon(start, end) if value == COLON else Symbol(value, start, end)
        case "list":
            return _list_of([form_of(item, start, end) for item in value], start, end)
        case "vec":
            return VectorForm(tuple(form_of(item, start, end) for item in value), start, end)
        case "map":
            flat = [form_of(part, start, end) for pair in value for part in pair]
            return MapForm(tuple(flat), start, end)
        case "timestamp" | "uuid" | "resource-handle":
            return Literal(tag, value, start, end)
    raise MacroError(f"a macro gives a form, not one with a value of kind {tag}")


def _list_of(items: list[Form], start: int, end: int) -> Form:
    match items:
        case [Symbol(name), VectorForm(meta), inner] if name == META:
            return MetaForm(meta, inner, start, end)
    return ListForm(tuple(items), start, end)


def _with_places(expanded: Form, call: ListForm) -> Form:
    """Give back their places to the parts of an expansion that came from the call."""
    known: dict[Form, Form] = {}
    waiting: list[Form] = list(call.items[1:])
    count = 0
    while waiting and count < 10_000:
        form = waiting.pop()
        count += 1
        if isinstance(form, ListForm | VectorForm | MapForm):
            known.setdefault(form, form)
            waiting.extend(form.items)
        elif isinstance(form, Symbol):
            known.setdefault(form, form)
    return _placed(expanded, known)


def _placed(form: Form, known: Mapping[Form, Form]) -> Form:
    found = known.get(form) if isinstance(form, Symbol | ListForm | VectorForm | MapForm) else None
    if found is not None:
        return found
    match form:
        case ListForm(items) | VectorForm(items) | MapForm(items):
            placed = tuple(_placed(item, known) for item in items)
            return type(form)(placed, form.start, form.end)
    return form
