"""``crucible.json``: JSON text and values. Nothing here waits."""

from __future__ import annotations

import json
import math
from typing import Any, Final

from ccos.egress import MAX_JSON_DEPTH, read_json
from ccos.engine.hosts import (
    INTEGERS,
    Effect,
    HostContext,
    HostFunction,
    HostFunctionError,
    Parameter,
)
from ccos.engine.modules.limits import MAX_ITEMS, counted, sized

MODULE: Final = "crucible.json"


def json_parse(context: HostContext, text: str) -> Any:
    """The value of a JSON text that has exactly one meaning.

    A number without fraction and exponent is an integer, any other a float. Refused are repeated
    keys, NaN and infinities, integers beyond 64 bits, halves of surrogate pairs, more than 64
    levels, and more than :data:`~ccos.engine.modules.limits.MAX_ITEMS` commas and brackets.

    Raises:
        HostFunctionError: says what is wrong with the text.
    """
    return parsed(text, "The text")


def json_stringify(context: HostContext, value: Any) -> str:
    """A value as JSON text without white space, keys in their order.

    Raises:
        HostFunctionError: if it is no JSON data, in the sense of :func:`json_parse`, or the text
            would be too long.
    """
    return stringified(value)


def parsed(text: str, what: str) -> Any:
    """As :func:`json_parse`; ``what`` names the text in messages.

    Raises:
        HostFunctionError: as :func:`json_parse`.
    """
    sized(text, what)
    counted(sum(map(text.count, ",[{")), what)
    try:
        value = read_json(text)
    except ValueError as error:
        raise HostFunctionError(f"{what} is not usable JSON: {str(error)[:200]}.") from None
    _check(value, what)
    return value


def stringified(value: Any) -> str:
    """As :func:`json_stringify`.

    Raises:
        HostFunctionError: as :func:`json_stringify`.
    """
    _check(value, "The value")
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    sized(text, "The result")
    return text


def _check(value: Any, what: str) -> None:
    # Level by level rather than by recursion: the depth is the script's choice.
    level, depth, seen = [value], 0, 0
    while level:
        seen += len(level)
        counted(seen, what)
        below: list[Any] = []
        for item in level:
            match item:
                case None | bool() | str():
                    pass
                case int():
                    if item not in INTEGERS:
                        raise HostFunctionError(f"{what} holds an integer beyond 64 bits.")
                case float():
                    if not math.isfinite(item):
                        raise HostFunctionError(f"{what} holds {item}, which JSON has not.")
                case list():
                    below.extend(item)
                case dict():
                    if not all(isinstance(key, str) for key in item):
                        raise HostFunctionError(f"{what} has a key that is not a string.")
                    below.extend(item.values())
                case _:
                    raise HostFunctionError(
                        f"{what} holds a value of type {type(item).__name__}, which JSON has not."
                    )
            if len(below) > MAX_ITEMS:
                break
        depth += any(isinstance(item, list | dict) for item in level)
        if depth > MAX_JSON_DEPTH:
            raise HostFunctionError(f"{what} nests deeper than {MAX_JSON_DEPTH} levels.")
        level = below


FUNCTIONS: Final = (
    HostFunction(
        module=MODULE,
        name="json_parse",
        parameters=(Parameter("text", "string"),),
        returns="any",
        effect=Effect.PURE,
        summary="Read a JSON text strictly: no repeated keys, no NaN, integers within 64 bits.",
        handler=json_parse,
    ),
    HostFunction(
        module=MODULE,
        name="json_stringify",
        parameters=(Parameter("value", "any"),),
        returns="string",
        effect=Effect.PURE,
        summary="Write a value as JSON text without white space, keys in their order.",
        handler=json_stringify,
    ),
)
