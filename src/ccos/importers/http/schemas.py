"""JSON Schema that examples satisfy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ccos.capabilities import JsonSchema

_MAXIMUM_DEPTH: Final = 20
_MAXIMUM_PROPERTIES: Final = 500
_MAXIMUM_ITEMS: Final = 2_000


def inferred_schema(values: Sequence[Any]) -> JsonSchema:
    """A schema that all values satisfy, and others like them.

    Types are those seen. An object's properties are required if every example has them, and others
    are allowed. Nothing is guessed about ranges, formats or fixed sets of values.

    Args:
        values: Examples, as JSON data.
    """
    return _schema(list(values), 0)


def _schema(values: list[Any], depth: int) -> JsonSchema:
    if not values or depth > _MAXIMUM_DEPTH:
        return {}
    kinds = list(dict.fromkeys(map(_kind, values)))
    if "number" in kinds and "integer" in kinds:
        kinds.remove("integer")
    schema: dict[str, Any] = {"type": kinds[0] if len(kinds) == 1 else sorted(kinds)}
    objects = [value for value in values if isinstance(value, dict)]
    if objects:
        schema |= _object(objects, depth)
    lists = [value for value in values if isinstance(value, list)]
    items = [item for one in lists for item in one[:_MAXIMUM_ITEMS]][:_MAXIMUM_ITEMS]
    if items:
        schema["items"] = _schema(items, depth + 1)
    return schema


def _object(objects: list[dict[str, Any]], depth: int) -> dict[str, Any]:
    names = list(dict.fromkeys(name for one in objects for name in one))
    if len(names) > _MAXIMUM_PROPERTIES:
        return {}  # a table of things by name, and no object with properties
    required = [name for name in names if all(name in one for one in objects)]
    properties = {
        name: _schema([one[name] for one in objects if name in one], depth + 1) for name in names
    }
    return {"properties": properties} | ({"required": required} if required else {})


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"
