"""The names of host modules in Python, and what the interpreter calls them.

A host function has its place in a module, ``crucible.http.http_get``, and the flat name that older
tools use, ``crucible.http_get``. The interpreter lets no module be called ``json`` but its own,
so ``crucible.json`` has another name there, under which a script never sees it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import pydantic_monty as monty

from ccos.engine.hosts import HostFunction

HOST: Final = "crucible"
_TAKEN: Final = "json"
_INSTEAD: Final = "json_"


def external_modules(targets: Iterable[str]) -> dict[str, monty.ExternalModule]:
    """The host modules as the interpreter takes them; their functions only ever come to us."""
    members: dict[str, Any] = {}
    by_module: dict[str, dict[str, Any]] = {}
    for target in sorted(targets):
        module, _, function = target.rpartition(".")
        by_module.setdefault(module.removeprefix(f"{HOST}."), {})[function] = _host_function
        members[function] = _host_function
    for module, functions in by_module.items():
        members[_INSTEAD if module == _TAKEN else module] = monty.ExternalModule(functions)
    return {HOST: monty.ExternalModule(members)}


def full_name(name: str, functions: Mapping[str, HostFunction]) -> str | None:
    """The full name of the host function that the interpreter calls ``name``; None for others."""
    if name in functions:
        return name
    if not name.startswith(f"{HOST}."):
        return None
    module, _, function = name.removeprefix(f"{HOST}.").rpartition(".")
    if module == _INSTEAD:
        known = f"{HOST}.{_TAKEN}.{function}"
        return known if known in functions else None
    return None if module else flat_names(functions).get(function)


def flat_names(functions: Mapping[str, HostFunction]) -> dict[str, str]:
    """Full names by the names of the functions alone."""
    return {function.name: target for target, function in functions.items()}


def with_interpreter_names(source: str, tree: ast.Module) -> str:
    """A text in which ``crucible.json`` is called what the interpreter calls it.

    Lines stay what they are.
    """
    lines = source.encode().splitlines(keepends=True)
    for line, column, old, new in sorted(_renamings(source, tree), reverse=True):
        text = lines[line - 1]
        assert text[column : column + len(old)] == old.encode()
        lines[line - 1] = text[:column] + new.encode() + text[column + len(old) :]
    return b"".join(lines).decode()


def _renamings(source: str, tree: ast.Module) -> Iterator[tuple[int, int, str, str]]:
    """Line, column in bytes, old and new text of each place where the module is named."""
    nodes = list(ast.walk(tree))
    hosts = {HOST} | {
        alias.asname
        for node in nodes
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == HOST and alias.asname
    }
    dotted = f"{HOST}.{_TAKEN}"
    for node in nodes:
        match node:
            case ast.Import(names=names):
                for alias in names:
                    if alias.name == dotted:
                        yield alias.lineno, alias.col_offset, dotted, f"{HOST}.{_INSTEAD}"
            case ast.ImportFrom(module=module) if module == dotted:
                place = _place_of_module(source, node, dotted)
                if place is not None:
                    yield *place, dotted, f"{HOST}.{_INSTEAD}"
            case ast.ImportFrom(module=module, names=names) if module == HOST:
                for alias in names:
                    if alias.name == _TAKEN:
                        new = _INSTEAD if alias.asname else f"{_INSTEAD} as {_TAKEN}"
                        yield alias.lineno, alias.col_offset, _TAKEN, new
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if (
                name in hosts and attribute == _TAKEN and node.end_lineno and node.end_col_offset
            ):
                yield node.end_lineno, node.end_col_offset - len(_TAKEN), _TAKEN, _INSTEAD


def _place_of_module(source: str, node: ast.ImportFrom, dotted: str) -> tuple[int, int] | None:
    text = source.encode().splitlines()[node.lineno - 1]
    column = text.find(dotted.encode(), node.col_offset)
    return None if column < 0 else (node.lineno, column)


def _host_function(*_: Any, **__: Any) -> None:
    """Stands for a host function in a module; the interpreter names it when it is called."""
