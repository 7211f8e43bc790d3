"""What was defined in a conversation, and the programs that its entries make of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ccos.rtfs import Diagnostic, Report, read, read_leniently
from ccos.rtfs.forms import Form, ListForm, Symbol, head_name

_DEFINING: Final = frozenset(
    {"def", "defn", "defmacro", "defstruct", "deftype", "module", "import"}
)
_NAMED: Final = frozenset({"def", "defn", "defmacro", "defstruct", "deftype"})
_SHOWN: Final = "[(pr-str "


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as a program of its own.

    Attributes:
        text: As it was typed.
        program: With the definitions before it; it gives a vector of texts: its value, and the
            values of ``values``.
        definitions: The definitions in it: name and text; the name is empty if it has none.
        values: The names that it defines as values.
        start: Where the entry begins in the program.
        cut: Where in the entry something was put in.
    """

    text: str
    program: str
    definitions: tuple[tuple[str, str], ...]
    values: tuple[str, ...]
    start: int
    cut: int

    def offset(self, at: int) -> int | None:
        """Where in the entry a place of the program is; None if it is before it."""
        inside = at - self.start
        if inside < 0:
            return None
        if inside >= self.cut:
            inside = max(self.cut, inside - len(_SHOWN))
        return min(inside, len(self.text))

    def report(self, report: Report) -> Report:
        """Findings about the program as findings about the entry."""
        return Report("entry", self.text, tuple(self._moved(report)))

    def _moved(self, report: Report) -> Iterator[Diagnostic]:
        for one in report.diagnostics:
            start, end = self.offset(one.start), self.offset(one.end)
            if start is not None and end is not None:
                yield Diagnostic(one.message, start, end, one.hint, one.severity, one.kind)


@dataclass(slots=True)
class Notebook:
    """The definitions so far; later ones replace earlier ones of the same name."""

    _texts: dict[str, str] = field(default_factory=dict)
    _nameless: list[str] = field(default_factory=list)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that are defined."""
        return tuple(self._texts)

    def text(self) -> str:
        """All definitions as a program."""
        return "\n".join([*self._nameless, *self._texts.values()])

    def entry(self, text: str) -> Entry | None:
        """What to run for an entry; None if there is nothing in it.

        Raises:
            RtfsSyntaxError: if it cannot be read.
        """
        forms = read(text, "entry").forms
        if not forms:
            return None
        before = f"{self.text()}\n"
        last = forms[-1]
        definitions = tuple((_name(one), text[one.start : one.end]) for one in _defining(forms))
        values = tuple(_name(one) for one in forms if head_name(one) == "def" and _name(one))
        rest = "".join(f" (pr-str {one})" for one in values)
        if head_name(last) == "def":
            shown, cut = f"{text}\n[(pr-str {_name(last)}){rest}]", len(text)
        elif head_name(last) in _DEFINING:
            shown, cut = f'{text}\n["{_name(last)}"{rest}]', len(text)
        else:
            shown = f"{text[: last.start]}{_SHOWN}{text[last.start :]}\n){rest}]"
            cut = last.start
        return Entry(text, before + shown, definitions, values, len(before), cut)

    def drop(self, name: str) -> None:
        """Forget a name."""
        self._texts.pop(name, None)

    def keep(self, entry: Entry) -> None:
        """Let the definitions of an entry stay."""
        for name, text in entry.definitions:
            if name:
                self._texts.pop(name, None)
                self._texts[name] = text
            elif text not in self._nameless:
                self._nameless.append(text)

    def keep_value(self, name: str, data: str) -> bool:
        """Let a name stand for what its definition gave, so that it is not evaluated again.

        Args:
            name: A name that is defined.
            data: Its value as readable text.

        Returns:
            False if the text is not data that can be read back.
        """
        source, faults = read_leniently(data)
        if faults or len(source.forms) != 1:
            return False
        self._texts[name] = f"(def {name} '{data})"
        return True


def _defining(forms: tuple[Form, ...]) -> Iterator[Form]:
    return (one for one in forms if head_name(one) in _DEFINING)


def _name(form: Form) -> str:
    """The name that a definition binds."""
    if head_name(form) in _NAMED and isinstance(form, ListForm) and len(form.items) > 1:
        target = form.items[1]
        return target.name if isinstance(target, Symbol) else ""
    return ""
