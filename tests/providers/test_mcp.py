"""Calls to real MCP servers: good ones, bad ones, over standard streams and over HTTP."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ccos.capabilities import (
    AuthReference,
    HttpServer,
    Manifest,
    McpProvider,
    McpServer,
    SchemaValidator,
    StdioServer,
)
from ccos.capabilities.mcp import McpTool, tool_hash
from ccos.egress import Egress, EgressPolicy
from ccos.errors import (
    CapabilityFailedError,
    DefinitionChangedError,
    ProviderInterruptedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from ccos.providers.launcher import Launcher
from ccos.providers.mcp import McpInvoker
from ccos.providers.secrets import EnvironmentSecrets

pytestmark = pytest.mark.anyio

BAD_SERVER = str(Path(__file__).with_name("mcp_bad_server.py"))
TIME_SERVER = StdioServer(
    registry="pypi", package="mcp-server-time", version=metadata.version("mcp-server-time")
)


@asynccontextmanager
async def invoker(
    *,
    environ: dict[str, str] | None = None,
    transport: Callable[[], httpx2.AsyncBaseTransport] = httpx2.AsyncHTTPTransport,
    **options: float,
) -> AsyncIterator[McpInvoker]:
    environ = {"PATH": os.environ["PATH"], **(environ or {})}
    launcher = Launcher(environ, grace_seconds=0.3)
    made = McpInvoker(launcher, lambda _: transport(), EnvironmentSecrets(environ), **options)
    try:
        yield made
    finally:
        await made.aclose()


def bad(mode: str, state: Path | str = "", **fields: Any) -> StdioServer:
    return StdioServer(
        registry="command",
        package=sys.executable,
        arguments=(BAD_SERVER, mode, str(state)),
        **fields,
    )


async def manifest_of(
    made: McpInvoker, server: McpServer, name: str, *, timeout_seconds: float = 20
) -> Manifest:
    tool = (await made.list_tools(server)).find(name)
    assert tool is not None
    return Manifest(
        id=f"mcp.test.{name}",
        name=name,
        provider=McpProvider(
            server=server,
            tool=name,
            tool_hash=tool_hash(tool),
            timeout_seconds=timeout_seconds,
        ),
        output_schema=tool.output_schema,
    )


async def call(
    made: McpInvoker, manifest: Manifest, arguments: dict[str, Any] | None = None
) -> Any:
    return await made.invoke(manifest, arguments or {}, idempotency_key="key-1")


def alive(pid: str) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


async def test_time_server_tells_the_time() -> None:
    async with invoker() as made:
        listing = await made.list_tools(TIME_SERVER)
        assert {tool.name for tool in listing.tools} == {"get_current_time", "convert_time"}
        manifest = await manifest_of(made, TIME_SERVER, "get_current_time")
        result = await call(made, manifest, {"timezone": "Europe/Berlin"})
        assert result["timezone"] == "Europe/Berlin"


async def test_refusal_of_a_tool_is_its_own_words() -> None:
    async with invoker() as made:
        manifest = await manifest_of(made, TIME_SERVER, "get_current_time")
        with pytest.raises(CapabilityFailedError, match="Nowhere/City"):
            await call(made, manifest, {"timezone": "Nowhere/City"})
        assert await call(made, manifest, {"timezone": "UTC"})


async def test_concurrent_first_calls_share_one_process(tmp_path: Path) -> None:
    async with invoker() as made:
        server = bad("family", tmp_path / "pids")
        await asyncio.gather(*(made.list_tools(server) for _ in range(20)))
        pids = (tmp_path / "pids").read_text()
        await made.list_tools(server)
        assert (tmp_path / "pids").read_text() == pids


async def test_idle_process_is_let_go_and_started_again(tmp_path: Path) -> None:
    async with invoker(idle_seconds=0.1) as made:
        server = bad("family", tmp_path / "pids")
        await made.list_tools(server)
        first = (tmp_path / "pids").read_text()
        deadline = time.monotonic() + 10
        while alive(first.split()[0]):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        await made.list_tools(server)
        assert (tmp_path / "pids").read_text() != first


async def test_server_that_dies_at_start_is_quoted_and_not_started_endlessly() -> None:
    async with invoker() as made:
        with pytest.raises(ProviderUnavailableError, match="no licence found") as caught:
            await made.list_tools(bad("dies-at-start"))
        assert "\x1b" not in caught.value.message
        with pytest.raises(ProviderUnavailableError, match="code 2"):
            await made.list_tools(bad("dies-at-start"))
        with pytest.raises(ProviderUnavailableError, match="tried again in"):
            await made.list_tools(bad("dies-at-start"))


async def test_server_that_hangs_is_given_up() -> None:
    async with invoker(start_timeout_seconds=1.0) as made:
        started = time.monotonic()
        with pytest.raises(ProviderUnavailableError, match="not ready within 1 s"):
            await made.list_tools(bad("hangs"))
        assert time.monotonic() - started < 8


async def test_call_without_answer_times_out_and_the_next_gets_a_new_process() -> None:
    async with invoker() as made:
        manifest = await manifest_of(made, bad("silent"), "work", timeout_seconds=0.5)
        with pytest.raises(ProviderTimeoutError):
            await call(made, manifest)
        with pytest.raises(ProviderTimeoutError):
            await call(made, manifest)


async def test_process_that_dies_in_a_call_interrupts_it() -> None:
    async with invoker() as made:
        manifest = await manifest_of(made, bad("dies-in-call"), "work")
        with pytest.raises(ProviderInterruptedError, match="I cannot go on"):
            await call(made, manifest)


async def test_process_is_started_again_after_a_crash(tmp_path: Path) -> None:
    async with invoker() as made:
        manifest = await manifest_of(made, bad("dies-once", tmp_path / "state"), "work")
        with pytest.raises(ProviderInterruptedError):
            await call(made, manifest)
        assert await call(made, manifest) == {"value": 1}


@pytest.mark.parametrize(
    ("mode", "words"), [("floods", "more than 16000000 bytes"), ("babbles", "no MCP")]
)
async def test_flood_of_output_is_bounded(mode: str, words: str) -> None:
    async with invoker() as made:
        manifest = await manifest_of(made, bad(mode), "work")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(ProviderInterruptedError, match=words):
            await call(made, manifest)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 200_000


async def test_lie_about_the_result_reaches_the_caller_who_checks_it() -> None:
    async with invoker() as made:
        lying = await manifest_of(made, bad("lies"), "work")
        result = await call(made, lying)
        assert lying.output_schema is not None
        assert SchemaValidator(lying.output_schema).faults(result)
        honest = await manifest_of(made, bad("honest"), "work")
        assert honest.output_schema is not None
        assert not SchemaValidator(honest.output_schema).faults(await call(made, honest))


@pytest.mark.parametrize("mode", ["changing", "removing"])
async def test_changed_definition_is_not_called(mode: str, tmp_path: Path) -> None:
    async with invoker() as made:
        manifest = await manifest_of(made, bad(mode, tmp_path / "state"), "work")
        assert await call(made, manifest) == {"value": 1}
        await asyncio.sleep(0.2)
        with pytest.raises(DefinitionChangedError) as caught:
            await call(made, manifest)
        details = caught.value.details
        assert isinstance(manifest.provider, McpProvider)
        assert details["old_hash"] == manifest.provider.tool_hash
        assert details["new_hash"] != details["old_hash"]
        if mode == "changing":
            assert "sends it to me" in details["definition"]["description"]
        else:
            assert details["definition"] is None


async def test_silent_change_is_noticed_when_the_listing_has_expired(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with invoker(listing_seconds=0.0) as made:
        manifest = await manifest_of(made, bad("changing", state), "work")
        state.touch()
        with pytest.raises(DefinitionChangedError):
            await call(made, manifest)


async def test_all_pages_are_listed() -> None:
    async with invoker() as made:
        listing = await made.list_tools(bad("two-pages"))
        assert [tool.name for tool in listing.tools] == ["work", "second"]


@pytest.mark.parametrize("mode", ["endless-list", "loop-list"])
async def test_listing_without_end_is_refused(mode: str) -> None:
    async with invoker() as made:
        with pytest.raises(ProviderUnavailableError, match="does not end"):
            await made.list_tools(bad(mode))


async def test_idempotency_key_travels_along() -> None:
    async with invoker() as made:
        result = await call(made, await manifest_of(made, bad("echoes"), "work"), {"x": 1})
        assert result["params"]["_meta"]["ccos/idempotencyKey"] == "key-1"
        assert result["params"]["arguments"] == {"x": 1}


async def test_server_sees_named_variables_and_no_others() -> None:
    async with invoker(environ={"SECRET": "s3cret", "NAMED": "given"}) as made:
        manifest = await manifest_of(made, bad("environment", environment=("NAMED",)), "work")
        result = await call(made, manifest)
        assert result["environment"]["NAMED"] == "given"
        assert "SECRET" not in result["environment"]
        assert result["group"]
        assert result["directory"] == "/"


async def test_closed_invoker_ends_stubborn_servers_and_refuses_calls(tmp_path: Path) -> None:
    async with invoker() as made:
        server = bad("family", tmp_path / "pids")
        manifest = await manifest_of(made, server, "work")
        await made.aclose()
        await made.aclose()
        deadline = time.monotonic() + 5
        while any(alive(pid) for pid in (tmp_path / "pids").read_text().split()):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        with pytest.raises(ProviderUnavailableError, match="closed"):
            await call(made, manifest)


@pytest.mark.skipif(shutil.which("npx") is None, reason="npx is not installed")
async def test_npm_server() -> None:
    server = StdioServer(
        registry="npm", package="@modelcontextprotocol/server-everything", version="2026.8.31"
    )
    async with invoker(environ=dict(os.environ), start_timeout_seconds=30) as made:
        try:
            listing = await made.list_tools(server)
        except ProviderUnavailableError as error:
            pytest.skip(f"The npm registry is not reachable: {error.message}")
        assert listing.find("get-sum") is not None
        manifest = await manifest_of(made, server, "get-sum")
        assert "5" in str(await call(made, manifest, {"a": 2, "b": 3}))


@asynccontextmanager
async def http_server() -> AsyncIterator[tuple[str, list[dict[str, str]]]]:
    """A FastMCP server on loopback; yields its URL and the headers of every request to it."""
    import uvicorn
    from fastmcp import FastMCP
    from mcp_types import ImageContent, TextContent
    from starlette.types import ASGIApp, Receive, Scope, Send

    server: FastMCP[Any] = FastMCP("remote")
    seen: list[dict[str, str]] = []

    @server.tool
    def add(a: int, b: int) -> int:
        """Adds two numbers."""
        return a + b

    @server.tool(output_schema=None)
    def text(kind: str) -> Any:
        """Answers with text."""
        return {
            "json": [TextContent(type="text", text='{"a": [1]}')],
            "words": [TextContent(type="text", text="plain words")],
            "number": [TextContent(type="text", text="007")],
            "nothing": [],
            "many": [
                TextContent(type="text", text="one"),
                ImageContent(type="image", data="AAAA", mime_type="image/png"),
            ],
        }[kind]

    @server.tool
    def fail() -> str:
        """Fails."""
        raise ValueError("no such \x1b[31mthing")

    @server.tool
    async def slow() -> str:
        """Takes its time."""
        await asyncio.sleep(30)
        return "late"

    inner = server.http_app()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            seen.append({**headers, "?": scope["query_string"].decode()})
        await inner(scope, receive, send)

    application: ASGIApp = app
    config = uvicorn.Config(
        application, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=1
    )
    running = uvicorn.Server(config)
    task = asyncio.create_task(running.serve())
    try:
        while not running.started:
            await asyncio.sleep(0.01)
        port = running.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/mcp", seen
    finally:
        running.should_exit = True
        await task


def guarded(private: str = "127.0.0.1") -> Callable[[], httpx2.AsyncBaseTransport]:
    private_hosts = frozenset({private}) if private else frozenset()
    egress = Egress(EgressPolicy(private_hosts=private_hosts))
    return lambda: egress.transport("mcp")


async def test_http_server_through_the_guarded_way_out() -> None:
    async with http_server() as (url, _), invoker(transport=guarded()) as made:
        server = HttpServer(url=url)
        manifest = await manifest_of(made, server, "add")
        assert await call(made, manifest, {"a": 2, "b": 3}) == {"result": 5}


async def test_refused_address_is_not_contacted() -> None:
    async with http_server() as (url, seen), invoker(transport=guarded(private="")) as made:
        with pytest.raises(ProviderUnavailableError):
            await made.list_tools(HttpServer(url=url))
        assert seen == []


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("json", {"a": [1]}),
        ("words", "plain words"),
        ("number", "007"),
        ("nothing", None),
        (
            "many",
            [
                {"type": "text", "text": "one"},
                {"type": "image", "data": "AAAA", "mimeType": "image/png"},
            ],
        ),
    ],
)
async def test_content_becomes_a_value(kind: str, value: Any) -> None:
    async with http_server() as (url, _), invoker(transport=guarded()) as made:
        manifest = await manifest_of(made, HttpServer(url=url), "text")
        assert await call(made, manifest, {"kind": kind}) == value


async def test_http_failures_are_told_apart() -> None:
    async with http_server() as (url, _), invoker(transport=guarded()) as made:
        failing = await manifest_of(made, HttpServer(url=url), "fail")
        with pytest.raises(CapabilityFailedError, match="no such thing"):
            await call(made, failing)
        slow = await manifest_of(made, HttpServer(url=url), "slow", timeout_seconds=0.5)
        with pytest.raises(ProviderTimeoutError):
            await call(made, slow)
        add = await manifest_of(made, HttpServer(url=url), "add")
        assert await call(made, add, {"a": 1, "b": 1}) == {"result": 2}
    async with invoker(transport=guarded()) as made:
        with pytest.raises(ProviderUnavailableError):
            await call(made, add, {"a": 1, "b": 1})


async def test_http_server_that_went_away_between_calls_is_unavailable() -> None:
    async with invoker(transport=guarded()) as made:
        async with http_server() as (url, _):
            add = await manifest_of(made, HttpServer(url=url), "add")
        with pytest.raises(ProviderUnavailableError):
            await call(made, add, {"a": 1, "b": 1})


@pytest.mark.parametrize(
    ("location", "name", "scheme", "header", "value"),
    [
        ("header", "Authorization", "bearer", "authorization", "Bearer s3cret"),
        ("header", "X-Key", "api_key", "x-key", "s3cret"),
        ("query", "key", "api_key", "?", "key=s3cret"),
        ("cookie", "key", "api_key", "cookie", "key=s3cret"),
    ],
)
async def test_secret_goes_where_its_reference_says(
    location: Any, name: str, scheme: Any, header: str, value: str
) -> None:
    reference = AuthReference(
        scheme=scheme, location=location, name=name, environment=("OTHER", "TOKEN")
    )
    async with http_server() as (url, seen):
        server = HttpServer(url=url, auth=reference)
        async with invoker(environ={"TOKEN": "s3cret"}, transport=guarded()) as made:
            await made.list_tools(server)
            assert seen
            assert all(headers.get(header) == value for headers in seen)
        seen.clear()
        async with invoker(transport=guarded()) as made:
            with pytest.raises(ProviderUnavailableError) as caught:
                await made.list_tools(server)
            assert "TOKEN" in caught.value.next_step
            assert seen == []


def test_hash_covers_everything_a_caller_relied_on() -> None:
    tool = McpTool("work", {"type": "object"}, title="Work", description="Works.")
    variants = [
        McpTool("other", {"type": "object"}, title="Work", description="Works."),
        McpTool("work", {"type": "string"}, title="Work", description="Works."),
        McpTool("work", {"type": "object"}, title="Play", description="Works."),
        McpTool("work", {"type": "object"}, title="Work", description="Works!"),
        McpTool("work", {"type": "object"}, title="Work", description="Works.", output_schema={}),
        McpTool(
            "work",
            {"type": "object"},
            title="Work",
            description="Works.",
            annotations={"readOnlyHint": True},
        ),
    ]
    assert len({tool_hash(item) for item in (tool, *variants)}) == 7
    assert tool_hash(tool) == tool_hash(
        McpTool("work", {"type": "object"}, title="Work", description="Works.")
    )
