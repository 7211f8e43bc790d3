"""What the id in ``(call id …)`` asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ccos.capabilities import canonical_id

_VERSIONED: Final = re.compile(r"(.+?):v(\d+(?:\.\d+)*)[/.](.+)")


@dataclass(frozen=True, slots=True)
class CallTarget:
    """A capability that a call asks for.

    Attributes:
        identifier: The id as capabilities are compared by.
        version: The version wish without its last part, such as ``1.0`` for any 1.0.x; None if
            the newest will do.
    """

    identifier: str
    version: str | None = None


def target_of(text: str) -> CallTarget:
    """Read an id as a program writes it, such as ``com.acme:v1.0/foo``.

    Raises:
        InvalidIdentifierError: if no capability can have it.
    """
    found = _VERSIONED.fullmatch(text.strip().strip("\"'").removeprefix(":"))
    if found is None:
        return CallTarget(canonical_id(text))
    return CallTarget(canonical_id(f"{found[1]}.{found[3]}"), found[2])
