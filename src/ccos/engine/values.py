"""Values that cross between a script and its host: plain JSON data, checked on the way."""

from __future__ import annotations

import math
from typing import Any, Final, cast

_DEPTH_LIMIT: Final = 100


def json_data(value: Any, *, depth: int = _DEPTH_LIMIT) -> Any:
    """``value`` as plain JSON data; tuples become lists.

    Raises:
        TypeError: saying what in it is not JSON data.
    """
    if depth == 0:
        raise TypeError(f"it is nested deeper than {_DEPTH_LIMIT} levels.")
    match value:
        case None | bool() | int():
            return value
        case str():
            if any("\ud800" <= character <= "\udfff" for character in value):
                raise TypeError("it has text with a lone surrogate.")
            return value
        case float():
            if not math.isfinite(value):
                raise TypeError(f"{value} has no JSON form.")
            return value
        case list() | tuple():
            return [json_data(item, depth=depth - 1) for item in value]
        case dict():
            for key in value:
                if not isinstance(key, str):
                    raise TypeError(f"the key {key!r} is not text.")
            return {
                cast(str, json_data(key, depth=depth)): json_data(item, depth=depth - 1)
                for key, item in value.items()
            }
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form.")
