"""Arguments that a candidate knows under other names."""

from __future__ import annotations

from typing import Any

import pytest

from ccos.capabilities import EffectType
from ccos.resolution.adapters import proposed_renames, renamed
from ccos.resolution.ranking import rank
from opening import candidate


def schema(*required: str, **optional: str) -> dict[str, Any]:
    names = {**dict.fromkeys(required, "string"), **optional}
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in names.items()},
        "required": list(required),
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("arguments", "offered", "renames"),
    [
        ({"city": "Paris"}, schema("location"), {"city": "location"}),
        ({"userName": "x"}, schema("user_name"), {"userName": "user_name"}),
        ({"cities": "Paris"}, schema("city"), {"cities": "city"}),
        (
            {"q": "tea", "limit": 3},
            schema("query", count="integer"),
            {"q": "query", "limit": "count"},
        ),
        ({"stock": "X"}, schema("symbol"), {"stock": "symbol"}),
        ({"city": "Paris", "unit": "C"}, schema("place", "unit"), {"city": "place"}),
    ],
    ids=str,
)
def test_a_mapping_that_fits_is_proposed(
    arguments: dict[str, Any], offered: dict[str, Any], renames: dict[str, str]
) -> None:
    assert proposed_renames(arguments, offered) == renames


@pytest.mark.parametrize(
    ("arguments", "offered"),
    [
        ({"city": "Paris"}, schema("city")),
        ({"city": 7}, schema("location")),
        ({"city": "Paris"}, schema("location", "day")),
        ({"city": "Paris"}, schema(place="string", town="string")),
        ({"a": "x", "b": "y"}, schema("c", "d")),
        ({"colour": "red"}, schema(flavour="string")),
        ({"city": "Paris", "place": "Lyon"}, schema("location", other="string")),
        ({"city": "Paris"}, True),
        ({}, schema("location")),
        ({"city": "Paris"}, {"type": "object", "properties": [], "required": 3}),
    ],
    ids=str,
)
def test_what_is_unsound_or_ambiguous_is_not_proposed(arguments: Any, offered: Any) -> None:
    assert proposed_renames(arguments, offered) is None


def test_renamed_arguments_keep_their_values() -> None:
    assert renamed({"a": 1, "b": [2]}, {"a": "c"}) == {"c": 1, "b": [2]}


def test_a_candidate_that_needs_other_names_says_so_and_is_not_chosen_unseen() -> None:
    offered = candidate("weather.current", name="w", input_schema=schema("location"))
    (only,) = rank("weather.current", {"city": "Paris"}, [offered])
    assert not only.acceptable
    assert only.renames == {"city": "location"}
    assert only.misfit is not None
    assert only.misfit.endswith("; it would fit with 'location' for 'city'")
    (fitting,) = rank("weather.current", {"location": "Paris"}, [offered])
    assert fitting.acceptable
    assert fitting.renames == {}


def test_of_equals_the_one_that_may_be_repeated_comes_first() -> None:
    acting = candidate("mcp.a.get_current", name="w", effect_type=EffectType.EFFECTFUL)
    looking = candidate("mcp.b.get_current", name="w", effect_type=EffectType.READ_ONLY)
    ranked = rank("weather.current", None, [acting, looking])
    assert [one.candidate for one in ranked] == [looking, acting]
