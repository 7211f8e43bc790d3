"""Calls as they were written, and how their arguments find their names."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccos.engine.asked import Asked, plain

SCHEMA = {
    "type": "object",
    "properties": {"unit": {}, "city": {}, "day": {}},
    "required": ["city", "day"],
}


@pytest.mark.parametrize(
    ("values", "keywords", "wanted"),
    [
        ([], [], {}),
        ([{"city": "x", "any": 1}], [], {"city": "x", "any": 1}),
        (["Paris"], [], {"city": "Paris"}),
        (["Paris", 1], [], {"city": "Paris", "day": 1}),
        (["Paris", 1, "C"], [], {"city": "Paris", "day": 1, "unit": "C"}),
        (["city", "Paris"], [0], {"city": "Paris"}),
        (["city", "Paris", "unit", "C"], [0, 2], {"city": "Paris", "unit": "C"}),
        (["city", "Paris"], [], {"city": "city", "day": "Paris"}),
        (["other", "Paris"], [0], {"city": "other", "day": "Paris"}),
        (["city", 1, "unit", 2], [0], {"args": ["city", 1, "unit", 2]}),
        ([1, 2, 3, 4], [], {"args": [1, 2, 3, 4]}),
        ([[1]], [], {"city": [1]}),
    ],
)
def test_arguments_are_bound_to_a_schema(
    values: list[Any], keywords: list[int], wanted: dict[str, Any]
) -> None:
    asked = Asked(values=values, keywords=keywords)
    assert asked.bound(SCHEMA) == wanted
    assert Asked.opened(asked.packed()).bound(SCHEMA) == wanted


def test_a_capability_without_properties_gets_a_row() -> None:
    assert Asked(values=[1]).bound({"type": "object"}) == {"args": [1]}
    assert Asked(values=[1]).bound({}) == {"args": [1]}
    assert Asked(values=[{"a": 1}]).bound({}) == {"a": 1}


def test_a_plain_call_is_packed_as_it_is_and_people_see_no_more() -> None:
    assert Asked(values=[{"a": 1}]).packed() == {"a": 1}
    assert Asked().packed() == {}
    packed = Asked(values=[{"a": 1}], hints={"retry": 2}, version="1.0").packed()
    assert plain(packed) == {"a": 1}
    assert plain(Asked(values=[1, 2]).packed()) == {"args": [1, 2]}


data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "$call", "args"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(
    st.lists(data, max_size=3),
    st.lists(st.integers(0, 2), max_size=2, unique=True),
    st.dictionaries(st.sampled_from(["retry", "timeout"]), st.integers(1, 5), max_size=2),
    st.none() | st.just("1.0"),
)
def test_what_was_packed_is_opened_as_it_was(
    values: list[Any], keywords: list[int], hints: dict[str, Any], version: str | None
) -> None:
    asked = Asked(values=values, keywords=keywords, hints=hints, version=version)
    again = Asked.opened(asked.packed())
    assert again.bound(SCHEMA) == asked.bound(SCHEMA)
    assert (again.hints, again.version) == (hints, version)
