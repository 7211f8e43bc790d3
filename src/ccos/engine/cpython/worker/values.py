"""What may cross to the host: plain JSON data."""

from __future__ import annotations

import math
from typing import Any

_DEPTH_LIMIT = 100


def plain(value: Any, depth: int = _DEPTH_LIMIT) -> Any:
    """``value`` as plain JSON data; tuples become lists.

    Raises:
        TypeError: saying what in it is not JSON data.
    """
    if depth == 0:
        raise TypeError(f"it is nested deeper than {_DEPTH_LIMIT} levels")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise TypeError("it has text with a lone surrogate")
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{value} has no JSON form")
        return float(value)
    if isinstance(value, list | tuple):
        return [plain(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return {_key(key): plain(item, depth - 1) for key, item in value.items()}
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")


def _key(key: Any) -> Any:
    if not isinstance(key, str):
        raise TypeError(f"the key {key!r} is not text")
    return plain(key)
