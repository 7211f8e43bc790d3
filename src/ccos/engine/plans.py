"""Reading a plan in Python: its syntax, and the capabilities it names.

``await weather.current(city="Paris")`` and
``await call("weather.current", city="Paris")`` both call the capability ``weather.current``.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from ccos.capabilities import canonical_id
from ccos.errors import InvalidIdentifierError, PlanError

CALL: Final = "call"
"""The function by which a plan calls a capability whose id is given as text."""

MAXIMUM_BYTES: Final = 1_000_000
_BUILTINS: Final = frozenset(dir(builtins))


@dataclass(frozen=True, slots=True)
class StaticCall:
    """A call that can be seen in the text of a plan.

    ``capability_id`` is None where the id is computed while the plan runs.
    """

    capability_id: str | None
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan, in whatever language, whose syntax is right.

    Attributes:
        source: Its text.
        name: What people call it, such as its file name.
        hash: Hash of the text; a journal belongs to exactly one.
        namespaces: First segments of the ids that it calls by attribute, such as ``weather``.
        calls: Every call of a capability, in the order of the text.
    """

    source: str
    name: str
    hash: str
    namespaces: frozenset[str]
    calls: tuple[StaticCall, ...]


@lru_cache(maxsize=128)
def read_plan(source: str, *, name: str = "plan") -> Plan:
    """Parse a plan and find what it calls, from its syntax tree.

    Raises:
        PlanError: for a text that is too large or not Python, with line and column.
    """
    check_size(source, name)
    try:
        source.encode("utf-8")
        tree = ast.parse(source, filename=name)
    except SyntaxError as error:
        if error.lineno is None:
            raise PlanError(f"{name} cannot be read: {error.msg}.") from error
        raise PlanError(
            f"{name}, line {error.lineno}, column {error.offset}: {error.msg}.",
            details={"line": error.lineno, "column": error.offset},
        ) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise PlanError(f"{name} cannot be read: {type(error).__name__} {error}.") from error
    digest = "sha256:" + hashlib.sha256(source.encode("utf-8")).hexdigest()
    found = list(_calls(tree))
    return Plan(
        source,
        name,
        digest,
        frozenset(root for root, _ in found if root is not None),
        tuple(sorted((call for _, call in found), key=lambda call: (call.line, call.column))),
    )


def check_size(source: str, name: str) -> None:
    """Refuse a text that is too large for a plan.

    Raises:
        PlanError: saying how large it is.
    """
    size = len(source.encode("utf-8", "surrogatepass"))
    if size > MAXIMUM_BYTES:
        raise PlanError(f"{name} has {size} bytes; a plan has at most {MAXIMUM_BYTES}.")


def _calls(tree: ast.AST) -> Iterator[tuple[str | None, StaticCall]]:
    """Each call of a capability, with the namespace it goes through if it has one."""
    nodes = list(ast.walk(tree))
    bound = _bound_names(nodes)
    for node in nodes:
        if not isinstance(node, ast.Call):
            continue
        path = _dotted(node.func)
        if path == [CALL] and CALL not in bound:
            yield None, StaticCall(_literal_id(node), node.lineno, node.col_offset + 1)
        elif len(path) > 1 and path[0] not in bound and path[0] not in _BUILTINS:
            yield path[0], StaticCall(".".join(path), node.lineno, node.col_offset + 1)


def _bound_names(nodes: list[ast.AST]) -> set[str]:
    """Names that the plan itself defines anywhere, so that they are not capabilities."""
    bound: set[str] = set()
    for node in nodes:
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                bound.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                bound.add(name)
            case ast.ClassDef(name=name) | ast.arg(arg=name):
                bound.add(name)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                bound.add(name)
            case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                bound.add(name)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                bound.update((one.asname or one.name).partition(".")[0] for one in names)
    return bound


def _dotted(node: ast.expr) -> list[str]:
    """The names of ``a.b.c``; empty for anything else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return []
    return [node.id, *reversed(names)]


def _literal_id(node: ast.Call) -> str | None:
    match node.args:
        case [ast.Constant(value=str(text)), *_]:
            try:
                return canonical_id(text)
            except InvalidIdentifierError as error:
                raise PlanError(
                    f"Line {node.lineno}: {error.message}", details={"line": node.lineno}
                ) from error
    return None
