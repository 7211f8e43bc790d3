"""``ccos rtfs repl``: a conversation in RTFS."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from anyio.from_thread import BlockingPortal, start_blocking_portal

from ccos.errors import CcosError
from ccos.interfaces.cli.exits import ExitCode
from ccos.interfaces.cli.options import Common, read_input
from ccos.interfaces.cli.rtfs_notebook import Entry, Notebook
from ccos.interfaces.cli.safe_text import short
from ccos.interfaces.cli.session import Session, opened
from ccos.rtfs import RtfsSyntaxError, check, documentation, is_unfinished, names
from ccos.rtfs.compiler import compile_module

if TYPE_CHECKING:
    from ccos.runtime import Outcome, Runtime

_PROMPT: Final = "rtfs> "
_MORE: Final = " ...> "
_HISTORY: Final = "rtfs_history"
_HISTORY_LINES: Final = 2000
_WORD: Final = re.compile(r"[^\s()\[\]{}\"'`,;]*$")
_NAME: Final = "entry.rtfs"

HELP: Final = """\
:doc NAME        what a function or a form does
:defs            the definitions so far
:python FORM     the Python that an entry is translated to
:load FILE       run the text of a file as an entry
:executions      the executions that are parked
:inspect ID      where a parked execution stands, and what it waits for
:resume ID       go on with a parked execution
:quit            end; so does the end of input
An entry may have several lines: it ends when its brackets are closed. Ctrl-C drops it."""


def converse(context: dict[str, Any], common: Common) -> ExitCode:
    """Read entries until the input ends, run each, and show what it gives."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(opened(common, work=True)) as session,
    ):
        talk = Conversation(portal, session, context)
        with _editing(session.settings.home / _HISTORY, talk.completions):
            talk.run()
    return ExitCode.DONE


class Conversation:
    """Entries, one after another."""

    def __init__(self, portal: BlockingPortal, session: Session, context: dict[str, Any]) -> None:
        self._portal = portal
        self._session = session
        self._screen = session.screen
        self._context = context
        self._notebook = Notebook()
        self._commands: dict[str, Callable[[str], None]] = {
            ":help": lambda _: self._screen.text(HELP),
            ":doc": self._document,
            ":defs": lambda _: self._screen.text(self._notebook.text() or "Nothing is defined."),
            ":python": self._translate,
            ":load": lambda name: self._evaluate(read_input(name)),
            ":executions": lambda _: self._list(),
            ":inspect": self._inspect,
            ":resume": self._resume,
        }

    @property
    def _runtime(self) -> Runtime:
        return self._session.ccos.runtime

    def run(self) -> None:
        """Go on until the input ends."""
        while True:
            try:
                text = _entry()
            except EOFError:
                return
            except KeyboardInterrupt:
                self._screen.text("")
                continue
            if text.strip() == ":quit":
                return
            try:
                self._answer(text)
            except KeyboardInterrupt:
                self._screen.note("Interrupted. What was stored so far is kept.")
            except CcosError as error:
                self._screen.error(error)

    def completions(self, text: str) -> list[str]:
        """What a word can go on to."""
        known = [*self._commands, ":quit"] if text.startswith(":") else []
        known += [*names(), *self._notebook.names]
        if text.startswith(":"):
            known += [f":{one}" for one in self._capabilities()]
        return sorted({one for one in known if one.startswith(text)})

    def _capabilities(self) -> Sequence[str]:
        found = self._portal.call(self._session.ccos.marketplace.registered)
        return [one.manifest.id for one in found]

    def _answer(self, text: str) -> None:
        command, _, rest = text.strip().partition(" ")
        if command in self._commands:
            self._commands[command](rest.strip())
        else:
            self._evaluate(text)

    def _evaluate(self, text: str) -> None:
        entry = self._checked(text)
        if entry is None:
            return
        outcome = self._portal.call(self._run, entry.program)
        self._show(outcome, entry)

    def _checked(self, text: str) -> Entry | None:
        """An entry that can be run; what is doubtful about it was said."""
        try:
            entry = self._notebook.entry(text)
        except RtfsSyntaxError as error:
            self._screen.text(error.report.rendered())
            return None
        if entry is None:
            return None
        report = check(entry.program, _NAME)
        found = entry.report(report)
        if found.diagnostics:
            self._screen.text(found.rendered())
        elif report.errors:
            self._screen.text(report.rendered(report.errors))
        return None if report.errors else entry

    async def _run(self, program: str) -> Outcome:
        return await self._session.ccos.run(
            program,
            name=_NAME,
            arguments=self._context,
            principal=self._session.settings.approver,
        )

    def _show(self, outcome: Outcome, entry: Entry) -> None:
        from ccos.runtime import Completed, Failed, Parked

        match outcome:
            case Completed(value=[value, *values], printed=printed):
                self._screen.part(printed)
                self._screen.text(value)
                self._keep(entry, values, outcome.execution_id)
            case Parked(execution_id=execution_id, missing=missing):
                self._screen.text(
                    f"{execution_id} waits for {', '.join(missing)}.\n"
                    f":inspect {execution_id} shows where it stands."
                )
            case Failed(error=error):
                self._screen.text(self._explained(error, entry))
            case _:
                self._screen.text(f"{outcome.execution_id} waits for a person to decide.")

    def _keep(self, entry: Entry, values: Sequence[str], execution_id: str) -> None:
        """Let definitions stay: values as what they are, so that nothing is called again."""
        self._notebook.keep(entry)
        unread = [
            name
            for name, data in zip(entry.values, values, strict=True)
            if not self._notebook.keep_value(name, data)
        ]
        calls = self._portal.call(self._runtime.journal, execution_id)
        if unread and calls:
            for name in unread:
                self._notebook.drop(name)
            self._screen.text(
                f"Not kept: {', '.join(unread)}. Calls were made for it, and as it holds a "
                "function, it could only be had again by calling again."
            )

    def _explained(self, error: CcosError, entry: Entry) -> str:
        """An error with the line of the entry that it is about."""
        line, column = error.details.get("line"), error.details.get("column")
        if line is None or column is None:
            return error.message
        lines = entry.program.splitlines(keepends=True)
        at = entry.offset(sum(map(len, lines[: line - 1])) + column - 1)
        words = error.message.partition(": ")[2] or error.message
        if at is None:
            return f"{words}\n  in what was defined before: {short(lines[line - 1], 100)}"
        before = entry.text[:at].splitlines() or [""]
        row = len(before) if at == 0 or entry.text[at - 1] != "\n" else len(before) + 1
        return f"{words}\n  line {row}: {short(entry.text.splitlines()[row - 1], 100)}"

    def _document(self, name: str) -> None:
        self._screen.text(documentation(name) or f"{name} has no documentation.")

    def _translate(self, text: str) -> None:
        self._screen.text(compile_module(text, _NAME).python)

    def _list(self) -> None:
        from ccos.runtime import ExecutionState

        async def parked() -> list[Any]:
            return await self._runtime.executions(state=ExecutionState.PARKED, limit=50)

        rows = [(one.id, short(one.name, 60)) for one in self._portal.call(parked)]
        self._screen.table(("execution", "name"), rows, empty="Nothing is parked.")

    def _inspect(self, execution_id: str) -> None:
        from ccos.interfaces.cli.rtfs_inspection import show_standing

        self._portal.call(show_standing, self._session, execution_id)

    def _resume(self, execution_id: str) -> None:
        from ccos.interfaces.cli.outcomes import show_outcome

        async def resume() -> None:
            await show_outcome(self._session, await self._runtime.resume(execution_id))

        self._portal.call(resume)


def _entry() -> str:
    """One entry, of as many lines as its brackets take.

    Raises:
        EOFError: at the end of input.
    """
    asked = sys.stdin.isatty()
    text = input(_PROMPT if asked else "")
    while is_unfinished(text):
        try:
            text = f"{text}\n{input(_MORE if asked else '')}"
        except EOFError:
            break
    return text


@contextlib.contextmanager
def _editing(history: Path, completions: Callable[[str], list[str]]) -> Iterator[None]:
    """Line editing with history and completion, where there is a terminal and a library for it."""
    if not sys.stdin.isatty():
        yield
        return
    try:
        import readline
    except ImportError:
        yield
        return

    def complete(text: str, state: int) -> str | None:
        with contextlib.suppress(CcosError):
            found = completions(text)
            return found[state] if state < len(found) else None
        return None

    readline.set_completer(complete)
    readline.set_completer_delims(" \t\n()[]{}\"'`,;")
    # The library of macOS has other words for it.
    is_libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")
    with contextlib.suppress(OSError):
        readline.read_history_file(history)
    try:
        yield
    finally:
        readline.set_completer(None)
        readline.set_history_length(_HISTORY_LINES)
        with contextlib.suppress(OSError):
            history.touch(mode=0o600)
            readline.write_history_file(history)
