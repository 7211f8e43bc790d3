"""Values that satisfy a JSON Schema, made from the schema alone."""

from __future__ import annotations

import base64
import math
import random
import re
from importlib import import_module
from typing import Any

from ccos.capabilities import SchemaValidator

opcodes: Any = import_module("re._constants")
regex: Any = import_module("re._parser")

Schema = Any
_DEPTH = 5
_TRIES = 40
_TEXTS = {
    "byte": "aGVsbG8=",
    "base64": "aGVsbG8=",
    "base64url": "aGVsbG8",
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:30:45Z",
    "decimal": "12.5",
    "duration": "P1DT2H",
    "email": "a@b.example",
    "hostname": "b.example",
    "idn-email": "a@b.example",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "json-pointer": "/a/b",
    "regex": "^a+$",
    "time": "12:30:45Z",
    "uri": "https://b.example/x",
    "uri-reference": "/x",
    "url": "https://b.example/x",
    "uuid": "9f0a2c3e-1b2d-4c5e-8f60-718293a4b5c6",
}


def sample(schema: Schema, *, seed: int, optional: float = 0.7) -> Any:
    """A value that satisfies the schema, the same for the same seed.

    Args:
        schema: A JSON Schema; ``$defs`` at its top are known everywhere in it.
        seed: Other seeds give other values.
        optional: How likely a property that may be missing is there.

    Raises:
        ValueError: None was found.
    """
    validator = SchemaValidator(schema)
    exact = SchemaValidator(_exactly_one(schema))
    found = []
    for attempt in range(_TRIES):
        # The longer the search, the smaller the values: less can contradict something.
        share = optional if attempt < _TRIES // 2 else 0.0
        maker = _Maker(schema, random.Random(f"{seed}/{attempt}"), share)
        value = maker.value(schema, 0)
        if exact.accepts(value):
            return value
        if validator.accepts(value):
            found.append(value)
    if found:
        return found[0]
    raise ValueError(f"no value satisfies the schema: {validator.faults(value)[:2]}")


def _exactly_one(schema: Schema) -> Schema:
    """The schema with every choice made exclusive: such values are the most telling ones."""
    if isinstance(schema, dict):
        if "properties" in schema and isinstance(schema["properties"], dict):
            kept = {name: _exactly_one(one) for name, one in schema["properties"].items()}
            rest = {key: value for key, value in schema.items() if key != "properties"}
            return {**_exactly_one(rest), "properties": kept}
        strict = {key: _exactly_one(value) for key, value in schema.items()}
        if "anyOf" in strict and "oneOf" not in strict:
            strict["oneOf"] = strict.pop("anyOf")
        return strict
    if isinstance(schema, list):
        return [_exactly_one(one) for one in schema]
    return schema


class _Maker:
    def __init__(self, root: Schema, dice: random.Random, optional: float) -> None:
        self._definitions = root.get("$defs", {}) if isinstance(root, dict) else {}
        self._dice = dice
        self._optional = optional

    def value(self, schema: Schema, depth: int) -> Any:
        merged = self._merged(schema, 0)
        if "const" in merged:
            return merged["const"]
        if merged.get("enum"):
            chosen = [one for one in merged["enum"] if one not in (None, "")]
            return self._dice.choice(chosen or merged["enum"])
        shown = [*merged.get("examples", ())]
        if shown and self._dice.random() < 0.3 and not merged.keys() & {"properties", "format"}:
            return self._dice.choice(shown)
        match self._type(merged):
            case "object":
                return self._object(merged, depth)
            case "array":
                return self._array(merged, depth)
            case "integer" | "number" as kind:
                return self._number(merged, kind == "integer")
            case "boolean":
                return self._dice.random() < 0.5
            case "null":
                return None
            case _:
                return self._text(merged)

    def _type(self, schema: dict[str, Any]) -> str:
        kind = schema.get("type")
        if isinstance(kind, list):
            real = [one for one in kind if one != "null"]
            kind = self._dice.choice(real) if real else "null"
        if isinstance(kind, str):
            return kind
        for keywords, implied in (
            (("properties", "required", "additionalProperties", "minProperties"), "object"),
            (("items", "prefixItems", "minItems"), "array"),
            (("minimum", "maximum", "multipleOf", "exclusiveMinimum"), "number"),
        ):
            if any(keyword in schema for keyword in keywords):
                return implied
        return "string"

    def _merged(self, schema: Schema, hops: int) -> dict[str, Any]:
        """One schema without references and combinations that the given one allows."""
        if not isinstance(schema, dict) or hops > 30:
            return {}
        parts: list[Schema] = list(schema.get("allOf", ()))
        reference = schema.get("$ref")
        if isinstance(reference, str):
            parts.append(self._definitions.get(reference.removeprefix("#/$defs/"), {}))
        for keyword in ("oneOf", "anyOf"):
            if schema.get(keyword):
                offered = [one for one in schema[keyword] if one != {"type": "null"}]
                parts.append(self._dice.choice(offered or schema[keyword]))
        own = {
            key: value
            for key, value in schema.items()
            if key not in ("allOf", "anyOf", "oneOf", "$ref", "$defs")
        }
        for part in parts:
            own = _both(own, self._merged(part, hops + 1))
        return own

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        required = list(schema.get("required", ()))
        together = schema.get("dependentRequired", {})
        found: dict[str, Any] = {}
        deep = depth >= _DEPTH
        for name, described in properties.items():
            wanted = not deep and self._dice.random() < (self._optional if depth < 2 else 0.3)
            if described is not False and (name in required or wanted):
                found[name] = self.value(described, depth + 1)
        for name in [n for key in list(found) for n in together.get(key, ())] + required:
            if name not in found:
                rest = schema.get("additionalProperties", True)
                found[name] = self.value(properties.get(name, rest), depth + 1)
        more = schema.get("additionalProperties")
        some = more not in (None, False) or (depth < 2 and more is None and not properties)
        least = schema.get("minProperties", 1 if some and not deep else 0)
        number = 0
        while len(found) < least and more is not False and number < 50:
            number += 1
            names = schema.get("propertyNames")
            key = self.value(names, depth + 1) if names else f"key{number}"
            found[str(key)] = self.value(True if more is None else more, depth + 1)
        return found

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        prefix = schema.get("prefixItems", [])
        found = [self.value(one, depth + 1) for one in prefix]
        least = schema.get("minItems", 0)
        wanted = max(least, 0 if depth >= _DEPTH else self._dice.randint(1, 2))
        wanted = min(wanted, schema.get("maxItems", wanted))
        for _ in range(4 * wanted):
            if len(found) >= wanted:
                break
            one = self.value(schema.get("items", {"type": "string"}), depth + 1)
            if not (schema.get("uniqueItems") and one in found):
                found.append(one)
        return found

    def _number(self, schema: dict[str, Any], whole: bool) -> Any:
        low, high = schema.get("minimum"), schema.get("maximum")
        above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
        step = schema.get("multipleOf", 1)
        if above is not None:
            top = high if high is not None else below
            low = above + (step if whole or top is None else (top - above) / 2)
        if below is not None:
            high = below - (step if whole else (below - low) / 2 if low is not None else 0.5)
        low = low if low is not None else min(1, high if high is not None else 1)
        low = low if high is None or low <= high else high
        high = high if high is not None else low + 10 * step
        value = low + (high - low) * self._dice.choice((0, 0, 0.5))
        if "multipleOf" in schema:
            return math.ceil(low / step) * step
        return math.ceil(value) if whole or value == int(value) else value

    def _text(self, schema: dict[str, Any]) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength", 10**6)
        if "pattern" in schema:
            return self._matching(schema["pattern"], least, most)
        if schema.get("contentEncoding") == "base64":
            size = max(8, math.ceil(least / 4) * 3)
            return base64.b64encode(b"\x00binary\xff"[: min(size, 8)] * (size // 8 + 1)).decode()
        known = _TEXTS.get(schema.get("format", ""))
        if known and least <= len(known) <= most:
            return known
        text: str = self._dice.choice(("text", "a b", "x&y=z", "größe", "100%", "a/b"))
        longer = text * (int(least) // len(text) + 1)
        return longer[: max(int(least), min(int(most), len(text)))]

    def _matching(self, pattern: str, least: int, most: int) -> str:
        try:
            parsed = regex.parse(pattern)
        except (re.error, RecursionError):
            return "text"
        for extra in (1, 0, 2, 5, 10, 20, least - 1, least, most - 1, most):
            text = _Matching(self._dice, max(0, min(extra, 300))).text(parsed)
            if not pattern.startswith("^") and len(text) < least:
                text += "a" * (least - len(text))
            if least <= len(text) <= most:
                return text
        return text


class _Matching:
    """A text that a regular expression matches."""

    def __init__(self, dice: random.Random, extra: int) -> None:
        self._dice = dice
        self._extra = extra
        self._groups: dict[int, str] = {}

    def text(self, parsed: Any) -> str:
        return "".join(self._one(operation, value) for operation, value in parsed)

    def _one(self, operation: Any, value: Any) -> str:
        if operation is opcodes.LITERAL:
            return chr(value)
        if operation is opcodes.NOT_LITERAL:
            return "a" if value != ord("a") else "b"
        if operation is opcodes.ANY:
            return "a"
        if operation is opcodes.IN:
            return self._member(value)
        if operation in (opcodes.MAX_REPEAT, opcodes.MIN_REPEAT, opcodes.POSSESSIVE_REPEAT):
            low, high, inner = value
            times = min(int(high), int(low) + self._extra)
            return "".join(self.text(inner) for _ in range(max(int(low), times)))
        if operation is opcodes.SUBPATTERN:
            number, _, _, inner = value
            text = self.text(inner)
            if number is not None:
                self._groups[number] = text
            return text
        if operation is opcodes.BRANCH:
            return self.text(self._dice.choice(value[1]))
        if operation is opcodes.GROUPREF:
            return self._groups.get(value, "")
        if operation is opcodes.ATOMIC_GROUP:
            return self.text(value)
        return ""

    def _member(self, members: Any) -> str:
        candidates = "a1Aé_-. /:@,;b0Z9"
        negated = members[0][0] is opcodes.NEGATE
        if negated:
            return next((c for c in candidates if not self._is_in(c, members[1:])), "a")
        usual = [c for c in candidates if self._is_in(c, members)]
        if usual:
            return self._dice.choice(usual[:3])
        operation, value = members[0]
        if operation is opcodes.RANGE:
            return chr(value[0])
        return chr(value) if operation is opcodes.LITERAL else "a"

    def _is_in(self, character: str, members: Any) -> bool:
        return any(_matches(character, operation, value) for operation, value in members)


def _matches(character: str, operation: Any, value: Any) -> bool:
    if operation is opcodes.LITERAL:
        return bool(ord(character) == value)
    if operation is opcodes.RANGE:
        return bool(value[0] <= ord(character) <= value[1])
    if operation is not opcodes.CATEGORY:
        return False
    kinds = {
        opcodes.CATEGORY_DIGIT: character.isdigit(),
        opcodes.CATEGORY_NOT_DIGIT: not character.isdigit(),
        opcodes.CATEGORY_SPACE: character.isspace(),
        opcodes.CATEGORY_NOT_SPACE: not character.isspace(),
        opcodes.CATEGORY_WORD: character.isascii() and (character.isalnum() or character == "_"),
        opcodes.CATEGORY_NOT_WORD: not (character.isalnum() or character == "_"),
    }
    return bool(kinds.get(value, False))


def _both(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """A schema that asks for what both ask for, as far as that is simple."""
    result = one | other
    for key in one.keys() & other.keys():
        mine, theirs = one[key], other[key]
        if mine == theirs:
            continue
        if key == "properties":
            result[key] = mine | theirs
            for name in mine.keys() & theirs.keys():
                if mine[name] != theirs[name]:
                    result[key][name] = {"allOf": [mine[name], theirs[name]]}
        elif key == "required":
            result[key] = list(dict.fromkeys([*mine, *theirs]))
        elif key == "enum":
            result[key] = [value for value in mine if value in theirs]
        elif key in ("minimum", "minLength", "minItems", "minProperties", "exclusiveMinimum"):
            result[key] = max(mine, theirs)
        elif key in ("maximum", "maxLength", "maxItems", "maxProperties", "exclusiveMaximum"):
            result[key] = min(mine, theirs)
        elif key == "additionalProperties":
            result[key] = mine if theirs is True else theirs
        elif key == "items":
            result[key] = {"allOf": [mine, theirs]}
        elif key == "type":
            mine, theirs = ([x] if isinstance(x, str) else x for x in (mine, theirs))
            common = [kind for kind in mine if kind in theirs]
            result[key] = common or ("integer" if "integer" in (*mine, *theirs) else theirs)
    return result
