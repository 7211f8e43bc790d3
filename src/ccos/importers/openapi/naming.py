"""Names: of the API, of its capabilities, of their arguments."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from ccos.capabilities import canonical_id
from ccos.errors import InvalidIdentifierError

_NOISE: Final = frozenset({"api", "apis", "rest", "openapi", "swagger", "the", "specification"})
_MAXIMUM_SLUG: Final = 60
_MAXIMUM_OPERATION: Final = 110
_MAXIMUM_SEGMENTS: Final = 10
_MAXIMUM_ARGUMENT: Final = 64
_MAXIMUM_TOOL: Final = 64


def api_slug(title: str, location: str) -> str:
    """A short name for an API, from its title or else from where it was found.

    >>> api_slug("Swagger Petstore", "")
    'petstore'
    """
    parts = urlsplit(location)
    for text in (title, parts.hostname or "", parts.path.rpartition("/")[2].partition(".")[0]):
        words = re.findall("[a-z0-9]+", text.lower())
        telling = [word for word in words if word not in _NOISE] or words
        if telling:
            return "_".join(telling)[:_MAXIMUM_SLUG].strip("_")
    return "api"


def given_slug(api: str) -> str:
    """A name that the caller chose for the API, as one segment of an id.

    Raises:
        InvalidIdentifierError: It cannot be one.
    """
    slug = re.sub(r"[.:]", "_", canonical_id(api))
    if len(slug) > _MAXIMUM_SLUG:
        raise InvalidIdentifierError(
            f"The name of an API has at most {_MAXIMUM_SLUG} characters.",
            details={"length": len(slug)},
        )
    return slug


def operation_names(operation_id: Any, path: str, place: str) -> tuple[str, str]:
    """The segments that name an operation in an id: the wanted ones, and ones nobody else has.

    The wanted ones come from the ``operationId``, or else from the path: ``/status/{codes}`` is
    ``status.codes``. The others carry a mark made of the operation's place, which stays the same
    whatever else the document holds.

    Args:
        operation_id: What the document says, which may be anything.
        path: The path template.
        place: JSON Pointer of the operation.
    """
    named = _segments(operation_id) if isinstance(operation_id, str) else []
    segments = named or _segments(path) or ["root"]
    wanted = ".".join(segments)
    mark = hashlib.sha256(place.encode()).hexdigest()[:8]
    short = ".".join(segments[:_MAXIMUM_SEGMENTS])[: _MAXIMUM_OPERATION - len(mark) - 1]
    own = f"{short.rstrip('.-')}_{mark}"
    too_long = len(segments) > _MAXIMUM_SEGMENTS or len(wanted) > _MAXIMUM_OPERATION
    return (own if too_long else wanted), own


def argument_name(name: str, taken: Collection[str]) -> str:
    """A name for an argument that programs and models can write, not among those taken.

    >>> argument_name("filter[status]", ())
    'filter_status'
    """
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", name)
    if plain != name:
        plain = plain.strip("_")
    plain = plain[:_MAXIMUM_ARGUMENT] or "argument"
    if plain not in taken:
        return plain
    number = 2
    while f"{plain}_{number}" in taken:
        number += 1
    return f"{plain}_{number}"


def tool_names(capability_ids: Iterable[str]) -> dict[str, str]:
    """A name of at most 64 letters, digits, ``_`` and ``-`` for each id, no two the same.

    That is what language models and MCP clients take as the name of a tool. A name that had to be
    cut, or that two ids would share, ends with a mark made of the id alone.

    >>> tool_names(["openapi.zoo.get.pets.getPet"])
    {'openapi.zoo.get.pets.getPet': 'zoo_get_pets_getPet'}
    """
    wanted = {one: re.sub(r"[.:]", "_", one.removeprefix("openapi.")) for one in capability_ids}
    shared = Counter(wanted.values())
    found = {}
    for one, name in wanted.items():
        if len(name) > _MAXIMUM_TOOL or shared[name] > 1:
            mark = hashlib.sha256(one.encode()).hexdigest()[:8]
            name = f"{name[: _MAXIMUM_TOOL - len(mark) - 1].rstrip('_-')}_{mark}"
        found[one] = name
    return found


def environment_prefix(text: str) -> str:
    """The first part of the environment variables that hold an API's secrets."""
    prefix = re.sub(r"[^A-Z0-9]+", "_", text.upper()).strip("_")
    return f"_{prefix}" if prefix[:1].isdecimal() else prefix


def _segments(text: str) -> list[str]:
    cleaned = re.sub(r"[^A-Za-z0-9_/.-]+", "_", re.sub(r"[{}]", "", text))
    return [part for part in (part.strip("_-") for part in re.split(r"[/.]", cleaned)) if part]
