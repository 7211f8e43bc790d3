"""Secrets are taken out before anything is written, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccos.audit import names_a_secret, redacted

REDACTED = "[redacted]"


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "Password",
        "user_password",
        "passwd",
        "Authorization",
        "Proxy-Authorization",
        "auth",
        "api_key",
        "apiKey",
        "API_KEY",
        "APIKey",
        "apikey",
        "X-Api-Key",
        "accessKey",
        "aws_access_key_id",
        "private_key",
        "token",
        "refreshToken",
        "GITHUB_TOKEN",
        "client_secret",
        "Cookie",
        "Set-Cookie",
        "session",
        "credentials",
    ],
)
def test_name_of_a_secret(name: str) -> None:
    assert names_a_secret(name)
    assert redacted({name: "value"}) == {name: REDACTED}
    assert redacted([{"deeper": {name: ["value"]}}]) == [{"deeper": {name: REDACTED}}]


@pytest.mark.parametrize(
    "name",
    ["author", "authority", "authored_by", "key", "keyboard", "monkey", "tokenizer", "secretary"],
)
def test_name_that_only_looks_like_one(name: str) -> None:
    assert not names_a_secret(name)
    assert redacted({name: "value"}) == {name: "value"}


@pytest.mark.parametrize("value", [True, None, 3, 1.5])
def test_flags_and_counts_under_such_a_name_are_kept(value: object) -> None:
    assert redacted({"token": value}) == {"token": value}


@pytest.mark.parametrize(
    "secret",
    [
        "Bearer abcdefgh.ijkl-mnop",
        "basic dXNlcjpwYXNz",
        "token 0123456789abcdef",
        "sk-abcdefghijklmnop1234",
        "ghp_" + "a1" * 18,
        "gho_" + "a1" * 18,
        "github_pat_" + "a1" * 20,
        "xoxb-1234567890-abcdef",
        "AKIAIOSFODNN7EXAMPLE",
        "AIza" + "a" * 35,
        "eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSM",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\ncut off",
    ],
)
def test_text_with_the_shape_of_a_key(secret: str) -> None:
    assert redacted(f"before {secret}") == f"before {REDACTED}"
    assert redacted([{"message": f"({secret}"}]) == [{"message": f"({REDACTED}"}]
    assert secret not in json.dumps(redacted({secret: 1}))


def test_password_in_an_address_goes_and_the_address_stays() -> None:
    assert redacted("postgresql://me:s3cret@host/db") == f"postgresql://{REDACTED}@host/db"


@pytest.mark.parametrize(
    "text",
    [
        "Bearer of good news",
        "task-force",
        "https://example.com/a?b=c",
        "basic",
        "risk-assessment-of-the-year",
        "-----BEGIN CERTIFICATE-----",
    ],
)
def test_ordinary_text_is_kept(text: str) -> None:
    assert redacted(text) == text


def test_long_text_is_cut_visibly_and_a_secret_at_the_cut_goes() -> None:
    cut = redacted("x" * 1000)
    assert cut == "x" * 400 + "… [1000 characters]"
    assert "sk-" not in redacted("x " * 195 + "sk-" + "a" * 40 + " " + "y" * 500)
    huge = redacted("y" * 100_000)
    assert len(huge) < 500
    assert huge.endswith("[100000 characters]")


def test_long_lists_and_deep_nesting_are_cut_visibly() -> None:
    assert redacted(list(range(60))) == [*range(50), "[10 more left out]"]
    cut = redacted({f"k{n}": n for n in range(60)})
    assert cut["…"] == "[10 more left out]"
    assert len(cut) == 51
    nested: Any = "core"
    for _ in range(20):
        nested = [nested]
    assert "deeper levels left out" in json.dumps(redacted(nested))
    assert "core" not in json.dumps(redacted(nested))


def test_what_is_not_json_becomes_text() -> None:
    assert redacted({"a": (1, 2), 3: {4}}) == {"a": [1, 2], "3": [4]}
    assert redacted([float("nan"), float("inf"), 1.5]) == ["nan", "inf", 1.5]
    assert redacted(ValueError("token 0123456789abcdef")) == REDACTED
    assert redacted("\ud800") == "?"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda children: st.lists(children) | st.dictionaries(st.text(), children),
        max_leaves=30,
    )
)
def test_any_data_becomes_bounded_json(value: Any) -> None:
    text = json.dumps(redacted(value), allow_nan=False, ensure_ascii=False)
    text.encode()
