"""Servers that others published, imported with all they offer and called.

They are fetched from their registries; where those cannot be reached, the tests are skipped.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uv

from ccos.capabilities import Manifest, SchemaValidator, StdioServer
from ccos.errors import CapabilityFailedError
from ccos.importers.mcp import import_tools
from ccos.importers.mcp_offers import import_offers
from ccos.providers.launcher import Launcher
from ccos.providers.mcp import McpInvoker
from ccos.providers.secrets import EnvironmentSecrets

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

NPM = "2026.8.31"


@functools.cache
def is_at_hand(registry: str, package: str, version: str) -> bool:
    """Whether the registry gives the package; it is in the cache afterwards."""
    if registry == "npm":
        command = [shutil.which("npm") or "", "view", f"{package}@{version}", "version"]
    else:
        source = f"{package}=={version}"
        command = [uv.find_uv_bin(), "tool", "run", "--from", source, package, "--help"]
    if not command[0]:
        return False
    try:
        return subprocess.run(command, capture_output=True, timeout=120).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def published(registry: str, package: str, version: str, *arguments: str, **more: Any) -> Any:
    """A published server; skips the test if it is out of reach."""
    if not is_at_hand(registry, package, version):
        pytest.skip(f"{package} {version} cannot be fetched")
    return StdioServer.model_validate(
        {
            "registry": registry,
            "package": package,
            "version": version,
            "arguments": arguments,
            **more,
        }
    )


class Offered:
    """What a server offers, by the end of its id."""

    def __init__(self, invoker: McpInvoker, capabilities: tuple[Manifest, ...]) -> None:
        self._invoker = invoker
        self.names = [one.id.removeprefix("mcp.s.") for one in capabilities]
        self._capabilities = dict(zip(self.names, capabilities, strict=True))

    async def call(self, capability: str, /, **arguments: Any) -> Any:
        manifest = self._capabilities[capability]
        assert SchemaValidator(manifest.input_schema).accepts(arguments)
        value = await self._invoker.invoke(manifest, arguments, idempotency_key="k")
        if manifest.output_schema is not None:
            assert SchemaValidator(manifest.output_schema).accepts(value)
        return value


@asynccontextmanager
async def imported(server: StdioServer, **environ: str) -> AsyncIterator[Offered]:
    made = McpInvoker(
        Launcher({**os.environ, **environ}, grace_seconds=0.5),
        lambda _: httpx2.AsyncHTTPTransport(),
        EnvironmentSecrets({}),
        start_timeout_seconds=120,
    )
    try:
        tools = import_tools("s", server, await made.list_tools(server))
        others = import_offers("s", server, await made.list_offers(server))
        assert tools.quarantined == others.quarantined == ()
        yield Offered(made, tools.capabilities + others.capabilities)
    finally:
        await made.aclose()


async def test_everything() -> None:
    server = published("npm", "@modelcontextprotocol/server-everything", NPM)
    async with imported(server) as offered:
        assert len(offered.names) >= 20
        assert await offered.call("echo", message="hä?") == "Echo: hä?"
        assert "5" in str(await offered.call("get-sum", a=2, b=3))
        weather = await offered.call("get-structured-content", location="Chicago")
        assert isinstance(weather["temperature"], int | float)
        assert (
            "resource 7"
            in (await offered.call("resource.Dynamic_Text_Resource", resourceId="7")).lower()
        )
        blob = await offered.call("resource.Dynamic_Blob_Resource", resourceId="7")
        assert blob["base64"]
        prompt = await offered.call("prompt.args-prompt", city="Oslo")
        assert "Oslo" in prompt["messages"][0]["content"]["text"]


async def test_filesystem(tmp_path: Path) -> None:
    server = published("npm", "@modelcontextprotocol/server-filesystem", NPM, str(tmp_path))
    async with imported(server) as offered:
        file = tmp_path / "a.txt"
        await offered.call("write_file", path=str(file), content="hello")
        assert file.read_text() == "hello"
        assert "hello" in str(await offered.call("read_text_file", path=str(file)))
        with pytest.raises(CapabilityFailedError, match="denied"):
            await offered.call("read_text_file", path="/etc/passwd")


async def test_memory(tmp_path: Path) -> None:
    server = published(
        "npm",
        "@modelcontextprotocol/server-memory",
        NPM,
        environment=("MEMORY_FILE_PATH",),
    )
    async with imported(server, MEMORY_FILE_PATH=str(tmp_path / "memory.jsonl")) as offered:
        ada = {"name": "Ada", "entityType": "person", "observations": ["counts"]}
        await offered.call("create_entities", entities=[ada])
        graph = await offered.call("read_graph")
        assert [one["name"] for one in graph["entities"]] == ["Ada"]
        assert (tmp_path / "memory.jsonl").exists()


async def test_git(tmp_path: Path) -> None:
    server = published("pypi", "mcp-server-git", "2026.10.19")
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / "new.txt").write_text("x")
    async with imported(server) as offered:
        status = await offered.call("git_status", repo_path=str(tmp_path))
        assert "new.txt" in str(status)
        with pytest.raises(CapabilityFailedError):
            await offered.call("git_status", repo_path=str(tmp_path / "nowhere"))


async def test_fetch(httpbin_url: str) -> None:
    server = published(
        "pypi", "mcp-server-fetch", "2026.10.24", "--ignore-robots-txt", "--allow-private-ips"
    )
    async with imported(server) as offered:
        assert offered.names == ["fetch", "prompt.fetch"]
        assert "Moby-Dick" in str(await offered.call("fetch", url=f"{httpbin_url}/html"))
        prompt = await offered.call("prompt.fetch", url=f"{httpbin_url}/html")
        assert "Moby-Dick" in str(prompt["messages"])
