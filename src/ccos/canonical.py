"""Canonical JSON (RFC 8785) and hashes over it."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

import rfc8785

_EXACT_IN_A_DOUBLE: Final = 2**53 - 1
_BIG_INTEGER: Final = "$integer"
_WRITER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def canonical_json(value: Any) -> bytes:
    """Serialise JSON data to its one canonical form, UTF-8.

    The form is RFC 8785. That standard covers only integers which a double holds exactly; a larger
    one (``maximum: 9223372036854775807`` is common in API descriptions) is written as
    ``{"$integer": "<digits>"}``, so that two different integers never share a form.

    Raises:
        ValueError: for NaN, infinities, lone surrogates, keys that are not text, or an object that
            already uses the ``$integer`` key.
    """
    if _is_simple(value):
        return _WRITER.encode(value).encode()
    try:
        return rfc8785.dumps(value)
    except rfc8785.IntegerDomainError:
        return rfc8785.dumps(_with_big_integers_tagged(value))


def _is_simple(value: Any) -> bool:
    """Whether the standard library writes ``value`` exactly as RFC 8785 has it, and faster.

    The two differ in how they write floats, in the order of keys beyond ASCII, and in what they
    refuse.
    """
    if value is None or value is True or value is False or type(value) is str:
        return True
    if type(value) is int:
        return -_EXACT_IN_A_DOUBLE <= value <= _EXACT_IN_A_DOUBLE
    if type(value) is dict:
        return all(
            type(key) is str and key.isascii() and _is_simple(item) for key, item in value.items()
        )
    return type(value) is list and all(map(_is_simple, value))


def _with_big_integers_tagged(value: Any) -> Any:
    if isinstance(value, dict):
        if _BIG_INTEGER in value:
            raise ValueError(f"The key {_BIG_INTEGER!r} is reserved in canonical JSON.")
        return {key: _with_big_integers_tagged(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_big_integers_tagged(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _EXACT_IN_A_DOUBLE:
        return {_BIG_INTEGER: str(value)}
    return value


def content_hash(value: Any) -> str:
    """SHA-256 over the canonical form of ``value``, as ``sha256:<hex>``.

    For values without oversized integers anyone can recompute it with an RFC 8785 tool and
    ``sha256sum``.
    """
    return "sha256:" + hashlib.sha256(canonical_json(value)).hexdigest()
