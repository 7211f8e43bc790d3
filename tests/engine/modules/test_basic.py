from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccos.engine.hosts import HostFunctionError
from ccos.engine.modules.limits import MAX_ITEMS, MAX_LOG_CHARACTERS, MAX_TEXT_BYTES

from .script import Script


def call(name: str, *arguments: Any) -> Any:
    return Script().call(name, *arguments)


@pytest.mark.parametrize("level", ["debug", "info", "warn", "error"])
def test_messages_are_logged_at_their_level(level: str) -> None:
    script = Script()
    assert script.call(f"log_{level}", "hello") is None
    assert script.logged == [(level, "hello")]


def test_a_long_message_is_cut_and_says_so() -> None:
    script = Script()
    script.call("log_info", "x" * MAX_LOG_CHARACTERS)
    script.call("log_info", "x" * (MAX_LOG_CHARACTERS + 5))
    whole, cut = (message for _, message in script.logged)
    assert whole == "x" * MAX_LOG_CHARACTERS
    assert cut == "x" * MAX_LOG_CHARACTERS + " [5 characters left out]"


def test_progress_is_reported() -> None:
    script = Script()
    script.call("report_progress", 0)
    script.call("report_progress", 0.5, "half")
    script.call("report_progress", fraction=1, message="done")
    assert script.progressed == [(0.0, ""), (0.5, "half"), (1.0, "done")]


@pytest.mark.parametrize("fraction", [-0.1, 1.1, math.nan, math.inf, 2])
def test_progress_outside_of_0_and_1_is_refused(fraction: float) -> None:
    script = Script()
    with pytest.raises(HostFunctionError, match="between 0 and 1"):
        script.call("report_progress", fraction)
    assert script.progressed == []


@pytest.mark.parametrize(
    ("text", "delimiter", "parts"),
    [
        ("a,b,c", ",", ["a", "b", "c"]),
        (",a,", ",", ["", "a", ""]),
        ("", ",", [""]),
        ("abc", "", ["", "a", "b", "c", ""]),
        ("", "", ["", ""]),
        ("a--b", "--", ["a", "b"]),
        ("a", "long", ["a"]),
    ],
)
def test_a_string_is_split_at_each_delimiter(text: str, delimiter: str, parts: list[str]) -> None:
    assert call("string_split", text, delimiter) == parts


@given(st.text(alphabet="ab,é€😀", max_size=50), st.text(alphabet="ab,é", max_size=2))
def test_joining_what_was_split_gives_the_string_back(text: str, delimiter: str) -> None:
    assert call("string_join", call("string_split", text, delimiter), delimiter) == text


@given(st.lists(st.text(alphabet="abé", max_size=5), min_size=1))
def test_splitting_what_was_joined_gives_the_parts_back(parts: list[str]) -> None:
    assert call("string_split", call("string_join", parts, ","), ",") == parts


def test_joining_needs_strings() -> None:
    assert call("string_join", [], ",") == ""
    assert call("string_join", ["a", "b"], "") == "ab"
    with pytest.raises(HostFunctionError, match=r"^parts\[1\] is not a string\.$"):
        call("string_join", ["a", 1], ",")


def test_results_are_bounded() -> None:
    assert len(call("string_split", "," * (MAX_ITEMS - 1), ",")) == MAX_ITEMS
    with pytest.raises(HostFunctionError, match="more than"):
        call("string_split", "," * MAX_ITEMS, ",")
    half = "x" * (MAX_TEXT_BYTES // 2)
    assert len(call("string_join", [half, half], "")) == MAX_TEXT_BYTES
    for parts, delimiter in (([half, half], "x"), ([half, "é" * (MAX_TEXT_BYTES // 4 + 1)], "")):
        with pytest.raises(HostFunctionError, match="longer than"):
            call("string_join", parts, delimiter)
    # Were it built before it is measured, this would need 5 TB.
    with pytest.raises(HostFunctionError, match="longer than"):
        call("string_join", [""] * MAX_ITEMS, half * 2)


@pytest.mark.parametrize(
    ("text", "trimmed"),
    [
        ("  a b \t\n", "a b"),
        ("\u00a0\u3000a\u2029\x85", "a"),
        ("\x1ca\u200b", "\x1ca\u200b"),
        ("   ", ""),
        ("", ""),
    ],
)
def test_white_space_is_what_unicode_says(text: str, trimmed: str) -> None:
    assert call("string_trim", text) == trimmed


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_the_absolute_value_of_an_integer(value: int) -> None:
    assert call("math_abs", value) == (value if value >= 0 else -value)


def test_the_smallest_integer_has_no_absolute_value() -> None:
    assert call("math_abs", -(2**63) + 1) == 2**63 - 1
    with pytest.raises(HostFunctionError, match="64 bits"):
        call("math_abs", -(2**63))


@pytest.mark.parametrize(
    ("value", "rounded"),
    [
        (0.5, 1),
        (-0.5, -1),
        (1.5, 2),
        (2.5, 3),
        (-2.5, -3),
        (0.49999999999999994, 0),
        (-0.49999999999999994, 0),
        (4503599627370497.5, 4503599627370498),
        (9007199254740993.0, 9007199254740992),
        (-0.0, 0),
        (3, 3),
        (-9223372036854775808.0, -(2**63)),
    ],
)
def test_halves_are_rounded_away_from_zero(value: float, rounded: int) -> None:
    result = call("math_round", value)
    assert result == rounded
    assert type(result) is int


@given(st.floats(-9e18, 9e18))
def test_rounding_is_exact(value: float) -> None:
    exact = int(Decimal(value).quantize(Decimal(1), rounding=ROUND_HALF_UP)) if value else 0
    assert call("math_round", value) == exact
    assert abs(Fraction(value) - exact) <= Fraction(1, 2)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2.0**63, -1e300])
def test_what_is_near_no_integer_is_refused(value: float) -> None:
    with pytest.raises(HostFunctionError):
        call("math_round", value)


@pytest.mark.parametrize(
    "address",
    [
        "a@b.example",
        "first.last+tag@sub.example.com",
        "x@localhost",
        f"{'a' * 64}@example.com",
        f"a@{'b' * 63}.example",
    ],
)
def test_e_mail_addresses_are_known(address: str) -> None:
    assert call("validate_email", address) is True


@pytest.mark.parametrize(
    "address",
    [
        "",
        "@",
        "a@",
        "@b.example",
        "a b@c.example",
        "a@b@c.example",
        "a@-b.example",
        "a@b-.example",
        "a@b..example",
        "a@b.example.",
        "a@b.example\n",
        "é@b.example",
        f"{'a' * 65}@example.com",
        f"a@{'b' * 64}.example",
        f"a@{'.'.join(['b' * 60] * 5)}",
        "a@" * 100_000,
        "a" * 1_000_000,
    ],
)
def test_what_is_no_e_mail_address_is_known(address: str) -> None:
    assert call("validate_email", address) is False


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "HTTP://EXAMPLE.com:8080/a/b?c=d#e",
        "https://bücher.example/",
        "http://127.0.0.1/",
        "http://[::1]:80/",
        "https://example.com/%20",
    ],
)
def test_urls_are_known(url: str) -> None:
    assert call("validate_url", url) is True


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "/path",
        "//example.com",
        "http://",
        "http:///path",
        "ftp://example.com",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://user:password@example.com",
        "https://exa mple.com",
        "https://example.com/a b",
        " https://example.com",
        "https://example.com\n",
        "https://example.com/\x00",
        "https://example.com:99999",
        "https://[::1",
        "https://0x7f.1/",
        "https://example.com/" + "a" * 9000,
    ],
)
def test_what_is_no_url_is_known(url: str) -> None:
    assert call("validate_url", url) is False
