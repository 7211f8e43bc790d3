"""Options that commands share, and the reading of their values."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from ccos.interfaces.cli.exits import UsageError
from ccos.nesting import nests_deeper

MAXIMUM_INPUT_BYTES: Final = 10_000_000
_MAXIMUM_DEPTH: Final = 64


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class LongCommon:
    """The options of every command."""

    config: Annotated[
        Path | None, Parameter(name="--config", help="Configuration file, in place of CCOS_CONFIG.")
    ] = None
    home: Annotated[
        Path | None,
        Parameter(name=("--home", "--state-dir"), help="Home folder, in place of CCOS_HOME."),
    ] = None
    json: Annotated[
        bool, Parameter(name="--json", negative="", help="Print JSON and nothing else on stdout.")
    ] = False
    verbose: Annotated[
        bool,
        Parameter(name=("--verbose", "-v"), negative="", help="Log more; show where errors arose."),
    ] = False


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Common(LongCommon):
    """The options of every command where ``-c`` means nothing else."""

    config: Annotated[
        Path | None,
        Parameter(name=("--config", "-c"), help="Configuration file, in place of CCOS_CONFIG."),
    ] = None


COMMON: Final = Common()
LONG_COMMON: Final = LongCommon()

By = Annotated[str | None, Parameter(name="--by", help="Who decides; CCOS_APPROVER by default.")]
Reason = Annotated[str, Parameter(name="--reason", help="Why; it is kept on the audit trail.")]
Limit = Annotated[int, Parameter(name=("--limit", "-n"), help="At most so many.")]
Wait = Annotated[
    bool,
    Parameter(
        name="--wait",
        negative="--no-wait",
        help="Work on what is missing until there is an outcome or a person is needed.",
    ),
]
Timeout = Annotated[
    float | None, Parameter(name="--timeout", help="Stop waiting after so many seconds.")
]

_FLAGS: Final = {"--json": "--json", "--verbose": "--verbose", "-v": "--verbose"}
_VALUED: Final = {
    "--config": "--config",
    "-c": "--config",
    "--home": "--home",
    "--state-dir": "--home",
}


def options_last(tokens: Sequence[str]) -> list[str]:
    """Move common options that stand before the command behind its arguments.

    ``ccos --json executions list`` then means ``ccos executions list --json``.
    """
    rest = list(tokens)
    moved: list[str] = []
    while rest:
        name, equals, value = rest[0].partition("=")
        if name in _FLAGS and not equals:
            moved.append(_FLAGS[name])
            del rest[0]
        elif name in _VALUED and equals:
            moved += [_VALUED[name], value]
            del rest[0]
        elif name in _VALUED and len(rest) > 1:
            moved += [_VALUED[name], rest[1]]
            del rest[:2]
        else:
            break
    end = rest.index("--") if "--" in rest else len(rest)
    return [*rest[:end], *moved, *rest[end:]]


def asks_for(tokens: Sequence[str], *names: str) -> bool:
    """Whether a flag is among the tokens, before any ``--``."""
    end = tokens.index("--") if "--" in tokens else len(tokens)
    return any(name in tokens[:end] for name in names)


def read_input(source: str) -> str:
    """The text of a file, or of standard input for ``-``.

    Raises:
        UsageError: if it cannot be read, is no UTF-8 text, or exceeds 10 MB.
    """
    if source.startswith("-") and source != "-":
        raise UsageError(
            f"Unknown option: {source}.", next_step=f"If a file is meant, name it ./{source}."
        )
    try:
        if source == "-":
            data = sys.stdin.buffer.read(MAXIMUM_INPUT_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                data = file.read(MAXIMUM_INPUT_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(
            f"{source} cannot be read: {error.strerror or error}.",
            next_step="Name a file that exists, or - for standard input.",
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{source} is not UTF-8 text (byte {error.start}).") from error
    if len(data) > MAXIMUM_INPUT_BYTES:
        raise UsageError(f"{source} has more than {MAXIMUM_INPUT_BYTES} bytes.")
    return text


def read_json(text: str, what: str) -> Any:
    """JSON data from text.

    Raises:
        UsageError: if it is not JSON (RFC 8259), repeats a name, or nests deeper than 64 levels.
    """
    if nests_deeper(text, _MAXIMUM_DEPTH):
        raise UsageError(f"{what} nests deeper than {_MAXIMUM_DEPTH} levels.")
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        problem = "it nests too deeply" if isinstance(error, RecursionError) else str(error)
        raise UsageError(f"{what} is not JSON: {problem}.") from error


def read_arguments(pairs: Sequence[str], document: str | None) -> dict[str, Any]:
    """The arguments of a call.

    Args:
        pairs: ``name=value`` each; a value is JSON if it reads as JSON, else text.
        document: A JSON object, ``@file`` or ``-``; ``pairs`` add to it and win.

    Raises:
        UsageError: if one of them cannot be read, or a name is given twice.
    """
    arguments: dict[str, Any] = {}
    if document is not None:
        source = document[1:] if document.startswith("@") else document
        from_file = document == "-" or document.startswith("@")
        loaded = read_json(read_input(source) if from_file else document, "--arguments")
        if not isinstance(loaded, dict):
            raise UsageError("--arguments is a JSON object of arguments by name.")
        arguments = loaded
    given: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--arg {pair} is not of the form name=value.")
        if name in given:
            raise UsageError(f"The argument {name} is given twice.")
        given[name] = _value(value)
    return {**arguments, **given}


def _value(text: str) -> Any:
    try:
        return read_json(text, "")
    except UsageError:
        return text


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("an object repeats a name")
    return fields


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
