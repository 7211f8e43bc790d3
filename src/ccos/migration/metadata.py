"""Reading one value of a tool's metadata, and saying what is wrong with it."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from ccos.capabilities import SchemaValidator
from ccos.errors import InvalidManifestError
from ccos.migration.definitions import ToolDependency

MAX_NAME_CHARACTERS: Final = 128
MAX_DESCRIPTION_CHARACTERS: Final = 10_000
MAX_TEXT_CHARACTERS: Final = 256
MAX_LIST_ITEMS: Final = 64
MAX_SCHEMA_BYTES: Final = 200_000


class MetadataError(Exception):
    """A value of the metadata makes no sense.

    Args:
        message: What is wrong with it, to follow the name of the value: ``is empty``.
        hint: How to repair it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def name(value: Any) -> str:
    """The name of a tool: one visible line, without blanks around it.

    Raises:
        MetadataError: for anything else.
    """
    found = text(value, MAX_NAME_CHARACTERS)
    if found != found.strip():
        raise MetadataError("has blanks around it")
    if any(unicodedata.category(character) in _INVISIBLE for character in found):
        raise MetadataError("has characters that nobody can see")
    return found


def text(value: Any, limit: int = MAX_TEXT_CHARACTERS) -> str:
    """Text that says something, at most ``limit`` characters of it.

    Raises:
        MetadataError: for anything else.
    """
    if not isinstance(value, str):
        raise MetadataError(f"is {kind_of(value)}, not a string")
    if not value.strip():
        raise MetadataError("is empty")
    if len(value) > limit:
        raise MetadataError(f"has {len(value)} characters; at most {limit} are allowed")
    if "\0" in value:
        raise MetadataError("has the character U+0000, which cannot be kept")
    return value


def texts(value: Any) -> tuple[str, ...]:
    """A list of texts.

    Raises:
        MetadataError: for anything else.
    """
    if not isinstance(value, list):
        raise MetadataError(f"is {kind_of(value)}, not a list of strings", 'Write ["a", "b"].')
    if len(value) > MAX_LIST_ITEMS:
        raise MetadataError(f"has {len(value)} items; at most {MAX_LIST_ITEMS} are allowed")
    try:
        return tuple(text(one) for one in value)
    except MetadataError as error:
        raise MetadataError(f"has an item that {error.message}") from None


def dependencies(value: Any) -> tuple[ToolDependency, ...]:
    """A list of names, or of objects with ``name``, ``version`` and ``optional``.

    Raises:
        MetadataError: for anything else.
    """
    if not isinstance(value, list) or len(value) > MAX_LIST_ITEMS:
        raise MetadataError(f"is no list of at most {MAX_LIST_ITEMS} names or objects")
    return tuple(_dependency(one) for one in value)


def _dependency(value: Any) -> ToolDependency:
    if not isinstance(value, dict):
        return ToolDependency(text(value))
    unknown = sorted(value.keys() - {"name", "version", "optional"})
    if unknown:
        raise MetadataError(f"has an item with the unknown key {unknown[0]!r}")
    version, optional = value.get("version"), value.get("optional", False)
    if not isinstance(optional, bool):
        raise MetadataError("has an item whose optional is no truth value")
    return ToolDependency(
        text(value.get("name")), None if version is None else text(version), optional
    )


def schema(value: Any, *, validate: bool = True) -> dict[str, Any]:
    """A JSON Schema that is an object; references to other documents are not fetched.

    Args:
        value: What was found.
        validate: Whether to make sure that it is a valid schema.

    Raises:
        MetadataError: if it is none.
    """
    if isinstance(value, str):
        raise MetadataError("is a string, not an object", "Give the object #{ … }, not its text.")
    if not isinstance(value, dict):
        raise MetadataError(f"is {kind_of(value)}, not an object")
    size = len(json.dumps(value, ensure_ascii=False).encode())
    if size > MAX_SCHEMA_BYTES:
        raise MetadataError(f"has {size} bytes; at most {MAX_SCHEMA_BYTES} are allowed")
    if validate:
        try:
            SchemaValidator(value)
        except InvalidManifestError as error:
            message = error.message.removeprefix("The schema ").rstrip(".")
            raise MetadataError(message) from None
    return value


def input_schema(value: Any, *, validate: bool = True) -> dict[str, Any]:
    """A schema that an object of arguments can satisfy; as :func:`schema`.

    Raises:
        MetadataError: if it is none.
    """
    found = schema(value, validate=validate)
    kind = found.get("type", "object")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind):
        raise MetadataError(
            f"has the type {kind!r}, but arguments are always an object",
            'Write type: "object" and describe each argument in properties.',
        )
    return found


def kind_of(value: Any) -> str:
    """What JSON calls a value, with its article."""
    match value:
        case None:
            return "null"
        case bool():
            return "a truth value"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case Mapping():
            return "an object"
    return f"a {type(value).__name__}"


_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""General categories (Unicode chapter 4.5)."""
