"""Parameters that a file declares one by one, and the schema that they make together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ccos.migration.inspection import FunctionSeen
from ccos.migration.problems import Problem, invalid

TYPES: Final = ("string", "number", "integer", "boolean", "array", "object")
_MEANT: Final = {
    "str": "string",
    "text": "string",
    "int": "integer",
    "i64": "integer",
    "u64": "integer",
    "float": "number",
    "f64": "number",
    "double": "number",
    "bool": "boolean",
    "list": "array",
    "vec": "array",
    "map": "object",
    "dict": "object",
}


@dataclass(frozen=True, slots=True)
class Declared:
    """A parameter as a file declares it; ``kind`` None is any JSON value."""

    name: str
    kind: str | None
    description: str
    required: bool
    line: int


def kind_problem(kind: str, where: str, *, line: int, tool: str) -> Problem | None:
    """Why a type is none; None if it is one."""
    if kind in TYPES:
        return None
    meant = _MEANT.get(kind.lower())
    hint = f"Write {meant}." if meant else f"Use one of: {', '.join(TYPES)}."
    return invalid(f"{where} has the unknown type {kind!r}.", tool=tool, line=line, hint=hint)


def check_against(
    function: FunctionSeen, declared: Sequence[Declared], tool: str
) -> Iterable[Problem]:
    """What stands against declaring these parameters of a function."""
    seen: set[str] = set()
    for one in declared:
        if one.name in seen:
            yield invalid(
                f"The parameter {one.name!r} is declared twice.", tool=tool, line=one.line
            )
        seen.add(one.name)
        if one.name not in function.parameters:
            has = ", ".join(function.parameters) or "none"
            yield invalid(
                f"{function.path} has no parameter {one.name!r}.",
                tool=tool,
                line=one.line,
                hint=f"Its parameters: {has}.",
            )


def completed(function: FunctionSeen, declared: Sequence[Declared]) -> list[Declared]:
    """One declaration for each parameter of a function, in its order."""
    known = {one.name: one for one in declared}
    return [
        known.get(name) or Declared(name, None, "", True, function.line)
        for name in function.parameters
    ]


def schema_of(parameters: Iterable[Declared]) -> dict[str, Any]:
    """The schema of an object of these arguments and no others."""
    properties: dict[str, Any] = {}
    required = []
    for one in parameters:
        schema: dict[str, Any] = {} if one.kind is None else {"type": one.kind}
        if one.description:
            schema["description"] = one.description
        properties[one.name] = schema
        if one.required:
            required.append(one.name)
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
