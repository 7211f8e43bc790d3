"""Canonical JSON: the vectors follow the rules of RFC 8785 section 3.2."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from ccos.canonical import canonical_json, content_hash

EXACT = 2**53 - 1

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda children: (
        st.lists(children, max_size=5)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), children, max_size=5)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("number", "form"),
    [
        (0, "0"),
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (-1.5, "-1.5"),
        (1e21, "1e+21"),
        (1e20, "100000000000000000000"),
        (123456789012345680000.0, "123456789012345680000"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (0.1 + 0.2, "0.30000000000000004"),
        (0.0001, "0.0001"),
        (0.00011, "0.00011"),
        (-0.00009, "-0.00009"),
        (9007199254740993.0, "9007199254740992"),
        (1e16, "10000000000000000"),
        (4503599627370495.5, "4503599627370495.5"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (333333333.33333329, "333333333.3333333"),
        (EXACT, "9007199254740991"),
        (-EXACT, "-9007199254740991"),
    ],
)
def test_numbers_have_the_form_that_ecmascript_gives_them(number: float, form: str) -> None:
    assert canonical_json(number) == form.encode()


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("\b\t\n\f\r", r'"\b\t\n\f\r"'),
        ("\x00\x1f\x0b", r'"\u0000\u001f\u000b"'),
        ('"\\', r'"\"\\"'),
        ("/", '"/"'),
        ("\x7f", '"\x7f"'),
        ("\u20ac\u2028\u2029", '"\u20ac\u2028\u2029"'),
        ("\U0001f600", '"\U0001f600"'),
        ("e\u0301", '"e\u0301"'),
    ],
)
def test_text_is_escaped_only_where_it_must_be(text: str, form: str) -> None:
    assert canonical_json(text) == form.encode()


def test_keys_are_ordered_by_utf_16_code_units() -> None:
    # U+1F600 begins with the unit D83D, which sorts before U+FB33; by code point it is behind.
    keys = ["\ufb33", "\U0001f600", "\u20ac", "\u00f6", "\u0080", "1", "\r"]
    expected = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert list(json.loads(canonical_json(dict.fromkeys(keys, 0)))) == expected


def test_no_blanks_and_no_order_of_insertion() -> None:
    assert canonical_json({"b": [1, True, None], "a": {"d": 1, "c": 2}}) == (
        b'{"a":{"c":2,"d":1},"b":[1,true,null]}'
    )


@pytest.mark.parametrize(
    ("integer", "form"),
    [
        (EXACT + 1, b'{"$integer":"9007199254740992"}'),
        (-(EXACT + 1), b'{"$integer":"-9007199254740992"}'),
        (2**63 - 1, b'{"$integer":"9223372036854775807"}'),
        (10**40, b'{"$integer":"1' + b"0" * 40 + b'"}'),
    ],
)
def test_integers_that_no_double_holds_are_tagged(integer: int, form: bytes) -> None:
    assert canonical_json(integer) == form
    assert canonical_json([{"n": integer}]) == b'[{"n":' + form + b"}]"


def test_neighbouring_big_integers_have_different_hashes() -> None:
    assert len({content_hash(2**60 + offset) for offset in range(-2, 3)}) == 5
    assert content_hash(2**60) != content_hash(float(2**60))


def test_the_tag_cannot_be_forged() -> None:
    forged = {"$integer": "9007199254740992"}
    assert canonical_json(forged) == b'{"$$integer":"9007199254740992"}'
    values = [2**53, forged, {"$$integer": "9007199254740992"}, [forged, 1.5], [2**53, 1.5]]
    assert len({canonical_json(value) for value in values}) == len(values)
    assert canonical_json({"$integers": 1, "a": "$integer"}) == b'{"$integers":1,"a":"$integer"}'


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        float("-inf"),
        "\ud800",
        {"\udfff": 1},
        {1: "number as key"},
        {None: 1},
        [2**60, float("nan")],
        object(),
        b"bytes",
    ],
)
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(ValueError):
        canonical_json(value)


def test_hash_is_the_sha_256_of_the_canonical_form() -> None:
    expected = hashlib.sha256(b'{"a":1,"b":"\xc3\xa9"}').hexdigest()
    assert content_hash({"b": "é", "a": 1.0}) == f"sha256:{expected}"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_has_one_form_wherever_it_stands(number: float) -> None:
    form = rfc8785.dumps(number)
    assert canonical_json({"a": [number, 1.0]}) == b'{"a":[%s,1]}' % form
    assert canonical_json({"\u20ac": number}) == b'{"\xe2\x82\xac":%s}' % form


@given(json_values)
def test_order_of_keys_never_matters(value: Any) -> None:
    def reversed_keys(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: reversed_keys(item[key]) for key in reversed(item)}
        return [reversed_keys(one) for one in item] if isinstance(item, list) else item

    assert canonical_json(reversed_keys(value)) == canonical_json(value)


@given(json_values)
def test_form_is_json_with_the_same_content(value: Any) -> None:
    def untagged(item: Any) -> Any:
        if isinstance(item, dict):
            if list(item) == ["$integer"] and isinstance(item["$integer"], str):
                return int(item["$integer"])
            return {unescaped(key): untagged(one) for key, one in item.items()}
        return [untagged(one) for one in item] if isinstance(item, list) else item

    def unescaped(key: str) -> str:
        return key[1:] if re.fullmatch(r"\$\$+integer", key) else key

    assert untagged(json.loads(canonical_json(value), parse_int=float)) == value
