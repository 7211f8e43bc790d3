"""OpenAPI schemas as JSON Schema 2020-12.

Swagger 2.0 and OpenAPI 3.0 have dialects of their own; 3.1 and later are JSON Schema already. All
go through the same translation, which keeps what restricts or explains a value and drops the rest
(examples, ``xml``, ``discriminator``, extensions).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from ccos.capabilities import JsonSchema
from ccos.importers.openapi.references import References, UnusableError, pointer

Direction = Literal["request", "response"]

DEFINITIONS_BYTES: Final = 48_000
"""How much of the named schemas one capability carries; what is further away is left open."""

_TYPES: Final = frozenset({"null", "boolean", "object", "array", "number", "string", "integer"})
_MISSPELT_TYPES: Final = {
    "bool": "boolean",
    "double": "number",
    "float": "number",
    "int": "integer",
    "int32": "integer",
    "int64": "integer",
    "long": "integer",
    "str": "string",
}
"""Names of programming languages that stand in published documents and mean one thing only."""
_SCHEMA: Final = frozenset(
    {
        "additionalProperties",
        "contains",
        "contentSchema",
        "else",
        "if",
        "items",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
_SCHEMA_LIST: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_SCHEMA_MAP: Final = frozenset({"dependentSchemas", "patternProperties"})
_VERBATIM: Final = frozenset(
    {
        "const",
        "contentEncoding",
        "contentMediaType",
        "default",
        "dependentRequired",
        "deprecated",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "maxContains",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minContains",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "pattern",
        "uniqueItems",
    }
)
_COMBINED: Final = ("$ref", "allOf", "anyOf", "oneOf", "not", "const")
_HIDDEN: Final = {"request": "readOnly", "response": "writeOnly"}
_NAMED_PLACE: Final = re.compile(r"/(?:components/schemas|definitions)/([A-Za-z0-9._-]{1,100})")
_OPEN: Final[JsonSchema] = {"description": "Left open: the description is too large to carry."}


@dataclass(frozen=True, slots=True)
class _Definition:
    schema: JsonSchema
    needs: frozenset[str]
    size: int


class Schemas:
    """Translates the schemas of one document, each named one once.

    Args:
        references: Follows references.
        siblings: Whether keywords beside ``$ref`` count, as they do from OpenAPI 3.1 on.
    """

    def __init__(self, references: References, *, siblings: bool) -> None:
        self.references = references
        self._siblings = siblings
        self._definitions: dict[tuple[str, Direction], _Definition] = {}

    def translate(self, schema: Any, direction: Direction, needs: set[str]) -> JsonSchema:
        """The schema in JSON Schema 2020-12; references become ``#/$defs/…``.

        Properties that are read-only are not part of a request, and those that are write-only need
        not be in a response (OpenAPI 3.0, Schema Object).

        Args:
            schema: The schema as the document has it.
            direction: Whether it describes what is sent or what is answered.
            needs: Receives the place of every schema that is referred to.

        Raises:
            UnusableError: It is not a schema, or a reference cannot be followed.
        """
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise UnusableError(f"a schema is {type(schema).__name__} instead of an object")
        reference = schema.get("$ref")
        if isinstance(reference, str):
            place = pointer(reference)
            needs.add(place)
            result: dict[str, Any] = {"$ref": "#/$defs/" + definition_name(place)}
            if self._siblings:
                result |= self._keywords(schema, direction, needs)
            elif isinstance(schema.get("description"), str):
                result["description"] = schema["description"]
        else:
            result = self._keywords(schema, direction, needs)
        if schema.get("nullable") is True or schema.get("x-nullable") is True:
            return _or_null(result)
        return result

    def with_definitions(
        self, schema: dict[str, Any], direction: Direction, needs: Iterable[str]
    ) -> dict[str, Any]:
        """The schema together with the definitions it needs, directly or through others.

        The nearest definitions come first. Beyond ``DEFINITIONS_BYTES`` a definition accepts
        everything, so that nothing valid is ever refused.

        Raises:
            UnusableError: A definition cannot be translated.
        """
        definitions: dict[str, JsonSchema] = {}
        left = DEFINITIONS_BYTES
        level = sorted(needs)
        seen = set(level)
        while level:
            further: set[str] = set()
            for place in level:
                definition = self._definition(place, direction)
                name = definition_name(place)
                if definition.size > left:
                    definitions[name] = _OPEN
                    continue
                left -= definition.size
                definitions[name] = definition.schema
                further |= definition.needs
            level = sorted(further - seen)
            seen |= further
        return schema | {"$defs": definitions} if definitions else schema

    def hidden(self, schema: Any, direction: Direction, depth: int = 0) -> set[str]:
        """Names of properties that have no place in this direction, ``allOf`` included."""
        schema = self.references.follow(schema)
        if not isinstance(schema, dict) or depth > 8:
            return set()
        properties = schema.get("properties")
        names = {
            name
            for name, described in (properties.items() if isinstance(properties, dict) else ())
            if self._is_hidden(described, direction)
        }
        parts = schema.get("allOf")
        for part in parts if isinstance(parts, list) else ():
            names |= self.hidden(part, direction, depth + 1)
        return names

    def _is_hidden(self, schema: Any, direction: Direction) -> bool:
        described = self.references.follow(schema)
        flag = _HIDDEN[direction]
        return (isinstance(described, dict) and described.get(flag) is True) or (
            isinstance(schema, dict) and schema.get(flag) is True
        )

    def _definition(self, place: str, direction: Direction) -> _Definition:
        key = place, direction
        if key not in self._definitions:
            needs: set[str] = set()
            schema = self.translate(self.references.at(place), direction, needs)
            size = len(json.dumps(schema))
            self._definitions[key] = _Definition(schema, frozenset(needs), size)
        return self._definitions[key]

    def _keywords(
        self, schema: Mapping[str, Any], direction: Direction, needs: set[str]
    ) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for keyword, value in schema.items():
            if keyword in _VERBATIM:
                result[keyword] = value
            elif keyword in ("title", "description"):
                if isinstance(value, str):
                    result[keyword] = value
            elif keyword in _SCHEMA:
                result |= self._one_schema(keyword, value, schema, direction, needs)
            elif keyword in _SCHEMA_LIST and isinstance(value, list):
                result[keyword] = [self.translate(item, direction, needs) for item in value]
            elif keyword in _SCHEMA_MAP and isinstance(value, dict):
                result[keyword] = {
                    name: self.translate(item, direction, needs) for name, item in value.items()
                }
            elif keyword == "$dynamicRef":
                raise UnusableError("a schema uses $dynamicRef, which is not supported")
        result |= _type(schema.get("type"))
        result |= self._members(schema, direction, needs)
        return _with_numeric_bounds(result)

    def _one_schema(
        self,
        keyword: str,
        value: Any,
        schema: Mapping[str, Any],
        direction: Direction,
        needs: set[str],
    ) -> dict[str, Any]:
        if keyword == "items" and isinstance(value, list):
            # Draft 4 wrote tuples so.
            tuple_form: dict[str, Any] = {
                "prefixItems": [self.translate(item, direction, needs) for item in value]
            }
            if "additionalItems" in schema:
                tuple_form["items"] = self.translate(schema["additionalItems"], direction, needs)
            return tuple_form
        return {keyword: self.translate(value, direction, needs)}

    def _members(
        self, schema: Mapping[str, Any], direction: Direction, needs: set[str]
    ) -> dict[str, Any]:
        properties, required = schema.get("properties"), schema.get("required")
        hidden = self.hidden(schema, direction) if properties or required else set()
        result: dict[str, Any] = {}
        if isinstance(properties, dict):
            result["properties"] = {
                name: self.translate(item, direction, needs)
                for name, item in properties.items()
                if not (direction == "request" and name in hidden)
            }
        if isinstance(required, list):
            names = [name for name in dict.fromkeys(map(str, required)) if name not in hidden]
            if names:
                result["required"] = names
        return result


def definition_name(place: str) -> str:
    """The name under ``$defs`` of the schema at a place; other places have other names."""
    usual = _NAMED_PLACE.fullmatch(place)
    if usual:
        return usual[1]
    last = re.sub(r"[^A-Za-z0-9._-]+", "_", place.rpartition("/")[2])[:60]
    return f"{last or 'schema'}_{hashlib.sha256(place.encode()).hexdigest()[:8]}"


def _type(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if value == "file":
        return {"type": "string", "contentEncoding": "base64"}
    names = []
    for given in value if isinstance(value, list) else [value]:
        name = _MISSPELT_TYPES.get(given, given) if isinstance(given, str) else given
        if not isinstance(name, str) or name not in _TYPES:
            raise UnusableError(f"a schema has the unknown type {str(given)[:100]!r}")
        names.append(name)
    return {"type": names if isinstance(value, list) else names[0]}


def _with_numeric_bounds(result: dict[str, Any]) -> dict[str, Any]:
    """Draft 4 says ``minimum: 3, exclusiveMinimum: true``; now it is ``exclusiveMinimum: 3``."""
    for bound, exclusive in (
        ("minimum", "exclusiveMinimum"),
        ("maximum", "exclusiveMaximum"),
    ):
        flag = result.get(exclusive)
        if isinstance(flag, bool):
            del result[exclusive]
            if flag and bound in result:
                result[exclusive] = result.pop(bound)
    return result


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    if any(keyword in schema for keyword in _COMBINED):
        outer = {"description": schema["description"]} if "description" in schema else {}
        return outer | {"anyOf": [schema, {"type": "null"}]}
    kind = schema.get("type")
    if isinstance(kind, str) and kind != "null":
        schema["type"] = [kind, "null"]
    if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
        schema["enum"] = [*schema["enum"], None]
    return schema
