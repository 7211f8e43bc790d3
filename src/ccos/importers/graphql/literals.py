"""Values written in GraphQL, as JSON data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from graphql import ValueNode

_MAXIMUM_TOKENS: Final = 5_000
_MAXIMUM_DEPTH: Final = 20
_MAXIMUM_DIGITS: Final = 300


def parsed_literal(text: str) -> Any:
    """The value of a literal text; None where it is none, or is too large to be looked at."""
    from graphql import GraphQLError, parse_value

    try:
        node = parse_value(text, no_location=True, max_tokens=_MAXIMUM_TOKENS)
    except (GraphQLError, RecursionError):
        return None
    return literal_value(node)


def literal_value(node: ValueNode) -> Any:
    """The value of a literal; an enum value is its name, and what JSON cannot hold is None."""
    try:
        return _value(node, _MAXIMUM_DEPTH)
    except (ValueError, OverflowError):
        return None


def _value(node: Any, depth: int) -> Any:
    if depth == 0:
        raise ValueError("it is nested too deeply")
    match node.kind:
        case "int_value" | "float_value":
            return _number(node)
        case "string_value" | "boolean_value" | "enum_value":
            return node.value
        case "list_value":
            return [_value(entry, depth - 1) for entry in node.values]
        case "object_value":
            return {entry.name.value: _value(entry.value, depth - 1) for entry in node.fields}
        case "null_value":
            return None
    raise ValueError("it is no constant")


def _number(node: Any) -> int | float:
    if len(node.value) > _MAXIMUM_DIGITS:
        raise ValueError("it has too many digits")
    if node.kind == "int_value":
        return int(node.value)
    number = float(node.value)
    if not math.isfinite(number):
        raise ValueError("it is too large")
    return number
