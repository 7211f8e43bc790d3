"""Forms become text: on one line, or laid out for people with the comments kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from ccos.rtfs.forms import (
    FUNCTION,
    QUOTES,
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
)
from ccos.rtfs.reader import read

WIDTH: Final = 88
_PREFIXES: Final = {name: prefix for prefix, name in QUOTES.items()}
_ESCAPES: Final = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\", '"': '\\"'}
_BODY_AFTER: Final = {
    "catch": 2,
    "case": 1,
    "cond": 0,
    "def": 1,
    "defmacro": 2,
    "defn": 2,
    "do": 0,
    "doseq": 1,
    "dotimes": 1,
    "finally": 0,
    "fn": 1,
    "for": 1,
    "if-let": 1,
    "if-not": 1,
    "if": 1,
    "lambda": 1,
    "let": 1,
    "loop": 1,
    "match": 1,
    "module": 1,
    "step": 1,
    "step-if": 1,
    "step-loop": 1,
    "step-parallel": 0,
    "try": 0,
    "when": 1,
    "when-let": 1,
    "when-not": 1,
    "capability": 1,
    "plan": 0,
    "parallel": 0,
}
"""How many forms stay on the line of the head before a body is indented below it."""
_IN_PAIRS: Final = frozenset({"match", "cond", "case", "capability", "plan"})


def printed(form: Form) -> str:
    """A form on one line, with one space between forms and no comments."""
    match form:
        case Symbol(name):
            return name
        case Keyword(name):
            return ":" + name
        case Literal():
            return _literal(form)
        case Colon():
            return ":"
        case ListForm(items):
            prefix, inner = _prefixed(form)
            if inner is not None:
                return prefix + printed(inner)
            return f"({_joined(items)})"
        case VectorForm(items):
            return f"[{_joined(items)}]"
        case MapForm(items):
            return f"{{{_joined(items)}}}"
        case MetaForm(meta, inner):
            return f"^{_joined(meta)} {printed(inner)}"


def format_text(text: str, name: str = "<rtfs>") -> str:
    """The text in canonical layout; its comments stay where they belong.

    Formatting twice changes nothing more, and what is read from the result equals what was read
    from ``text``.

    Raises:
        RtfsSyntaxError: if it cannot be read.
    """
    return format_source(read(text, name))


def format_source(source: Source) -> str:
    """As :func:`format_text`, of a text that was read."""
    return _Layout(source).text()


def quoted(text: str) -> str:
    """A string literal of ``text``."""
    return '"' + "".join(_ESCAPES.get(c) or _visible(c) for c in text) + '"'


def float_text(value: float) -> str:
    """The shortest text that reads as the same float."""
    if math.isnan(value):
        return "##NaN"
    if math.isinf(value):
        return "##Inf" if value > 0 else "##-Inf"
    return repr(value)


def integer_text(value: int) -> str:
    """``str(value)`` without the limit that Python puts on its length."""
    if value < 0:
        return "-" + integer_text(-value)
    if value.bit_length() <= 13_000:
        return str(value)
    digits = int(value.bit_length() * 0.30103) // 2
    high, low = divmod(value, 10**digits)
    return integer_text(high) + integer_text(low).rjust(digits, "0")


def _visible(character: str) -> str:
    if character.isprintable() or ord(character) > 0xFFFF:
        return character
    return f"\\u{ord(character):04x}"


def _literal(form: Literal) -> str:
    match form.value:
        case None:
            return "nil"
        case bool(value):
            return "true" if value else "false"
        case int(value):
            return integer_text(value)
        case float(value):
            return float_text(value)
        case str(value):
            return quoted(value) if form.kind == "string" else value


def _joined(items: Sequence[Form]) -> str:
    return " ".join(printed(item) for item in items)


def _prefixed(form: Form) -> tuple[str, Form | None]:
    """The prefix that a list is written with, and the form after it."""
    match form:
        case ListForm((Symbol(name), inner)):
            if name == FUNCTION and isinstance(inner, ListForm):
                return "#", inner
            if name in _PREFIXES and _is_safe(name, inner):
                return _PREFIXES[name], inner
    return "", None


def _is_safe(name: str, inner: Form) -> bool:
    """Whether the prefix reads back: ``~ @x`` would become ``~@x``."""
    if isinstance(inner, Colon):
        return False
    return name != "unquote" or not printed(inner).startswith("@")


class _Layout:
    """Lays one text out, line by line."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._comments = list(source.comments)
        self._lines: list[str] = [""]

    def text(self) -> str:
        previous_end: int | None = None
        for form in self._source.forms:
            if previous_end is not None:
                self._trailing(previous_end, form.start)
                self._separate(previous_end, form.start)
            self._leading(form.start, 0)
            self._put(form, 0)
            self._lines.append("")
            previous_end = form.end
        if previous_end is not None:
            self._trailing(previous_end, len(self._source.text) + 1)
            if self._comments:
                self._separate(previous_end, len(self._source.text) + 1)
        self._leading(len(self._source.text) + 1, 0)
        return "\n".join(self._lines).rstrip("\n") + "\n" if any(self._lines) else ""

    def _separate(self, end: int, start: int) -> None:
        """At most one empty line stays between two top-level forms."""
        stop = next((c.start for c in self._comments if end <= c.start < start), start)
        if self._source.text.count("\n", end, stop) > 1:
            self._lines.append("")

    def _trailing(self, end: int, stop: int) -> None:
        """A comment behind a form stays behind it."""
        if self._comments and not self._comments[0].own_line:
            comment = self._comments[0]
            if end <= comment.start < stop and "\n" not in self._source.text[end : comment.start]:
                self._comments.pop(0)
                if self._lines[-1] == "":
                    self._lines.pop()
                self._lines[-1] += "  " + comment.text
                self._lines.append("")

    def _leading(self, start: int, indent: int) -> None:
        """The comments before a form go on lines of their own above it."""
        while self._comments and self._comments[0].start < start:
            comment = self._comments.pop(0)
            self._lines[-1] = " " * indent + comment.text
            gap = self._source.text[comment.end : self._next_start(comment.end, start)]
            self._lines.append("")
            if indent == 0 and gap.count("\n") > 1:
                self._lines.append("")

    def _next_start(self, end: int, start: int) -> int:
        return min(start, self._comments[0].start) if self._comments else start

    def _has_comment(self, form: Form) -> bool:
        return any(form.start <= comment.start < form.end for comment in self._comments)

    def _put(self, form: Form, column: int) -> None:
        """Add a form whose first character stands in ``column`` of the last line."""
        if not self._has_comment(form):
            line = printed(form)
            if column + len(line) <= WIDTH or not _can_break(form):
                self._lines[-1] = self._lines[-1].ljust(column) + line
                return
        self._broken(form, column)

    def _broken(self, form: Form, column: int) -> None:
        prefix, inner = _prefixed(form)
        if inner is not None:
            self._lines[-1] = self._lines[-1].ljust(column) + prefix
            self._put(inner, column + len(prefix))
            return
        match form:
            case MetaForm(meta, target):
                head = f"^{_joined(meta)} "
                self._lines[-1] = self._lines[-1].ljust(column) + head.rstrip()
                self._lines.append("")
                self._leading(target.start, column)
                self._put(target, column)
            case ListForm(items):
                self._list(form, items, column)
            case VectorForm(items):
                self._rows(form, items, column, "[", "]", pairs=_pairs_up(items))
            case MapForm(items):
                self._rows(form, items, column, "{", "}", pairs=True)
            case _:
                self._lines[-1] = self._lines[-1].ljust(column) + printed(form)

    def _list(self, form: ListForm, items: tuple[Form, ...], column: int) -> None:
        head = items[0] if items else None
        if not isinstance(head, Symbol) or head.name not in _BODY_AFTER:
            self._rows(form, items, column, "(", ")", pairs=False)
            return
        self._lines[-1] = self._lines[-1].ljust(column) + "("
        self._put(head, column + 1)
        kept = _BODY_AFTER[head.name]
        pairs = head.name in _IN_PAIRS and not any(is_when(item) for item in items)
        end = head.end
        body: list[Form] = list(items[1:])
        while body and kept and not self._comment_between(end, body[0].start):
            item = body.pop(0)
            self._put(item, len(self._lines[-1]) + 1)
            end, kept = item.end, kept - 1
        self._body(form, body, end, column + 2, pairs=pairs)
        self._shut(form, column + 2, ")")

    def _rows(
        self,
        form: Form,
        items: tuple[Form, ...],
        column: int,
        opening: str,
        closing: str,
        *,
        pairs: bool,
    ) -> None:
        self._lines[-1] = self._lines[-1].ljust(column) + opening
        start = column + len(opening)
        if items and not self._comment_between(form.start, items[0].start):
            self._put(items[0], start)
            end, rest = items[0].end, list(items[1:])
            if pairs and rest and not self._comment_between(end, rest[0].start):
                item = rest.pop(0)
                self._put(item, len(self._lines[-1]) + 1)
                end = item.end
            self._body(form, rest, end, start, pairs=pairs)
        else:
            self._body(form, list(items), form.start, start, pairs=pairs, fresh=True)
        self._shut(form, start, closing)

    def _body(
        self,
        form: Form,
        items: list[Form],
        end: int,
        indent: int,
        *,
        pairs: bool,
        fresh: bool = False,
    ) -> None:
        second = False
        for item in items:
            follows = pairs and second and not self._comment_between(end, item.start)
            second = pairs and not second
            if follows:
                self._put(item, len(self._lines[-1]) + 1)
            else:
                self._trailing(end, item.start)
                if self._lines[-1] != "":
                    self._lines.append("")
                self._leading(item.start, indent)
                self._put(item, indent)
            end = item.end
        self._trailing(end, form.end)

    def _shut(self, form: Form, indent: int, closing: str) -> None:
        inside = any(comment.start < form.end for comment in self._comments)
        if inside:
            if self._lines[-1] != "":
                self._lines.append("")
            self._leading(form.end, indent)
        if self._lines[-1] == "" and len(self._lines) > 1:
            self._lines[-1] = " " * (indent - 1) + closing
        else:
            self._lines[-1] += closing

    def _comment_between(self, end: int, start: int) -> bool:
        return any(end <= comment.start < start for comment in self._comments)


def is_when(form: Form) -> bool:
    """Whether a clause of ``match`` goes on with a guard here."""
    return isinstance(form, Symbol) and form.name == "when"


def _can_break(form: Form) -> bool:
    return isinstance(form, ListForm | VectorForm | MapForm | MetaForm)


def _pairs_up(items: Sequence[Form]) -> bool:
    """Whether a vector looks like names and values in turn, as after ``let``."""
    return (
        len(items) > 2
        and len(items) % 2 == 0
        and all(isinstance(item, Symbol | VectorForm | MapForm) for item in items[::2])
        and any(isinstance(item, ListForm) for item in items[1::2])
    )
