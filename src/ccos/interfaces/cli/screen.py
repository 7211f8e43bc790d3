"""What a command says: JSON or tables on standard output, everything else on standard error."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TextIO

from ccos.errors import CcosError
from ccos.interfaces.cli.safe_text import printable

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_OF_FILES: Final = 200


class Screen:
    """Writes for people or for programs, never both.

    What is meant for people is left out when JSON is asked for, so a command says both. All text
    passes :func:`printable`.
    """

    def __init__(self, *, json: bool = False, verbose: bool = False) -> None:
        self.json = json
        self.verbose = verbose

    @cached_property
    def out(self) -> Console:
        """Standard output."""
        return _console(sys.stdout)

    @cached_property
    def err(self) -> Console:
        """Standard error."""
        return _console(sys.stderr)

    def document(self, data: Any) -> None:
        """The one JSON document of a command that was asked for JSON."""
        if self.json:
            _write(json.dumps(data, indent=2, default=str))

    def json_line(self, data: Any) -> None:
        """One of several JSON documents, one a line; for commands that go on."""
        if self.json:
            _write(json.dumps(data, default=str))

    def text(self, text: str) -> None:
        """Text for people, of one or several lines."""
        if not self.json:
            _write(printable(text, lines=True))

    def part(self, text: str, *, error: bool = False) -> None:
        """Output as it arrives, for people: no line end is added, and nothing is held back."""
        if not self.json:
            _write(printable(text, lines=True), end="", stream=sys.stderr if error else sys.stdout)

    def value(self, value: Any) -> None:
        """A result for people: JSON that can be read."""
        self.text(json.dumps(value, indent=2, ensure_ascii=False))

    def table(
        self, columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = ""
    ) -> None:
        """A table for people; ``empty`` is said when there are no rows."""
        from rich.table import Table
        from rich.text import Text

        if self.json:
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        if table.row_count:
            self.out.print(table)
        elif empty:
            self.text(empty)

    def fields(self, pairs: Iterable[tuple[str, object]]) -> None:
        """Names and values for people, one pair a line; a value may have several lines."""
        from rich.table import Table
        from rich.text import Text

        if self.json:
            return
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="bold", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in pairs:
            grid.add_row(Text(printable(name)), Text(printable(value, lines=True)))
        self.out.print(grid)

    def note(self, text: str) -> None:
        """A remark on standard error."""
        sys.stderr.write(printable(text, lines=True) + "\n")
        sys.stderr.flush()

    def error(self, error: CcosError, *, cause: BaseException | None = None) -> None:
        """Say what went wrong and what to do next; for programs also on standard output."""
        self.document(error.as_dict())
        if self.verbose:
            trace = "".join(traceback.format_exception(cause or error))
            self.note(trace.rstrip())
        self.note(f"{error.code}: {error.message}\n{error.next_step}")


def moment(seconds: float | None) -> str:
    """A time of the epoch as people of any place read it; a dash for none."""
    if seconds is None:
        return "-"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def duration(seconds: float | None) -> str:
    """A length of time in its largest fitting unit; ``none`` if it was not measured."""
    if seconds is None:
        return "none"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    _escape_what_it_lacks(stream)
    width = None if stream.isatty() else _WIDTH_OF_FILES
    return Console(
        file=stream, width=width, markup=False, emoji=False, highlight=False, soft_wrap=False
    )


def _write(text: str, *, end: str = "\n", stream: TextIO | None = None) -> None:
    stream = stream or sys.stdout
    _escape_what_it_lacks(stream)
    stream.write(text + end)
    stream.flush()


def _escape_what_it_lacks(stream: TextIO) -> None:
    """Have characters that the encoding of a stream does not know written as escapes."""
    if isinstance(stream, io.TextIOWrapper):
        with contextlib.suppress(ValueError):
            stream.reconfigure(errors="backslashreplace")
