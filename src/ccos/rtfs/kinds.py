"""What is known of a value before the run, as far as it makes the generated text simpler.

A kind is a word: ``small`` (an integer that never gets long), ``int``, ``float``, ``num``,
``str``, ``bool``, ``kw``, ``nil``, ``vec`` (``vec:num`` if its items are known), ``map``, ``fn``,
``never`` (it always raises) and ``any``.
"""

from __future__ import annotations

from typing import Final

_ABOVE: Final = {"small": ("int", "num"), "int": ("num",), "float": ("num",), "num": ()}


def joined(a: str, b: str) -> str:
    """The kind of a value that is of one or the other kind."""
    if a == b or b == "never":
        return a
    if a == "never":
        return b
    if a in _ABOVE and b in _ABOVE:
        if b in _ABOVE[a]:
            return b
        return a if a in _ABOVE[b] else "num"
    if a.startswith("vec") and b.startswith("vec"):
        return vector_of(joined(item_of(a), item_of(b)))
    return "any"


def is_number(kind: str) -> bool:
    """Whether every value of the kind is a number."""
    return kind in _ABOVE


def is_integer(kind: str) -> bool:
    """Whether every value of the kind is an integer."""
    return kind in ("small", "int")


def vector_of(item: str) -> str:
    """The kind of a vector."""
    return "vec" if item == "any" else f"vec:{item}"


def item_of(kind: str) -> str:
    """The kind of the items of a sequence."""
    if kind == "str":
        return "str"
    return kind[4:] if kind.startswith("vec:") else "any"


def is_vector(kind: str) -> bool:
    """Whether every value of the kind is a vector."""
    return kind.startswith("vec")


def total(a: str, b: str) -> str:
    """The kind of a sum or difference of two numbers."""
    if not is_number(a) or not is_number(b):
        return "num"
    if a == "float" or b == "float":
        return "float"
    return joined(a, b)
