"""The MCP registry: a real server with the true wire format, good and bad."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ccos.capabilities import HttpServer, McpProvider, McpServer, StdioServer, TrustTier
from ccos.capabilities.mcp import McpTool, ToolListing
from ccos.egress import Egress, EgressPolicy
from ccos.errors import ProviderUnavailableError, SourceError
from ccos.providers.launcher import Launcher
from ccos.providers.mcp import McpInvoker
from ccos.providers.secrets import EnvironmentSecrets
from ccos.resolution.sources import Introspector, ListTools, McpRegistry, Source, Wanted
from ccos.resolution.sources.mcp_registry import search_words, server_relevance
from ccos.resolution.sources.registry_records import RegistryServer, read_record

ENTRIES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("registry.json").read_text())
FIELD_DATA = Path(__file__).parents[4] / "shared" / "data" / "mcp-registry" / "servers.json"

Answer = Callable[[Request], Any]


class Registry:
    """A registry on loopback; ``answer`` may be replaced by something worse."""

    def __init__(self, entries: list[dict[str, Any]]) -> None:
        self.entries = entries
        self.requests: list[dict[str, str]] = []
        self.answer: Answer = self.page
        self.url = ""

    def page(self, request: Request) -> Response:
        query = request.query_params
        limit = int(query.get("limit", "30"))
        assert 1 <= limit <= 100
        word = query.get("search", "").lower()
        fitting = [
            item
            for item in self.entries
            if word in item["server"]["name"].lower()
            or word in item["server"].get("description", "").lower()
        ]
        start = int(query.get("cursor", "0") or "0")
        shown = fitting[start : start + limit]
        metadata: dict[str, Any] = {"count": len(shown)}
        if start + limit < len(fitting):
            metadata["nextCursor"] = str(start + limit)
        return JSONResponse({"servers": shown, "metadata": metadata})

    async def serve(self, request: Request) -> Response:
        self.requests.append(dict(request.query_params))
        answer = self.answer(request)
        if asyncio.iscoroutine(answer):
            answer = await answer
        assert isinstance(answer, Response)
        return answer


@asynccontextmanager
async def running(entries: list[dict[str, Any]] = ENTRIES) -> AsyncIterator[Registry]:
    registry = Registry(entries)
    app = Starlette(routes=[Route("/v0.1/servers", registry.serve)])
    server = uvicorn.Server(
        uvicorn.Config(
            app, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=0
        )
    )
    task = asyncio.create_task(server.serve())
    try:
        while not server.started:
            await asyncio.sleep(0.01)
        registry.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        yield registry
    finally:
        server.should_exit = True
        await task


class Servers:
    """Stands for the servers that the registry names."""

    def __init__(self) -> None:
        self.asked: list[McpServer] = []
        self.broken: set[str] = set()

    async def list_tools(self, server: McpServer) -> ToolListing:
        self.asked.append(server)
        where = server.url if isinstance(server, HttpServer) else server.package
        if where in self.broken:
            raise ProviderUnavailableError(f"{where} is down.")
        return ToolListing((McpTool("forecast", {"type": "object"}),))


def source(url: str, list_tools: ListTools | None = None, **options: Any) -> McpRegistry:
    limit = options.pop("max_response_bytes", 5_000_000)
    policy = EgressPolicy(private_hosts=frozenset({"127.0.0.1"}), max_response_bytes=limit)
    return McpRegistry(
        Egress(policy),
        Introspector(list_tools or Servers().list_tools),
        base_url=url,
        **{"timeout_seconds": 5.0, **options},
    )


@pytest.mark.anyio
async def test_the_best_remote_servers_are_asked_and_judged_by_their_address() -> None:
    servers = Servers()
    async with running() as registry:
        asked: Source = source(registry.url, servers.list_tools)
        found = await asked.find(Wanted("weather.forecast"))
    tiers = {item.manifest.id: item.trust_tier for item in found}
    assert tiers == {
        "mcp.com.example.weather.weather.forecast": TrustTier.VERIFIED,
        "mcp.io.github.imitator.weather.forecast": TrustTier.COMMUNITY,
    }
    assert all(isinstance(server, HttpServer) for server in servers.asked)
    best = found[0]
    assert best.manifest.trust_tier is TrustTier.VERIFIED
    assert best.manifest.effects == ("network",)
    assert best.reference.endswith("/v0.1/servers/com.example.weather/weather@1.0.0")


@pytest.mark.anyio
async def test_packages_run_only_when_a_person_approved_the_search() -> None:
    invoker = McpInvoker(
        Launcher({"PATH": os.environ["PATH"], "HOME": "/"}),
        lambda _: httpx2.AsyncHTTPTransport(),
        EnvironmentSecrets({}),
    )
    try:
        async with running() as registry:
            careful = source(registry.url, invoker.list_tools)
            with pytest.raises(SourceError, match="nobody approved") as refusal:
                await careful.find(Wanted("clock.get_current_time"))
            found = await careful.find(Wanted("clock.get_current_time", approved=True))
    finally:
        await invoker.aclose()
    assert refusal.value.details["needs_approval"] == ["io.github.someone/clock"]
    assert {item.manifest.id for item in found} == {
        "mcp.io.github.someone.clock.get_current_time",
        "mcp.io.github.someone.clock.convert_time",
    }
    assert all(item.trust_tier is TrustTier.COMMUNITY for item in found)
    assert all(item.manifest.effects == ("network", "process") for item in found)


@pytest.mark.anyio
async def test_nothing_secret_is_passed_before_an_approval() -> None:
    servers = Servers()
    async with running() as registry:
        both = source(registry.url, servers.list_tools)
        (github,) = await both.find(Wanted("github.list_issues", approved=True))
        (translate,) = await both.find(Wanted("translate.text", approved=True))
    assert [getattr(server, "auth", None) for server in servers.asked] == [None, None]
    assert isinstance(servers.asked[1], StdioServer)
    assert servers.asked[1].environment == ()
    assert isinstance(github.manifest.provider, McpProvider)
    assert isinstance(github.manifest.provider.server, HttpServer)
    assert github.manifest.provider.server.auth is not None
    assert github.manifest.provider.server.auth.environment == ("COM_GITHUB_GITHUB_MCP_TOKEN",)
    assert github.trust_tier is TrustTier.OFFICIAL
    assert isinstance(translate.manifest.provider, McpProvider)
    assert isinstance(translate.manifest.provider.server, StdioServer)
    assert translate.manifest.provider.server.environment == ("TRANSLATE_KEY",)
    assert translate.manifest.provider.server.arguments == ("--target", "en", "fast")


@pytest.mark.anyio
async def test_words_are_searched_without_verbs_and_answers_are_reused() -> None:
    now = 0.0
    async with running() as registry:
        asked = source(registry.url, cache_ttl_seconds=100, clock=lambda: now)
        await asyncio.gather(*(asked.servers("weather.get_forecast") for _ in range(5)))
        words = [request["search"] for request in registry.requests]
        assert words == ["weather", "forecast"]
        now = 101.0
        await asked.servers("weather.get_forecast")
        assert len(registry.requests) == 4
        assert all(request["version"] == "latest" for request in registry.requests)


@pytest.mark.anyio
async def test_pages_are_followed_up_to_the_most_servers() -> None:
    many = [
        {"server": {"name": f"io.github.a/weather-{number}", "description": "Weather."}}
        for number in range(250)
    ]
    async with running(many) as registry:
        assert len(await source(registry.url, max_servers=1000).servers("weather.x1")) == 250
        assert [item.get("cursor") for item in registry.requests] == [None, "100", "200"]
        registry.requests.clear()
        assert len(await source(registry.url, max_servers=120).servers("weather.x1")) == 120
        assert [item["limit"] for item in registry.requests] == ["100", "20"]


async def _hang(_: Request) -> Response:
    await asyncio.sleep(30)
    raise AssertionError


def _loop(_: Request) -> Response:
    return JSONResponse({"servers": ENTRIES[:1], "metadata": {"nextCursor": "again"}})


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda _: Response(b"<html>", media_type="text/html"), "not usable JSON"),
        (lambda _: Response(b'{"servers": [' * 10_000), "not usable JSON"),
        (lambda _: JSONResponse([]), "no list of servers"),
        (lambda _: JSONResponse({"servers": {}}), "no list of servers"),
        (lambda _: JSONResponse({"error": "x"}, status_code=500), "status 500"),
        (lambda _: Response(b"x" * 2_000_000), "cannot be searched"),
        (_loop, "repeats a page"),
        (_hang, "did not answer|cannot be searched"),
    ],
)
async def test_bad_answers_end_in_an_error_in_time(answer: Answer, words: str) -> None:
    async with running() as registry:
        registry.answer = answer
        asked = source(registry.url, timeout_seconds=1.0, max_response_bytes=1_000_000)
        started = time.monotonic()
        with pytest.raises(SourceError, match=words):
            await asked.find(Wanted("weather.forecast"))
        assert time.monotonic() - started < 3
        registry.answer = registry.page
        assert await asked.find(Wanted("weather.forecast"))


@pytest.mark.anyio
async def test_absent_registry_is_an_error() -> None:
    async with running() as registry:
        url = registry.url
    with pytest.raises(SourceError, match="cannot be searched"):
        await source(url).find(Wanted("weather.forecast"))


@pytest.mark.anyio
async def test_malformed_entries_do_not_spoil_the_page() -> None:
    bad: list[Any] = [
        None,
        1,
        {},
        {"server": None},
        {"server": {"name": "no-slash"}},
        {"server": {"name": "a/b" * 200}},
        {"server": {"name": "a.b/../../etc", "description": "weather"}},
        {"server": {"name": "a.b/c", "description": {"x": 1}}},
        {"server": {"name": "a.b/c", "remotes": [{"url": 5}]}},
        {"server": {"name": "a.b/c", "packages": [{"registryType": "npm"}] * 100}},
    ]
    async with running() as registry:
        good = ENTRIES[:1]
        registry.answer = lambda _: JSONResponse({"servers": [*bad, *good], "metadata": None})
        found = await source(registry.url).servers("weather.forecast")
        assert [record.name for _, record in found] == ["com.example.weather/weather"]


@pytest.mark.anyio
async def test_failing_server_does_not_hide_another() -> None:
    servers = Servers()
    servers.broken.add("https://mcp.weather.example.com/mcp")
    async with running() as registry:
        found = await source(registry.url, servers.list_tools).find(Wanted("weather.forecast"))
        assert [item.manifest.id for item in found] == ["mcp.io.github.imitator.weather.forecast"]
        servers.broken.add("https://weather.imitator.example.net/mcp")
        with pytest.raises(SourceError, match="is down"):
            await source(registry.url, servers.list_tools).find(Wanted("weather.forecast"))
        assert await source(registry.url, servers.list_tools).find(Wanted("quantum.leap")) == []


def record(name: str) -> RegistryServer:
    found = read_record(next(item for item in ENTRIES if item["server"]["name"] == name))
    assert found is not None
    return found


@pytest.mark.parametrize(
    "name",
    ["io.github.old/weather", "io.github.gone/weather", "io.github.someone/weather-history"],
)
def test_retired_and_superseded_entries_are_not_read(name: str) -> None:
    entry = next(item for item in ENTRIES if item["server"]["name"] == name)
    assert read_record(entry) is None
    entry = json.loads(json.dumps(entry))
    entry["_meta"]["io.modelcontextprotocol.registry/official"] = {"status": "active"}
    assert read_record(entry) is not None


@pytest.mark.parametrize(
    "name",
    [
        "io.github.dev/notes",
        "io.github.dev/containers",
        "io.github.dev/bundle",
        "io.github.dev/old-transport",
        "com.example/tenants",
        "com.example/plain",
        "com.example/two-keys",
    ],
)
def test_entries_that_need_more_than_they_say_are_not_used(name: str) -> None:
    assert record(name).servers() == []


def test_the_own_host_comes_before_another_and_before_a_package() -> None:
    first, second, third = record("com.example/both").servers()
    assert first == HttpServer(url="https://mcp.example.com/both")
    assert second == HttpServer(url="https://elsewhere.example.net/mcp")
    assert third == StdioServer(registry="pypi", package="both", version="1.0.0")


def test_relevance_ignores_praise_and_prefers_the_subject() -> None:
    def score(name: str) -> float:
        return server_relevance("weather.forecast", record(name))

    assert score("com.example.weather/weather") == 1.0
    assert score("io.github.imitator/weather") <= score("com.example.weather/weather")
    assert score("io.github.someone/mars") == pytest.approx(0.8)
    assert score("io.github.other/weather-plugin") >= 0.3
    assert score("io.github.a/calendar") == 0.0
    praised = record("io.github.a/calendar").model_copy(
        update={"description": "official verified api sdk client service"}
    )
    assert server_relevance("weather.forecast", praised) == 0.0


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("github.listRepos", ("github", "repos")),
        ("weather.get_current", ("weather", "current")),
        ("a.get", ()),
        ("maps.maps.search", ("maps",)),
    ],
)
def test_search_words(wanted: str, words: tuple[str, ...]) -> None:
    assert search_words(wanted) == words


@pytest.mark.anyio
@pytest.mark.skipif(not FIELD_DATA.exists(), reason="the field data are not beside the project")
async def test_entries_of_the_field_are_read_and_ranked() -> None:
    entries = [in_wire_format(item) for item in json.loads(FIELD_DATA.read_text())]
    assert len(entries) == 471
    readable = [found for item in entries if (found := read_record(item))]
    assert len(readable) > 450
    startable = [item for item in readable if item.servers()]
    assert len(startable) > 100
    async with running(entries) as registry:
        ranked = await source(registry.url).servers("github.list_issues")
        assert "github" in ranked[0][1].name
        assert await source(registry.url).servers("quantumteleporter.x9") == []


def in_wire_format(item: dict[str, Any]) -> dict[str, Any]:
    """An entry of the registry's first data set, as the registry would show it today."""

    def inputs(values: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**value, "isRequired": value.get("is_required", False)} for value in values]

    packages = [
        {
            "registryType": package["registry_name"],
            "identifier": package["name"],
            "version": package.get("version", ""),
            "transport": {"type": "stdio"},
            "packageArguments": inputs(package.get("package_arguments", [])),
            "environmentVariables": inputs(package.get("environment_variables", [])),
        }
        for package in item.get("packages", [])
    ]
    remotes = [
        {"type": remote["transport_type"], "url": remote["url"]}
        for remote in item.get("remotes", [])
    ]
    server = {
        "name": item["name"],
        "description": item.get("description", ""),
        "version": item["version_detail"]["version"],
        "packages": packages,
        "remotes": remotes,
    }
    official = {"status": "active", "isLatest": item["version_detail"].get("is_latest", True)}
    return {
        "server": server,
        "_meta": {"io.modelcontextprotocol.registry/official": official},
    }
