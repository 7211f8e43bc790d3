"""Reads the text of an API description: JSON or YAML, with bounds and one meaning only."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import yaml

from ccos.errors import ImportDocumentError

MAXIMUM_BYTES: Final = 20_000_000
MAXIMUM_DEPTH: Final = 100
MAXIMUM_VALUES: Final = 2_000_000

_LOADER: Final = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_CORE_TAG: Final = "tag:yaml.org,2002:"
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,400}")
_OCTAL: Final = re.compile(r"0o[0-7]{1,400}")
_HEXADECIMAL: Final = re.compile(r"0x[0-9a-fA-F]{1,400}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_CONSTANTS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class _MalformedError(Exception):
    """Why a text is refused; ``read_document`` adds where it came from."""


def read_document(content: bytes, *, location: str) -> dict[str, Any]:
    """Read a JSON or YAML document whose top is an object.

    YAML is read by the core schema of YAML 1.2, as OpenAPI asks: dates stay text and ``no`` is not
    a boolean. Keys are text. Aliases count as often as they are used.

    Args:
        content: The document as it was received.
        location: The URL or file name it came from, for messages.

    Raises:
        ImportDocumentError: It is too large, too deep or malformed, repeats a key, or holds what
            JSON data cannot: NaN, infinities, half of a surrogate pair, tagged objects.
    """
    try:
        if len(content) > MAXIMUM_BYTES:
            raise _MalformedError(f"it has {len(content)} bytes; at most {MAXIMUM_BYTES} are read")
        value = _parse(_text(content))
        _check(value)
    except (_MalformedError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ImportDocumentError(
            f"{location} cannot be read: {reason}.", details={"location": location}
        ) from None
    if not isinstance(value, dict):
        raise ImportDocumentError(
            f"{location} is not an API description: its top is not an object.",
            details={"location": location},
        )
    return value


def _text(content: bytes) -> str:
    try:
        return content.decode(json.detect_encoding(content)).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise _MalformedError(f"byte {error.start} is not text in {error.encoding}") from None


def _parse(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        json_fault = f"line {error.lineno}, column {error.colno}: {error.msg}"
    except ValueError as error:  # an integer with more digits than Python converts
        raise _MalformedError(str(error)) from None
    try:
        return _parse_yaml(text)
    except yaml.YAMLError as error:
        if text.lstrip()[:1] in ("{", "["):
            raise _MalformedError(json_fault) from None
        raise _MalformedError(_yaml_fault(error)) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _MalformedError(f"an object repeats the key {repeated[:100]!r}")
    return fields


def _refuse(name: str) -> Any:
    raise _MalformedError(f"{name} is not a JSON number")


def _check(root: Any) -> None:
    level = [root]
    for _ in range(MAXIMUM_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                if not item.isascii() and _SURROGATE.search(item):
                    raise _MalformedError("a text holds half of a surrogate pair")
            elif isinstance(item, dict):
                below.extend(item)
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
            elif isinstance(item, float) and item in (float("inf"), float("-inf")):
                raise _MalformedError("a number is too large")
        if len(below) > MAXIMUM_VALUES:
            raise _MalformedError(f"it holds more than {MAXIMUM_VALUES} values")
        if not below:
            return
        level = below
    raise _MalformedError(f"it is nested deeper than {MAXIMUM_DEPTH} levels")


def _yaml_fault(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "it is neither JSON nor YAML"
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else str(problem)


class _Open:
    """A YAML collection whose end was not read yet."""

    __slots__ = ("anchor", "before", "key", "merged", "value")

    def __init__(self, value: dict[str, Any] | list[Any], anchor: str | None, before: int) -> None:
        self.value = value
        self.anchor = anchor
        self.before = before
        self.key: str | None = None
        self.merged: list[dict[str, Any]] = []

    def close(self) -> dict[str, Any] | list[Any]:
        """The collection, once own keys have won over those merged with ``<<``."""
        if isinstance(self.value, dict):
            for merged in self.merged:
                self.value = merged | self.value
        return self.value


def _parse_yaml(text: str) -> Any:
    """Build the value from parser events, so that neither depth nor aliases can run away."""
    stack: list[_Open] = []
    anchors: dict[str, tuple[Any, int]] = {}
    documents: list[Any] = []
    count = 0
    for event in yaml.parse(text, Loader=_LOADER):
        match event:
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                _check_tag(event.tag, "map" if isinstance(event, yaml.MappingStartEvent) else "seq")
                if len(stack) >= MAXIMUM_DEPTH:
                    raise _MalformedError(f"it is nested deeper than {MAXIMUM_DEPTH} levels")
                empty: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
                stack.append(_Open(empty, event.anchor, count))
                continue
            case yaml.ScalarEvent():
                is_key = bool(stack) and isinstance(stack[-1].value, dict) and stack[-1].key is None
                value: Any = event.value if is_key else _scalar(event)
                weight = 1
                if event.anchor:
                    anchors[event.anchor] = value, 1
            case yaml.AliasEvent():
                if event.anchor not in anchors:
                    raise _MalformedError(f"the alias {event.anchor!r} has no value yet")
                value, weight = anchors[event.anchor]
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                closed = stack.pop()
                value, weight = closed.close(), 1
                if closed.anchor:
                    anchors[closed.anchor] = value, count - closed.before + 1
            case _:
                continue
        count += weight
        if count > MAXIMUM_VALUES:
            raise _MalformedError(f"it holds more than {MAXIMUM_VALUES} values")
        if stack:
            _add(stack[-1], value)
        else:
            documents.append(value)
    if len(documents) != 1:
        raise _MalformedError(f"it holds {len(documents)} YAML documents instead of one")
    return documents[0]


def _add(parent: _Open, value: Any) -> None:
    if isinstance(parent.value, list):
        parent.value.append(value)
    elif parent.key is None:
        if not isinstance(value, str):
            raise _MalformedError("an object has a key that is not text")
        parent.key = value
    else:
        if parent.key == "<<" and isinstance(value, dict):
            parent.merged.append(value)
        elif parent.key in parent.value:
            raise _MalformedError(f"an object repeats the key {parent.key[:100]!r}")
        else:
            parent.value[parent.key] = value
        parent.key = None


def _check_tag(tag: str | None, expected: str) -> None:
    if tag not in (None, "!", _CORE_TAG + expected):
        raise _MalformedError(f"the tag {str(tag)[:100]!r} has no meaning in JSON data")


def _scalar(event: yaml.ScalarEvent) -> Any:
    text = event.value
    if event.tag == _CORE_TAG + "str" or (event.tag is None and event.style not in (None, "")):
        return text
    if event.tag is not None:
        _check_tag(event.tag, "str")
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEXADECIMAL.fullmatch(text):
        return int(text[2:], 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    if text.lstrip("+-").lower() in (".inf", ".nan"):
        raise _MalformedError(f"{text} is not a JSON number")
    return text
