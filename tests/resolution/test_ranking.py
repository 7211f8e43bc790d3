"""Which candidate fits: words, verbs, arguments and trust; nothing at all is an answer too."""

from __future__ import annotations

from typing import Any

import pytest

from ccos.capabilities import TrustTier
from ccos.resolution.ranking import Ranked, rank
from ccos.resolution.sources import Candidate
from opening import candidate

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


def offered(capability_id: str, description: str = "", **changes: Any) -> Candidate:
    changes.setdefault("input_schema", {"type": "object"})
    return candidate(capability_id, description=description, name=capability_id, **changes)


def best(wanted: str, *candidates: Candidate, arguments: dict[str, Any] | None = None) -> Ranked:
    return rank(wanted, arguments, candidates)[0]


WEATHER = (
    offered("mcp.meteo.get_alerts", "Weather alerts of a region."),
    offered("mcp.meteo.get_forecast", "The weather forecast of a place."),
    offered("mcp.meteo.get_current_weather", "The current weather of a place."),
    offered("mcp.meteo.delete_station", "Deletes a weather station."),
)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("weather.current", "mcp.meteo.get_current_weather"),
        ("weather.get_current", "mcp.meteo.get_current_weather"),
        ("weather.forecast", "mcp.meteo.get_forecast"),
        ("weather.getForecast", "mcp.meteo.get_forecast"),
        ("weather.alerts", "mcp.meteo.get_alerts"),
        ("weather.remove_station", "mcp.meteo.delete_station"),
    ],
)
def test_the_right_tool_comes_first(wanted: str, expected: str) -> None:
    first = best(wanted, *WEATHER)
    assert first.candidate.manifest.id == expected
    assert first.acceptable


@pytest.mark.parametrize("wanted", ["bank.transfer", "stocks.price", "weather_bird.feed"])
def test_where_nothing_fits_nothing_is_acceptable(wanted: str) -> None:
    ranked = rank(wanted, None, WEATHER)
    assert len(ranked) == len(WEATHER)
    assert not any(one.acceptable for one in ranked)


def test_nothing_offered_is_nothing_ranked() -> None:
    assert rank("weather.current", {}, []) == []


@pytest.mark.parametrize(
    ("schema", "arguments", "fits"),
    [
        (CITY, {"city": "Paris"}, True),
        (CITY, {"city": 7}, False),
        (CITY, {}, False),
        (CITY, {"city": "Paris", "unit": "C"}, False),
        (CITY, None, True),
        ({"type": "object", "properties": {"city": {}}}, {"city": 1}, True),
        ({"type": "object", "properties": {"city": {}}}, {"town": 1}, False),
        ({"type": "object"}, {"town": 1}, True),
        (
            {"type": "object", "properties": {}, "additionalProperties": {"type": "integer"}},
            {"town": 1},
            True,
        ),
        ({"type": "object", "properties": {}, "patternProperties": {"^t": {}}}, {"t": 1}, True),
        (
            {"type": "object", "anyOf": [{"required": ["town"]}], "properties": {}},
            {"town": 1},
            True,
        ),
        (True, {"town": 1}, True),
    ],
    ids=str,
)
def test_a_candidate_that_the_waiting_call_could_not_use_is_rejected(
    schema: Any, arguments: dict[str, Any] | None, fits: bool
) -> None:
    only = best(
        "weather.current", offered("weather.current", input_schema=schema), arguments=arguments
    )
    assert only.acceptable is fits
    assert (only.misfit is None) is fits


def test_what_does_not_fit_the_call_comes_last_however_well_it_is_named() -> None:
    perfect = offered("weather.current", input_schema=CITY)
    usable = offered("mcp.meteo.get_current_weather")
    ranked = rank("weather.current", {"place": "Paris"}, [perfect, usable])
    assert [one.candidate for one in ranked] == [usable, perfect]


def test_trust_weighs_but_does_not_replace_fitting() -> None:
    trusted = offered("mcp.a.get_current_weather", trust_tier=TrustTier.OFFICIAL)
    unknown = offered("mcp.b.get_current_weather", trust_tier=TrustTier.UNKNOWN)
    ranked = rank("weather.current", None, [unknown, trusted])
    assert [one.candidate for one in ranked] == [trusted, unknown]
    misfit = offered("mcp.c.get_stocks", trust_tier=TrustTier.OFFICIAL)
    assert best("weather.current", misfit, unknown).candidate is unknown


def test_relevance_weighs_less_the_less_the_source_is_trusted() -> None:
    def score(tier: TrustTier, relevance: float) -> float:
        return best("a.b", offered("a.b", trust_tier=tier, relevance=relevance)).score

    gained = {
        tier: score(tier, 1.0) - score(tier, 0.0)
        for tier in (TrustTier.OFFICIAL, TrustTier.COMMUNITY, TrustTier.UNKNOWN)
    }
    assert gained == pytest.approx(
        {TrustTier.OFFICIAL: 1.0, TrustTier.COMMUNITY: 0.5, TrustTier.UNKNOWN: 0.2}
    )


def test_equal_candidates_are_ordered_by_id() -> None:
    twins = [offered("mcp.b.get_current"), offered("mcp.a.get_current")]
    ids = [one.candidate.manifest.id for one in rank("weather.current", None, twins)]
    assert ids == sorted(ids)


@pytest.mark.parametrize(
    ("wanted", "offered_id", "match"),
    [
        ("list.add", "things.create", 2.0),
        ("list.add", "things.remove", 0.0),
        ("a.current", "x.current", 2.0 + 2.5 / 2),
        ("a.current", "x.get_current", 1.0 + 2.5 / 2),
    ],
)
def test_the_parts_of_a_match(wanted: str, offered_id: str, match: float) -> None:
    only = best(wanted, offered(offered_id))
    assert only.match == pytest.approx(match)
