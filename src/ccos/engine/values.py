"""Values that cross between a script and its host: plain JSON data, checked on the way."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, cast

_DEPTH_LIMIT: Final = 100
_ELEMENT_LIMIT: Final = 1_000_000
_TEXT_LIMIT: Final = 32 * 1024 * 1024
_BIT_LIMIT: Final = 4300 * 3
"""Of an integer; one that is not longer has surely fewer digits than Python turns into text."""


def json_data(value: Any, *, depth: int = _DEPTH_LIMIT) -> Any:
    """``value`` as plain JSON data; tuples become lists.

    What it holds twice counts twice: a few lists that hold each other would grow without end.

    Raises:
        TypeError: saying what in it is not JSON data, or what there is too much of.
    """
    return _Reader().read(value, depth)


@dataclass(slots=True)
class _Reader:
    """Reads one value, and counts what is in it."""

    elements: int = 0
    characters: int = 0

    def read(self, value: Any, depth: int) -> Any:
        if depth == 0:
            raise TypeError(f"it is nested deeper than {_DEPTH_LIMIT} levels.")
        self.elements += 1
        if self.elements > _ELEMENT_LIMIT:
            raise TypeError(f"it has more than {_ELEMENT_LIMIT} elements.")
        if type(value) is str:
            return self._text(value)
        match value:
            case None | bool():
                return value
            case int():
                if value.bit_length() > _BIT_LIMIT:
                    raise TypeError(f"an integer in it has more than {_BIT_LIMIT} bits.")
                return value
            case str():
                return self._text(value)
            case float():
                if not math.isfinite(value):
                    raise TypeError(f"{value} has no JSON form.")
                return value
            case list() | tuple():
                return [self.read(item, depth - 1) for item in value]
            case dict():
                for key in value:
                    if not isinstance(key, str):
                        raise TypeError(f"the key {_shown(key)} is not text.")
                return {
                    self._text(cast(str, key)): self.read(item, depth - 1)
                    for key, item in value.items()
                }
        raise TypeError(f"a value of type {type(value).__name__} has no JSON form.")

    def _text(self, text: str) -> str:
        self.characters += len(text)
        if self.characters > _TEXT_LIMIT:
            raise TypeError(f"it has more than {_TEXT_LIMIT} characters.")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise TypeError("it has text with a lone surrogate.") from None
        return text


def _shown(key: object) -> str:
    """A key for a message; one that is huge or deep is only named by its type."""
    return repr(key) if isinstance(key, int) and abs(key) < 1 << 64 else type(key).__name__
