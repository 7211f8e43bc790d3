"""Which arguments of a waiting call a candidate knows under other names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ccos.capabilities import SchemaValidator
from ccos.errors import InvalidManifestError
from ccos.marketplace.words import stems

_MOST_RENAMED: Final = 8
_SAME_MEANING: Final = (
    {"city", "location", "place", "town"},
    {"content", "body", "message", "text"},
    {"count", "limit", "max", "size", "top"},
    {"date", "day", "when"},
    {"file", "filename", "path"},
    {"id", "identifier", "key"},
    {"keyword", "query", "q", "search", "term"},
    {"lang", "language", "locale"},
    {"lat", "latitude"},
    {"lon", "lng", "long", "longitude"},
    {"link", "uri", "url"},
    {"destination", "recipient", "to"},
    {"from", "origin", "sender", "source"},
    {"subject", "title"},
)
_GROUPS: Final = {stems(word)[0]: min(group) for group in _SAME_MEANING for word in group}


def proposed_renames(
    arguments: Mapping[str, Any], input_schema: Mapping[str, Any] | bool
) -> dict[str, str] | None:
    """Names of the call's arguments to those of the schema, under which the call would fit.

    A name is matched to one of the same words, or of words that mean the same; a single argument
    that is left goes to the single required parameter that is left. What is ambiguous, or what the
    schema does not accept afterwards, is no proposal. It is one for a person to judge: that two
    names sound alike does not make them the same thing.

    Args:
        arguments: Those of the waiting call.
        input_schema: That of the candidate.

    Returns:
        At least one rename; None if there is no sound proposal.
    """
    properties = input_schema.get("properties") if isinstance(input_schema, Mapping) else None
    if not isinstance(properties, dict) or not isinstance(input_schema, dict):
        return None
    strange = [name for name in arguments if name not in properties]
    free = [name for name in properties if name not in arguments]
    if not strange or len(strange) > min(len(free), _MOST_RENAMED):
        return None
    renames: dict[str, str] = {}
    for name in strange:
        alike = [one for one in free if _meaning(one) == _meaning(name)]
        if len(alike) == 1:
            renames[name] = alike[0]
    left = [name for name in strange if name not in renames]
    required = [one for one in _required(input_schema) if one in free]
    open_ones = [one for one in required if one not in renames.values()]
    if len(left) == 1 and len(open_ones) == 1:
        renames[left[0]] = open_ones[0]
    if len(renames) != len(strange) or len(set(renames.values())) != len(renames):
        return None
    return renames if _accepted(renamed(arguments, renames), input_schema) else None


def renamed(arguments: Mapping[str, Any], renames: Mapping[str, str]) -> dict[str, Any]:
    """The arguments under the names of the candidate."""
    return {renames.get(name, name): value for name, value in arguments.items()}


def _meaning(name: str) -> frozenset[str]:
    return frozenset(_GROUPS.get(stem, stem) for stem in stems(name.replace("_", " ")))


def _required(schema: dict[str, Any]) -> list[str]:
    required = schema.get("required")
    return [one for one in required if isinstance(one, str)] if isinstance(required, list) else []


def _accepted(arguments: dict[str, Any], schema: dict[str, Any]) -> bool:
    try:
        return SchemaValidator(schema, role="input schema").accepts(arguments)
    except InvalidManifestError:
        return False
