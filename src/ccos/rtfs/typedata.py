"""A type as the tuples that the prelude checks values with."""

from __future__ import annotations

from typing import Any

from ccos.rtfs.forms import Form, VectorForm
from ccos.rtfs.types import (
    Both,
    Callable,
    Dictionary,
    Enumeration,
    Named,
    Optional,
    Record,
    Refinement,
    Resource,
    Scalar,
    Sequence,
    Tuple,
    Type,
    Union,
    type_text,
)


def type_data(kind: Type | Refinement) -> Any:
    """Nested tuples; values of the language stand in them as forms."""
    match kind:
        case Scalar(name):
            return (name,)
        case Optional(inner):
            return ("optional", type_data(inner))
        case Sequence(_, item, size):
            return ("vector", type_data(item), size)
        case Tuple(items):
            return ("tuple", tuple(type_data(item) for item in items))
        case Record(entries, others):
            parts = tuple((one.key, type_data(one.type), one.optional) for one in entries)
            return ("record", parts, None if others is None else type_data(others))
        case Dictionary(key, value):
            return ("dict", type_data(key), type_data(value))
        case Enumeration(values):
            return ("enum", tuple(values))
        case Union(members):
            return ("union", tuple(type_data(member) for member in members), type_text(kind))
        case Both(both):
            return ("and", tuple(type_data(member) for member in both))
        case Callable():
            return ("fn",)
        case Resource():
            return ("resource",)
        case Named(name):
            return ("name", name)
        case Refinement():
            return _refinement(kind)


def _refinement(kind: Refinement) -> Any:
    words = type_text(kind)
    word, operands = kind.word, kind.operands
    bound: Any = operands[0] if operands else None
    if word == "in-range":
        bound = VectorForm(operands)
    elif word == "has-key":
        word, bound = "required-keys", _listed(operands)
    elif word == "required-keys":
        assert isinstance(operands[0], VectorForm)
        bound = _listed(operands[0].items)
    return ("refinement", word, bound, words)


def _listed(forms: tuple[Form, ...]) -> Form:
    return VectorForm(tuple(forms))
