"""Arguments written into a request, by the OpenAPI parameter styles (RFC 6570 underneath).

Every function escapes what it writes, so that a value stays inside the place it is meant for.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final
from urllib.parse import quote

from ccos.errors import InvalidArgumentsError

# A form decoder reads "+" as a blank, and "&", "=", ";" and "#" end a value, so these stay
# escaped even where a document allows reserved characters.
_QUERY_RESERVED: Final = ":/?@!$'()*,[]"
_PATH_RESERVED: Final = "/:@!$&'()*+,;="
_LITERAL_PATH: Final = "%:@!$&'()*+,;=-._~"
_DELIMITERS: Final = {"spaceDelimited": "%20", "pipeDelimited": "%7C", "tabDelimited": "%09"}
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PLACEHOLDER: Final = re.compile(r"\{([^{}/]+)\}")

Pairs = list[tuple[str, str]]


def is_token(text: str) -> bool:
    """Whether the text may be the name of a header or cookie (RFC 9110, section 5.6.2)."""
    return _TOKEN.fullmatch(text) is not None


def escape(text: str, *, safe: str = "") -> str:
    """Percent-encode everything but unreserved characters (RFC 3986) and those in ``safe``.

    Raises:
        InvalidArgumentsError: The text holds half of a surrogate pair.
    """
    try:
        return quote(text, safe=safe)
    except UnicodeEncodeError:
        raise InvalidArgumentsError("A text argument holds half of a surrogate pair.") from None


def plain_text(value: Any) -> str:
    """A value as the text that stands for it in a URL, header or form.

    Text is itself, a boolean is ``true`` or ``false``, null is empty, anything else is JSON.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def placeholders(template: str) -> tuple[str, ...]:
    """The names in braces in a path template, in order."""
    return tuple(_PLACEHOLDER.findall(template))


def path_value(
    name: str,
    value: Any,
    style: str = "simple",
    explode: bool = False,
    *,
    allow_reserved: bool = False,
) -> str:
    """The expansion of a path parameter, in the style ``simple``, ``label`` or ``matrix``.

    Args:
        name: The parameter's name, which ``matrix`` writes.
        value: The argument.
        style: The OpenAPI style.
        explode: Whether each item and property is written on its own.
        allow_reserved: Whether a text may hold several segments. It then keeps its slashes, and
            still no ``?`` or ``#``.
    """
    if allow_reserved and isinstance(value, str):
        return escape(value, safe=_PATH_RESERVED)
    if style == "label":
        return "." + _joined(value, "." if explode else ",", explode)
    if style != "matrix":
        return _joined(value, ",", explode)
    key = escape(name)
    if explode and isinstance(value, list):
        return "".join(f";{key}={escape(plain_text(item))}" for item in value)
    if explode and isinstance(value, dict):
        return "".join(
            f";{escape(field)}={escape(plain_text(item))}" for field, item in value.items()
        )
    text = _joined(value, ",", explode)
    return f";{key}={text}" if text else f";{key}"


def fill_path(template: str, values: dict[str, str]) -> str:
    """The path of a template whose placeholders are replaced by expansions.

    Args:
        template: A path such as ``/users/{id}``; its own text is escaped where it needs to be.
        values: Placeholder name to expansion, escaped already.

    Raises:
        InvalidArgumentsError: A value is missing or empty, or turns a segment into ``.`` or
            ``..``; each of these would make the request go to another place.
    """
    segments = []
    for segment in template.split("/"):
        literals, names = _split(segment)
        for name in names:
            if not values.get(name):
                raise InvalidArgumentsError(
                    f"The argument for {name!r} is part of the path and must not be empty.",
                    details={"parameter": name},
                )
        expansions = [values[name] for name in names]
        filled = "".join(
            quote(literal, safe=_LITERAL_PATH) + expansion
            for literal, expansion in zip(literals, [*expansions, ""], strict=True)
        )
        if names and not {"", ".", ".."}.isdisjoint(filled.split("/")):
            raise InvalidArgumentsError(
                f"The argument for {names[0]!r} makes a path segment that is empty, '.' or '..', "
                "which would lead to another path.",
                details={"parameter": names[0]},
            )
        segments.append(filled)
    return "/".join(segments)


def query_pairs(
    name: str,
    value: Any,
    style: str = "form",
    explode: bool = True,
    *,
    allow_reserved: bool = False,
) -> Pairs:
    """A query parameter or form field as escaped ``(name, value)`` pairs.

    Null is left out. What OpenAPI leaves undefined is written as PHP, Rails and the ``qs``
    library read it: ``name[key][0]`` inside ``deepObject``, JSON for anything else nested.

    Args:
        name: The parameter's name.
        value: The argument.
        style: ``form``, ``spaceDelimited``, ``pipeDelimited``, ``tabDelimited``, ``deepObject``.
        explode: Whether each item and property is a pair of its own.
        allow_reserved: Leave reserved characters alone that cannot end the value.
    """
    safe = _QUERY_RESERVED if allow_reserved else ""
    key = escape(name)
    if value is None:
        return []
    if style == "deepObject" and isinstance(value, dict | list):
        return _deep_pairs(key, value, safe)
    if isinstance(value, list):
        items = [escape(plain_text(item), safe=safe) for item in value]
        if explode and style not in _DELIMITERS:
            return [(key, item) for item in items]
        return [(key, _DELIMITERS.get(style, ",").join(items))] if items else []
    if isinstance(value, dict):
        fields = [
            (escape(field), escape(plain_text(item), safe=safe))
            for field, item in value.items()
            if item is not None
        ]
        if explode and style not in _DELIMITERS:
            return fields
        flat = [part for field in fields for part in field]
        return [(key, _DELIMITERS.get(style, ",").join(flat))] if flat else []
    return [(key, escape(plain_text(value), safe=safe))]


def header_text(name: str, value: Any, explode: bool = False) -> str:
    """A header's value in the style ``simple``; nothing is escaped, since headers have no escape.

    Raises:
        InvalidArgumentsError: The value holds a character that a header cannot carry.
    """
    if isinstance(value, list):
        text = ",".join(plain_text(item) for item in value)
    elif isinstance(value, dict):
        text = ",".join(
            f"{field}{'=' if explode else ','}{plain_text(item)}" for field, item in value.items()
        )
    else:
        text = plain_text(value)
    if not all(" " <= character <= "~" or character == "\t" for character in text):
        raise InvalidArgumentsError(
            f"The argument for the header {name!r} holds a line break, a control character or a "
            "character beyond ASCII, which a header cannot carry.",
            details={"parameter": name},
        )
    return text.strip(" \t")


def _deep_pairs(key: str, value: Any, safe: str) -> Pairs:
    if value is None:
        return []
    if isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        return [
            pair
            for part, item in parts
            for pair in _deep_pairs(f"{key}%5B{escape(str(part))}%5D", item, safe)
        ]
    return [(key, escape(plain_text(value), safe=safe))]


def _joined(value: Any, separator: str, explode: bool) -> str:
    if isinstance(value, list):
        return separator.join(escape(plain_text(item)) for item in value)
    if isinstance(value, dict):
        between = "=" if explode else ","
        return separator.join(
            f"{escape(field)}{between}{escape(plain_text(item))}" for field, item in value.items()
        )
    return escape(plain_text(value))


def _split(segment: str) -> tuple[list[str], list[str]]:
    parts = _PLACEHOLDER.split(segment)
    return parts[0::2], parts[1::2]
