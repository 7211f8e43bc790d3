"""Resources, templates and prompts of a real server, called as capabilities."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ccos.capabilities import Manifest, StdioServer
from ccos.errors import CapabilityFailedError, DefinitionChangedError
from ccos.importers.mcp import import_tools
from ccos.importers.mcp_offers import import_offers
from ccos.providers.launcher import Launcher
from ccos.providers.mcp import McpInvoker
from ccos.providers.secrets import EnvironmentSecrets

pytestmark = pytest.mark.anyio

SERVER = str(Path(__file__).with_name("mcp_library_server.py"))


@asynccontextmanager
async def library(
    state: Path | str = "/nowhere",
) -> AsyncIterator[tuple[McpInvoker, dict[str, Manifest]]]:
    """An invoker, and what the server offers by id."""
    server = StdioServer(registry="command", package=sys.executable, arguments=(SERVER, str(state)))
    environ = {"PATH": os.environ["PATH"]}
    made = McpInvoker(
        Launcher(environ, grace_seconds=0.3),
        lambda _: httpx2.AsyncHTTPTransport(),
        EnvironmentSecrets(environ),
    )
    try:
        tools = import_tools("library", server, await made.list_tools(server))
        others = import_offers("library", server, await made.list_offers(server))
        assert tools.quarantined == others.quarantined == ()
        listed = (*tools.capabilities, *others.capabilities)
        yield made, {one.id.removeprefix("mcp.library."): one for one in listed}
    finally:
        await made.aclose()


async def test_everything_a_server_offers_can_be_called() -> None:
    async with library() as (made, offered):
        assert list(offered) == [
            "announce", "resource.rules", "resource.index", "resource.cover", "resource.book",
            "prompt.summary",
        ]  # fmt: skip

        async def call(name: str, **arguments: str) -> Any:
            return await made.invoke(offered[name], arguments, idempotency_key="k")

        assert await call("resource.rules") == "read library://rules"
        assert await call("resource.index") == {"books": 2}
        assert await call("resource.cover") == {"content_type": "image/png", "base64": "aGVsbG8="}
        assert await call("resource.book", id="a/b ?") == "read library://books/a%2Fb%20%3F"
        assert await call("resource.book", id="1", page="2") == "read library://books/1?page=2"
        prompt = await call("prompt.summary", id="1")
        assert prompt["description"] == "Sum up"
        assert prompt["messages"] == [
            {"role": "user", "content": {"type": "text", "text": '{"id": "1"}'}}
        ]


async def test_a_refusal_is_in_the_servers_own_words() -> None:
    async with library() as (made, offered):
        with pytest.raises(CapabilityFailedError, match="There is no such book"):
            await made.invoke(offered["resource.book"], {"id": "missing"}, idempotency_key="k")
        assert await made.invoke(offered["resource.book"], {"id": "1"}, idempotency_key="k")


async def test_what_changed_since_it_was_registered_is_not_called(tmp_path: Path) -> None:
    async with library(tmp_path / "changed") as (made, offered):
        await made.invoke(offered["resource.rules"], {}, idempotency_key="k")
        await made.invoke(offered["announce"], {}, idempotency_key="k")
        for name, arguments in (("resource.rules", {}), ("prompt.summary", {"id": "1"})):
            with pytest.raises(DefinitionChangedError) as caught:
                await made.invoke(offered[name], arguments, idempotency_key="k")
            assert caught.value.details["definition"]["description"].endswith("And more.")
            assert caught.value.details["new_hash"] != caught.value.details["old_hash"]
        assert await made.invoke(offered["resource.index"], {}, idempotency_key="k")
