from __future__ import annotations

import locale
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccos.engine.hosts import HostFunctionError
from ccos.engine.modules.times import DIRECTIVES

from .script import Script

MOMENT = "2026-02-03T04:05:06.789012Z"
LIKE_PYTHON = [name for name in DIRECTIVES if name not in ("s", ":z")]
"""Directives that the C library has as well."""

zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1000, 1, 2), datetime(9999, 12, 30), timezones=zones)  # noqa: DTZ001


def formatted(timestamp: Any, form: str) -> str:
    text = Script().call("time_format", timestamp, form)
    assert isinstance(text, str)
    return text


def test_now_is_the_time_of_the_context() -> None:
    assert Script(time=0).call("time_now") == "1970-01-01T00:00:00.000000Z"
    assert Script(time=1770091506.5).call("time_now") == "2026-02-03T04:05:06.500000Z"


def test_now_can_be_formatted() -> None:
    script = Script(time=1770091506.5)
    assert script.call("time_format", script.call("time_now"), "%s.%f") == "1770091506.500000"


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("%Y-%m-%d %H:%M:%S", "2026-02-03 04:05:06"),
        ("%A, %e %B %Y", "Tuesday,  3 February 2026"),
        ("%I:%M %p", "04:05 AM"),
        ("%F %T.%f %z %:z", "2026-02-03 04:05:06.789012 +0000 +00:00"),
        ("100%%", "100%"),
        ("", ""),
        ("ünïcode", "ünïcode"),
    ],
)
def test_times_are_formatted(form: str, expected: str) -> None:
    assert formatted(MOMENT, form) == expected


@given(moments, st.sampled_from(LIKE_PYTHON))
def test_directives_mean_what_they_mean_in_the_c_locale(time: datetime, directive: str) -> None:
    assert locale.setlocale(locale.LC_TIME) in ("C", "POSIX", "C.UTF-8")
    assert formatted(time.isoformat(), f"%{directive}") == time.strftime(f"%{directive}")


@given(moments)
def test_a_time_that_is_written_whole_is_read_back(time: datetime) -> None:
    text = formatted(time.isoformat(), "%Y-%m-%dT%H:%M:%S.%f%:z")
    assert datetime.fromisoformat(text) == time
    assert formatted(text, "%s") == str(
        (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(0, 1)
    )


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (0, "1970-01-01T00:00:00"),
        (-1, "1969-12-31T23:59:59"),
        (1770091506.75, "2026-02-03T04:05:06"),
        ("2026-02-03 04:05:06z", "2026-02-03T04:05:06"),
        ("2026-02-03t04:05:06.123456789012Z", "2026-02-03T04:05:06"),
        ("2026-02-03T04:05:06-01:30", "2026-02-03T04:05:06"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00"),
    ],
)
def test_seconds_and_rfc_3339_are_read(timestamp: Any, expected: str) -> None:
    assert formatted(timestamp, "%FT%T") == expected


@pytest.mark.parametrize(
    "timestamp",
    [
        "",
        "now",
        "2026-02-03",
        "2026-02-03T04:05:06",
        "2026-02-30T04:05:06Z",
        "2026-02-03T24:00:00Z",
        "2026-06-30T23:59:60Z",
        "2026-02-03T04:05:06+24:00",
        "2026-02-03T04:05:06+00:60",
        "2026-W06-2T04:05:06Z",
        "٢٠٢٦-02-03T04:05:06Z",
        "2026-02-03T04:05:06.Z",
        "2026-02-03T04:05:06Z\n",
        "0001-01-01T00:00:00+01:00",
        1e300,
        float("nan"),
        float("inf"),
        -(2**60),
        None,
        True,
        [0],
    ],
)
def test_what_is_no_time_is_refused(timestamp: Any) -> None:
    with pytest.raises(HostFunctionError):
        formatted(timestamp, "%Y")


@pytest.mark.parametrize("form", ["%", "%Q", "%-d", "a%", "%E", "%:", "%\n", "%c"])
def test_a_format_that_cannot_be_read_is_refused(form: str) -> None:
    with pytest.raises(HostFunctionError, match="unknown directive"):
        formatted(MOMENT, form)


def test_a_format_is_bounded() -> None:
    assert len(formatted(MOMENT, "%A" * 500)) == 500 * len("Tuesday")
    with pytest.raises(HostFunctionError, match="longer than 1000"):
        formatted(MOMENT, "x" * 1001)
