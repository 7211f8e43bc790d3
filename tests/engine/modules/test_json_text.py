from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccos.engine.hosts import HostFunctionError
from ccos.engine.modules.limits import MAX_ITEMS, MAX_TEXT_BYTES

from .script import Script

texts = st.text(st.characters(codec="utf-8"), max_size=20)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


def parse(text: str) -> Any:
    return Script().call("json_parse", text)


def stringify(value: Any) -> Any:
    return Script().call("json_stringify", value)


@given(values)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    again = parse(stringify(value))
    assert repr(again) == repr(value)  # tells 1 from 1.0 and True, and the order of keys


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("1.0", 1.0),
        ("1e2", 100.0),
        ("-0", 0),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("9223372036854775808.0", 2.0**63),
        (' { "a" : [ null , true ] } ', {"a": [None, True]}),
        ('"\\ud83d\\ude00"', "😀"),
        ("[" * 64 + "]" * 64, None),
    ],
)
def test_json_is_read(text: str, value: Any) -> None:
    found = parse(text)
    if value is not None:
        assert found == value
        assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1,]",
        "01",
        "'a'",
        "NaN",
        "Infinity",
        "1e999",
        "9223372036854775808",
        "-9223372036854775809",
        "9" * 100_000,
        '{"a": 1, "a": 2}',
        '{"a": {"b": 1, "b": 1}}',
        '"\\ud800"',
        "\ud800",
        "\ufeff1",
        "[" * 65 + "]" * 65,
        "[" * 100_000,
    ],
)
def test_json_with_no_meaning_or_two_is_refused(text: str) -> None:
    with pytest.raises(HostFunctionError):
        parse(text)


def test_what_is_read_is_bounded() -> None:
    assert len(parse(f"[{'1,' * (MAX_ITEMS - 2)}1]")) == MAX_ITEMS - 1
    with pytest.raises(HostFunctionError, match="more than"):
        parse(f"[{'1,' * MAX_ITEMS}1]")
    assert parse(f'"{"x" * (MAX_TEXT_BYTES - 2)}"')
    with pytest.raises(HostFunctionError, match="longer than"):
        parse(f'"{"x" * MAX_TEXT_BYTES}"')


def test_text_is_compact_and_keeps_the_order_of_keys() -> None:
    assert stringify({"b": [1, 2.0, None], "a": "é\n"}) == '{"b":[1,2.0,null],"a":"é\\n"}'


def nested(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        [1, {"a": -math.inf}],
        2**63,
        {"a": [-(2**63) - 1]},
        {1: "a"},
        [(1, 2)],
        [b"bytes"],
        ["\ud800"],
        {"\ud800": 1},
        nested(65),
    ],
)
def test_what_json_has_not_is_refused(value: Any) -> None:
    with pytest.raises(HostFunctionError):
        stringify(value)


def test_what_is_written_is_bounded() -> None:
    assert stringify(nested(64)) == "[" * 64 + "0" + "]" * 64
    assert len(stringify("x" * (MAX_TEXT_BYTES - 2))) == MAX_TEXT_BYTES
    with pytest.raises(HostFunctionError, match="longer than"):
        stringify("\x01" * (MAX_TEXT_BYTES // 2))
    doubled: Any = "x"
    for _ in range(60):
        doubled = [doubled, doubled]
    with pytest.raises(HostFunctionError, match="more than"):
        stringify(doubled)
