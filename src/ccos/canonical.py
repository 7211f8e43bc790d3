"""Canonical JSON (RFC 8785) and hashes over it."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Final

import rfc8785

_EXACT_IN_A_DOUBLE: Final = 2**53 - 1
_NO_EXPONENT: Final = (1e-4, 1e16)
"""Between these, ``repr`` and ECMAScript write the shortest digits alike."""
_TAG: Final = "$integer"
_LIKE_THE_TAG: Final = re.compile(r"\$+integer")
_ENDS_LIKE_THE_TAG: Final = b'$integer":'
_WRITER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def canonical_json(value: Any) -> bytes:
    """Serialise JSON data to its one canonical form, UTF-8.

    The form is RFC 8785. That standard covers only integers which a double holds exactly; a larger
    one (``maximum: 9223372036854775807`` is common in API descriptions) is written as
    ``{"$integer": "<digits>"}``, and a key that is ``$integer`` itself as ``$$integer``, so that
    two different values never share a form.

    Raises:
        ValueError: for NaN, infinities, lone surrogates, or keys that are not text.
    """
    if _is_simple(value):
        return _WRITER.encode(value).encode()
    if type(value) is dict and _is_simple(whole := _whole_numbers(value)):
        return _WRITER.encode(whole).encode()
    try:
        form = rfc8785.dumps(value)
    except rfc8785.IntegerDomainError:
        return rfc8785.dumps(_tagged(value))
    return rfc8785.dumps(_tagged(value)) if _ENDS_LIKE_THE_TAG in form else form


def _is_simple(value: Any) -> bool:
    """Whether the standard library writes ``value`` exactly as RFC 8785 has it, and faster.

    The two differ in how they write floats without a fraction and those that need an exponent, in
    the order of keys beyond ASCII, and in what they refuse.
    """
    if value is None or value is True or value is False or type(value) is str:
        return True
    if type(value) is int:
        return -_EXACT_IN_A_DOUBLE <= value <= _EXACT_IN_A_DOUBLE
    if type(value) is float:
        return _NO_EXPONENT[0] <= abs(value) < _NO_EXPONENT[1] and not value.is_integer()
    if type(value) is dict:
        for key, item in value.items():
            if type(key) is not str or not key.isascii() or _TAG in key:
                return False
            if type(item) is not str and not _is_simple(item):
                return False
        return True
    return type(value) is list and all(map(_is_simple, value))


def _whole_numbers(value: Any) -> Any:
    """``value`` with the integer in place of each float without a fraction; they have one form."""
    if type(value) is dict:
        return {key: _whole_numbers(item) for key, item in value.items()}
    if type(value) is list:
        return [_whole_numbers(item) for item in value]
    if type(value) is float and value.is_integer() and abs(value) <= _EXACT_IN_A_DOUBLE:
        return int(value)
    return value


def _tagged(value: Any) -> Any:
    if isinstance(value, dict):
        return {_escaped(key): _tagged(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_tagged(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _EXACT_IN_A_DOUBLE:
        return {_TAG: str(value)}
    return value


def _escaped(key: Any) -> Any:
    """One more ``$`` before a key that is the tag, or the tag with more of them before it."""
    return "$" + key if isinstance(key, str) and _LIKE_THE_TAG.fullmatch(key) else key


def content_hash(value: Any) -> str:
    """SHA-256 over the canonical form of ``value``, as ``sha256:<hex>``.

    For values without oversized integers and ``$integer`` keys anyone can recompute it with an
    RFC 8785 tool and ``sha256sum``.
    """
    return "sha256:" + hashlib.sha256(canonical_json(value)).hexdigest()
