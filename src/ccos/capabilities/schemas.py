"""JSON Schema for arguments and results: compiled once, offline, with bounded patterns."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import jsonschema_rs

from ccos.errors import InvalidManifestError

JsonSchema = dict[str, Any] | bool

MAXIMUM_BYTES: Final = 1_000_000
MAXIMUM_DEPTH: Final = 64
_REPORTED_FAULTS: Final = 10
_BACKTRACKS: Final = 100_000
_CONTAINERS: Final = (dict, list, tuple)


@dataclass(frozen=True, slots=True)
class Fault:
    """One place where a value breaks its schema."""

    path: str
    """JSON Pointer (RFC 6901) into the value; empty for the value itself."""
    message: str


class SchemaValidator:
    """A compiled JSON Schema (2020-12 unless ``$schema`` names another dialect).

    References are never fetched: a ``$ref`` to another document is an error at compile time.
    Patterns run with a bound on backtracking; a text that exceeds it does not match.

    Raises:
        InvalidManifestError: on construction, if the schema is not a valid schema.
    """

    __slots__ = ("_validator", "schema")

    def __init__(self, schema: JsonSchema, *, role: str = "schema") -> None:
        check_schema_size(schema, role=role)
        self.schema = schema
        try:
            self._validator = jsonschema_rs.validator_for(
                schema,
                offline=True,
                pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACKS),
            )
        except jsonschema_rs.ValidationError as error:
            place = _pointer(error.instance_path)
            raise InvalidManifestError(
                f"The {role} is not a valid JSON Schema: {error.message}"
                + (f" (at {place})" if place else "")
            ) from error
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            raise InvalidManifestError(f"The {role} cannot be used: {error}") from error

    def accepts(self, value: Any) -> bool:
        """Whether ``value`` satisfies the schema."""
        return self._validator.is_valid(value)

    def faults(self, value: Any) -> tuple[Fault, ...]:
        """The first few places where ``value`` breaks the schema; empty if it satisfies it."""
        if self._validator.is_valid(value):
            return ()
        found = []
        for error in self._validator.iter_errors(value):
            found.append(Fault(_pointer(error.instance_path), error.message))
            if len(found) == _REPORTED_FAULTS:
                break
        return tuple(found)


def check_schema_size(schema: JsonSchema, *, role: str) -> None:
    """Refuse a schema that is too large or too deep to be looked at.

    Raises:
        InvalidManifestError: naming the limit that was exceeded.
    """
    if not isinstance(schema, dict | bool):
        raise InvalidManifestError(
            f"The {role} must be an object or a boolean, not {type(schema).__name__}."
        )
    if _depth_exceeds(schema, MAXIMUM_DEPTH):
        raise InvalidManifestError(f"The {role} is nested deeper than {MAXIMUM_DEPTH} levels.")
    try:
        size = len(json.dumps(schema, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InvalidManifestError(f"The {role} is not JSON: {error}") from error
    if size > MAXIMUM_BYTES:
        raise InvalidManifestError(
            f"The {role} has {size} bytes; at most {MAXIMUM_BYTES} are allowed."
        )


def _depth_exceeds(value: object, limit: int) -> bool:
    level: list[Any] = [value] if isinstance(value, _CONTAINERS) else []
    for _ in range(limit - 1):
        if not level:
            return False
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, _CONTAINERS)
        ]
    return any(level)


def _pointer(path: list[str | int]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
