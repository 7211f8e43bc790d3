"""Questions about forms, and small nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from ccos.rtfs import nodes
from ccos.rtfs.analysing.scopes import WrongFormError
from ccos.rtfs.forms import (
    FUNCTION,
    Colon,
    Form,
    Keyword,
    ListForm,
    Literal,
    MapForm,
    MetaForm,
    Symbol,
    VectorForm,
    head_name,
    without_meta,
)
from ccos.rtfs.nodes import Node
from ccos.rtfs.types import (
    Named,
)


def text_node(value: str, at: int) -> nodes.Const:
    """A string constant."""
    return nodes.Const(Literal("string", value), at)


def failure_node(kind: str, message: str, at: int) -> Node:
    """A node that raises an error of a kind."""
    return nodes.Raw("fail", [text_node(kind, at), text_node(message, at)], at, "never")


def is_keyword(form: Form, name: str) -> bool:
    """Whether a form is the keyword of this name."""
    return isinstance(form, Keyword) and form.name == name


def is_function(form: Form) -> bool:
    """Whether a form is a function literal."""
    return head_name(without_meta(form)) in ("fn", "λ", "lambda", FUNCTION)


def is_conditions(form: Form) -> bool:
    """Whether a form is a map of ``:pre`` and ``:post`` alone."""
    if not isinstance(form, MapForm) or not form.items:
        return False
    return all(
        key in (Keyword("pre"), Keyword("post")) and isinstance(value, VectorForm)
        for key, value in form.pairs
    )


def reads_as_pairs(items: Sequence[Form]) -> bool:
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


def always_matches(pattern: nodes.MatchPattern) -> bool:
    """Whether a pattern fits every value."""
    if isinstance(pattern, nodes.Whole):
        return always_matches(pattern.inner)
    return isinstance(pattern, nodes.Name | nodes.Ignore)


def literal_id(form: Form) -> str | None:
    """The id that a form shows; None if it is computed."""
    match form:
        case Keyword(name):
            return name
        case Literal("string", str(text)):
            return text
    return None


def step_options(items: list[Form]) -> tuple[list[tuple[Form, Form]], list[Form]]:
    """The options of a step as pairs, and its body."""
    if len(items) > 1 and isinstance(items[0], MapForm):
        return items[0].pairs, items[1:]
    options: list[tuple[Form, Form]] = []
    known = (Keyword("params"), Keyword("expose-context"), Keyword("context-keys"))
    while len(items) > 1 and items[0] in known:
        options.append((items[0], items[1]))
        items = items[2:]
    return options, items


def symbols_of(form: Form) -> Iterable[str]:
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


def substituted(form: Form, old: str, new: str) -> Form:
    """A form with another symbol in place of one."""
    match form:
        case Symbol(name) if name == old:
            return Symbol(new, form.start, form.end)
        case ListForm(items) | VectorForm(items) | MapForm(items):
            changed = tuple(substituted(item, old, new) for item in items)
            return type(form)(changed, form.start, form.end)
        case MetaForm(meta, inner):
            return MetaForm(meta, substituted(inner, old, new), form.start, form.end)
    return form


def calls_at_once(form: Form) -> bool:
    """Whether a ``call`` is evaluated when the form is; not one inside a function."""
    form = without_meta(form)
    if not isinstance(form, ListForm | VectorForm | MapForm):
        return False
    name = head_name(form)
    if name in ("fn", "λ", "lambda", FUNCTION, "quote"):
        return False
    return name == "call" or any(calls_at_once(item) for item in form.items)


def plain_data(form: Form) -> Form:
    """A quoted form: metadata gone, no stray colon in it."""
    match form:
        case MetaForm(_, inner):
            return plain_data(inner)
        case Colon():
            raise WrongFormError("a colon stands before a type only", form)
        case ListForm(items) | VectorForm(items) | MapForm(items):
            return type(form)(tuple(plain_data(item) for item in items), form.start, form.end)
    return form


def renamed_types(kind: Any, rename: Callable[[Named], Named]) -> Any:
    """A type with its names replaced."""
    if isinstance(kind, Named):
        return rename(kind)
    if isinstance(kind, tuple):
        return tuple(renamed_types(item, rename) for item in kind)
    if is_dataclass(kind) and type(kind).__module__ == "ccos.rtfs.types":
        changes = {
            one.name: renamed_types(getattr(kind, one.name), rename)
            for one in fields(kind)
            if one.name not in ("name", "word")
        }
        return replace(kind, **changes)  # type: ignore[type-var]
    return kind
