"""Taking secrets out of data before it is written."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

REDACTED: Final = "[redacted]"
_TEXT_LIMIT: Final = 400
_ITEM_LIMIT: Final = 50
_SHORTEST_SECRET: Final = 6
"""No text of fewer characters has one of the shapes below; ``://a:b@`` comes nearest."""
_DEPTH_LIMIT: Final = 8

_SECRET_WORDS: Final = frozenset(
    {
        "apikey",
        "auth",
        "authorization",
        "bearer",
        "cookie",
        "credential",
        "credentials",
        "passphrase",
        "passwd",
        "password",
        "private",
        "pwd",
        "secret",
        "secrets",
        "session",
        "token",
        "tokens",
    }
)
_SECRET_PAIRS: Final = frozenset({("api", "key"), ("access", "key"), ("private", "key")})
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

# The shapes under which well-known services hand out keys.
_SECRET_TEXT: Final = re.compile(
    r"""
    \b(?:bearer|basic|token)\s+[A-Za-z0-9._~+/=-]{8,}
    | \bsk-[A-Za-z0-9_-]{16,}
    | \bgh[oprsu]_[A-Za-z0-9]{20,}
    | \bgithub_pat_[A-Za-z0-9_]{20,}
    | \bxox[abeprs]-[A-Za-z0-9-]{10,}
    | \bAKIA[0-9A-Z]{16}\b
    | \bAIza[0-9A-Za-z_-]{30,}
    | \beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*
    | -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----[\s\S]*?(?:-----END[ ][A-Z ]*-----|$)
    | (?<=://)[^/\s:@]+:[^/\s@]+(?=@)
    """,
    re.IGNORECASE | re.VERBOSE,
)

_PARTS_OF_SECRETS: Final = (
    "bearer", "basic", "token", "sk-", "gh", "github_pat_", "xox", "akia", "aiza", "eyj",
    "-----begin", "://",
)  # fmt: skip
"""One of them, in lower case, is in every text that has one of the shapes."""


@lru_cache(maxsize=4096)
def names_a_secret(name: str) -> bool:
    """Whether a key of this name is expected to hold a secret.

    Whole words count, so ``author`` is not ``auth``.
    """
    words = tuple(word.lower() for word in _WORDS.findall(name))
    return any(word in _SECRET_WORDS for word in words) or any(
        pair in _SECRET_PAIRS for pair in pairwise(words)
    )


def redacted(value: Any, *, depth: int = _DEPTH_LIMIT) -> Any:
    """JSON data without secrets, cut to a bounded size; ``value`` itself if that is all it is.

    The value of a key that names a secret, and text that has the shape of a known kind of key, is
    replaced by ``[redacted]``. Long texts, long lists and deep nesting are cut, visibly.
    """
    if type(value) is dict and _is_evidently_clean(value):
        return value
    if isinstance(value, str):
        return _redacted_text(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if depth == 0:
        return "[deeper levels left out]"
    if isinstance(value, dict):
        kept = {
            _redacted_text(str(key)): (
                REDACTED
                if names_a_secret(str(key)) and isinstance(item, str | list | dict)
                else redacted(item, depth=depth - 1)
            )
            for key, item in list(value.items())[:_ITEM_LIMIT]
        }
        if len(value) > _ITEM_LIMIT:
            kept["…"] = f"[{len(value) - _ITEM_LIMIT} more left out]"
        return kept
    if isinstance(value, list | tuple | set | frozenset):
        items = [redacted(item, depth=depth - 1) for item in list(value)[:_ITEM_LIMIT]]
        if len(value) > _ITEM_LIMIT:
            items.append(f"[{len(value) - _ITEM_LIMIT} more left out]")
        return items
    return _redacted_text(str(value))


def _is_evidently_clean(value: dict[Any, Any]) -> bool:
    """Whether a glance tells that nothing is to be done, as with most entries.

    Only flat data of few short texts in ASCII is looked at. False says nothing.
    """
    if len(value) > _ITEM_LIMIT:
        return False
    texts = []
    for key, item in value.items():
        if type(key) is not str or names_a_secret(key):
            return False
        texts.append(key)
        if type(item) is str:
            texts.append(item)
        elif item is not None and type(item) is not int and type(item) is not bool:
            return False
    text = " ".join(texts).lower()
    return (
        len(text) <= _TEXT_LIMIT
        and text.isascii()
        and not any(part in text for part in _PARTS_OF_SECRETS)
    )


def _redacted_text(text: str) -> str:
    if len(text) < _SHORTEST_SECRET and text.isascii():
        return text
    clean = _SECRET_TEXT.sub(REDACTED, text[: 16 * _TEXT_LIMIT])
    clean = clean.encode("utf-8", "replace").decode()
    if len(clean) > _TEXT_LIMIT or len(text) > 16 * _TEXT_LIMIT:
        return f"{clean[:_TEXT_LIMIT]}… [{len(text)} characters]"
    return clean
