"""Inputs for trying out a tool, generated from its schema: the smallest first, always the same.

Only what the schema accepts is ever given out; for a schema that is too intricate there is
nothing, and whoever asked says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from ccos.capabilities import SchemaValidator
from ccos.errors import InvalidManifestError

_DEEPEST: Final = 12
_TRIED: Final = 24
_LONGEST: Final = 2000

_FORMATS: Final = {
    "date-time": "2024-02-29T12:30:00Z",
    "date": "2024-02-29",
    "time": "12:30:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "hostname": "example.com",
}
_TEXTS: Final = ("a", "", "ümläut 測る", "two words", "0")
_WHOLE: Final = (1, 0, -1, 42, 1_000_000)
_NUMBERS: Final = (1.5, 0.0, -2.25, 1e6, 3)


class _IntricateError(Exception):
    """A part of the schema that no value is made for."""


def samples(schema: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Objects of arguments that a schema accepts, the one with the fewest arguments first.

    Args:
        schema: Of the arguments.
        count: At most so many; fewer where no more differ.
    """
    try:
        validator = SchemaValidator(dict(schema))
    except InvalidManifestError:
        return []
    found: list[dict[str, Any]] = []
    seen: set[str] = set()
    for number in range(_TRIED):
        try:
            whole = {"type": "object", **schema}
            value = _Maker(schema, number).value(whole, 0, minimal=number == 0)
        except _IntricateError:
            continue
        text = json.dumps(value, sort_keys=True)
        if isinstance(value, dict) and text not in seen and validator.accepts(value):
            seen.add(text)
            found.append(value)
            if len(found) == count:
                break
    return found


def refused_sample(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Arguments that a schema refuses; None if it seems to accept everything."""
    validator = SchemaValidator(dict(schema))
    valid = next(iter(samples(schema, 1)), {})
    candidates = [
        {key: value for key, value in valid.items() if key != name}
        for name in schema.get("required", [])
    ]
    properties = schema.get("properties")
    for name in properties if isinstance(properties, Mapping) else ():
        candidates += [{**valid, name: wrong} for wrong in ({"not": ["this"]}, 0.5, "x", None)]
    candidates.append({**valid, "no argument of this name": 1})
    return next((one for one in candidates if not validator.accepts(one)), None)


class _Maker:
    """Makes the n-th value of a schema."""

    def __init__(self, root: Mapping[str, Any], number: int) -> None:
        self._root = root
        self._number = number

    def value(self, schema: Any, depth: int, *, minimal: bool) -> Any:
        if schema is True or schema == {}:
            return _TEXTS[self._number % len(_TEXTS)]
        if not isinstance(schema, Mapping) or depth > _DEEPEST:
            raise _IntricateError
        if "$ref" in schema:
            return self.value(self._referred(schema["$ref"]), depth + 1, minimal=minimal)
        if "const" in schema:
            return schema["const"]
        for name in ("enum", "examples"):
            options = schema.get(name)
            if isinstance(options, list) and options:
                return options[self._number % len(options)]
        if "default" in schema and self._number % 3 == 1:
            return schema["default"]
        for name in ("anyOf", "oneOf"):
            options = schema.get(name)
            if isinstance(options, list) and options:
                rest = {key: one for key, one in schema.items() if key != name}
                chosen = options[self._number % len(options)]
                merged = _merged(rest, chosen)
                return self.value(merged, depth + 1, minimal=minimal)
        if isinstance(schema.get("allOf"), list):
            merged = {key: one for key, one in schema.items() if key != "allOf"}
            for one in schema["allOf"]:
                merged = _merged(merged, one)
            return self.value(merged, depth + 1, minimal=minimal)
        return self._typed(schema, depth, minimal=minimal)

    def _typed(self, schema: Mapping[str, Any], depth: int, *, minimal: bool) -> Any:
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = kind[self._number % len(kind)] if kind else None
        match kind or _guessed(schema):
            case "object":
                return self._object(schema, depth, minimal=minimal)
            case "array":
                return self._array(schema, depth, minimal=minimal)
            case "string":
                return self._text(schema)
            case "integer":
                return int(self._number_in(schema, _WHOLE, 1))
            case "number":
                return self._number_in(schema, _NUMBERS, 0.5)
            case "boolean":
                return self._number % 2 == 0
            case "null":
                return None
        raise _IntricateError

    def _object(self, schema: Mapping[str, Any], depth: int, *, minimal: bool) -> dict[str, Any]:
        properties = schema.get("properties")
        known = properties if isinstance(properties, Mapping) else {}
        required = schema.get("required")
        needed = [one for one in required if isinstance(one, str)] if required else []
        made: dict[str, Any] = {}
        for position, name in enumerate([*needed, *(one for one in known if one not in needed)]):
            optional = name not in needed
            if optional and (minimal or (self._number >> (position % 4)) & 1 == 0):
                continue
            part = known.get(name, schema.get("additionalProperties", True))
            try:
                made[name] = self.value(part, depth + 1, minimal=minimal)
            except _IntricateError:
                if not optional:
                    raise
        return made

    def _array(self, schema: Mapping[str, Any], depth: int, *, minimal: bool) -> list[Any]:
        least = schema.get("minItems", 0)
        most = schema.get("maxItems", max(least, 3))
        length = least if minimal else min(most, max(least, self._number % 4))
        if length > _LONGEST:
            raise _IntricateError
        first = schema.get("prefixItems")
        prefix = first if isinstance(first, list) else []
        items = schema.get("items", True)
        parts = [prefix[index] if index < len(prefix) else items for index in range(length)]
        made = []
        for index, part in enumerate(parts):
            made.append(
                _Maker(self._root, self._number + index).value(part, depth + 1, minimal=minimal)
            )
        return made

    def _text(self, schema: Mapping[str, Any]) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        least, most = schema.get("minLength", 0), schema.get("maxLength", _LONGEST)
        if least > _LONGEST:
            raise _IntricateError
        text = _TEXTS[self._number % len(_TEXTS)]
        filled = text + "a" * max(0, int(least) - len(text))
        return filled[: int(most)]

    def _number_in(self, schema: Mapping[str, Any], usual: tuple[float, ...], step: float) -> float:
        low, high = schema.get("minimum"), schema.get("maximum")
        if isinstance(schema.get("exclusiveMinimum"), int | float):
            low = max(low or schema["exclusiveMinimum"], schema["exclusiveMinimum"]) + step
        if isinstance(schema.get("exclusiveMaximum"), int | float):
            high = min(high or schema["exclusiveMaximum"], schema["exclusiveMaximum"]) - step
        value = usual[self._number % len(usual)]
        if low is not None and value < low:
            value = low + self._number % 3 * step
        if high is not None and value > high:
            value = high - self._number % 3 * step
        multiple = schema.get("multipleOf")
        if isinstance(multiple, int | float) and multiple > 0:
            value = -(-value // multiple) * multiple
        return value

    def _referred(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#/"):
            raise _IntricateError
        found: Any = self._root
        for part in reference[2:].split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or name not in found:
                raise _IntricateError
            found = found[name]
        return found


def _merged(one: Mapping[str, Any], other: Any) -> dict[str, Any]:
    if not isinstance(other, Mapping):
        raise _IntricateError
    merged = {**one, **other}
    for name in ("properties", "required"):
        if name in one and name in other:
            left, right = one[name], other[name]
            merged[name] = {**left, **right} if isinstance(left, Mapping) else [*left, *right]
    return merged


def _guessed(schema: Mapping[str, Any]) -> str:
    for kind, words in _TELLING.items():
        if any(word in schema for word in words):
            return kind
    return "string"


_TELLING: Final[Mapping[str, tuple[str, ...]]] = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "minItems", "prefixItems"),
    "number": ("minimum", "maximum", "multipleOf", "exclusiveMinimum"),
}
