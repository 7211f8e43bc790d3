"""JSON that has exactly one meaning."""

from __future__ import annotations

import json
from typing import Any

from ccos.errors import EgressError
from ccos.nesting import nests_deeper

MAX_JSON_DEPTH = 64


def read_json(text: bytes | str, *, max_depth: int = MAX_JSON_DEPTH) -> Any:
    """Read a JSON text strictly (RFC 8259, and the stricter choices of RFC 7493).

    Args:
        text: The document, as text or in UTF-8, UTF-16 or UTF-32.
        max_depth: How deeply arrays and objects may nest.

    Raises:
        ValueError: It is malformed, repeats a key, nests too deeply, or holds NaN, an
            infinity, or half of a surrogate pair.
    """
    if nests_deeper(text, max_depth):
        raise ValueError("it nests too deeply")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError:  # the interpreter is allowed less
        raise ValueError("it nests too deeply") from None
    _check(value)
    return value


def parse_json(text: bytes, *, max_depth: int = MAX_JSON_DEPTH) -> Any:
    """Read the JSON text of an answer, as :func:`read_json` does.

    Raises:
        EgressError: It is not JSON with exactly one meaning.
    """
    try:
        return read_json(text, max_depth=max_depth)
    except ValueError as error:
        raise EgressError(
            f"The answer is not usable JSON: {str(error)[:200]}.",
            next_step="The server answered something else than its contract says.",
            details={"reason": "json", "sent": True},
        ) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("an object repeats a key")
    return fields


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _check(value: Any) -> None:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            _check_text(item)
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, dict):
            waiting += item
            waiting += item.values()
        elif isinstance(item, float) and item in (float("inf"), float("-inf")):
            raise ValueError("a number is too large")


def _check_text(text: str) -> None:
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("a string holds half of a surrogate pair")
