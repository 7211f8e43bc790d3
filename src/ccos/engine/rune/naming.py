"""Host functions in Rune: their paths, what they return, and which are kept from a script.

A function has its place in a module, ``crucible::http::http_get``, and the flat name that older
tools use, ``crucible::http_get``. What can fail returns a ``Result``, so that ``?`` and ``match``
work; functions that only compute are called, the others are awaited.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ccos.engine.hosts import Effect, HostFunction, HostModules
from ccos.engine.policy import SecurityLevel, level_policy
from ccos.engine.rune.client import Declared

HOST: Final = "crucible"
CALL: Final = "ccos.call"
"""The function by which a script calls a capability whose id is given as text."""

_LEVELS: Final = (SecurityLevel.SAFE, SecurityLevel.PRODUCTION, SecurityLevel.DEVELOPMENT)
"""The least first."""
_ALIASES: Final[Mapping[str, tuple[str, ...]]] = {"crucible.process.process_exec": ("shell::exec",)}
_RETURNS: Final[Mapping[str, str]] = {
    "crucible.basic.time_format": "result",
    "crucible.file.file_exists": "value",
    "crucible.file.file_is_dir": "value",
    "crucible.file.file_is_file": "value",
    "crucible.process.env_get": "option",
}
_NOWHERE: Final = (
    *("std::env", "std::fs", "std::net", "std::os", "std::process", "std::thread", "std::time"),
    *("fs::read_to_string", "http::get", "http::post", "http::Client", "process::Command"),
    *("signal::ctrl_c", "time::sleep"),
)
"""What no level has: modules of Rust, and those that other hosts of Rune install."""
_CALL_DECLARED: Final[Mapping[str, Any]] = {
    "module": "ccos",
    "name": "call",
    "parameters": [{"name": "id"}, {"name": "args", "required": False}],
    "asynchronous": True,
    "returns": "result",
    "aliases": [],
}


def declared(functions: Mapping[str, HostFunction], modules: HostModules) -> Declared:
    """What a worker is told of the host functions.

    Args:
        functions: Those that exist for the script, by full name.
        modules: All that there are.
    """
    exist = [_declaration(functions[target]) for target in sorted(functions)]
    return Declared((*exist, _CALL_DECLARED), tuple(_forbidden(functions, modules)))


def path(target: str) -> str:
    """The full name of a function or module, as Rune writes it."""
    return target.replace(".", "::")


def full_name(rune_path: str) -> str:
    """The full name for the path of a function or module in Rune."""
    return rune_path.replace("::", ".")


def _declaration(function: HostFunction) -> dict[str, Any]:
    return {
        "module": path(function.module),
        "name": function.name,
        "parameters": [{"name": one.name, "required": one.required} for one in function.parameters],
        "asynchronous": function.effect is not Effect.PURE,
        "returns": _returns(function),
        "aliases": list(_flat_names(function)),
    }


def _returns(function: HostFunction) -> str:
    fallible = function.module != f"{HOST}.basic"
    return _RETURNS.get(function.target, "result" if fallible else "value")


def _flat_names(function: HostFunction) -> tuple[str, ...]:
    return (f"{HOST}::{function.name}", *_ALIASES.get(function.target, ()))


def _forbidden(
    functions: Mapping[str, HostFunction], modules: HostModules
) -> Iterator[dict[str, Any]]:
    granted = {function.module for function in functions.values()}
    told = set()
    for function in modules:
        if function.target in functions:
            continue
        level = _least_level(function)
        if function.module in granted:
            yield {"path": path(function.target), "level": level}
        elif function.module not in told:
            told.add(function.module)
            yield {"path": path(function.module), "level": level}
        for name in _flat_names(function):
            yield {"path": name, "level": level}
    for name in _NOWHERE:
        yield {"path": name, "level": ""}


def _least_level(function: HostFunction) -> str:
    for level in _LEVELS:
        if level_policy(level).allows_module(function.module):
            return level.value
    return ""
