"""Reading a script for full CPython without running it.

The text is parsed here. What only a compiler finds, such as a ``return`` outside of a function,
its worker finds before it runs the first line.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ccos.engine.hosts import HostFunction
from ccos.engine.languages import Compiled, Diagnostic, Severity
from ccos.engine.python.reading import parse, read
from ccos.errors import CompilationError, SecurityViolationError

HOST: Final = "crucible"


def read_script(
    source: str, *, name: str, functions: Mapping[str, HostFunction], level: str
) -> Compiled:
    """A script as its syntax tree tells it.

    Args:
        source: Its text.
        name: What people call it.
        functions: The host functions that exist for it, by full name.
        level: Name of the policy, for messages.

    Raises:
        CompilationError: for a text that is too large or not Python, with every diagnostic.
        SecurityViolationError: for the first import from the host that does not exist for it.
    """
    try:
        tree = parse(source, name)
    except CompilationError as error:
        message = error.details.get("message", error.message)
        place = (error.details.get("line", 0), error.details.get("column", 0))
        raise rejection(name, message, *place) from error
    modules = {function.module for function in functions.values()} | {HOST}
    used: set[str] = set()
    for one in _host_imports(tree):
        used |= _modules_of(one, modules, functions, name, level)
    used |= _modules_by_attribute(tree) & modules
    return Compiled(
        source=source,
        name=name,
        unit=b"",
        exports=read(tree).exports,
        modules=frozenset(used - {HOST}),
    )


def rejection(name: str, message: str, line: int, column: int) -> CompilationError:
    """The error for a text that is not accepted; line and column count from 1, 0 is unknown."""
    diagnostic = Diagnostic(message, "syntax", Severity.ERROR, name, line, column)
    where = f"{name}, line {line}, column {column}" if line else name
    return CompilationError(
        f"{where}: {message}",
        details={"line": line, "column": column, "diagnostics": [diagnostic.as_dict()]},
    )


@dataclass(frozen=True, slots=True)
class _HostImport:
    """An import from the host: a module, or with ``name`` something of it."""

    module: str
    name: str | None
    line: int
    column: int


def _host_imports(tree: ast.Module) -> Iterator[_HostImport]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found: list[tuple[str, str | None]] = [(alias.name, None) for alias in names]
            case ast.ImportFrom(module=str(module), names=names, level=0):
                found = [(module, alias.name) for alias in names]
            case _:
                continue
        for module, name in found:
            if module.partition(".")[0] == HOST:
                yield _HostImport(module, name, node.lineno, node.col_offset + 1)


def _modules_of(
    one: _HostImport,
    modules: set[str],
    functions: Mapping[str, HostFunction],
    script: str,
    level: str,
) -> set[str]:
    """The modules that an import uses, all of which exist."""
    wanted = one.module if one.name in (None, "*") else f"{one.module}.{one.name}"
    if wanted in modules:
        return {wanted}
    if one.module in modules and wanted in functions:
        return {one.module}
    if one.module == HOST:
        owners = {each.module for each in functions.values() if each.name == one.name}
        if owners:
            return owners
    missing = wanted if one.module in modules else one.module
    raise SecurityViolationError(
        f"{script}, line {one.line}: {missing} does not exist at level {level}.",
        details={
            "line": one.line,
            "column": one.column,
            "module": missing,
            "level": level,
            "violation": "module",
        },
    )


def _modules_by_attribute(tree: ast.Module) -> set[str]:
    """What is written as an attribute of the host's root, such as ``crucible.http``."""
    return {
        f"{HOST}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == HOST
    }
