"""What a selection answers, as JSON Schema."""

from __future__ import annotations

from typing import Any, Final

from ccos.importers.graphql.schema import Kind, OperationKind, Schema, TypeRef
from ccos.importers.graphql.selection import Selected, Selection

_BUILT_IN: Final[dict[str, dict[str, Any]]] = {
    "Int": {"type": "integer"},
    "Float": {"type": "number"},
    "String": {"type": "string"},
    "Boolean": {"type": "boolean"},
    "ID": {"type": ["string", "integer"]},
}
_ERRORS: Final[dict[str, Any]] = {
    "type": "array",
    "description": "What could not be answered, in the API's own words; missing if all could.",
    "items": {
        "type": "object",
        "properties": {
            "message": {"type": "string"},
            "path": {"type": "array", "items": {"type": ["string", "integer"]}},
            "code": {"type": "string"},
        },
        "required": ["message"],
    },
}
_MAXIMUM_EXAMPLES: Final = 20


def output_schema(
    schema: Schema, operation: OperationKind, ref: TypeRef, selection: Selection | None
) -> dict[str, Any]:
    """The schema of what a capability answers: ``data`` of the field, and ``errors`` if any.

    Of a subscription it is the list of such answers.

    Args:
        schema: What the API offers.
        operation: The kind of operation.
        ref: Type of the root field.
        selection: What is asked of it; None for a leaf.
    """
    subscribes = operation == "subscription"
    # An event of errors alone is an event; a call that is answered so is a failure.
    data = _value(schema, ref.nullable() if subscribes else ref, selection)
    answer = {
        "type": "object",
        "properties": {"data": data, "errors": _ERRORS},
        "required": ["data"],
    }
    if not subscribes:
        return answer
    return {
        "type": "object",
        "properties": {
            "events": {"type": "array", "items": answer},
            "complete": {
                "type": "boolean",
                "description": "Whether the API ended the stream; if not, CCOS stopped listening.",
            },
        },
        "required": ["events", "complete"],
    }


def _value(schema: Schema, ref: TypeRef, selection: Selection | None) -> dict[str, Any]:
    if ref.item is not None:
        found: dict[str, Any] = {"type": "array", "items": _value(schema, ref.item, selection)}
    elif selection is not None:
        found = _object(schema, selection)
    else:
        found = _leaf(schema, ref.name)
    if ref.required or "type" not in found:
        return found
    kinds = found["type"]
    return found | {"type": [*(kinds if isinstance(kinds, list) else [kinds]), "null"]}


def _leaf(schema: Schema, name: str) -> dict[str, Any]:
    one = schema.types[name]
    if one.kind is Kind.ENUM:
        # An API may add values to an enum and break nobody, so they are no constraint.
        return {"type": "string", "examples": list(one.values)[:_MAXIMUM_EXAMPLES]}
    return dict(_BUILT_IN.get(name, {}))


def _object(schema: Schema, selection: Selection) -> dict[str, Any]:
    properties: dict[str, list[dict[str, Any]]] = {}
    if selection.typename or selection.empty:
        properties["__typename"] = [{"type": "string"}]
    required = list(properties)
    required += [key for key, one in selection.fields.items() if not one.optional]
    for fields in (selection.fields, *selection.fragments.values()):
        for key, one in fields.items():
            _add(properties.setdefault(key, []), _field(schema, one))
    found: dict[str, Any] = {
        "type": "object",
        "properties": {
            key: several[0] if len(several) == 1 else {"anyOf": several}
            for key, several in properties.items()
        },
    }
    if required:
        found["required"] = required
    return found


def _field(schema: Schema, one: Selected) -> dict[str, Any]:
    return _value(schema, one.field.type, one.inner)


def _add(several: list[dict[str, Any]], schema: dict[str, Any]) -> None:
    if schema not in several:
        several.append(schema)
