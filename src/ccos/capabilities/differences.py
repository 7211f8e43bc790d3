"""What differs between two definitions, field by field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

_MAXIMUM: Final = 200
_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two JSON values differ."""

    path: str
    """JSON Pointer (RFC 6901)."""
    before: Any
    """None also where there was nothing."""
    after: Any
    """None also where there is nothing any more."""


def differences(before: Any, after: Any) -> tuple[Difference, ...]:
    """The smallest parts in which two JSON values differ, at most 200 of them."""
    return tuple(islice(_differences(before, after, ""), _MAXIMUM))


def _differences(before: Any, after: Any, path: str) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys((*before, *after)):
            here = f"{path}/{str(key).replace('~', '~0').replace('/', '~1')}"
            yield from _differences(before.get(key, _ABSENT), after.get(key, _ABSENT), here)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _differences(one, other, f"{path}/{number}")
    elif type(before) is not type(after) or before != after:
        yield Difference(
            path,
            None if before is _ABSENT else before,
            None if after is _ABSENT else after,
        )
