"""Reading a Python script without running it: what it defines, imports and asks for.

The text is parsed here for what the engine wants to know. Whether the interpreter accepts it is
the interpreter's own answer.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ccos.engine.hosts import HostFunction
from ccos.engine.python.naming import HOST, flat_names
from ccos.errors import CompilationError, SecurityViolationError

MAXIMUM_BYTES: Final = 10 * 1024 * 1024

INTERPRETER_MODULES: Final = frozenset(
    {
        *("__future__", "asyncio", "base64", "binascii", "bisect", "collections", "copy", "csv"),
        *("dataclasses", "datetime", "decimal", "functools", "hashlib", "itertools", "json"),
        *("math", "os", "pathlib", "posixpath", "random", "re", "sys", "time", "tomllib"),
        *("typing", "unicodedata"),
    }
)
"""What a script can import besides host modules. None of them gives authority: where one touches
the machine, such as ``os`` and ``pathlib``, the interpreter asks the host, which refuses."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text says of itself.

    Attributes:
        exports: Its functions by name, with the names of their parameters.
        asynchronous: Those that have to be awaited.
        modules: Host modules that it imports.
    """

    exports: Mapping[str, tuple[str, ...]]
    asynchronous: frozenset[str]
    modules: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Import:
    """One imported name: a module, or something of it."""

    module: str
    name: str
    line: int
    column: int


def parse(source: str, name: str) -> ast.Module:
    """The syntax tree of a script.

    Raises:
        CompilationError: for a text that is too large or not Python, with line and column.
    """
    size = len(source.encode("utf-8", "surrogatepass"))
    if size > MAXIMUM_BYTES:
        raise CompilationError(f"{name} has {size} bytes; at most {MAXIMUM_BYTES} are read.")
    try:
        source.encode("utf-8")
        return ast.parse(source, filename=name)
    except SyntaxError as error:
        place = {"line": error.lineno or 0, "column": error.offset or 0}
        where = f", line {error.lineno}, column {error.offset}" if error.lineno else ""
        raise CompilationError(
            f"{name}{where}: {error.msg}.", details=place | {"message": error.msg}
        ) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise CompilationError(f"{name} cannot be read: {type(error).__name__} {error}.") from error


def read(tree: ast.Module) -> Reading:
    """What the syntax tree of a script tells."""
    functions = [
        one for one in tree.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return Reading(
        exports={one.name: _parameters(one) for one in functions},
        asynchronous=frozenset(
            one.name for one in functions if isinstance(one, ast.AsyncFunctionDef)
        ),
        modules=frozenset(one.module for one in _imports(tree) if _is_host(one.module)),
    )


def refuse_forbidden_imports(
    tree: ast.Module, name: str, functions: Mapping[str, HostFunction], level: str
) -> None:
    """Make sure that every module which is imported exists for the script.

    Raises:
        SecurityViolationError: for the first one that does not, naming it and the level.
    """
    modules = {function.module for function in functions.values()}
    exist = modules | INTERPRETER_MODULES | {HOST}
    flat = flat_names(functions)
    for one in _imports(tree):
        wanted = one.module
        if _is_host(wanted) and f"{wanted}.{one.name}" in exist:
            continue
        known = wanted if _is_host(wanted) else wanted.partition(".")[0]
        missing = known if known not in exist else ""
        if not missing and one.name and _is_host(wanted) and wanted in modules | {HOST}:
            target = f"{wanted}.{one.name}"
            found = target in functions or (wanted == HOST and one.name in flat)
            missing = "" if found or one.name == "*" else target
        if missing:
            raise SecurityViolationError(
                f"{name}, line {one.line}: {missing} does not exist at level {level}.",
                details={
                    "line": one.line,
                    "column": one.column,
                    "module": missing,
                    "level": level,
                    "violation": "module",
                },
            )


def _imports(tree: ast.Module) -> Iterator[_Import]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield _Import(alias.name, "", node.lineno, node.col_offset + 1)
            case ast.ImportFrom(module=module, names=names, level=level):
                for alias in names:
                    wanted = "." * level + (module or "")
                    yield _Import(wanted, alias.name, node.lineno, node.col_offset + 1)


def _is_host(module: str) -> bool:
    return module == HOST or module.startswith(f"{HOST}.")


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[str, ...]:
    arguments = function.args
    return tuple(
        one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    )
