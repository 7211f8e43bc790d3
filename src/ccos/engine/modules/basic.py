"""``crucible.basic``: logging, text, numbers, time and checks. Nothing here waits."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from ccos.egress import Target, parse_url
from ccos.engine.hosts import (
    INTEGERS,
    Effect,
    HostContext,
    HostFunction,
    HostFunctionError,
    Parameter,
)
from ccos.engine.modules import times
from ccos.engine.modules.limits import (
    MAX_LOG_CHARACTERS,
    MAX_TEXT_BYTES,
    MAX_URL_CHARACTERS,
    counted,
    sized,
)
from ccos.errors import EgressRefusedError

MODULE: Final = "crucible.basic"

_WHITE_SPACE: Final = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""The Unicode property White_Space."""

_EMAIL: Final = re.compile(
    r"""
    [A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}
    @
    [A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?
    (?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*
    """,
    re.VERBOSE,
)
_MAX_EMAIL_CHARACTERS: Final = 254


def log_debug(context: HostContext, message: str) -> None:
    """Log a message at level debug."""
    context.log("debug", _loggable(message))


def log_info(context: HostContext, message: str) -> None:
    """Log a message at level info."""
    context.log("info", _loggable(message))


def log_warn(context: HostContext, message: str) -> None:
    """Log a message at level warn."""
    context.log("warn", _loggable(message))


def log_error(context: HostContext, message: str) -> None:
    """Log a message at level error."""
    context.log("error", _loggable(message))


def report_progress(context: HostContext, fraction: float, message: str = "") -> None:
    """Say how far the script is.

    Raises:
        HostFunctionError: if ``fraction`` does not lie between 0 and 1.
    """
    if not 0 <= fraction <= 1:
        raise HostFunctionError("Progress lies between 0 and 1.")
    context.progress(float(fraction), _loggable(message))


def string_split(context: HostContext, s: str, delimiter: str) -> list[str]:
    """The parts of ``s`` between the delimiters, empty ones included.

    An empty delimiter stands before each character and at the end, so that joining the parts with
    the delimiter gives ``s`` back whatever it is.

    Raises:
        HostFunctionError: if there would be too many parts.
    """
    counted(s.count(delimiter) + 1, "The result")
    return s.split(delimiter) if delimiter else ["", *s, ""]


def string_join(context: HostContext, parts: list[Any], delimiter: str) -> str:
    """The parts with the delimiter between them.

    Raises:
        HostFunctionError: if a part is no string, or the result would be too long.
    """
    for index, part in enumerate(parts):
        if not isinstance(part, str):
            raise HostFunctionError(f"parts[{index}] is not a string.")
    length = sum(map(len, parts)) + len(delimiter) * max(len(parts) - 1, 0)
    if length > MAX_TEXT_BYTES:
        raise HostFunctionError(f"The result is longer than {MAX_TEXT_BYTES} bytes.")
    joined = delimiter.join(parts)
    sized(joined, "The result")
    return joined


def string_trim(context: HostContext, s: str) -> str:
    """``s`` without white space at its ends, as Unicode defines it (property White_Space)."""
    return s.strip(_WHITE_SPACE)


def math_abs(context: HostContext, value: int) -> int:
    """The distance from 0.

    Raises:
        HostFunctionError: for the smallest integer, whose distance does not fit into 64 bits.
    """
    return _integer(abs(value))


def math_round(context: HostContext, value: float) -> int:
    """The nearest integer; halves go away from zero.

    Raises:
        HostFunctionError: if the result does not fit into 64 bits, or there is none.
    """
    if isinstance(value, int):
        return value
    if not math.isfinite(value):
        raise HostFunctionError(f"{value} cannot be rounded to an integer.")
    # Adding a half first would round 0.49999999999999994 up.
    whole = math.floor(abs(value))
    whole += abs(value) - whole >= 0.5
    return _integer(whole if value > 0 else -whole)


def time_now(context: HostContext) -> str:
    """The time in UTC (RFC 3339), to the microsecond."""
    return times.written(times.from_seconds(context.now()))


def time_format(context: HostContext, timestamp: Any, format: str) -> str:  # noqa: A002
    """A time in another form; see :func:`ccos.engine.modules.times.formatted`.

    Raises:
        HostFunctionError: if the time or the format cannot be read.
    """
    return times.formatted(times.read(timestamp), format)


def validate_email(context: HostContext, s: str) -> bool:
    """Whether ``s`` is an e-mail address.

    The rule is that of ``<input type=email>`` (WHATWG HTML, "valid email address"), with the
    lengths of RFC 5321: 64 characters before the ``@``, 254 in all. Whether anybody reads mail
    there is not asked.
    """
    return len(s) <= _MAX_EMAIL_CHARACTERS and _EMAIL.fullmatch(s) is not None


def validate_url(context: HostContext, s: str) -> bool:
    """Whether ``s`` is a URL that a request could be sent to, policies aside.

    It is absolute, of scheme http or https, with a host that is a plain name or address, without
    credentials, white space or control characters, and at most 8192 characters long.
    """
    if len(s) > MAX_URL_CHARACTERS or " " in s or not s.isprintable():
        return False
    try:
        Target.of(parse_url(s))
    except EgressRefusedError:
        return False
    return True


def _loggable(message: str) -> str:
    cut = len(message) - MAX_LOG_CHARACTERS
    if cut <= 0:
        return message
    return f"{message[:MAX_LOG_CHARACTERS]} [{cut} characters left out]"


def _integer(value: int) -> int:
    if value not in INTEGERS:
        raise HostFunctionError("The result does not fit into 64 bits.")
    return value


_MESSAGE: Final = Parameter("message", "string")
_TEXT: Final = Parameter("s", "string")


def _function(handler: Any, returns: str, summary: str, *parameters: Parameter) -> HostFunction:
    return HostFunction(
        module=MODULE,
        name=handler.__name__,
        parameters=parameters,
        returns=returns,
        effect=Effect.PURE,
        summary=summary,
        handler=handler,
    )


FUNCTIONS: Final = (
    _function(log_debug, "none", "Log a message at level debug.", _MESSAGE),
    _function(log_info, "none", "Log a message at level info.", _MESSAGE),
    _function(log_warn, "none", "Log a message at level warn.", _MESSAGE),
    _function(log_error, "none", "Log a message at level error.", _MESSAGE),
    _function(
        report_progress,
        "none",
        "Say how far the script is, from 0 to 1, and what it does now.",
        Parameter("fraction", "number"),
        Parameter("message", "string", required=False),
    ),
    _function(
        string_split,
        "array",
        "Split a string at each delimiter; an empty delimiter splits it into characters, "
        "with an empty string at both ends.",
        _TEXT,
        Parameter("delimiter", "string"),
    ),
    _function(
        string_join,
        "string",
        "Join an array of strings, with a delimiter between them.",
        Parameter("parts", "array"),
        Parameter("delimiter", "string"),
    ),
    _function(string_trim, "string", "Remove white space at both ends of a string.", _TEXT),
    _function(
        math_abs, "integer", "The absolute value of an integer.", Parameter("value", "integer")
    ),
    _function(
        math_round,
        "integer",
        "Round to the nearest integer; halves go away from zero.",
        Parameter("value", "number"),
    ),
    _function(time_now, "string", "The time in UTC, as RFC 3339 text."),
    _function(
        time_format,
        "string",
        "Write a time (RFC 3339 text, or seconds since 1970) by a format such as "
        "'%Y-%m-%d %H:%M:%S'.",
        Parameter("timestamp", "any"),
        Parameter("format", "string"),
    ),
    _function(
        validate_email,
        "boolean",
        "Whether a string is an e-mail address, by the rule of HTML's e-mail fields.",
        _TEXT,
    ),
    _function(
        validate_url,
        "boolean",
        "Whether a string is an absolute http or https URL without credentials.",
        _TEXT,
    ),
)
