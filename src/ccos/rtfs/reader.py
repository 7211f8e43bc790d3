"""Text becomes forms; nothing is evaluated.

The reader goes on after an error, so that a file's errors are told together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from ccos.rtfs.diagnostics import Diagnostic, Lines, raise_if_wrong
from ccos.rtfs.forms import (
    FUNCTION,
    QUOTES,
    Colon,
    Comment,
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

SIZE_LIMIT: Final = 1024 * 1024
DEPTH_LIMIT: Final = 500
INTEGER_BITS: Final = 1_000_000
_ERROR_LIMIT: Final = 100

_START: Final = r"[A-Za-z_$+\-*/=<>!?%λ]"
_REST: Final = r"[A-Za-z0-9_$+\-*/=<>!?%λ.@#]"
_NAME: Final = rf"(?:{_START}|\.(?={_START})){_REST}*(?::v\d+(?:\.\d+)*/{_START}{_REST}*)?"
_TOKEN: Final = re.compile(
    rf"""
    (?P<space>[\ \t\r\n,]+)
  | (?P<comment>;[^\n]*)
  | (?P<block>\#\|.*?\|\#)
  | (?P<discard>\#_)
  | (?P<open>\#\(|[(\[{{])
  | (?P<close>[)\]}}])
  | (?P<string>"[^"\\]*(?:\\.[^"\\]*)*")
  | (?P<timestamp>\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[._]\d+)?Z)
  | (?P<uuid>[0-9A-Fa-f]{{8}}-(?:[0-9A-Fa-f]{{4}}-){{3}}[0-9A-Fa-f]{{12}})
  | (?P<handle>resource://[^\s,()\[\]{{}}"]*)
  | (?P<number>[+-]?(?:0x[0-9A-Fa-f]+|0o[0-7]+|0b[01]+
      |\d+(?:\.\d+(?:[eE][+-]?\d+)?|[eE][+-]?\d+|/\d+)?)|\#\#(?:-?Inf|NaN))
  | (?P<keyword>:{_NAME})
  | (?P<symbol>resource:ref|%&|{_NAME})
  | (?P<rest>&)
  | (?P<prefix>~@|['`~@^])
  | (?P<colon>:)
    """,
    re.VERBOSE | re.DOTALL,
)
_DELIMITER: Final = re.compile(r"[\s,()\[\]{}\"'`;]|\#[|_]|$")
_DELIMITED: Final = frozenset({"string", "timestamp", "uuid", "number"})
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"'}
_ESCAPE: Final = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_CLOSING: Final = {"(": ")", "#(": ")", "[": "]", "{": "}"}
_WORDS: Final[dict[str, tuple[str, bool | None]]] = {
    "true": ("boolean", True),
    "false": ("boolean", False),
    "nil": ("nil", None),
}


def read(text: str, name: str = "<rtfs>") -> Source:
    """Read a whole text.

    Args:
        text: RTFS text.
        name: What people call it, for messages.

    Raises:
        RtfsSyntaxError: with all errors of the text.
    """
    source, diagnostics = read_leniently(text, name)
    raise_if_wrong(name, text, diagnostics)
    return source


def read_leniently(text: str, name: str = "<rtfs>") -> tuple[Source, tuple[Diagnostic, ...]]:
    """Read what can be read, and say what cannot."""
    if len(text.encode(errors="replace")) > SIZE_LIMIT:
        words = f"the text is larger than {SIZE_LIMIT} bytes"
        return Source(name, "", ()), (Diagnostic(words, 0, 0),)
    reader = _Reader(text)
    forms = reader.read()
    return Source(name, text, forms, tuple(reader.comments)), tuple(reader.diagnostics)


def is_unfinished(text: str) -> bool:
    """Whether a text is right as far as it goes, and more has to follow."""
    if len(text.encode(errors="replace")) > SIZE_LIMIT:
        return False
    reader = _Reader(text)
    reader.read()
    return 0 < reader.open_ends == len(reader.diagnostics)


@dataclass(slots=True)
class _Open:
    """A bracket or a prefix that waits for forms."""

    bracket: str
    start: int
    end: int
    items: list[Form] = field(default_factory=list)
    prefix: bool = False


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._stack = [_Open("", 0, 0)]
        self._depth = 0
        self.comments: list[Comment] = []
        self.diagnostics: list[Diagnostic] = []
        self.open_ends = 0
        """How many of them more text could mend."""

    def read(self) -> tuple[Form, ...]:
        for kind, word, start, end in self._tokens():
            if len(self.diagnostics) >= _ERROR_LIMIT:
                break
            match kind:
                case "open":
                    self._open(word, start, end)
                case "close":
                    self._close(word, start, end)
                case "prefix" | "discard":
                    self._stack.append(_Open(word, start, end, prefix=True))
                case "stop":
                    return tuple(self._stack[0].items)
                case _:
                    self._add(self._atom(kind, word, start, end))
        self._end()
        return tuple(self._stack[0].items)

    def _tokens(self) -> Iterator[tuple[str, str, int, int]]:
        text, position, match_at = self._text, 0, _TOKEN.match
        while position < len(text):
            found = match_at(text, position)
            if found is None:
                skipped = self._unreadable(position)
                if skipped >= len(text):
                    yield "stop", "", position, position
                    return
                position = skipped
                continue
            kind, start, position = str(found.lastgroup), position, found.end()
            if kind == "space":
                continue
            if kind in ("comment", "block"):
                self._comment(found[0], start, position)
                continue
            if kind in _DELIMITED and not _DELIMITER.match(text, position):
                position = self._run_together(start, position)
                continue
            yield kind, found[0], start, position

    def _comment(self, text: str, start: int, end: int) -> None:
        before = self._text[self._text.rfind("\n", 0, start) + 1 : start]
        self.comments.append(Comment(text.rstrip(), start, end, own_line=not before.strip(" \t,")))

    def _unreadable(self, position: int) -> int:
        """Report what is no token; answers where to go on."""
        text = self._text
        character = text[position]
        if character == '"':
            self._error("this string is not closed", position, position + 1, 'add `"` at its end')
            self.open_ends += 1
            return len(text)
        if text.startswith("#|", position):
            hint = "add `|#` at its end"
            self._error("this comment is not closed", position, position + 2, hint)
            self.open_ends += 1
            return len(text)
        if character == "." and text[position + 1 : position + 2].isdigit():
            found = re.compile(r"\.\d+").match(text, position)
            end = found.end() if found else position + 1
            hint = f"write `0{text[position:end]}`"
            self._error("a number needs digits before its dot", position, end, hint)
            return end
        shown = character if character.isprintable() else "�"
        hint = "names are written with ASCII letters" if ord(character) > 127 else ""
        words = f"`{shown}` (U+{ord(character):04X}) begins no form"
        self._error(words, position, position + 1, hint)
        return position + 1

    def _run_together(self, start: int, end: int) -> int:
        stop = end
        while stop < len(self._text) and not _DELIMITER.match(self._text, stop):
            stop += 1
        first, word = self._text[start:end], self._text[start:stop]
        if word == first + ".":
            words, hint = "a number needs digits after its dot", f"write `{first}.0`"
        else:
            words, hint = f"`{_short(word)}` is not one form", "put a space between the two"
        self._error(words, start, stop, hint)
        return stop

    def _open(self, bracket: str, start: int, end: int) -> None:
        self._depth += 1
        if self._depth == DEPTH_LIMIT + 1:
            self._error(f"brackets are nested more than {DEPTH_LIMIT} deep", start, end)
        self._stack.append(_Open(bracket, start, end))

    def _close(self, bracket: str, start: int, end: int) -> None:
        self._drop_prefixes(start)
        opened = self._stack[-1]
        if opened.bracket == "":
            hint = "remove it, or add the opening bracket"
            self._error(f"`{bracket}` closes nothing", start, end, hint)
            return
        if _CLOSING[opened.bracket] != bracket:
            self._mismatch(opened, bracket, start, end)
            if any(_CLOSING.get(one.bracket) == bracket for one in self._stack[:-1]):
                # An outer bracket is meant: what is inside of it was not closed.
                self._finish(start)
                self._close(bracket, start, end)
                return
        self._finish(end)

    def _mismatch(self, opened: _Open, bracket: str, start: int, end: int) -> None:
        wanted = _CLOSING[opened.bracket]
        line, column = Lines(self._text).place(start)
        self._error(
            f"`{opened.bracket}` is closed by `{bracket}` at line {line}, column {column}",
            opened.start,
            opened.end,
            f"close it with `{wanted}`",
        )

    def _finish(self, end: int) -> None:
        """The innermost bracket is complete."""
        opened = self._stack.pop()
        self._depth -= 1
        items = tuple(opened.items)
        match opened.bracket:
            case "(":
                self._add(ListForm(items, opened.start, end))
            case "#(":
                self._add(self._function(items, opened.start, end))
            case "[":
                self._add(VectorForm(items, opened.start, end))
            case _:
                self._add(self._map(items, opened.start, end))

    def _function(self, items: tuple[Form, ...], start: int, end: int) -> Form:
        if any(one.bracket == "#(" for one in self._stack):
            hint = "write the inner one with `fn`"
            self._error("`#(…)` cannot stand inside `#(…)`", start, start + 2, hint)
        body = ListForm(items, start + 1, end)
        return ListForm((Symbol(FUNCTION, start, start + 2), body), start, end)

    def _map(self, items: tuple[Form, ...], start: int, end: int) -> Form:
        if len(items) % 2:
            self._error("a map has a key without a value", start, start + 1)
        keys: set[Form] = set()
        for key in items[::2]:
            if isinstance(key, Keyword | Literal):
                if key in keys:
                    self._error("this key is in the map already", key.start, key.end)
                keys.add(key)
        return MapForm(items, start, end)

    def _add(self, form: Form) -> None:
        """Give a form to the innermost bracket or prefix, and complete the prefixes it ends."""
        while True:
            opened = self._stack[-1]
            opened.items.append(form)
            if not opened.prefix or not _is_complete(opened):
                return
            self._stack.pop()
            if opened.bracket == "#_":
                return
            form = self._prefixed(opened)

    def _prefixed(self, opened: _Open) -> Form:
        first, last = opened.items[0], opened.items[-1]
        if opened.bracket == "^":
            if not isinstance(first, MapForm | Keyword):
                words = "`^` takes a map or a keyword, then a form"
                self._error(words, opened.start, first.end)
            return MetaForm(tuple(opened.items[:-1]), last, opened.start, last.end)
        if opened.bracket == "@" and not isinstance(first, Symbol | Keyword):
            self._error("`@` stands before a name only", opened.start, first.end)
        name = QUOTES[opened.bracket]
        return ListForm((Symbol(name, opened.start, opened.end), first), opened.start, first.end)

    def _drop_prefixes(self, end: int) -> None:
        while self._stack[-1].prefix:
            opened = self._stack.pop()
            self._error(f"`{opened.bracket}` has no form after it", opened.start, end)

    def _end(self) -> None:
        end = len(self._text)
        before = len(self.diagnostics)
        self._drop_prefixes(end)
        unclosed = [one for one in self._stack if one.bracket in _CLOSING]
        for opened in unclosed:
            self._error(
                f"`{opened.bracket}` is not closed",
                opened.start,
                opened.end,
                self._missing(opened, end),
            )
        self.open_ends += len(self.diagnostics) - before

    def _missing(self, opened: _Open, end: int) -> str:
        """Where the closing bracket should probably stand: before the next text in column 1."""
        line, column = Lines(self._text).place(opened.start)
        for found in re.compile(r"^[(\[{]", re.MULTILINE).finditer(self._text, opened.end, end):
            last = Lines(self._text).place(len(self._text[: found.start()].rstrip()))[0]
            return f"add `{_CLOSING[opened.bracket]}` at the end of line {last}"
        return f"add `{_CLOSING[opened.bracket]}` for the one of line {line}, column {column}"

    def _atom(self, kind: str, word: str, start: int, end: int) -> Form:
        match kind:
            case "symbol" | "rest":
                if word in _WORDS:
                    return Literal(*_WORDS[word], start, end)
                return Symbol(word, start, end)
            case "keyword":
                return Keyword(word[1:], start, end)
            case "number":
                return self._number(word, start, end)
            case "string":
                return Literal("string", self._string(word, start), start, end)
            case "colon":
                return Colon(start, end)
            case "handle":
                return Literal("resource-handle", word, start, end)
        return Literal(kind, word, start, end)

    def _number(self, word: str, start: int, end: int) -> Literal:
        if word.startswith("##"):
            return Literal("float", float(word[2:].lower()), start, end)
        digits = word.lstrip("+-")
        if "/" in word:
            return self._ratio(word, start, end)
        if digits[:2] in ("0x", "0o", "0b"):
            value = int(word, 0)
        elif digits.isdigit():
            if len(digits) > 302_000:
                return self._too_large(start, end)
            value = _decimal(digits) * (-1 if word[0] == "-" else 1)
        else:
            return Literal("float", float(word), start, end)
        if value.bit_length() > INTEGER_BITS:
            return self._too_large(start, end)
        return Literal("integer", value, start, end)

    def _too_large(self, start: int, end: int) -> Literal:
        self._error(f"an integer has at most {INTEGER_BITS} bits", start, end)
        return Literal("integer", 0, start, end)

    def _ratio(self, word: str, start: int, end: int) -> Literal:
        above, _, below = word.partition("/")
        if len(word) > 4_000 or not int(below):
            words = "the denominator is zero" if len(word) <= 4_000 else "the fraction is too long"
            self._error(words, start, end)
            return Literal("integer", 0, start, end)
        value = Fraction(int(above), int(below))
        if value.denominator == 1:
            return Literal("integer", value.numerator, start, end)
        try:
            return Literal("float", value.numerator / value.denominator, start, end)
        except OverflowError:
            sign = -1.0 if value < 0 else 1.0
            return Literal("float", sign * float("inf"), start, end)

    def _string(self, word: str, start: int) -> str:
        inner = word[1:-1]
        if "\\" not in inner:
            return self._whole(inner, start)
        parts: list[str] = []
        position = 0
        for found in _ESCAPE.finditer(inner):
            parts.append(inner[position : found.start()])
            parts.append(self._escaped(found[1], start + 1 + found.start()))
            position = found.end()
        parts.append(inner[position:])
        return self._whole("".join(parts), start)

    def _escaped(self, escape: str, at: int) -> str:
        if len(escape) == 5:
            return chr(int(escape[1:], 16))
        if escape in _ESCAPES:
            return _ESCAPES[escape]
        shown = escape if escape.isprintable() else "�"
        hint = 'the escapes are \\n \\t \\r \\\\ \\" and \\uXXXX; write `\\\\` for a backslash'
        self._error(f"`\\{shown}` is not an escape", at, at + 2, hint)
        return ""

    def _whole(self, text: str, start: int) -> str:
        """Surrogates in pairs become one character; a single one is none."""
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._error("half of a surrogate pair is not a character", start, start + 1)
            return ""

    def _error(self, message: str, start: int, end: int, hint: str = "") -> None:
        self.diagnostics.append(Diagnostic(message, start, end, hint))


def _is_complete(opened: _Open) -> bool:
    """Whether a prefix has all its forms."""
    items = opened.items
    if opened.bracket != "^":
        return True
    if items[0] != Keyword("delegation"):
        return len(items) == 2
    if len(items) < 3:
        return False
    model = isinstance(items[2], Literal) and items[1] != Keyword("local")
    return len(items) == (4 if model else 3)


def _short(text: str) -> str:
    printable = "".join(c if c.isprintable() else "�" for c in text)
    return printable if len(printable) <= 40 else printable[:39] + "…"


def _decimal(digits: str) -> int:
    """``int(digits)`` without the limit that Python puts on the length of the text."""
    if len(digits) <= 4_000:
        return int(digits)
    low = len(digits) // 2
    power: int = 10**low
    return _decimal(digits[:-low]) * power + _decimal(digits[-low:])
