"""Keywords of schemas as published documents spell them, in the spelling of JSON Schema 2020-12."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from ccos.capabilities import SchemaValidator
from ccos.errors import InvalidManifestError

TYPES: Final = frozenset({"null", "boolean", "object", "array", "number", "string", "integer"})
_TEXT_TYPES: Final = {
    "char": None,
    "date": "date",
    "date-time": "date-time",
    "datetime": "date-time",
    "email": "email",
    "guid": "uuid",
    "password": "password",
    "str": None,
    "text": None,
    "time": "time",
    "uri": "uri",
    "url": "uri",
    "uuid": "uuid",
    "varchar": None,
}
_OTHER_TYPES: Final = {
    "bigint": "integer",
    "bool": "boolean",
    "decimal": "number",
    "dict": "object",
    "dictionary": "object",
    "double": "number",
    "float": "number",
    "hash": "object",
    "int": "integer",
    "int32": "integer",
    "int64": "integer",
    "list": "array",
    "long": "integer",
    "map": "object",
    "none": "null",
    "numeric": "number",
    "short": "integer",
}
"""Names of programming languages and databases that mean one thing only."""
_LIST_OF: Final = re.compile(r"(?:array|list)[\[<(](\w+)[\])>]|(\w+)\[\]", re.IGNORECASE)
_MEMBERS: Final[dict[str, tuple[type, ...]]] = {
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}
_COUNTS: Final = frozenset(
    {
        "maxContains", "maxItems", "maxLength", "maxProperties",
        "minContains", "minItems", "minLength", "minProperties",
    }
)  # fmt: skip
_BOUNDS: Final = frozenset({"maximum", "minimum"})
_EXCLUSIVE: Final = frozenset({"exclusiveMaximum", "exclusiveMinimum"})
_FLAGS: Final = frozenset({"deprecated", "uniqueItems"})
_TEXTS: Final = frozenset({"contentEncoding", "contentMediaType", "description", "format", "title"})
SIMPLE: Final = (
    _COUNTS
    | _BOUNDS
    | _EXCLUSIVE
    | _FLAGS
    | _TEXTS
    | {"const", "default", "dependentRequired", "enum", "multipleOf", "pattern"}
)
"""Keywords whose values hold no schemas."""
_ANYTHING: Final = frozenset({"const", "default"})
_COUNTED: Final = re.compile(r"(\)?)\{(?:[0-9]{0,6},)?([0-9]{1,6})\}")
_MAXIMUM_PATTERNS: Final = 100_000
_MAXIMUM_EXAMPLES: Final = 3
_MAXIMUM_EXAMPLE: Final = 200


class MisspeltError(Exception):
    """Why a keyword is left out."""


class Patterns:
    """Looks at the regular expressions of a document, each once."""

    def __init__(self) -> None:
        self._known: dict[str, str | None] = {}
        self._size = 0

    def usable(self, pattern: Any) -> str:
        """The pattern, or what it means where it comes from another language.

        Raises:
            MisspeltError: It is none, or too large to be compiled beside the others.
        """
        if not isinstance(pattern, str):
            raise MisspeltError(
                f"a pattern is text and cannot be {_shown(pattern)}, so it is left out"
            )
        if pattern not in self._known:
            self._size += _compiled_size(pattern)
            if self._size > _MAXIMUM_PATTERNS:
                raise MisspeltError(
                    f"{_shown(pattern)} makes the patterns too large, so it is left out"
                )
            spellings = _respelled(pattern)
            self._known[pattern] = next((one for one in spellings if _compiles(one)), None)
        found = self._known[pattern]
        if found is None:
            raise MisspeltError(
                f"{_shown(pattern)} is no regular expression that can be used, so it is left out"
            )
        return found


def _compiled_size(pattern: str) -> int:
    """How large a pattern grows, roughly: repetitions of groups multiply what is inside them."""
    times, size = 1, len(pattern)
    for group, number in _COUNTED.findall(pattern):
        if group:
            times = min(times * max(1, int(number)), _MAXIMUM_PATTERNS)
        else:
            size += int(number)
    return times * size


def _compiles(pattern: str) -> bool:
    try:
        SchemaValidator({"pattern": pattern})
    except InvalidManifestError:
        return False
    return True


def flag(value: Any) -> bool:
    """Whether a flag is set, be it as a boolean or as its name."""
    return value is True or (isinstance(value, str) and value.lower() == "true")


def simple_keyword(keyword: str, value: Any, patterns: Patterns) -> Any:
    """The value of one of the ``SIMPLE`` keywords.

    Args:
        keyword: The keyword.
        value: What the document has.
        patterns: Looks at regular expressions.

    Raises:
        MisspeltError: The keyword cannot have this value.
    """
    if keyword in _ANYTHING:
        return value
    result: Any = None
    if keyword in _TEXTS:
        result = value if isinstance(value, str) else None
    elif keyword in _FLAGS:
        result = flag(value) if isinstance(value, bool | str) else None
    elif keyword in _COUNTS:
        result = _count(value)
    elif keyword in _BOUNDS:
        result = _number(value)
    elif keyword in _EXCLUSIVE:
        result = value if isinstance(value, bool) else _number(value)
    elif keyword == "multipleOf":
        number = _number(value)
        result = number if number is not None and number > 0 else None
    elif keyword == "pattern":
        return patterns.usable(value)
    elif keyword == "enum":
        result = _enum(value)
    elif keyword == "dependentRequired" and isinstance(value, dict):
        result = {
            name: list(dict.fromkeys(needed))
            for name, needed in value.items()
            if isinstance(needed, list) and all(isinstance(one, str) for one in needed)
        }
    if result is None:
        raise MisspeltError(f"{keyword!r} cannot be {_shown(value)}, so it is left out")
    return result


def type_keywords(value: Any) -> dict[str, Any]:
    """``type`` and what else a misspelt one says.

    Raises:
        MisspeltError: It is no type.
    """
    if isinstance(value, list):
        names: list[str] = []
        for one in value:
            said = {"type": "null"} if one is None else type_keywords(one)
            if not isinstance(said.get("type"), str):
                raise MisspeltError(f"{_shown(value)} is no list of types, so any type is accepted")
            names.append(said["type"])
        return {"type": list(dict.fromkeys(names))} if names else {}
    if not isinstance(value, str):
        raise MisspeltError(f"{_shown(value)} is no type, so any type is accepted")
    if value in TYPES:
        return {"type": value}
    name = value.strip().lower()
    if name in TYPES:
        return {"type": name}
    if name == "file":
        return {"type": "string", "contentEncoding": "base64"}
    if name in _TEXT_TYPES:
        form = _TEXT_TYPES[name]
        return {"type": "string"} | ({"format": form} if form else {})
    if name in _OTHER_TYPES:
        return {"type": _OTHER_TYPES[name]}
    listed = _LIST_OF.fullmatch(name)
    if listed:
        return {"type": "array", "items": type_keywords(listed[1] or listed[2])}
    parts = [part for part in re.split(r"[\s,|/]+|\bor\b", name) if part]
    if len(parts) > 1:
        return type_keywords(parts)
    raise MisspeltError(f"{_shown(value)} is no type, so any type is accepted")


def matching_members(members: list[Any], kind: Any) -> list[Any] | None:
    """An enumeration of which some member has the type, or None if it has one already.

    ``type: string`` beside ``enum: [1, 2]`` is what unquoted YAML makes of texts.
    """
    kinds = kind if isinstance(kind, list) else [kind]
    allowed = tuple(one for name in kinds for one in _MEMBERS.get(name, ()))
    if any(_is_a(member, allowed, kinds) for member in members if member is not None):
        return None
    if "string" in kinds:
        return [one if one is None else _as_text(one) for one in members]
    if "integer" in kinds or "number" in kinds:
        numbers = [one if one is None else _number(one) for one in members]
        return (
            None
            if any(n is None and m is not None for n, m in zip(numbers, members, strict=True))
            else numbers
        )
    return None


def examples(schema: Mapping[str, Any]) -> list[Any]:
    """The short ones among the examples of a schema or parameter."""
    listed = schema.get("examples")
    found = [schema["example"]] if "example" in schema else []
    if isinstance(listed, list):
        found += listed
    elif isinstance(listed, dict):
        found += [
            one["value"] for one in listed.values() if isinstance(one, dict) and "value" in one
        ]
    kept: list[Any] = []
    for one in found[: 2 * _MAXIMUM_EXAMPLES]:
        if one not in kept and len(str(one)) <= _MAXIMUM_EXAMPLE:
            kept.append(one)
    return kept[:_MAXIMUM_EXAMPLES]


def _is_a(value: Any, allowed: tuple[type, ...], kinds: list[Any]) -> bool:
    if isinstance(value, bool):
        return "boolean" in kinds
    if isinstance(value, float) and value.is_integer():
        return "integer" in kinds or "number" in kinds
    return isinstance(value, allowed)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(value: Any) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        try:
            value = int(value) if re.fullmatch(r"[+-]?[0-9]{1,30}", value.strip()) else float(value)
        except ValueError:
            return None
    return value if isinstance(value, int) or math.isfinite(value) else None


def _count(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number >= 0 and number == int(number) else None


def _enum(value: Any) -> list[Any] | None:
    if isinstance(value, dict):
        value = list(value)
    return value if isinstance(value, list) and value else None


def _respelled(pattern: str) -> list[str]:
    """The pattern, and what it means in the languages that it may come from."""
    bare = re.fullmatch(r"/(\^.*\$)/[a-z]*", pattern, re.DOTALL)
    usual = bare[1] if bare else pattern
    mended = usual.replace(r"\Z", "$").replace(r"\A", "^")
    return [usual, re.sub(r"(\\[wdsWDS])-(?=[^\]])", r"\1\\-", mended)]


def _shown(value: Any) -> str:
    return repr(value)[:100]
