"""The program ``ccos``: its commands by name, and how it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from ccos.errors import CcosError
from ccos.interfaces.cli.exits import HELP, ExitCode, UsageError, code_of
from ccos.interfaces.cli.options import asks_for, options_last

if TYPE_CHECKING:
    from cyclopts import App

Name = Literal["ccos", "resolve-deps"]

_HERE: Final = "ccos.interfaces.cli"

COMMANDS: Final = {
    "init": ("init:init", "Make the home folder, its key, database and configuration file."),
    "call": ("calls:call", "Call a capability."),
    "run": ("calls:run", "Run a plan."),
    "check": ("calls:check", "List what a plan calls and what of it is missing."),
    "script": ("scripts:app", "Run scripts under a security level, and see those kept."),
    "tools": ("tools:app", "Find legacy tools, look at them, and call them in the engine."),
    "migration": ("migration:app", "Bring legacy tools into the script engine, and out again."),
    "rtfs": ("rtfs:app", "Run, check, lay out and translate programs in RTFS."),
    "engine": ("engine:app", "See how the script engine is and what it did."),
    "executions": ("executions:app", "See executions and carry them on."),
    "capabilities": ("capabilities:app", "See and change the registered capabilities."),
    "import": ("imports:app", "Make capabilities of descriptions of APIs, servers and endpoints."),
    "approvals": ("approvals:app", "See and decide what waits for a person."),
    "resolve": ("resolution:resolve", "Look for a missing capability now."),
    "queue": ("resolution:queue", "Show what is missing and how the search stands."),
    "audit": ("audit:app", "Read and verify the audit trail."),
    "config": ("config:app", "See the settings, and bring old ones into the new form."),
    "rollout": ("rollout:app", "Roll missing capability resolution out in phases."),
    "doctor": ("doctor:doctor", "Check this CCOS and the machine it is on."),
    "worker": ("worker:worker", "Work on missing capabilities until told to stop."),
    "resolve-deps": ("resolve_deps:app", "The same for missing capabilities, in one place."),
}

RESOLVE_DEPS: Final = {
    "show-queue": ("resolution:queue", "Show what is missing and how the search stands."),
    "list-pending": ("resolve_deps:list_pending", "List what is still wanted, with its age."),
    "status": ("resolve_deps:status", "Show one request with its history."),
    "resolve": ("resolve_deps:resolve", "Look for a missing capability now."),
    "approve": ("resolve_deps:approve", "Say yes to what waits about a capability."),
    "reject": ("resolve_deps:reject", "Say no to what waits about a capability."),
    "resume": ("resolve_deps:resume", "Resume what waits, or say what is still missing."),
    "stats": ("resolution:stats", "Show counts, rates and times."),
    "monitor": ("resolution:monitor", "Show a line of figures at each interval."),
    "validate": ("resolve_deps:validate", "Check the configuration, or a capability."),
    "search": ("resolve_deps:search", "Search the registered capabilities."),
    "info": ("resolve_deps:info", "Show the state of this CCOS, or a capability."),
}

_DESCRIPTIONS: Final = {
    "ccos": "A capability runtime for AI agents: missing tools are found, assessed, approved "
    "and registered while the call waits.",
    "resolve-deps": "See and steer the search for missing capabilities.",
}


def program(name: Name, tokens: Sequence[str] = (), **settings: Any) -> App:
    """The commands of a console script, each imported when it is used.

    Args:
        name: Which one.
        tokens: What it is called with. A command that is among them speaks for itself; the
            others are not imported, so their summaries stand in for them.
        settings: Further ones of the cyclopts application.
    """
    from cyclopts import App

    app = App(name=name, help=_DESCRIPTIONS[name], **settings)
    commands = COMMANDS if name == "ccos" else RESOLVE_DEPS
    for position, (command, (place, summary)) in enumerate(commands.items()):
        app.command(
            f"{_HERE}.{place}",
            name=command,
            help=None if command in tokens else summary,
            sort_key=position,
        )
    return app


def run(name: Name, tokens: Sequence[str] | None) -> int:
    """Run a command and return its exit code; whatever goes wrong is said, never raised."""
    given = list(sys.argv[1:] if tokens is None else tokens)
    arguments = options_last(given)
    settings = {
        "help_format": "plaintext",
        "help_epilogue": HELP,
        "version": version,
        "suppress_keyboard_interrupt": False,
    }
    try:
        return int(_dispatch(program(name, arguments, **settings), arguments))
    except KeyboardInterrupt:
        _say("Interrupted. What was stored and decided so far is kept.")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output went away; the flush at exit must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return ExitCode.FAILED
    except Exception as error:
        return _end(error, arguments)


def _dispatch(app: App, arguments: list[str]) -> int:
    from cyclopts import CycloptsError

    try:
        code = app(
            arguments,
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except CycloptsError as error:
        raise UsageError(str(error)) from error
    return ExitCode.DONE if code is None else code


def _end(error: Exception, arguments: list[str]) -> ExitCode:
    from ccos.interfaces.cli.screen import Screen

    known = error if isinstance(error, CcosError) else _unexpected(error)
    as_json, verbose = asks_for(arguments, "--json"), asks_for(arguments, "--verbose", "-v")
    Screen(json=as_json, verbose=verbose).error(known, cause=error)
    return code_of(known)


def _unexpected(error: Exception) -> CcosError:
    return CcosError(
        f"{type(error).__name__}: {error}",
        next_step="This is a fault of CCOS. Run the command again with --verbose and report it.",
    )


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def version() -> str:
    """The version of the installed package."""
    from importlib import metadata

    return metadata.version("ccos")
