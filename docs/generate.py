"""Writes the pages of ``docs/reference`` from the code that they describe.

Run ``python docs/generate.py`` after a change of settings, commands, events or errors; with
``--check`` it writes nothing and says which pages are not current (exit code 1).
"""

from __future__ import annotations

import inspect
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cyclopts import App
from rich.console import Console

from ccos.config import reference_table
from ccos.errors import CcosError
from ccos.events import EventType
from ccos.interfaces.cli.exits import HELP, ExitCode, code_of
from ccos.interfaces.cli.program import Name, program

FOLDER: Final = Path(__file__).parent / "reference"
WIDTH: Final = 96

EXIT_CODES: Final = {
    ExitCode.DONE: "The command did what it was asked for.",
    ExitCode.FAILED: "It failed; the message says why and what to do next.",
    ExitCode.USAGE: "The command line or a setting makes no sense; nothing was done.",
    ExitCode.FEATURE_OFF: "A feature flag switches this off.",
    ExitCode.NOT_FOUND: "What was named does not exist; for `check`, the plan misses something.",
    ExitCode.WAITING: "The execution is parked, or a person has to decide. Nothing is lost.",
    ExitCode.BLOCKED: "The risk is critical: it is looked for only after an override.",
    ExitCode.INTERRUPTED: "Interrupted by Ctrl-C; what was stored and decided is kept.",
}

EVENTS: Final = {
    EventType.EXECUTION_STARTED: "A plan begins. A direct call begins with `capability_call`.",
    EventType.EXECUTION_COMPLETED: "An execution came to its end.",
    EventType.EXECUTION_FAILED: "An execution ended without a result.",
    EventType.EXECUTION_CANCELLED: "A person ended an execution.",
    EventType.EXECUTION_OUTCOME_UNKNOWN: "A call was sent and its answer never came.",
    EventType.EXECUTION_RECOVERED: "An execution was taken over from a worker that died.",
    EventType.CAPABILITY_CALL: "A call is about to be sent.",
    EventType.CAPABILITY_RESULT: "A call was answered, well or badly.",
    EventType.CAPABILITY_REFUSED: "A call was not sent, since it may not be made.",
    EventType.CAPABILITY_FALLBACK: "A call failed, and what its hint names is called instead.",
    EventType.OUTCOME_DECIDED: "A person said what became of a call of unknown outcome.",
    EventType.STEP_STARTED: "A step of a program began.",
    EventType.STEP_COMPLETED: "A step of a program came to its end.",
    EventType.STEP_FAILED: "A step of a program failed.",
    EventType.STEP_LOGGED: "A program said something.",
    EventType.CONTEXT_SET: "A program gave a value for later runs.",
    EventType.CALL_MEASURED: "How long a call took, which its hint asked to be told.",
    EventType.MISSING_CAPABILITY_RUNTIME: "Something called a capability that is not registered.",
    EventType.CHECKPOINT_CREATED: "An execution is parked, durably.",
    EventType.AUTO_RESUME_READY: "What parked executions wait for is registered.",
    EventType.CHECKPOINT_RESUMED: "A parked execution goes on.",
    EventType.RESOLUTION_QUEUED: "A missing capability is wanted from now on.",
    EventType.RESOLUTION_DEFERRED: "Too many requests are open; this one waits.",
    EventType.RESOLUTION_STARTED: "An attempt to find a provider begins.",
    EventType.RESOLUTION_SUCCEEDED: "A provider was found and registered.",
    EventType.RESOLUTION_FAILED: "An attempt failed; it may be repeated.",
    EventType.RESOLUTION_PERMANENTLY_FAILED: "No further attempt is made unless a person asks.",
    EventType.RESOLUTION_BLOCKED: "The risk is critical; nothing is looked for.",
    EventType.RESOLUTION_MEDIUM_RISK: "Something of medium risk is registered without asking.",
    EventType.RESOLUTION_OVERRIDDEN: "A person lifted a block for one search.",
    EventType.SOURCE_SEARCHED: "A source of candidates was asked.",
    EventType.CAPABILITY_DISCOVERY_COMPLETED: "All sources were asked and the candidates ranked.",
    EventType.APPROVAL_REQUESTED: "A person has to decide.",
    EventType.APPROVAL_GRANTED: "A person said yes.",
    EventType.APPROVAL_DENIED: "A person said no.",
    EventType.APPROVAL_EXPIRED: "Nobody decided in time, or nobody waits for the answer any more.",
    EventType.APPROVAL_SUPERSEDED: "The question no longer stands as it was asked.",
    EventType.APPROVAL_ESCALATED: "Further people may answer a question by now.",
    EventType.CAPABILITY_REGISTERED: "A capability is registered.",
    EventType.CAPABILITY_UPDATED: "A capability has a new version.",
    EventType.CAPABILITY_REMOVED: "A capability was taken out of the marketplace.",
    EventType.CAPABILITY_REVOKED: "A person forbade every further call of a capability.",
    EventType.CAPABILITY_QUARANTINED: "A capability is withheld, since its definition changed.",
    EventType.CAPABILITY_VALIDATED: "A candidate was validated, with scores and its status.",
    EventType.CAPABILITY_DRIFTED: "A provider offers something else than what was approved.",
    EventType.ALIAS_REGISTERED: "Another id leads to a capability.",
    EventType.SCRIPT_COMPILED: "A script was compiled, or was not accepted.",
    EventType.SCRIPT_LOADED: "A script was read from a file.",
    EventType.SCRIPT_UNLOADED: "A script was deleted.",
    EventType.SCRIPT_EXECUTION_REQUESTED: "An execution of a script was asked for.",
    EventType.SCRIPT_EXECUTION_STARTED: "A script begins to run.",
    EventType.SCRIPT_EXECUTED: "A script came to its end, well or badly.",
    EventType.SCRIPT_CACHED: "What was compiled of a script is ready for its next execution.",
    EventType.SCRIPT_TOOL_REGISTERED: "A function of a script is offered as a tool.",
    EventType.SCRIPT_TOOL_UNREGISTERED: "A tool is offered no more.",
    EventType.CACHE_CLEARED: "What was compiled was given up; it is compiled again when needed.",
    EventType.SANDBOX_CREATED: "A worker was given to an execution.",
    EventType.SANDBOX_DESTROYED: "The worker of an execution was given back or ended.",
    EventType.SECURITY_POLICY_UPDATED: "Scripts that are compiled from now on get another policy.",
    EventType.SERVICE_STARTED: "The script engine runs.",
    EventType.SERVICE_STOPPED: "The script engine stopped.",
    EventType.SERVICE_RESTARTED: "The script engine was started anew.",
    EventType.CONFIGURATION_UPDATED: "The script engine works under another configuration.",
    EventType.HEALTH_CHANGED: "The health of the script engine is another than before.",
    EventType.HOST_CALL: "A script asked the host for something.",
    EventType.BUDGET_WARNING: "An execution used half, or four fifths, of a part of its budget.",
    EventType.BUDGET_EXHAUSTED: "An execution used up a part of its budget.",
    EventType.BUDGET_EXTENDED: "A person let an execution use more.",
    EventType.MIGRATION_STARTED: "A migration of legacy tools begins.",
    EventType.TOOL_MIGRATED: "A legacy tool is registered from now on.",
    EventType.TOOL_MIGRATION_FAILED: "A legacy tool could not be migrated; nothing of it is left.",
    EventType.TOOL_ROLLED_BACK: "What was before the migration of a tool is there again.",
    EventType.MIGRATION_COMPLETED: "A migration ended, well or badly.",
    EventType.EGRESS_REQUEST: "An HTTP request left, or failed without a violation.",
    EventType.SECURITY_VIOLATION: "Something forbidden was tried and refused.",
    EventType.WORKER_STARTED: "A worker began.",
    EventType.WORKER_STOPPED: "A worker ended in good order.",
}


def pages() -> dict[str, str]:
    """Every page by its file name."""
    return {
        "settings.md": _settings(),
        "command-line.md": _command_line(),
        "exit-codes.md": _exit_codes(),
        "errors.md": _errors(),
        "events.md": _events(),
        "rtfs.md": _rtfs(),
    }


def _settings() -> str:
    return (
        "# Settings\n\n"
        "A value is taken from the command line, else the environment, else the configuration\n"
        "file, else the default. `ccos config show` tells each value and where it came from.\n\n"
        + reference_table()
    )


def _command_line() -> str:
    parts = ["# Command line", HELP]
    for name in ("ccos", "resolve-deps"):
        parts += list(_helps(name))
    return "\n\n".join(parts) + "\n"


def _helps(name: Name) -> Iterator[str]:
    yield f"## {name}\n\n{_help(name, ())}"
    for command in _commands(program(name)):
        if command == "resolve-deps":
            continue
        yield f"## {name} {command}\n\n{_help(name, (command,))}"
        for subcommand in _commands(program(name)[command]):
            path = (command, subcommand)
            yield f"### {name} {command} {subcommand}\n\n{_help(name, path)}"


def _commands(app: App) -> list[str]:
    return [name for name in app if not name.startswith("-")]


def _help(name: Name, path: tuple[str, ...]) -> str:
    written = io.StringIO()
    app = program(name, path, help_format="plaintext")
    app.help_print(list(path), console=Console(file=written, width=WIDTH, color_system=None))
    lines = [line.rstrip() for line in written.getvalue().strip().splitlines()]
    return "\n".join(["```text", *lines, "```"])


def _exit_codes() -> str:
    lines = ["# Exit codes", "", "| code | name | meaning |", "|---|---|---|"]
    lines += [f"| {one:d} | {one.name.lower()} | {EXIT_CODES[one]} |" for one in ExitCode]
    return "\n".join(lines) + "\n"


def _errors() -> str:
    lines = [
        "# Errors",
        "",
        "Every error has a stable code, a message and a next step. An outcome carries its error",
        "as data; a Python program catches the class, and a class covers those indented below it.",
        "",
        "| code | class | meaning | next step | exit code |",
        "|---|---|---|---|---|",
        *_error_rows(CcosError, 0),
    ]
    return "\n".join(lines) + "\n"


def _error_rows(kind: type[CcosError], depth: int) -> Iterator[str]:
    meaning = (inspect.getdoc(kind) or "").partition("\n\n")[0].replace("\n", " ")
    indent = "&emsp;" * depth
    yield (
        f"| `{kind.code}` | {indent}{kind.__name__} | {_cell(meaning)} "
        f"| {_cell(kind.default_next_step)} | {code_of(kind('')):d} |"
    )
    for below in kind.__subclasses__():
        if below.__module__ in ("ccos.errors", "ccos.interfaces.cli.exits"):
            yield from _error_rows(below, depth + 1)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _events() -> str:
    lines = [
        "# Events",
        "",
        "Everything that happens is an event of one of these types. An entry of the audit trail",
        "carries the same name.",
        "",
        "| event | meaning |",
        "|---|---|",
        *(f"| `{one.value}` | {EVENTS[one]} |" for one in EventType),
    ]
    return "\n".join(lines) + "\n"


def _rtfs() -> str:
    from ccos.rtfs import reference_page

    return reference_page()


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` look whether they are current."""
    stale = [
        name
        for name, text in pages().items()
        if not (FOLDER / name).is_file() or (FOLDER / name).read_text(encoding="utf-8") != text
    ]
    if "--check" in arguments:
        if stale:
            print("Not current:", *stale, "- run python docs/generate.py")  # noqa: T201
        return 1 if stale else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
