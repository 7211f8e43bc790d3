"""Which candidate fits what is wanted: words, verbs, arguments and trust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ccos.capabilities import Manifest, SchemaValidator, id_tokens
from ccos.errors import InvalidManifestError
from ccos.resolution.adapters import proposed_renames
from ccos.resolution.sources import Candidate

_SURE_SCORE: Final = 3.0
_SURE_OVERLAP: Final = 0.75
_FAIR_SCORE: Final = 2.0
_FAIR_OVERLAP: Final = 0.5

_VERBS: Final = {
    "add": "create",
    "create": "create",
    "insert": "create",
    "make": "create",
    "new": "create",
    "post": "create",
    "delete": "delete",
    "drop": "delete",
    "remove": "delete",
    "edit": "update",
    "patch": "update",
    "put": "update",
    "set": "update",
    "update": "update",
    "fetch": "read",
    "get": "read",
    "list": "read",
    "read": "read",
    "show": "read",
    "find": "search",
    "query": "search",
    "search": "search",
    "convert": "transform",
    "transform": "transform",
    "notify": "notify",
    "send": "notify",
    "check": "validate",
    "validate": "validate",
    "verify": "validate",
}


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate with its scores.

    Attributes:
        score: What candidates are ordered by; higher is better.
        match: How well the capability itself fits, by name, words and verb.
        overlap: The share of the wanted id's words that the candidate has.
        misfit: Why the parked call could not be made with it; None if it could.
        renames: Names of the parked call's arguments to those of the candidate under which the
            call would fit; empty where none are needed or none are to be found.
    """

    candidate: Candidate
    score: float
    match: float
    overlap: float
    misfit: str | None
    renames: Mapping[str, str] = field(default_factory=dict)

    @property
    def acceptable(self) -> bool:
        """Whether it may be chosen: it fits the call, and its words fit well enough."""
        if self.misfit is not None:
            return False
        sure = self.match >= _SURE_SCORE or self.overlap >= _SURE_OVERLAP
        return sure or (self.match >= _FAIR_SCORE and self.overlap >= _FAIR_OVERLAP)


def rank(
    capability_id: str, arguments: dict[str, Any] | None, candidates: Sequence[Candidate]
) -> list[Ranked]:
    """Order candidates for a wanted id, best first; those that do not fit the call come last.

    Of candidates that are equally good, one whose call can be repeated without harm comes first.

    Args:
        capability_id: What is wanted.
        arguments: Those of a call that waits for it; None if no call is known.
        candidates: What the sources proposed.
    """
    ranked = [_ranked(capability_id, arguments, candidate) for candidate in candidates]
    return sorted(
        ranked,
        key=lambda one: (
            one.misfit is not None,
            -one.score,
            not one.candidate.manifest.effect_type.repeatable,
            one.candidate.manifest.id,
        ),
    )


def _ranked(capability_id: str, arguments: dict[str, Any] | None, candidate: Candidate) -> Ranked:
    manifest = candidate.manifest
    wanted = list(dict.fromkeys(id_tokens(capability_id)))
    offered = {*id_tokens(manifest.id), *id_tokens(manifest.name)}
    overlap = len(offered.intersection(wanted)) / len(wanted) if wanted else 0.0
    described = set(id_tokens(manifest.description))
    match = (
        len(described.intersection(wanted)) / max(len(wanted), 1)
        + 2.5 * overlap
        + _same_ending(capability_id, manifest)
        + _same_verb(capability_id, manifest)
    )
    score = candidate.relevance * candidate.trust_tier.weight + match
    misfit = _misfit(manifest, arguments)
    renames = None
    if misfit is not None and arguments:
        renames = proposed_renames(arguments, manifest.input_schema)
    if renames:
        pairs = ", ".join(f"{new!r} for {old!r}" for old, new in sorted(renames.items()))
        misfit = f"{misfit}; it would fit with {pairs}"
    return Ranked(candidate, score, match, overlap, misfit, renames or {})


def _same_ending(capability_id: str, manifest: Manifest) -> float:
    wanted = id_tokens(_last(capability_id))
    for text in (_last(manifest.id), manifest.name):
        offered = id_tokens(text)
        if wanted == offered:
            return 2.0
    offered = id_tokens(_last(manifest.id))
    return 1.0 if wanted and set(wanted) <= set(offered) else 0.0


def _same_verb(capability_id: str, manifest: Manifest) -> float:
    wanted = _verb(id_tokens(_last(capability_id)))
    return 2.0 if wanted is not None and wanted == _verb(id_tokens(_last(manifest.id))) else 0.0


def _verb(words: tuple[str, ...]) -> str | None:
    return next((_VERBS[word] for word in words if word in _VERBS), None)


def _last(capability_id: str) -> str:
    return capability_id.rpartition(".")[2]


def _misfit(manifest: Manifest, arguments: dict[str, Any] | None) -> str | None:
    if arguments is None:
        return None
    try:
        faults = SchemaValidator(manifest.input_schema, role="input schema").faults(arguments)
    except InvalidManifestError as error:
        return error.message
    if not faults:
        return _ignored_argument(manifest, arguments)
    return f"the arguments of the waiting call do not fit: {faults[0].message}"


def _ignored_argument(manifest: Manifest, arguments: dict[str, Any]) -> str | None:
    """An open schema accepts any name, but a name that it does not describe would be lost."""
    schema = manifest.input_schema
    if not isinstance(schema, dict):
        return None
    described = schema.get("properties")
    if not isinstance(described, dict) or isinstance(schema.get("additionalProperties"), dict):
        return None
    if {"anyOf", "oneOf", "allOf", "$ref", "patternProperties"} & set(schema):
        return None
    strange = sorted(set(arguments) - set(described))
    return f"it has no argument named {strange[0]!r}" if strange else None
