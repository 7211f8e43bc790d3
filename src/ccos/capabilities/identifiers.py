"""Capability ids: one spelling for one capability, and no two that look alike."""

from __future__ import annotations

import re
from typing import Final

from ccos.errors import InvalidIdentifierError

MAXIMUM_LENGTH: Final = 200
MAXIMUM_SEGMENTS: Final = 16

_SEGMENT: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?")
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def canonical_id(text: str) -> str:
    """The one spelling of a capability id.

    Surrounding blanks, one pair of quotes and a leading colon (the keyword spelling of RTFS) are
    taken off, and ``/`` is read as ``.``. What remains must be ASCII segments of letters, digits,
    ``_`` and inner ``-``, joined by ``.`` or ``:``. ASCII alone, so that no two ids look alike.

    Raises:
        InvalidIdentifierError: naming the first thing that is wrong and where.
    """
    if not isinstance(text, str):
        raise InvalidIdentifierError(f"A capability id is text, not {type(text).__name__}.")
    candidate = text.strip()
    if len(candidate) >= 2 and candidate[0] == candidate[-1] and candidate[0] in "\"'":
        candidate = candidate[1:-1]
    candidate = candidate.removeprefix(":").replace("/", ".")
    _check(candidate)
    return candidate


def _check(candidate: str) -> None:
    if not candidate:
        raise InvalidIdentifierError("A capability id must not be empty.")
    if len(candidate) > MAXIMUM_LENGTH:
        raise InvalidIdentifierError(
            f"A capability id has at most {MAXIMUM_LENGTH} characters; this one has "
            f"{len(candidate)}.",
            details={"length": len(candidate)},
        )
    for position, character in enumerate(candidate):
        if not (character.isascii() and (character.isalnum() or character in "_-.:")):
            raise InvalidIdentifierError(
                f"Character {position + 1} of the capability id is U+{ord(character):04X}, "
                "which is not allowed in an id.",
                details={"position": position, "codepoint": ord(character)},
            )
    segments = re.split(r"[.:]", candidate)
    if len(segments) > MAXIMUM_SEGMENTS:
        raise InvalidIdentifierError(
            f"A capability id has at most {MAXIMUM_SEGMENTS} segments; this one has "
            f"{len(segments)}.",
            details={"segments": len(segments)},
        )
    for segment in segments:
        if not _SEGMENT.fullmatch(segment):
            what = f"segment {segment!r}" if segment else "an empty segment"
            raise InvalidIdentifierError(
                f"The capability id {candidate!r} has {what}; a segment starts and ends with a "
                "letter, a digit or '_'.",
                details={"segment": segment},
            )


def id_tokens(text: str) -> tuple[str, ...]:
    """The lower-case words of an id or name: split at punctuation and at camel case.

    >>> id_tokens("github.listRepos")
    ('github', 'list', 'repos')
    """
    return tuple(word.lower() for word in _WORD.findall(text))
