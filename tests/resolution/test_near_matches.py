"""What is registered under a name near to the wanted one is proposed first."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccos.resolution.results import NotResolved, Resolved
from ccos.resolution.sources import NearMatches, Wanted
from opening import RESOLVING, ScriptedSource, increment, opened, parked, value

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("wanted", "offered", "near"),
    [
        ("weather.curr", "weather.current", True),
        ("weather.current_conditions", "weather.current", True),
        ("weather.Current", "weather.current", True),
        ("weather.cu", "weather.current", False),
        ("weather.forecast", "weather.current", False),
        ("climate.current", "weather.current", False),
        ("weather.current.now", "weather.current", False),
        ("mcp.meteo.curr", "mcp.meteo.current", False),
    ],
)
async def test_which_names_are_near(tmp_path: Path, wanted: str, offered: str, near: bool) -> None:
    async with opened(tmp_path) as ccos:
        await ccos.register(offered, increment)
        found = await NearMatches(ccos.marketplace).find(Wanted(wanted))
        assert [one.manifest.id for one in found] == ([offered] if near else [])


async def test_what_is_withheld_is_not_proposed(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        await ccos.register("weather.current", increment)
        await ccos.marketplace.revoke("weather.current", actor="alice", reason="it lies")
        assert await NearMatches(ccos.marketplace).find(Wanted("weather.curr")) == []


async def test_a_near_match_that_fits_the_call_becomes_an_alias(tmp_path: Path) -> None:
    elsewhere = ScriptedSource()
    async with opened(tmp_path, **RESOLVING) as ccos:
        for source in (NearMatches(ccos.marketplace), elsewhere):
            ccos.resolver.add_custom_resolver(source)
        await ccos.register("weather.current_conditions", increment, effects=["clock"])
        ticket = parked(await ccos.call("weather.current", {"x": 1}))
        await ccos.worker.run_once()
        assert value(await ccos.runtime.outcome(ticket.execution_id)) == 2
        assert await ccos.marketplace.aliases() == {"weather.current": "weather.current_conditions"}
        assert len(await ccos.marketplace.versions("weather.current_conditions")) == 1
        assert elsewhere.asked == []
        result = await ccos.resolver.resolve_capability("weather.current")
        assert isinstance(result, Resolved)
        assert result.resolution_method == "alias_cache"


async def test_a_near_match_that_does_not_fit_the_call_lets_the_search_go_on(
    tmp_path: Path,
) -> None:
    elsewhere = ScriptedSource()
    async with opened(tmp_path, **RESOLVING) as ccos:
        for source in (NearMatches(ccos.marketplace), elsewhere):
            ccos.resolver.add_custom_resolver(source)
        await ccos.register("weather.current", increment)
        parked(await ccos.call("weather.curr", {"city": "Paris"}))
        result = await ccos.resolver.resolve_capability("weather.curr")
        assert isinstance(result, NotResolved)
        assert "the nearest is weather.current, but" in result.reason
        assert elsewhere.asked == ["weather.curr"]
