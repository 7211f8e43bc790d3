"""References between the parts of a description, and into other documents that are allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urljoin

from ccos.errors import CcosError

_MAXIMUM_HOPS: Final = 32
_MAXIMUM_DOCUMENTS: Final = 100
_MAXIMUM_REFERENCE: Final = 2_000
_MAXIMUM_STEPS: Final = 100
_MAXIMUM_SEARCHES: Final = 500
_MAXIMUM_INDEXED: Final = 100_000
_SCHEMA_GROUPS: Final = ("/components/schemas/", "/definitions/")
_GROUPS: Final = (
    _SCHEMA_GROUPS,
    ("/components/parameters/", "/parameters/"),
    ("/components/responses/", "/responses/"),
)
"""Where Swagger 2.0 and OpenAPI 3 keep the same things; converted documents mix the two up."""
_ABSENT: Final = object()

Loader = Callable[[str], Mapping[str, Any] | None]
"""Gives the document at a location, or None where reading it is not allowed."""


class Place(NamedTuple):
    """A place in a document."""

    document: str
    """The location of another document; empty for the one that is imported."""
    pointer: str
    """JSON Pointer (RFC 6901)."""

    def child(self, *steps: str | int) -> Place:
        """The place some steps further down."""
        pointer = self.pointer
        for step in steps:
            text = str(step)
            pointer += "/" + (escaped(text) if "/" in text or "~" in text else text)
        return Place(self.document, pointer)

    def __str__(self) -> str:
        return f"{self.document}#{self.pointer}" if self.document else self.pointer


ROOT: Final = Place("", "")


class UnusableError(Exception):
    """Why a part of a description cannot be used; it never leaves the importer.

    Args:
        reason: What is wrong, without a full stop.
        place: Where; None if whoever catches it knows better.
    """

    def __init__(self, reason: str, place: Place | None = None) -> None:
        super().__init__(reason)
        self.place = place


class ExternalError(UnusableError):
    """A reference leads to a document that was not given."""


class References:
    """Follows references (RFC 3986 and RFC 6901; anchors and ids as JSON Schema has them).

    Misspellings that can mean one thing only are understood: a missing ``#`` or ``/``, the bare
    name of a schema, the place that the other generation of OpenAPI has for it, and definitions
    that were pasted together with the schema that uses them.

    Args:
        document: The document as read.
        location: The URL or file name it came from, which relative references count from.
        load: Gives other documents; without it there are none.
    """

    def __init__(
        self, document: Mapping[str, Any], location: str = "", load: Loader | None = None
    ) -> None:
        own = document.get("$self")
        self._location = _joined(location, own) if isinstance(own, str) else location
        self._documents: dict[str, Mapping[str, Any] | None] = {"": document}
        self._load = load
        self._places: dict[tuple[str, str], Place] = {}
        self._values: dict[Place, Any] = {}
        self._searches = 0
        self._identified: dict[str, dict[str, Place]] = {}

    def follow(self, value: Any, at: Place) -> tuple[Any, Place]:
        """What a value at a place stands for: itself, or the end of its chain of references.

        Raises:
            ExternalError: The chain leaves the documents that are at hand.
            UnusableError: It leads nowhere or into itself.
        """
        start = at
        for _ in range(_MAXIMUM_HOPS):
            if not (isinstance(value, dict) and isinstance(value.get("$ref"), str)):
                return value, at
            at = self.place(value["$ref"], at)
            value = self.value(at)
        raise UnusableError("a chain of references is too long or has no end", start)

    def place(self, reference: str, at: Place) -> Place:
        """The place that a reference found at ``at`` leads to; there is something at it.

        Raises:
            ExternalError: It is in a document that is not at hand.
            UnusableError: There is nothing.
        """
        key = at.document, reference
        known = self._places.get(key)
        if known is None:
            known = self._find(reference[:_MAXIMUM_REFERENCE], at.document)
            if known is None:
                # Depends on where the reference stands, so it is not remembered.
                return self._pasted(reference[:_MAXIMUM_REFERENCE], at)
            self._places[key] = known
        return known

    def value(self, place: Place) -> Any:
        """The value at a place that `place` returned."""
        if place not in self._values:
            root = self._documents[place.document]
            self._values[place] = self._walk(root, place.pointer)
        return self._values[place]

    def _find(self, reference: str, document: str) -> Place | None:
        url, _, fragment = reference.partition("#")
        target = self._target(url, document)
        if target is None:
            for spelled in _respelled(reference):
                if self._exists(Place(document, spelled)):
                    return Place(document, spelled)
            identified = self._ids(document).get(_joined(self._base(document), url))
            if identified is None:
                raise ExternalError(
                    f"the reference {reference[:200]!r} leads to another document, "
                    "which is not at hand"
                )
            return self._within(identified, fragment)
        return self._within(Place(target, ""), fragment)

    def _within(self, root: Place, fragment: str) -> Place | None:
        for text in dict.fromkeys((unquote(fragment), fragment)):
            for pointer in (text, f"/{text}") if text and text[0] != "/" else (text,):
                exact = Place(root.document, root.pointer + pointer)
                if (not text or pointer[0] == "/") and self._exists(exact):
                    return exact
                for swapped in _regrouped(pointer):
                    if self._exists(Place(root.document, swapped)):
                        return Place(root.document, swapped)
        return self._ids(root.document).get(f"#{fragment}")

    def _pasted(self, reference: str, at: Place) -> Place:
        """Definitions that came into the document together with the schema that refers to them."""
        fragment = unquote(reference.partition("#")[2])
        pointer = at.pointer
        self._searches += 1
        searched = fragment.startswith("/") and self._searches <= _MAXIMUM_SEARCHES
        while pointer and searched:
            nested = Place(at.document, pointer + fragment)
            if self._exists(nested):
                return nested
            pointer = pointer.rpartition("/")[0]
        raise UnusableError(f"the reference {reference[:200]!r} leads nowhere", at)

    def _target(self, url: str, document: str) -> str | None:
        """The key of the document that a URL means, seen from another; None if it is not there."""
        if not url:
            return document
        absolute = _joined(self._base(document), url)
        if absolute in (self._location, self._base("")):
            return ""
        if absolute not in self._documents:
            if self._load is None or len(self._documents) > _MAXIMUM_DOCUMENTS:
                return None
            try:
                self._documents[absolute] = self._load(absolute)
            except CcosError as error:
                raise ExternalError(
                    f"the document {absolute[:200]!r} cannot be read: {error.message}"
                ) from None
        return absolute if self._documents[absolute] is not None else None

    def _base(self, document: str) -> str:
        return document or self._location

    def _exists(self, place: Place) -> bool:
        return self._walk(self._documents[place.document], place.pointer) is not _ABSENT

    def _walk(self, value: Any, pointer: str) -> Any:
        steps = pointer.split("/")[1:]
        if len(steps) > _MAXIMUM_STEPS:
            return _ABSENT
        position = 0
        while position < len(steps):
            key = _unescaped(steps[position])
            position += 1
            if isinstance(value, dict) and key not in value:
                # A key that holds slashes, written as it is.
                for end in range(position + 1, min(position + 8, len(steps)) + 1):
                    joined = "/".join(map(_unescaped, steps[position - 1 : end]))
                    if joined in value:
                        key, position = joined, end
                        break
            if isinstance(value, dict) and key in value:
                value = value[key]
            elif isinstance(value, list) and key.isdecimal() and int(key[:9]) < len(value):
                value = value[int(key[:9])]
            else:
                return _ABSENT
        return value

    def _ids(self, document: str) -> dict[str, Place]:
        """The places that ``$id`` and ``$anchor`` name, each found once."""
        if document not in self._identified:
            base = self._base(document)
            found: dict[str, Place] = {}
            for value, place in _objects(self._documents[document], Place(document, "")):
                for keyword in ("$anchor", "$dynamicAnchor"):
                    if isinstance(value.get(keyword), str):
                        found.setdefault(f"#{value[keyword]}", place)
                for keyword in ("$id", "id"):
                    name = value.get(keyword)
                    if isinstance(name, str) and (keyword == "$id" or name.startswith("#")):
                        found.setdefault(
                            name if name.startswith("#") else _joined(base, name.partition("#")[0]),
                            place,
                        )
            self._identified[document] = found
        return self._identified[document]


def _joined(base: str, url: str) -> str:
    """A reference resolved against its base; itself if it is no URL at all."""
    try:
        return urljoin(base, url)
    except ValueError:
        return url


def _objects(value: Any, place: Place) -> Iterator[tuple[dict[str, Any], Place]]:
    waiting = [(value, place)]
    for _ in range(_MAXIMUM_INDEXED):
        if not waiting:
            return
        value, place = waiting.pop()
        if isinstance(value, dict):
            yield value, place
            waiting += [
                (item, place.child(key))
                for key, item in value.items()
                if isinstance(item, dict | list)
            ]
        elif isinstance(value, list):
            waiting += [
                (item, place.child(number))
                for number, item in enumerate(value)
                if isinstance(item, dict | list)
            ]


def _respelled(reference: str) -> Iterator[str]:
    """Pointers that a reference without ``#`` may have meant."""
    if "#" in reference:
        return
    yield "/" + unquote(reference).lstrip("/")
    if "/" not in reference:
        for group in _SCHEMA_GROUPS:
            yield group + escaped(reference)


def _regrouped(pointer: str) -> Iterator[str]:
    for names in _GROUPS:
        for name in names:
            if pointer.startswith(name):
                yield from (other + pointer.removeprefix(name) for other in names if other != name)


def escaped(step: str) -> str:
    """One step of a JSON Pointer."""
    return step.replace("~", "~0").replace("/", "~1")


def _unescaped(step: str) -> str:
    return step.replace("~1", "/").replace("~0", "~")
