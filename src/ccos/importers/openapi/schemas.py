"""OpenAPI schemas as JSON Schema 2020-12.

Swagger 2.0 and OpenAPI 3.0 have dialects of their own; 3.1 and later are JSON Schema already. All
go through the same translation, which keeps what restricts or explains a value and drops the rest
(``externalDocs``, extensions). What no JSON Schema can say is left out, and a note tells where.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from ccos.capabilities import JsonSchema
from ccos.importers.openapi.alternatives import Alternatives
from ccos.importers.openapi.findings import Effort, Notes
from ccos.importers.openapi.keywords import (
    SIMPLE,
    MisspeltError,
    Patterns,
    examples,
    flag,
    matching_members,
    simple_keyword,
    type_keywords,
)
from ccos.importers.openapi.references import ExternalError, Place, References, UnusableError

Direction = Literal["request", "response"]

DEFINITIONS_BYTES: Final = 48_000
"""How much of the named schemas one capability carries; what is further away is left open."""
ALL_DEFINITIONS_BYTES: Final = 8_000_000
"""How much all capabilities of a document carry, before each has to do with very little."""
_FEW_BYTES: Final = 1_000

_SCHEMA: Final = frozenset(
    {
        "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not",
        "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties",
    }
)  # fmt: skip
_SCHEMA_LIST: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_SCHEMA_MAP: Final = frozenset({"dependentSchemas", "patternProperties"})
_COMBINED: Final = ("$ref", "allOf", "anyOf", "oneOf", "not", "const")
_HIDDEN: Final = {"request": "readOnly", "response": "writeOnly"}
_NAMED_PLACE: Final = re.compile(r"/(?:components/schemas|definitions)/([A-Za-z0-9._-]{1,100})")
_OPEN: Final[JsonSchema] = {"description": "Left open: the description is too large to carry."}
_OVERLAP: Final = "one part allows all that another allows, so it is enough to satisfy any"
_LOST: Final = 25
"""A reference that leads nowhere costs more than a schema: it is looked for in several places."""
_MEANT: Final = "no member has the type of the schema, so all are read as that type"
_MAXIMUM_PARTS: Final = 30


@dataclass(frozen=True, slots=True)
class _Definition:
    schema: JsonSchema
    needs: frozenset[Place]
    size: int


class Schemas:
    """Translates the schemas of one document, each named one once.

    Args:
        references: Follows references.
        notes: Receives what was left out.
        effort: Ends what is too much work.
        siblings: Whether keywords beside ``$ref`` count, as they do from OpenAPI 3.1 on.
        open_external: Whether a schema in a document that is not at hand becomes one that accepts
            anything; otherwise what needs it cannot be used.
        keep: Further keywords that are passed on as they are.
    """

    def __init__(
        self,
        references: References,
        notes: Notes,
        effort: Effort,
        *,
        siblings: bool,
        open_external: bool = True,
        keep: frozenset[str] = frozenset(),
    ) -> None:
        self.references = references
        self.notes = notes
        self.effort = effort
        self._alternatives = Alternatives(references)
        self._siblings = siblings
        self.open_external = open_external
        self._keep = keep
        self._definitions: dict[tuple[Place, Direction], _Definition] = {}
        self._hidden: dict[tuple[Place, Direction], frozenset[str]] = {}
        self._patterns = Patterns()
        self._names: dict[str, Place] = {}
        self._left = ALL_DEFINITIONS_BYTES

    def translate(
        self, schema: Any, at: Place, direction: Direction, needs: set[Place]
    ) -> JsonSchema:
        """The schema in JSON Schema 2020-12; references become ``#/$defs/…``.

        Properties that are read-only are not part of a request, and those that are write-only need
        not be in a response (OpenAPI 3.0, Schema Object).

        Args:
            schema: The schema as the document has it.
            at: Where it stands.
            direction: Whether it describes what is sent or what is answered.
            needs: Receives the place of every schema that is referred to.

        Raises:
            ExternalError: A reference leads to a document that is not at hand, and that is not
                to be left open.
        """
        self.effort.spend()
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            self.notes.add(at, f"a schema is a {_kind(schema)}, so anything is accepted")
            return {}
        reference = schema.get("$ref", schema.get("$dynamicRef"))
        if isinstance(reference, str):
            result = self._reference(reference, at, needs)
            if self._siblings or not result:
                result |= self._keywords(schema, at, direction, needs)
            elif isinstance(schema.get("description"), str):
                result["description"] = schema["description"]
        else:
            result = self._keywords(schema, at, direction, needs)
        if flag(schema.get("nullable")) or flag(schema.get("x-nullable")):
            return _or_null(result)
        return result

    def with_definitions(
        self, schema: dict[str, Any], direction: Direction, needs: Iterable[Place]
    ) -> dict[str, Any]:
        """The schema with all it refers to under ``$defs``, nearest first, up to a total size."""
        definitions: dict[str, JsonSchema] = {}
        allowed = min(DEFINITIONS_BYTES, max(_FEW_BYTES, self._left))
        left = allowed
        level = sorted(needs)
        seen = set(level)
        while level:
            further: set[Place] = set()
            for place in level:
                definition = self._definition(place, direction)
                name = self._name(place)
                if definition.size > left:
                    definitions[name] = _OPEN
                    continue
                left -= definition.size
                definitions[name] = definition.schema
                further |= definition.needs
            level = sorted(further - seen)
            seen |= further
        self._left -= allowed - left
        return schema | {"$defs": definitions} if definitions else schema

    def hidden(
        self, schema: Any, at: Place, direction: Direction, depth: int = 0
    ) -> frozenset[str]:
        """Names of properties that have no place in this direction, ``allOf`` included."""
        described, place = self._followed(schema, at)
        key = place, direction
        if not isinstance(described, dict) or depth > _MAXIMUM_PARTS:
            return frozenset()
        if key not in self._hidden:
            self._hidden[key] = frozenset()
            properties = described.get("properties")
            names = {
                name
                for name, item in (properties.items() if isinstance(properties, dict) else ())
                if self._is_hidden(item, place.child("properties", name), direction)
            }
            parts = described.get("allOf")
            for number, part in enumerate(parts) if isinstance(parts, list) else ():
                names |= self.hidden(part, place.child("allOf", number), direction, depth + 1)
            self._hidden[key] = frozenset(names)
        return self._hidden[key]

    def _is_hidden(self, schema: Any, at: Place, direction: Direction) -> bool:
        self.effort.spend()
        if not isinstance(schema, dict):
            return False
        keyword = _HIDDEN[direction]
        if flag(schema.get(keyword)):
            return True
        described = self._followed(schema, at)[0] if "$ref" in schema else None
        return isinstance(described, dict) and flag(described.get(keyword))

    def _followed(self, schema: Any, at: Place) -> tuple[Any, Place]:
        try:
            return self.references.follow(schema, at)
        except UnusableError:
            return None, at  # the translation of the reference tells what is wrong with it

    def _reference(self, reference: str, at: Place, needs: set[Place]) -> dict[str, Any]:
        try:
            place = self.references.place(reference, at)
            if not isinstance(self.references.value(place), dict | bool):
                raise UnusableError(f"the reference {reference[:200]!r} leads to no schema", at)
        except UnusableError as error:
            if isinstance(error, ExternalError) and not self.open_external:
                raise ExternalError(str(error), at) from None
            self.effort.spend(_LOST)
            self.notes.add(at, f"{error}, so anything is accepted")
            return {}
        needs.add(place)
        return {"$ref": "#/$defs/" + self._name(place)}

    def _name(self, place: Place) -> str:
        """The name of a definition; two places never share one."""
        usual = _NAMED_PLACE.fullmatch(place.pointer)
        if usual and not place.document and self._names.setdefault(usual[1], place) == place:
            return usual[1]
        last = re.sub(r"[^A-Za-z0-9._-]+", "_", place.pointer.rpartition("/")[2])[:60]
        return f"{last or 'schema'}_{hashlib.sha256(str(place).encode()).hexdigest()[:8]}"

    def _definition(self, place: Place, direction: Direction) -> _Definition:
        key = place, direction
        if key not in self._definitions:
            needs: set[Place] = set()
            schema = self.translate(self.references.value(place), place, direction, needs)
            size = len(json.dumps(schema))
            self._definitions[key] = _Definition(schema, frozenset(needs), size)
        return self._definitions[key]

    def _keywords(
        self, schema: Mapping[str, Any], at: Place, direction: Direction, needs: set[Place]
    ) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for keyword, value in schema.items():
            if keyword in SIMPLE:
                self._simple(keyword, value, at, result)
            elif keyword in _SCHEMA:
                result |= self._one_schema(keyword, value, schema, at, direction, needs)
            elif keyword in _SCHEMA_LIST:
                parts = self._parts(keyword, value, schema, at, direction, needs)
                if parts and keyword == "oneOf" and self._overlap(value, schema, at):
                    keyword = "anyOf"
                    self.notes.add(at.child("oneOf"), _OVERLAP)
                if parts:
                    result[keyword] = parts
            elif keyword in _SCHEMA_MAP and isinstance(value, dict):
                result[keyword] = self._schema_map(keyword, value, at, direction, needs)
            elif keyword in self._keep:
                result[keyword] = value
        if "type" in schema:
            self._type(schema["type"], at, result)
        shown = examples(schema) if "example" in schema or "examples" in schema else None
        if shown:
            result["examples"] = shown
        result |= self._members(schema, at, direction, needs)
        return _with_numeric_bounds(result)

    def _simple(self, keyword: str, value: Any, at: Place, result: dict[str, Any]) -> None:
        if isinstance(value, list):
            self.effort.spend(len(value) // 4)
        try:
            result[keyword] = simple_keyword(keyword, value, self._patterns)
        except MisspeltError as error:
            if value is not None:
                self.notes.add(at.child(keyword), str(error))

    def _type(self, value: Any, at: Place, result: dict[str, Any]) -> None:
        if value is None or value == "":
            return
        try:
            said = type_keywords(value)
        except MisspeltError as error:
            self.notes.add(at.child("type"), str(error))
            return
        result |= {key: item for key, item in said.items() if key not in result}
        if "enum" in result and "type" in said:
            meant = matching_members(result["enum"], said["type"])
            if meant is not None:
                self.notes.add(at.child("enum"), _MEANT)
                result["enum"] = meant

    def _one_schema(
        self,
        keyword: str,
        value: Any,
        schema: Mapping[str, Any],
        at: Place,
        direction: Direction,
        needs: set[Place],
    ) -> dict[str, Any]:
        here = at.child(keyword)
        if keyword == "items" and isinstance(value, list):
            # Draft 4 wrote tuples so.
            parts = [
                self.translate(item, here.child(number), direction, needs)
                for number, item in enumerate(value)
            ]
            tuple_form: dict[str, Any] = {"prefixItems": parts} if parts else {}
            if "additionalItems" in schema:
                rest, place = schema["additionalItems"], at.child("additionalItems")
                tuple_form["items"] = self.translate(rest, place, direction, needs)
            return tuple_form
        if isinstance(value, str) and value.lower() in ("true", "false"):
            value = flag(value)
        return {keyword: self.translate(value, here, direction, needs)}

    def _schema_map(
        self, keyword: str, value: Any, at: Place, direction: Direction, needs: set[Place]
    ) -> dict[str, Any]:
        found = {}
        for name, item in value.items():
            here = at.child(keyword, name)
            if keyword == "patternProperties":
                try:
                    name = self._patterns.usable(name)
                except MisspeltError as error:
                    self.notes.add(here, str(error))
                    continue
            found[name] = self.translate(item, here, direction, needs)
        return found

    def _parts(
        self,
        keyword: str,
        value: Any,
        schema: Mapping[str, Any],
        at: Place,
        direction: Direction,
        needs: set[Place],
    ) -> list[JsonSchema]:
        listed = value if isinstance(value, list) else [value]
        is_choice = keyword in ("oneOf", "anyOf")
        chosen = self._alternatives.tags(schema, listed, at) if is_choice else {}
        parts: list[JsonSchema] = []
        for number, item in enumerate(listed):
            part = self.translate(item, at.child(keyword, number), direction, needs)
            if number in chosen and isinstance(part, dict):
                name, values = chosen[number]
                tag = {"properties": {name: {"enum": values}}, "required": [name]}
                part = {"allOf": [part, tag]}
            parts.append(part)
        return parts

    def _overlap(self, parts: Any, schema: Mapping[str, Any], at: Place) -> bool:
        if not isinstance(parts, list) or "anyOf" in schema:
            return False
        self.effort.spend(len(parts))
        return not self._alternatives.tags(schema, parts, at) and self._alternatives.overlap(
            parts, at
        )

    def _members(
        self, schema: Mapping[str, Any], at: Place, direction: Direction, needs: set[Place]
    ) -> dict[str, Any]:
        properties, required = schema.get("properties"), schema.get("required")
        result: dict[str, Any] = {}
        if not properties and not isinstance(required, list):
            return result
        own = {key: item for key, item in schema.items() if key != "$ref"}
        hidden = self.hidden(own, at, direction)
        if isinstance(properties, dict):
            result["properties"] = {
                name: self.translate(item, at.child("properties", name), direction, needs)
                for name, item in properties.items()
                if not (direction == "request" and name in hidden)
            }
        if isinstance(required, list):
            self.effort.spend(len(required) // 8)
            names = [
                name
                for name in dict.fromkeys(one for one in required if isinstance(one, str))
                if name not in hidden
            ]
            if names:
                result["required"] = names
        return result


def _kind(value: Any) -> str:
    names = {list: "list", str: "text", type(None): "null"}
    return names.get(type(value), "number")


def _with_numeric_bounds(result: dict[str, Any]) -> dict[str, Any]:
    """Draft 4 says ``minimum: 3, exclusiveMinimum: true``; now it is ``exclusiveMinimum: 3``."""
    for bound, exclusive in (
        ("minimum", "exclusiveMinimum"),
        ("maximum", "exclusiveMaximum"),
    ):
        value = result.get(exclusive)
        if isinstance(value, bool):
            del result[exclusive]
            if value and bound in result:
                result[exclusive] = result.pop(bound)
    return result


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    if any(keyword in schema for keyword in _COMBINED):
        outer = {"description": schema["description"]} if "description" in schema else {}
        return outer | {"anyOf": [schema, {"type": "null"}]}
    kind = schema.get("type")
    if isinstance(kind, str) and kind != "null":
        schema["type"] = [kind, "null"]
    elif isinstance(kind, list) and "null" not in kind:
        schema["type"] = [*kind, "null"]
    if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
        schema["enum"] = [*schema["enum"], None]
    return schema
