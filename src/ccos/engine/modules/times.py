"""Times: RFC 3339 text and seconds read, and written by a format. No locale is consulted."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

from ccos.engine.hosts import HostFunctionError
from ccos.engine.modules.limits import MAX_FORMAT_CHARACTERS

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RFC_3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,32}))?"
    r"(?:[Zz]|([+-])(\d\d):([0-5]\d))",
    re.ASCII,
)
_DIRECTIVE: Final = re.compile(r"%(:z|.|)", re.DOTALL)
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def read(timestamp: Any) -> datetime:
    """The time that RFC 3339 text, or a number of seconds since 1970, stands for.

    A fraction of a second counts to the microsecond. A leap second (``:60``) is refused.

    Raises:
        HostFunctionError: if it is neither, or there is no such time in the years 1 to 9999.
    """
    if isinstance(timestamp, int | float) and not isinstance(timestamp, bool):
        return from_seconds(timestamp)
    if not isinstance(timestamp, str):
        raise HostFunctionError("A time is RFC 3339 text or a number of seconds since 1970.")
    found = _RFC_3339.fullmatch(timestamp)
    if found is None:
        raise HostFunctionError("The time is not RFC 3339 text, such as 2026-01-31T09:30:00Z.")
    *parts, fraction, sign, hours, minutes = found.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    microseconds = int((fraction or "")[:6].ljust(6, "0"))
    try:
        year, month, day, hour, minute, second = map(int, parts)
        zone = timezone(-offset if sign == "-" else offset)
        time = datetime(year, month, day, hour, minute, second, microseconds, zone)
        time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise HostFunctionError("There is no such time.") from None
    return time


def from_seconds(seconds: float) -> datetime:
    """The time that many seconds after 1970, in UTC.

    Raises:
        HostFunctionError: if it lies outside the years 1 to 9999.
    """
    try:
        return _EPOCH + timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        raise HostFunctionError("The time lies outside the years 1 to 9999.") from None


def written(time: datetime) -> str:
    """RFC 3339 text, in UTC and to the microsecond."""
    text = time.astimezone(UTC).isoformat(timespec="microseconds")
    return text.removesuffix("+00:00") + "Z"


def formatted(time: datetime, form: str) -> str:
    """A time by a format: text in which some ``%`` and letter stand for a part of the time.

    They are those of POSIX ``strftime`` in the C locale, ``%f`` for microseconds, ``%z`` for the
    offset as ``+0000`` and ``%:z`` for ``+00:00``, and ``%s`` for the seconds since 1970; see
    :data:`DIRECTIVES`. The time is shown at its own offset.

    Raises:
        HostFunctionError: if the format is too long or has an unknown directive.
    """
    if len(form) > MAX_FORMAT_CHARACTERS:
        raise HostFunctionError(f"The format is longer than {MAX_FORMAT_CHARACTERS} characters.")

    def part(found: re.Match[str]) -> str:
        directive = DIRECTIVES.get(found[1])
        if directive is None:
            raise HostFunctionError(f"The format has an unknown directive: {found[0]!a}.")
        return directive(time)

    return _DIRECTIVE.sub(part, form)


def _week(time: datetime, first_weekday: int) -> int:
    """Number of the week in its year, from the first ``first_weekday`` (Monday is 0) on."""
    return (time.timetuple().tm_yday + 6 - (time.weekday() - first_weekday) % 7) // 7


def _offset(time: datetime, separator: str) -> str:
    minutes = (time.utcoffset() or timedelta()) // timedelta(minutes=1)
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02}{separator}{abs(minutes) % 60:02}"


def _hour_of_twelve(time: datetime) -> int:
    return (time.hour + 11) % 12 + 1


DIRECTIVES: Final[Mapping[str, Callable[[datetime], str]]] = {
    "%": lambda time: "%",
    "n": lambda time: "\n",
    "t": lambda time: "\t",
    "Y": lambda time: f"{time.year:04}",
    "C": lambda time: f"{time.year // 100:02}",
    "y": lambda time: f"{time.year % 100:02}",
    "m": lambda time: f"{time.month:02}",
    "B": lambda time: _MONTHS[time.month - 1],
    "b": lambda time: _MONTHS[time.month - 1][:3],
    "h": lambda time: _MONTHS[time.month - 1][:3],
    "d": lambda time: f"{time.day:02}",
    "e": lambda time: f"{time.day:2}",
    "j": lambda time: f"{time.timetuple().tm_yday:03}",
    "A": lambda time: _DAYS[time.weekday()],
    "a": lambda time: _DAYS[time.weekday()][:3],
    "u": lambda time: f"{time.isoweekday()}",
    "w": lambda time: f"{time.isoweekday() % 7}",
    "U": lambda time: f"{_week(time, 6):02}",
    "W": lambda time: f"{_week(time, 0):02}",
    "G": lambda time: f"{time.isocalendar().year:04}",
    "g": lambda time: f"{time.isocalendar().year % 100:02}",
    "V": lambda time: f"{time.isocalendar().week:02}",
    "H": lambda time: f"{time.hour:02}",
    "I": lambda time: f"{_hour_of_twelve(time):02}",
    "p": lambda time: "AM" if time.hour < 12 else "PM",
    "M": lambda time: f"{time.minute:02}",
    "S": lambda time: f"{time.second:02}",
    "f": lambda time: f"{time.microsecond:06}",
    "s": lambda time: f"{(time - _EPOCH) // timedelta(seconds=1)}",
    "D": lambda time: f"{time.month:02}/{time.day:02}/{time.year % 100:02}",
    "F": lambda time: f"{time.year:04}-{time.month:02}-{time.day:02}",
    "R": lambda time: f"{time.hour:02}:{time.minute:02}",
    "T": lambda time: f"{time.hour:02}:{time.minute:02}:{time.second:02}",
    "z": lambda time: _offset(time, ""),
    ":z": lambda time: _offset(time, ":"),
}
"""What may stand after ``%``."""
