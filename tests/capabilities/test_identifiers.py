"""Ids: one spelling each, and nothing that could mean something to a path, shell or eye."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccos.capabilities import canonical_id, id_tokens
from ccos.capabilities.identifiers import MAXIMUM_LENGTH, MAXIMUM_SEGMENTS
from ccos.errors import InvalidIdentifierError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("weather.current", "weather.current"),
        ("  weather.current\n", "weather.current"),
        (":weather.current", "weather.current"),
        ('"weather.current"', "weather.current"),
        ("'weather.current'", "weather.current"),
        ('":weather.current"', "weather.current"),
        (":weather/current", "weather.current"),
        ("com.acme:v1.0/f", "com.acme:v1.0.f"),
        ("a", "a"),
        ("_private.x", "_private.x"),
        ("get-user.by-id_2", "get-user.by-id_2"),
        ("Git.ListRepos", "Git.ListRepos"),
        ("con.nul.aux", "con.nul.aux"),
    ],
)
def test_spellings_of_one_id(text: str, expected: str) -> None:
    assert canonical_id(text) == expected
    assert canonical_id(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        ":",
        '""',
        ".",
        "..",
        "../x",
        "x/../y",
        "/etc/passwd",
        "a/",
        "..%2f",
        "a%2e%2e",
        "a\\b",
        "a\x00b",
        "a.\x00",
        "a\nb",
        "a b",
        "a..b",
        ".a",
        "a.",
        "a::b",
        "::a",
        "a.-b",
        "a-.b",
        "-a",
        "a;b",
        "a$(b)",
        "a`b`",
        "a'b",
        '"a',
        "a\x1b[31m",
        "a\u200bb",
        "a\u202eb",
        "\ufeffa",
        "a~b",
        "a*",
        "a@1.0",
    ],
    ids=ascii,
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidIdentifierError) as caught:
        canonical_id(text)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("latin", "twin"),
    [
        ("paypal.send", "p\u0430ypal.send"),
        ("google.search", "g\u03bf\u03bfgle.search"),
        ("weather.current", "weather\u2024current"),
        ("weather.current", "\uff57eather.current"),
        ("cafe.menu", "caf\u00e9.menu"),
        ("cafe.menu", "cafe\u0301.menu"),
        ("kelvin.now", "\u212aelvin.now"),
        ("file.read", "\ufb01le.read"),
        ("task.id", "task.\u0131d"),
        ("a.1", "a.\u0661"),
        ("get-user", "get\u2010user"),
    ],
    ids=ascii,
)
def test_twins_that_look_alike_are_refused(latin: str, twin: str) -> None:
    assert canonical_id(latin) == latin
    with pytest.raises(InvalidIdentifierError, match=r"U\+") as caught:
        canonical_id(twin)
    assert chr(caught.value.details["codepoint"]) == twin[caught.value.details["position"]]


def test_length_and_number_of_segments_are_bounded() -> None:
    longest = "a" * MAXIMUM_LENGTH
    assert canonical_id(longest) == longest
    with pytest.raises(InvalidIdentifierError, match="201"):
        canonical_id(longest + "a")
    deepest = ".".join("a" * MAXIMUM_SEGMENTS)
    assert canonical_id(deepest) == deepest
    with pytest.raises(InvalidIdentifierError, match="17"):
        canonical_id(deepest + ":a")


@pytest.mark.parametrize("value", [None, 3, b"weather", ["weather"]])
def test_id_is_text(value: object) -> None:
    with pytest.raises(InvalidIdentifierError, match="text"):
        canonical_id(value)  # type: ignore[arg-type]


@given(st.text(max_size=250) | st.from_regex(r"[a-z:./'\" _-]{1,20}", fullmatch=True))
def test_any_text_is_refused_or_has_one_harmless_spelling(text: str) -> None:
    try:
        spelled = canonical_id(text)
    except InvalidIdentifierError:
        return
    assert canonical_id(spelled) == spelled
    assert spelled.isascii()
    assert unicodedata.normalize("NFKC", spelled) == spelled
    assert set(spelled) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:")
    assert ".." not in spelled
    assert not spelled.startswith((".", "-", ":"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("github.listRepos", ("github", "list", "repos")),
        ("HTTPServer_get", ("http", "server", "get")),
        ("v1.getUserByID", ("v", "1", "get", "user", "by", "id")),
        ("", ()),
        ("...", ()),
    ],
)
def test_words_of_an_id(text: str, words: tuple[str, ...]) -> None:
    assert id_tokens(text) == words
