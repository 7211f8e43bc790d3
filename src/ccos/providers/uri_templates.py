"""URI Templates (RFC 6570) with text for every variable."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

_EXPRESSION: Final = re.compile(r"\{([^{}]*)\}")
_VARIABLE: Final = re.compile(r"((?:[A-Za-z0-9_.]|%[0-9A-Fa-f]{2})+)(?::([1-9][0-9]{0,3}))?\*?")
_RESERVED: Final = ":/?#[]@!$&'()*+,;="
_MAXIMUM_VARIABLES: Final = 100


@dataclass(frozen=True, slots=True)
class _Operator:
    """A row of the table in RFC 6570, appendix A."""

    first: str
    separator: str
    named: bool
    if_empty: str
    reserved: bool


_OPERATORS: Final = {
    "": _Operator("", ",", False, "", False),
    "+": _Operator("", ",", False, "", True),
    "#": _Operator("#", ",", False, "", True),
    ".": _Operator(".", ".", False, "", False),
    "/": _Operator("/", "/", False, "", False),
    ";": _Operator(";", ";", True, "", False),
    "?": _Operator("?", "&", True, "=", False),
    "&": _Operator("&", "&", True, "=", False),
}
_OPTIONAL: Final = frozenset("?&#;")


@dataclass(frozen=True, slots=True)
class _Expression:
    operator: str
    variables: tuple[tuple[str, int | None], ...]


def template_variables(template: str) -> dict[str, bool]:
    """The variables of a template, each with whether a value is needed.

    One that only stands in a query, a fragment or path parameters may be left out.

    Raises:
        ValueError: It is no URI Template.
    """
    needed: dict[str, bool] = {}
    for expression in _expressions(template):
        for name, _ in expression.variables:
            needed[name] = needed.get(name, False) or expression.operator not in _OPTIONAL
    if len(needed) > _MAXIMUM_VARIABLES:
        raise ValueError(f"it has more than {_MAXIMUM_VARIABLES} variables")
    return needed


def expand(template: str, values: Mapping[str, str]) -> str:
    """The URI that a template stands for; variables without a value are left out.

    Raises:
        ValueError: It is no URI Template.
    """
    return _EXPRESSION.sub(lambda match: _expanded(_parsed(match[1]), values), template)


def _expressions(template: str) -> list[_Expression]:
    if re.search(r"[{}]", _EXPRESSION.sub("", template)):
        raise ValueError("a brace has no partner")
    return [_parsed(text) for text in _EXPRESSION.findall(template)]


def _parsed(text: str) -> _Expression:
    operator = text[:1] if text[:1] in _OPERATORS else ""
    variables = []
    for part in text[len(operator) :].split(","):
        match = _VARIABLE.fullmatch(part)
        if match is None:
            raise ValueError(f"{{{text[:100]}}} is no expression of a URI Template")
        variables.append((match[1], int(match[2]) if match[2] else None))
    return _Expression(operator, tuple(variables))


def _expanded(expression: _Expression, values: Mapping[str, str]) -> str:
    operator = _OPERATORS[expression.operator]
    parts = []
    for name, limit in expression.variables:
        if name not in values:
            continue
        text = values[name] if limit is None else values[name][:limit]
        written = quote(text, safe=_RESERVED if operator.reserved else "~")
        if operator.named:
            written = f"{name}={written}" if written else f"{name}{operator.if_empty}"
        parts.append(written)
    return operator.first + operator.separator.join(parts) if parts else ""
