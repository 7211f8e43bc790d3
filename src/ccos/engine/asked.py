"""Calls as a program wrote them, before it is known what the capability takes.

In some languages arguments stand in a row, and only the schema of the capability tells their
names. A journal keeps such a call as it was written; its arguments are bound when it is dispatched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

RESERVED: Final = "$call"
"""The key of packed arguments under which all else of a call is kept."""

_IN_A_ROW: Final = "args"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A call as it was written.

    Attributes:
        values: Its arguments, JSON data, in order.
        keywords: Positions of those that were keywords, if the first was: they may be names.
        hints: How it is to be carried out, by name.
        version: The version that it wants, such as ``1.0`` for any 1.0.x; None for the newest.
    """

    values: Sequence[Any] = ()
    keywords: Sequence[int] = ()
    hints: Mapping[str, Any] = field(default_factory=dict)
    version: str | None = None

    def packed(self) -> dict[str, Any]:
        """The call as arguments that a journal can keep and a person can read."""
        plain = _object(self.values)
        rest: dict[str, Any] = {}
        if plain is None or RESERVED in plain:
            rest = {"values": list(self.values), "keywords": list(self.keywords)}
            plain = {_IN_A_ROW: list(self.values)}
        if self.hints:
            rest["hints"] = dict(self.hints)
        if self.version is not None:
            rest["version"] = self.version
        return {**plain, RESERVED: rest} if rest else dict(plain)

    @classmethod
    def opened(cls, arguments: Mapping[str, Any]) -> Asked:
        """The call that :meth:`packed` packed; other arguments are those of a plain call."""
        rest = arguments.get(RESERVED)
        if not isinstance(rest, dict):
            return cls(values=[arguments])
        return cls(
            values=rest.get("values", [plain(arguments)]),
            keywords=rest.get("keywords", []),
            hints=rest.get("hints", {}),
            version=rest.get("version"),
        )

    def bound(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments by name, for a capability whose input has this JSON Schema."""
        properties = schema.get("properties")
        names = list(properties) if isinstance(properties, dict) else []
        required = schema.get("required")
        first = required if isinstance(required, list) else []
        return self.named([*(one for one in names if one in first), *names])

    def named(self, names: Iterable[str]) -> dict[str, Any]:
        """The arguments by name, for what takes ``names``, the required ones first."""
        whole = _object(self.values)
        if whole is not None:
            return dict(whole)
        known = list(dict.fromkeys(names))
        keys, values = self.values[::2], self.values[1::2]
        are_pairs = len(keys) == len(values) and all(
            position in self.keywords for position in range(0, len(self.values), 2)
        )
        if are_pairs and keys[0] in known:
            return dict(zip(keys, values, strict=True))
        if len(self.values) <= len(known):
            return dict(zip(known, self.values, strict=False))
        return {_IN_A_ROW: list(self.values)}


def plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Packed arguments as people are shown them."""
    return {name: value for name, value in arguments.items() if name != RESERVED}


def _object(values: Sequence[Any]) -> Mapping[str, Any] | None:
    """The whole input object, where the call gave it as such."""
    if not values:
        return {}
    return values[0] if len(values) == 1 and isinstance(values[0], dict) else None
