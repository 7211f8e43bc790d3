"""Constants as Python text, and calls that can be evaluated before the run."""

from __future__ import annotations

from typing import Any, Final

from ccos.rtfs import prelude
from ccos.rtfs.emitting.text import ATOM, SIGN, Code
from ccos.rtfs.forms import Form, Keyword, ListForm, Literal, MapForm, Symbol, VectorForm
from ccos.rtfs.printer import printed

HELD: Final = "#held"
"""The kind of a literal that stands for a Python name."""


def data_code(form: Form) -> Code:
    """Python text of a form as data."""
    match form:
        case Keyword(name):
            return Code(repr(name.encode()))
        case Symbol(name):
            return Code(f"Symbol({name!r})")
        case Literal():
            return literal_code(form)
        case ListForm(items):
            comma = "," if len(items) == 1 else ""
            return Code(f"({', '.join(map(data_code, items))}{comma})")
        case VectorForm(items):
            return Code(f"[{', '.join(map(data_code, items))}]")
        case MapForm():
            if all(isinstance(key, Keyword | Literal) for key, _ in form.pairs):
                pairs = [f"{key_code(key)}: {data_code(value)}" for key, value in form.pairs]
                return Code(f"{{{', '.join(pairs)}}}")
            return Code(f"map_of({', '.join(map(data_code, form.items))})")
    raise AssertionError(f"{printed(form)} is no data")


def literal_code(form: Literal) -> Code:
    """Python text of a literal."""
    match form.kind, form.value:
        case "nil", _:
            return Code("None")
        case "boolean", value:
            return Code("TRUE" if value else "FALSE")
        case "float", float(number):
            if number != number or number in (float("inf"), -float("inf")):
                return Code(f'float("{number!r}")')
            return Code(repr(number), SIGN if number < 0 or repr(number)[0] == "-" else ATOM)
        case "integer", int(number):
            if number.bit_length() > 10_000:
                return Code(f"int({hex(number)!r}, 16)")
            return Code(str(number), SIGN if number < 0 else ATOM)
        case "string", text:
            return Code(repr(text))
        case "timestamp", text:
            return Code(f"Timestamp({text!r})")
        case "uuid", text:
            return Code(f"Uuid({text!r})")
        case _ if form.kind == HELD:
            return Code(str(form.value))
    return Code(f"Handle({form.value!r})")


def key_code(form: Form) -> Code:
    """Python text of a constant as the key of a dict."""
    code = data_code(form)
    return Code(f"key({code})") if isinstance(form, Literal) and form.kind == "float" else code


def repr_data(data: Any) -> str:
    """Python text of the data of a type: tuples with forms at the places of values."""
    if isinstance(data, tuple):
        comma = "," if len(data) == 1 else ""
        return f"({', '.join(map(repr_data, data))}{comma})"
    if data is None or isinstance(data, str | int | float | bool):
        return repr(data)
    return data_code(data)


NO_VALUE: Final = object()


FOLDABLE: Final = frozenset(
    {
        "add",
        "subtract",
        "multiply",
        "divide",
        "inc",
        "dec",
        "absolute",
        "maximum",
        "minimum",
        "modulo",
        "remainder",
        "integer_quotient",
        "all_equal",
        "not_equal",
        "lt",
        "le",
        "gt",
        "ge",
        "negated",
        "concat_text",
        "upper",
        "lower",
        "string_length",
        "is_even",
        "is_odd",
        "is_zero",
        "is_positive",
        "is_negative",
    }
)


def constant_value(form: Form) -> Any:
    """What the prelude has for a constant; NO_VALUE if it is not to be used before the run."""
    match form:
        case Keyword(name):
            return name.encode()
        case Literal("boolean", value):
            return prelude.TRUE if value else prelude.FALSE
        case Literal("integer", int(value)) if value.bit_length() > 256:
            return NO_VALUE
        case Literal("nil" | "integer" | "float" | "string", value):
            return value
    return NO_VALUE


def constant_form(value: Any, at: int) -> Form | None:
    """The constant that stands for a value of the prelude; None if there is none."""
    match value:
        case prelude.Bool():
            return Literal("boolean", value is prelude.TRUE, at, at)
        case int():
            return Literal("integer", value, at, at)
        case float():
            return Literal("float", value, at, at)
        case str():
            return Literal("string", value, at, at)
    return None


def data_kind(form: Form) -> str:
    """The kind of a constant as the reader names it."""
    match form:
        case Keyword():
            return "keyword"
        case Literal("integer", int(value)) if value.bit_length() > 10_000:
            return "long"
        case Literal(kind):
            return kind
    return "other"
