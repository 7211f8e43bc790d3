"""References inside one document (RFC 6901 pointers in URI fragments)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

_MAXIMUM_HOPS: Final = 32


class UnusableError(Exception):
    """Why one operation cannot become a capability; it never leaves the importer."""


class References:
    """Follows the local references of a document. Other documents are never fetched.

    Args:
        document: The document as read.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def follow(self, value: Any) -> Any:
        """What a value stands for: itself, or the end of its chain of references.

        Raises:
            UnusableError: The chain leaves the document, leads nowhere or into itself.
        """
        for _ in range(_MAXIMUM_HOPS):
            if not (isinstance(value, dict) and isinstance(value.get("$ref"), str)):
                return value
            value = self.at(pointer(value["$ref"]))
        raise UnusableError("a chain of references is too long or has no end")

    def at(self, place: str) -> Any:
        """The value at a JSON Pointer.

        Raises:
            UnusableError: There is nothing at this place.
        """
        value: Any = self._document
        for step in place.split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(value, dict) and key in value:
                value = value[key]
            elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
                value = value[int(key)]
            else:
                raise UnusableError(f"the reference {place[:200]!r} leads nowhere")
        return value


def pointer(reference: str) -> str:
    """The JSON Pointer of a reference such as ``#/components/schemas/Pet``.

    Raises:
        UnusableError: It names another document, or an anchor instead of a place.
    """
    document, _, fragment = reference.partition("#")
    if document:
        raise UnusableError(
            f"the reference {reference[:200]!r} leads to another document, which is not fetched"
        )
    place = unquote(fragment)
    if place and not place.startswith("/"):
        raise UnusableError(f"the reference {reference[:200]!r} names an anchor, not a place")
    return place


def escaped(step: str) -> str:
    """One step of a JSON Pointer."""
    return step.replace("~", "~0").replace("/", "~1")
