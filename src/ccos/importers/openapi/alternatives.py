"""``oneOf`` and ``anyOf`` as documents mean them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import Any, Final

from ccos.importers.openapi.references import Place, References, UnusableError

_MAXIMUM_PARTS: Final = 30
_MAXIMUM_NESTED: Final = 2
_NARROWING: Final = ("enum", "const", "pattern", "not", "oneOf", "anyOf", "allOf")
_BOUNDS: Final = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")


class Alternatives:
    """Looks at alternatives that the document offers.

    Args:
        references: Follows references.
    """

    def __init__(self, references: References) -> None:
        self._references = references

    def tags(
        self, schema: Mapping[str, Any], parts: list[Any], at: Place
    ) -> dict[int, tuple[str, list[str]]]:
        """By number of the part: the discriminating property and its values there.

        Only where the mapping tells them and the part itself does not (OpenAPI 3.0, Discriminator
        Object); without them, parts that are alike would all match, and ``oneOf`` none.
        """
        discriminator = schema.get("discriminator")
        name = discriminator.get("propertyName") if isinstance(discriminator, dict) else None
        mapping = discriminator.get("mapping") if isinstance(discriminator, dict) else None
        if not isinstance(name, str) or not isinstance(mapping, dict):
            return {}
        values: dict[Place, list[str]] = {}
        for value, reference in mapping.items():
            place = self._target(reference, at)
            if place is not None:
                values.setdefault(place, []).append(value)
        found = {}
        for number, part in enumerate(parts):
            place = self._target(part.get("$ref") if isinstance(part, dict) else None, at)
            if place in values and not self._tells(place, name):
                found[number] = name, values[place]
        return found

    def overlap(self, parts: list[Any], at: Place) -> bool:
        """Whether whatever satisfies one part satisfies another, so that ``oneOf`` allows none.

        Documents write ``oneOf`` for texts of two formats, or for objects of which one has all
        that another asks for.
        """
        if len(parts) > _MAXIMUM_PARTS:
            return False
        described = [
            self._followed(part, at.child("oneOf", number)) for number, part in enumerate(parts)
        ]
        return any(self._covers(one, other) for one, other in permutations(described, 2))

    def _covers(self, wide: Any, narrow: Any, depth: int = 0) -> bool:
        """Whether every value of ``narrow`` is surely one of ``wide``."""
        if wide == narrow or wide in (True, {}):
            return True
        if not isinstance(wide, dict) or not isinstance(narrow, dict) or depth > _MAXIMUM_NESTED:
            return False
        kind = wide.get("type", "object" if "properties" in wide else None)
        its = narrow.get("type", "object" if "properties" in narrow else None)
        if kind is None or (kind != its and (kind, its) != ("number", "integer")):
            return False
        if any(wide.get(key) != narrow.get(key) for key in (*_NARROWING, *_BOUNDS) if key in wide):
            return False
        if kind == "array":
            place = Place("", "")
            items = [self._followed(one.get("items", True), place) for one in (wide, narrow)]
            return self._covers(items[0], items[1], depth + 1)
        return kind != "object" or self._covers_object(wide, narrow, depth)

    def _covers_object(self, wide: dict[str, Any], narrow: dict[str, Any], depth: int) -> bool:
        mine, its = (_mapping(one.get("properties")) for one in (wide, narrow))
        required, given = (set(_names(one.get("required"))) for one in (wide, narrow))
        rest = wide.get("additionalProperties", True)
        if not required <= given or rest not in (True, {}):
            return False
        place = Place("", "")
        return all(
            self._covers(
                self._followed(mine[name], place), self._followed(its[name], place), depth + 1
            )
            for name in mine.keys() & its.keys()
        )

    def _followed(self, schema: Any, at: Place) -> Any:
        try:
            return self._references.follow(schema, at)[0]
        except UnusableError:
            return None

    def _target(self, reference: Any, at: Place) -> Place | None:
        try:
            return self._references.place(reference, at) if isinstance(reference, str) else None
        except UnusableError:
            return None

    def _tells(self, place: Place, name: str, depth: int = 0) -> bool:
        """Whether a schema says itself which values a property has."""
        described = self._followed(self._references.value(place), place)
        if not isinstance(described, dict) or depth > _MAXIMUM_NESTED:
            return False
        own = self._followed(_mapping(described.get("properties")).get(name), place)
        if isinstance(own, dict) and ("enum" in own or "const" in own):
            return True
        parts = described.get("allOf")
        for part in parts[:_MAXIMUM_PARTS] if isinstance(parts, list) else ():
            target = self._target(part.get("$ref") if isinstance(part, dict) else None, place)
            if target is not None and self._tells(target, name, depth + 1):
                return True
        return False


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _names(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
