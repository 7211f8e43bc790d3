"""Reads the text of an API description: JSON or YAML, with bounds and one meaning only."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

import yaml

from ccos.errors import ImportDocumentError
from ccos.importers.openapi.findings import Note
from ccos.nesting import nests_deeper

MAXIMUM_BYTES: Final = 20_000_000
MAXIMUM_DEPTH: Final = 100
MAXIMUM_VALUES: Final = 700_000
MAXIMUM_YAML_VALUES: Final = 400_000
"""YAML takes ten times as long to read as JSON."""
_MAXIMUM_FAULTS: Final = 100
_TOO_DEEP: Final = f"it is nested deeper than {MAXIMUM_DEPTH} levels"

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
_TYPED: Final = frozenset({"bool", "float", "int", "null"})
_TEXT: Final = frozenset({"str", "timestamp"})
_QUOTED: Final = re.compile(r'"(?:[^"\\\\]|\\\\.)*"')
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class _MalformedError(Exception):
    """Why a text is refused; ``read_document`` adds where it came from."""


Faults = Callable[[str], None]
"""Takes what is not as it should be, and what was made of it."""


def read_document(
    content: bytes, *, location: str, notes: list[Note] | None = None
) -> dict[str, Any]:
    """Read a JSON or YAML document whose top is an object.

    YAML is read by the core schema of YAML 1.2, as OpenAPI asks: dates stay text and ``no`` is not
    a boolean. Keys are text. Aliases count as often as they are used.

    What parsers disagree about is read in one way and noted: of a repeated key the last value
    counts, NaN and infinities are null, and half of a surrogate pair is U+FFFD.

    Args:
        content: The document as it was received.
        location: The URL or file name it came from, for messages.
        notes: Receives what was read differently from how it stands.

    Raises:
        ImportDocumentError: It is too large, too deep or malformed, or holds tagged objects.
    """
    faults: dict[str, None] = {}
    try:
        if len(content) > MAXIMUM_BYTES:
            raise _MalformedError(f"it has {len(content)} bytes; at most {MAXIMUM_BYTES} are read")
        value = _parse(_text(content), faults.setdefault)
        if not _check(value):
            faults.setdefault("a number is infinite or a text is malformed, so it was replaced")
            value = _mended(value)
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
    if notes is not None:
        notes.extend(Note("", fault) for fault in list(faults)[:_MAXIMUM_FAULTS])
    return value


def _text(content: bytes) -> str:
    try:
        return content.decode(json.detect_encoding(content)).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise _MalformedError(f"byte {error.start} is not text in {error.encoding}") from None


def _parse(text: str, fault: Faults) -> Any:
    if text.lstrip()[:1] not in ("{", "["):
        try:
            return _parse_yaml(text, fault)
        except yaml.YAMLError as error:
            raise _MalformedError(_yaml_fault(error)) from None
    _check_count(text)

    def fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen:
                    fault(f"an object repeats the key {key[:100]!r}; the last value counts")
                seen.add(key)
        return found

    def constant(name: str) -> None:
        fault(f"{name} is not a JSON number, so it is read as null")

    json_fault = _TOO_DEEP
    try:
        if not nests_deeper(text, MAXIMUM_DEPTH):
            return json.loads(text, object_pairs_hook=fields, parse_constant=constant)
    except json.JSONDecodeError as error:
        json_fault = f"line {error.lineno}, column {error.colno}: {error.msg}"
    except ValueError as error:  # an integer with more digits than Python converts
        raise _MalformedError(str(error)) from None
    try:
        return _parse_yaml(text, fault)
    except yaml.YAMLError:
        raise _MalformedError(json_fault) from None


def _check_count(text: str) -> None:
    """Refuse too many values before they are built; marks inside quotes are no values."""
    if _marks(text) > MAXIMUM_VALUES and _marks(_QUOTED.sub("", text)) > MAXIMUM_VALUES:
        raise _MalformedError(f"it holds more than {MAXIMUM_VALUES} values")


def _marks(text: str) -> int:
    return text.count(",") + text.count("[") + text.count("{")


def _check(root: Any) -> bool:
    """Whether all numbers and texts are such as JSON can carry; depth and size are bounded."""
    level = [root]
    sound = True
    for _ in range(MAXIMUM_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                if not item.isascii() and _SURROGATE.search(item):
                    sound = False
            elif isinstance(item, dict):
                below.extend(item)
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
            elif isinstance(item, float) and item in (float("inf"), float("-inf")):
                sound = False
        if len(below) > 2 * MAXIMUM_VALUES:
            raise _MalformedError(f"it holds more than {MAXIMUM_VALUES} values")
        if not below:
            return sound
        level = below
    raise _MalformedError(_TOO_DEEP)


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_mended(item) for item in value]
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return None
    return value


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
                for key, item in merged.items():
                    self.value.setdefault(key, item)
        return self.value


def _parse_yaml(text: str, fault: Faults) -> Any:
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
                    raise _MalformedError(_TOO_DEEP)
                empty: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
                stack.append(_Open(empty, event.anchor, count))
                continue
            case yaml.ScalarEvent():
                is_key = bool(stack) and isinstance(stack[-1].value, dict) and stack[-1].key is None
                value: Any = event.value if is_key else _scalar(event, fault)
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
        if count > MAXIMUM_YAML_VALUES:
            raise _MalformedError(f"it holds more than {MAXIMUM_YAML_VALUES} values")
        if stack:
            _add(stack[-1], value, fault)
        else:
            documents.append(value)
    documents = [one for one in documents if one is not None] or documents
    if len(documents) != 1:
        raise _MalformedError(f"it holds {len(documents)} YAML documents instead of one")
    return documents[0]


def _add(parent: _Open, value: Any, fault: Faults) -> None:
    if isinstance(parent.value, list):
        parent.value.append(value)
    elif parent.key is None:
        if not isinstance(value, str):
            raise _MalformedError("an object has a key that is not text")
        parent.key = value
    else:
        merged = value if isinstance(value, list) else [value]
        if parent.key == "<<" and all(isinstance(one, dict) for one in merged):
            parent.merged.extend(merged)
        else:
            if parent.key in parent.value:
                fault(f"an object repeats the key {parent.key[:100]!r}; the last value counts")
            parent.value[parent.key] = value
        parent.key = None


def _check_tag(tag: str | None, expected: str) -> None:
    if tag not in (None, "!", _CORE_TAG + expected):
        raise _MalformedError(f"the tag {str(tag)[:100]!r} has no meaning in JSON data")


def _scalar(event: yaml.ScalarEvent, fault: Faults) -> Any:
    text: str = event.value
    tag = event.tag.removeprefix(_CORE_TAG) if event.tag else None
    if tag in _TEXT or (tag is None and event.style not in (None, "")):
        return text
    if tag is not None and tag not in _TYPED:
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
        fault(f"{text} is not a JSON number, so it is read as null")
        return None
    return text
