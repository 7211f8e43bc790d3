"""Parameter styles against the examples of the OpenAPI specification, and against injection."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccos.errors import InvalidArgumentsError
from ccos.providers.parameter_styles import (
    escape,
    fill_path,
    header_text,
    path_value,
    plain_text,
    query_pairs,
)

ARRAY = ["blue", "black", "brown"]
OBJECT = {"R": 100, "G": 200, "B": 150}

# OpenAPI 3.1, "Style Examples"; the delimiters of "spaceDelimited" and "pipeDelimited" are written
# in their percent-encoded form, as OpenAPI 3.1.1 asks.
PATH_EXAMPLES = [
    ("matrix", False, "blue", ";color=blue"),
    ("matrix", False, "", ";color"),
    ("matrix", False, ARRAY, ";color=blue,black,brown"),
    ("matrix", False, OBJECT, ";color=R,100,G,200,B,150"),
    ("matrix", True, ARRAY, ";color=blue;color=black;color=brown"),
    ("matrix", True, OBJECT, ";R=100;G=200;B=150"),
    ("label", False, "blue", ".blue"),
    ("label", False, ARRAY, ".blue,black,brown"),
    ("label", False, OBJECT, ".R,100,G,200,B,150"),
    ("label", True, ARRAY, ".blue.black.brown"),
    ("label", True, OBJECT, ".R=100.G=200.B=150"),
    ("simple", False, "blue", "blue"),
    ("simple", False, ARRAY, "blue,black,brown"),
    ("simple", False, OBJECT, "R,100,G,200,B,150"),
    ("simple", True, OBJECT, "R=100,G=200,B=150"),
]
QUERY_EXAMPLES = [
    ("form", True, "blue", "color=blue"),
    ("form", True, "", "color="),
    ("form", True, ARRAY, "color=blue&color=black&color=brown"),
    ("form", True, OBJECT, "R=100&G=200&B=150"),
    ("form", False, ARRAY, "color=blue,black,brown"),
    ("form", False, OBJECT, "color=R,100,G,200,B,150"),
    ("spaceDelimited", False, ARRAY, "color=blue%20black%20brown"),
    ("spaceDelimited", False, OBJECT, "color=R%20100%20G%20200%20B%20150"),
    ("pipeDelimited", False, ARRAY, "color=blue%7Cblack%7Cbrown"),
    ("pipeDelimited", False, OBJECT, "color=R%7C100%7CG%7C200%7CB%7C150"),
    ("tabDelimited", False, ARRAY, "color=blue%09black%09brown"),
    ("deepObject", True, OBJECT, "color%5BR%5D=100&color%5BG%5D=200&color%5BB%5D=150"),
    (
        "deepObject",
        True,
        {"a": {"b": [1, 2]}},
        "color%5Ba%5D%5Bb%5D%5B0%5D=1&color%5Ba%5D%5Bb%5D%5B1%5D=2",
    ),
    ("form", True, None, ""),
    ("form", True, [], ""),
    ("form", False, [], ""),
    ("form", True, True, "color=true"),
    ("form", True, 1.5, "color=1.5"),
    ("form", True, [{"a": 1}], "color=%7B%22a%22%3A1%7D"),
]


@pytest.mark.parametrize(("style", "explode", "value", "expected"), PATH_EXAMPLES)
def test_path_styles(style: str, explode: bool, value: Any, expected: str) -> None:
    assert path_value("color", value, style, explode) == expected


@pytest.mark.parametrize(("style", "explode", "value", "expected"), QUERY_EXAMPLES)
def test_query_styles(style: str, explode: bool, value: Any, expected: str) -> None:
    pairs = query_pairs("color", value, style, explode)
    assert "&".join(f"{name}={text}" for name, text in pairs) == expected


def test_header_styles() -> None:
    assert header_text("X", ARRAY) == "blue,black,brown"
    assert header_text("X", OBJECT) == "R,100,G,200,B,150"
    assert header_text("X", OBJECT, explode=True) == "R=100,G=200,B=150"
    assert header_text("X", True) == "true"


def test_reserved_characters_stay_only_where_they_cannot_end_the_value() -> None:
    value = "a/b?c=d&e#f+g;h:i"
    assert query_pairs("q", value, allow_reserved=True) == [("q", "a/b?c%3Dd%26e%23f%2Bg%3Bh:i")]
    assert query_pairs("q", value) == [("q", "a%2Fb%3Fc%3Dd%26e%23f%2Bg%3Bh%3Ai")]


@given(st.text(min_size=1))
def test_a_path_argument_stays_one_segment(value: str) -> None:
    try:
        path = fill_path("/users/{id}/posts", {"id": path_value("id", value)})
    except InvalidArgumentsError:
        assert value in (".", "..") or any("\ud800" <= c <= "\udfff" for c in value)
        return
    head, segment, tail = path.removeprefix("/").split("/")
    assert (head, tail) == ("users", "posts")
    assert unquote(segment) == value
    assert not set(path) & set("?#\r\n \\")
    assert path.isascii()


@given(st.text(st.characters(exclude_categories=["Cs"])), st.booleans(), st.booleans())
def test_a_query_argument_stays_one_value(value: str, reserved: bool, listed: bool) -> None:
    pairs = query_pairs("name", [value] if listed else value, allow_reserved=reserved)
    query = "&".join(f"{name}={text}" for name, text in [*pairs, ("last", "1")])
    assert parse_qsl(query, keep_blank_values=True) == [("name", value), ("last", "1")]
    assert query.isascii()
    assert "#" not in query
    assert query.isprintable()


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.text("a&=#[]%.")))
def test_names_inside_objects_are_escaped(value: dict[str, str]) -> None:
    for style, explode in (("form", True), ("form", False), ("deepObject", True)):
        for name, text in query_pairs("q", value, style, explode):
            assert not set(name + text) & set("&=#?/\r\n ")


@given(st.text())
def test_a_header_argument_is_one_line_or_refused(value: str) -> None:
    try:
        text = header_text("X-Name", value)
    except InvalidArgumentsError:
        assert not (value.isascii() and value.isprintable())
        return
    assert "\r" not in text
    assert "\n" not in text
    assert "\0" not in text
    assert text == value.strip(" \t")


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_a_path_argument_never_leads_elsewhere(value: str) -> None:
    with pytest.raises(InvalidArgumentsError, match="'id'"):
        fill_path("/users/{id}", {"id": path_value("id", value)})


def test_a_missing_path_argument_is_refused() -> None:
    with pytest.raises(InvalidArgumentsError, match="must not be empty"):
        fill_path("/users/{id}", {})


@pytest.mark.parametrize("value", ["...", "..a", "a/..", "%2e%2e", "a.b"])
def test_dots_inside_a_segment_are_fine(value: str) -> None:
    assert unquote(fill_path("/u/{id}", {"id": path_value("id", value)})) == f"/u/{value}"


def test_a_value_of_several_segments_keeps_slashes_and_nothing_else() -> None:
    value = path_value("name", "projects/a?b#c/d", allow_reserved=True)
    assert fill_path("/v1/{name}:run", {"name": value}) == "/v1/projects/a%3Fb%23c/d:run"
    for bad in ("../x", "a/../b", "a//b", "/a", "a/", "./a"):
        with pytest.raises(InvalidArgumentsError):
            fill_path("/v1/{name}/x", {"name": path_value("name", bad, allow_reserved=True)})


def test_text_of_the_template_is_escaped_once() -> None:
    assert fill_path("/a b/ü/%20/{x}(y)", {"x": "1"}) == "/a%20b/%C3%BC/%20/1(y)"


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(InvalidArgumentsError, match="surrogate"):
        escape("\ud800")
    assert escape("\U0001f600") == "%F0%9F%98%80"


def test_values_become_text() -> None:
    assert [plain_text(v) for v in (True, None, 3, 1.5, "x", {"a": [1]})] == [
        "true",
        "",
        "3",
        "1.5",
        "x",
        '{"a":[1]}',
    ]
