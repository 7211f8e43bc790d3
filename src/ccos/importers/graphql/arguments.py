"""The arguments of a field as JSON Schema."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ccos.importers.graphql.schema import BUILT_IN, Input, Kind, Report, Schema, Type, TypeRef
from ccos.importers.openapi.findings import Effort

MAXIMUM_PARTS: Final = 1_000
"""Input fields and enum values that the schema of one capability spells out."""
_MAXIMUM_ENUM: Final = 1_000
_MAXIMUM_DESCRIPTION: Final = 1_000
_MAXIMUM_DEFAULT: Final = 10_000

_BUILT_IN: Final[dict[str, dict[str, Any]]] = {
    "Int": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "Float": {"type": "number"},
    "String": {"type": "string"},
    "Boolean": {"type": "boolean"},
    "ID": {"type": ["string", "integer"]},
}
"""What each scalar takes as input (GraphQL September 2025, section 3.5)."""
_NOT_NULL: Final = ["string", "number", "boolean", "object", "array"]
_ENUM_VALUE: Final = "^[_A-Za-z][_0-9A-Za-z]*$"
_FORMATS: Final = (
    ("rfc3339", "date-time"),
    ("scalars.graphql.org/andimarek/date-time", "date-time"),
    ("scalars.graphql.org/andimarek/local-date", "date"),
    ("rfc4122", "uuid"),
    ("rfc9562", "uuid"),
    ("rfc3986", "uri"),
)
"""Formats that the usual ``@specifiedBy`` addresses stand for."""


class InputSchemas:
    """Writes JSON Schema (2020-12) for arguments; each named type is written once.

    An argument is required if it is ``!`` without a default, and may be null if it is not ``!``.
    Lists are lists: that a single value also stands for a list of it is not made use of. A scalar
    of the API's own takes anything but null, since only the API knows its form.
    """

    def __init__(self, schema: Schema, report: Report, effort: Effort) -> None:
        self._types = schema.types
        self._report = report
        self._effort = effort
        self._written: dict[str, dict[str, Any]] = {}

    def arguments(self, inputs: Mapping[str, Input], *, coordinate: str) -> dict[str, Any]:
        """The schema of the object of all arguments.

        Beyond ``MAXIMUM_PARTS`` the input objects farthest from the arguments take any object;
        the API itself still checks them.
        """
        found = self._object(inputs.values())
        definitions: dict[str, Any] = {}
        waiting = deque(_names(inputs.values()))
        parts = len(inputs)
        opened = 0
        while waiting:
            name = waiting.popleft()
            if name in definitions:
                continue
            one = self._types[name]
            size = len(one.inputs) + len(one.values)
            if parts + size > MAXIMUM_PARTS and one.kind is Kind.INPUT_OBJECT:
                definitions[name] = {"type": "object"}
                opened += 1
                continue
            parts += size
            definitions[name] = self._named(one)
            waiting.extend(_names(one.inputs.values()))
        self._effort.spend(parts + opened)
        if opened:
            self._report(coordinate, f"{opened} of its input types are not spelled out")
        if definitions:
            found["$defs"] = dict(sorted(definitions.items()))
        return found

    def _named(self, one: Type) -> dict[str, Any]:
        found = self._written.get(one.name)
        if found is None:
            found = self._written[one.name] = self._definition(one)
        return found

    def _definition(self, one: Type) -> dict[str, Any]:
        described = _described(one.description)
        match one.kind:
            case Kind.ENUM if len(one.values) <= _MAXIMUM_ENUM:
                return {"enum": list(one.values)} | described
            case Kind.ENUM:
                self._report(one.name, f"its {len(one.values)} values are not listed")
                return {"type": "string", "pattern": _ENUM_VALUE} | described
            case Kind.INPUT_OBJECT if one.one_of:
                only = [_required(entry) for entry in one.inputs.values()]
                limits = {"minProperties": 1, "maxProperties": 1}
                return self._object(only, required=False) | limits | described
            case Kind.INPUT_OBJECT:
                return self._object(one.inputs.values()) | described
        return _scalar(one) | described

    def _object(self, inputs: Iterable[Input], *, required: bool = True) -> dict[str, Any]:
        listed = list(inputs)
        found: dict[str, Any] = {
            "type": "object",
            "properties": {entry.name: self._input(entry) for entry in listed},
        }
        needed = [entry.name for entry in listed if entry.required] if required else []
        if needed:
            found["required"] = needed
        return found | {"additionalProperties": False}

    def _input(self, entry: Input) -> dict[str, Any]:
        found = self._use(entry.type) | _described(entry.description)
        if entry.default is not None and len(json.dumps(entry.default)) <= _MAXIMUM_DEFAULT:
            found["default"] = entry.default
        if entry.deprecated is not None:
            found["deprecated"] = True
        return found

    def _use(self, ref: TypeRef) -> dict[str, Any]:
        if ref.item is not None:
            found: dict[str, Any] = {"type": "array", "items": self._use(ref.item)}
        elif ref.name in BUILT_IN:
            found = dict(_BUILT_IN[ref.name])
        else:
            found = {"$ref": f"#/$defs/{ref.name}"}
            return found if ref.required else {"anyOf": [found, {"type": "null"}]}
        if not ref.required:
            kinds = found["type"]
            found["type"] = [*(kinds if isinstance(kinds, list) else [kinds]), "null"]
        return found


def _required(entry: Input) -> Input:
    return Input(
        entry.name,
        TypeRef(entry.type.of, required=True),
        entry.description,
        deprecated=entry.deprecated,
    )


def _scalar(one: Type) -> dict[str, Any]:
    for part, form in _FORMATS:
        if part in one.specified_by.lower():
            return {"type": "string", "format": form}
    return {"type": _NOT_NULL}


def _names(inputs: Iterable[Input]) -> list[str]:
    return [entry.type.name for entry in inputs if entry.type.name not in BUILT_IN]


def _described(text: str) -> dict[str, str]:
    if not text:
        return {}
    limit = _MAXIMUM_DESCRIPTION
    return {"description": text if len(text) <= limit else text[: limit - 1] + "…"}
