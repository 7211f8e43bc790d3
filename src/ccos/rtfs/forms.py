"""RTFS text as data: what the reader makes and every later pass works on.

Positions are offsets into the text, counted in characters; they take no part in equality.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

DEREF: Final = "#deref"
FUNCTION: Final = "#fn"
QUOTES: Final = {
    "'": "quote",
    "`": "quasiquote",
    "~": "unquote",
    "~@": "unquote-splicing",
    "@": DEREF,
}


@dataclass(frozen=True, slots=True)
class Symbol:
    """A name, such as ``x``, ``string-length`` or ``module/f``."""

    name: str
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Keyword:
    """A keyword; ``name`` is without its colon."""

    name: str
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant that is no keyword.

    Attributes:
        kind: ``nil``, ``boolean``, ``integer``, ``float``, ``string``, ``timestamp``, ``uuid`` or
            ``resource-handle``.
        value: The Python value; text for the last three.
    """

    kind: str
    value: bool | int | float | str | None
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Colon:
    """A colon that stands alone, before a type."""

    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class ListForm:
    """``( … )``. Prefixes are lists too: ``'f`` is ``(quote f)``, ``#(…)`` is ``(#fn (…))``."""

    items: tuple[Form, ...]
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class VectorForm:
    """``[ … ]``."""

    items: tuple[Form, ...]
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class MapForm:
    """``{ … }``: keys and values in turn."""

    items: tuple[Form, ...]
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)

    @property
    def pairs(self) -> list[tuple[Form, Form]]:
        """Each key with its value."""
        return list(zip(self.items[::2], self.items[1::2], strict=False))


@dataclass(frozen=True, slots=True)
class MetaForm:
    """``^meta form``; ``meta`` holds what stood between, as one to three forms."""

    meta: tuple[Form, ...]
    form: Form
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


Form: TypeAlias = Symbol | Keyword | Literal | Colon | ListForm | VectorForm | MapForm | MetaForm


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment of the text; ``own_line`` says that nothing stands before it on its line."""

    text: str
    start: int
    end: int
    own_line: bool


@dataclass(frozen=True, slots=True)
class Source:
    """A text that was read.

    Attributes:
        name: What people call it, for messages.
        text: The text itself.
        forms: Its top-level forms.
        comments: Its comments in order, for the printer.
    """

    name: str
    text: str
    forms: tuple[Form, ...]
    comments: tuple[Comment, ...] = ()


def without_meta(form: Form) -> Form:
    """The form itself, without what ``^`` put before it."""
    while isinstance(form, MetaForm):
        form = form.form
    return form


def is_symbol(form: Form, *names: str) -> bool:
    """Whether ``form`` is one of these symbols."""
    return isinstance(form, Symbol) and form.name in names


def head_name(form: Form) -> str | None:
    """The name that a list begins with, if it begins with one."""
    if isinstance(form, ListForm) and form.items and isinstance(form.items[0], Symbol):
        return form.items[0].name
    return None
