"""The curated catalogue: what ships, what files add, and how ids are matched."""

from __future__ import annotations

import asyncio
import json
import os
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ccos.capabilities import (
    EffectType,
    HttpServer,
    McpServer,
    StdioServer,
    TrustTier,
)
from ccos.capabilities.mcp import McpTool, ToolListing
from ccos.errors import ConfigurationError, ProviderUnavailableError, SourceError
from ccos.providers.launcher import Launcher
from ccos.providers.mcp import McpInvoker
from ccos.providers.secrets import EnvironmentSecrets
from ccos.resolution.sources import (
    Catalogue,
    CuratedCatalogue,
    Introspector,
    Source,
    Wanted,
)
from ccos.resolution.sources.patterns import IdPattern


def entry(name: str = "weather", **fields: Any) -> dict[str, Any]:
    server = {"transport": "stdio", "registry": "pypi", "package": name, "version": "1.0"}
    return {"name": name, "matches": [f"{name}.*"], "server": server, **fields}


def written(path: Path, *entries: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"entries": entries}))
    return path


class Servers:
    """Stands for real servers and remembers who was asked."""

    def __init__(self, tools: dict[str, list[str]]) -> None:
        self.tools = tools
        self.asked: list[McpServer] = []

    async def list_tools(self, server: McpServer) -> ToolListing:
        self.asked.append(server)
        await asyncio.sleep(0)
        key = server.url if isinstance(server, HttpServer) else server.package
        if key not in self.tools:
            raise ProviderUnavailableError(f"{key} does not start.")
        return ToolListing(tuple(McpTool(name, {"type": "object"}) for name in self.tools[key]))


@pytest.mark.anyio
async def test_time_is_found_in_the_shipped_catalogue_by_launching_its_server() -> None:
    invoker = McpInvoker(
        Launcher({"PATH": os.environ["PATH"], "HOME": "/"}),
        lambda _: httpx2.AsyncHTTPTransport(),
        EnvironmentSecrets({}),
    )
    try:
        source: Source = CuratedCatalogue(Catalogue(), Introspector(invoker.list_tools))
        found = await source.find(Wanted("time.get_current_time"))
        by_id = {candidate.manifest.id: candidate for candidate in found}
        assert set(by_id) == {"mcp.time.get_current_time", "mcp.time.convert_time"}
        candidate = by_id["mcp.time.get_current_time"]
        assert candidate.trust_tier is TrustTier.APPROVED
        assert candidate.manifest.trust_tier is TrustTier.APPROVED
        assert candidate.manifest.effect_type is EffectType.READ_ONLY
        assert candidate.manifest.effects == ("clock",)
        assert candidate.reference == "catalogue:time"
        assert candidate.relevance > 0.9
        result = await invoker.invoke(
            candidate.manifest, {"timezone": "Asia/Tokyo"}, idempotency_key="k"
        )
        assert result["timezone"] == "Asia/Tokyo"
    finally:
        await invoker.aclose()


def test_shipped_entries_are_exact_and_distinct() -> None:
    entries = Catalogue().entries
    assert len(entries) >= 20
    assert len({item.name for item in entries}) == len(entries)
    for item in entries:
        assert item.description
        assert item.documentation.startswith("https://")
        if isinstance(item.server, StdioServer):
            Launcher({"PATH": os.environ["PATH"]}).command(item.server)
        elif item.server is not None:
            assert item.server.url.startswith("https://")
    (clock,) = [item for item in entries if item.name == "time"]
    assert isinstance(clock.server, StdioServer)
    assert clock.server.version == metadata.version("mcp-server-time")


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("github.list_issues", "github"),
        ("world.convert_time", "time"),
        ("web.search", "duckduckgo"),
        ("petstore.find", "petstore"),
    ],
)
def test_ids_that_the_shipped_catalogue_knows(wanted: str, name: str) -> None:
    assert name in [item.name for _, item in Catalogue().matching(wanted)]


def test_ids_that_nobody_knows_match_nothing() -> None:
    assert Catalogue().matching("quantum.entangle") == []


@pytest.mark.parametrize(
    ("pattern", "wanted", "fits"),
    [
        ("web.fetch", "web.fetch", True),
        ("web.fetch", "web.fetcher", False),
        ("web.*", "web.fetch", True),
        ("web.*", "web", False),
        ("web.*", "website.fetch", False),
        ("get*", "get_time", True),
        ("*.uuid", "httpbin.uuid", True),
        ("*.uuid", "uuid", False),
        ("a.*.z", "a.b.z", True),
        ("a.*.z", "a.z", False),
        ("A.*", "a.b", True),
        ("a.(b|c)*", "a.b", False),
    ],
)
def test_patterns(pattern: str, wanted: str, fits: bool) -> None:
    assert (IdPattern(pattern).fits(wanted) > 0) is fits


def test_closer_patterns_fit_better() -> None:
    ranked = ["time.now", "time.*", "t*"]
    scores = [IdPattern(pattern).fits("time.now") for pattern in ranked]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 1.0


@pytest.mark.parametrize("pattern", ["*", "", "a.*.*", "*.", " * "])
def test_patterns_that_say_nothing_are_refused(pattern: str) -> None:
    with pytest.raises(ConfigurationError):
        IdPattern(pattern)


@pytest.mark.anyio
async def test_further_files_come_first_and_hosts_decide_their_tier(tmp_path: Path) -> None:
    remote = {"transport": "http", "url": "https://mcp.example.com/mcp"}
    plain = {"transport": "http", "url": "http://mcp.example.com/mcp"}
    path = written(
        tmp_path / "more.json",
        entry("weather", effects=["network"], read_only_tools=["look"]),
        entry("remote", matches=["weather.now"], server=remote),
        entry("plain", matches=["weather.now"], server=plain),
    )
    servers = Servers({"weather": ["look", "send"], remote["url"]: ["now"], plain["url"]: ["now"]})
    source = CuratedCatalogue(Catalogue((path,)), Introspector(servers.list_tools))
    found = {item.manifest.id: item for item in await source.find(Wanted("weather.now"))}
    assert set(found) == {
        "mcp.weather.look",
        "mcp.weather.send",
        "mcp.remote.now",
        "mcp.plain.now",
    }
    assert found["mcp.weather.look"].manifest.effect_type is EffectType.READ_ONLY
    assert found["mcp.weather.send"].manifest.effect_type is EffectType.EFFECTFUL
    assert found["mcp.weather.send"].manifest.effects == ("network",)
    assert found["mcp.remote.now"].trust_tier is TrustTier.APPROVED
    assert found["mcp.plain.now"].trust_tier is TrustTier.UNKNOWN
    assert found["mcp.remote.now"].relevance > found["mcp.weather.look"].relevance


@pytest.mark.anyio
async def test_server_that_fails_does_not_hide_another(tmp_path: Path) -> None:
    path = written(tmp_path / "c.json", entry("broken", matches=["weather.*"]), entry("weather"))
    servers = Servers({"weather": ["look"]})
    source = CuratedCatalogue(Catalogue((path,), shipped=False), Introspector(servers.list_tools))
    assert len(await source.find(Wanted("weather.now"))) == 1
    servers.tools.clear()
    fresh = CuratedCatalogue(Catalogue((path,), shipped=False), Introspector(servers.list_tools))
    with pytest.raises(SourceError, match="does not start"):
        await fresh.find(Wanted("weather.now"))
    assert await fresh.find(Wanted("other.thing")) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b'{"entries": [{}]}',
        b"[" * 100_000,
        json.dumps({"entries": [{**entry(), "matches": ["*"]}]}).encode(),
        json.dumps({"entries": [{**entry(), "matches": []}]}).encode(),
        json.dumps({"entries": [{**entry(), "server": None}]}).encode(),
        json.dumps({"entries": [{**entry(), "unknown": 1}]}).encode(),
        json.dumps(
            {"entries": [{**entry(), "document": {"url": "https://example.com/o.json"}}]}
        ).encode(),
    ],
)
def test_malformed_file_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "catalogue.json"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"catalogue\.json"):
        _ = Catalogue((path,)).entries


def test_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.json"):
        _ = Catalogue((tmp_path / "absent.json",)).entries


@pytest.mark.anyio
async def test_one_question_serves_everybody_for_a_while() -> None:
    now = 0.0
    servers = Servers({"weather": ["look"]})
    introspector = Introspector(servers.list_tools, remember_seconds=10, clock=lambda: now)
    server = StdioServer(registry="pypi", package="weather", version="1.0")
    await asyncio.gather(*(introspector.tools(server) for _ in range(10)))
    assert len(servers.asked) == 1
    now = 11.0
    await introspector.tools(server)
    assert len(servers.asked) == 2


@pytest.mark.anyio
async def test_failures_are_remembered_too_and_slow_servers_given_up() -> None:
    servers = Servers({})
    server = StdioServer(registry="pypi", package="weather", version="1.0")
    introspector = Introspector(servers.list_tools)
    for _ in range(2):
        with pytest.raises(SourceError, match="does not start"):
            await introspector.tools(server)
    assert len(servers.asked) == 1

    async def slow(_: McpServer) -> ToolListing:
        await asyncio.sleep(60)
        raise AssertionError

    with pytest.raises(SourceError, match=r"within 0\.05 s"):
        await Introspector(slow, timeout_seconds=0.05).tools(server)
