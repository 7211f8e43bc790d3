"""What is wrong with a text, where, and what to do about it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ccos.errors import CompilationError


class Lines:
    """Finds line and column, both counted from 1, of an offset in a text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0]
        position = text.find("\n")
        while position >= 0:
            self._starts.append(position + 1)
            position = text.find("\n", position + 1)

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of a character."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of a line."""
        end = self._text.find("\n", self._starts[number - 1])
        return self._text[self._starts[number - 1] : len(self._text) if end < 0 else end].rstrip()


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that is wrong, or doubtful.

    Attributes:
        message: One sentence without a full stop.
        start: Offset of the first character it is about.
        end: Offset behind the last.
        hint: What would be right; empty if that is not known.
        severity: ``error`` or ``warning``.
        kind: The kind of error the program would end with, such as ``ParseError``.
    """

    message: str
    start: int
    end: int
    hint: str = ""
    severity: str = "error"
    kind: str = "ParseError"


@dataclass(frozen=True, slots=True)
class Report:
    """The diagnostics of one text."""

    name: str
    text: str
    diagnostics: tuple[Diagnostic, ...]

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """Those that keep the program from being run."""
        return tuple(one for one in self.diagnostics if one.severity == "error")

    def rendered(self, shown: Iterable[Diagnostic] | None = None) -> str:
        """Every diagnostic for people, with its line and a mark below the place."""
        lines = Lines(self.text)
        chosen = self.diagnostics if shown is None else tuple(shown)
        return "\n".join(_rendered(self.name, lines, one) for one in chosen)

    def as_data(self) -> list[dict[str, Any]]:
        """Every diagnostic as JSON data, lines and columns counted from 1."""
        lines = Lines(self.text)
        return [_as_data(lines, one) for one in self.diagnostics]


class RtfsSyntaxError(CompilationError):
    """A text is not a program; ``report`` has every reason."""

    code = "CCOS-RTFS-SYNTAX"
    default_next_step = "Correct the text at the places named."

    def __init__(self, report: Report) -> None:
        errors = report.errors
        line, column = Lines(report.text).place(errors[0].start)
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(
            f"{report.name}:{line}:{column}: {errors[0].message}{more}.",
            next_step=errors[0].hint or None,
            details={"diagnostics": report.as_data(), "line": line, "column": column},
        )
        self.report = report


def raise_if_wrong(name: str, text: str, diagnostics: Sequence[Diagnostic]) -> None:
    """Raise :class:`RtfsSyntaxError` if one of the diagnostics is an error."""
    report = Report(name, text, tuple(diagnostics))
    if report.errors:
        raise RtfsSyntaxError(report)


def _rendered(name: str, lines: Lines, one: Diagnostic) -> str:
    line, column = lines.place(one.start)
    end_line, end_column = lines.place(max(one.end, one.start + 1))
    text = lines.line(line)
    width = end_column - column if end_line == line else len(text) - column + 1
    mark = " " * (column - 1) + "^" * max(1, width)
    words = f"{name}:{line}:{column}: {one.severity}: {one.message}"
    hint = f"\n    hint: {one.hint}" if one.hint else ""
    tab_free = text.replace("\t", " ")
    return f"{words}\n    {_printable(tab_free)}\n    {mark}{hint}"


def _printable(text: str) -> str:
    """Control characters of a foreign text never reach a terminal."""
    return "".join(c if c.isprintable() else "�" for c in text)


def _as_data(lines: Lines, one: Diagnostic) -> dict[str, Any]:
    line, column = lines.place(one.start)
    end_line, end_column = lines.place(one.end)
    return {
        "severity": one.severity,
        "kind": one.kind,
        "message": one.message,
        "hint": one.hint,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
    }
