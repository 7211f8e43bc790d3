"""A package of the public registry: found, asked about, started, asked about again, and called."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import pytest

from ccos import Completed, Parked, RequestStatus
from ccos.assembly import open as open_ccos
from opening import RESOLVING, settings

pytestmark = pytest.mark.anyio

WANTED = "chronos.current_time"
ENTRY = {
    "server": {
        "name": "io.github.someone/chronos",
        "description": "The chronos of this machine.",
        "version": "1.0.0",
        "packages": [
            {
                "registryType": "pypi",
                "identifier": "mcp-server-time",
                "version": metadata.version("mcp-server-time"),
                "transport": {"type": "stdio"},
            }
        ],
    },
    "_meta": {"io.modelcontextprotocol.registry/official": {"status": "active", "isLatest": True}},
}


@pytest.fixture
def registry_url() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"servers": [ENTRY], "metadata": {"count": 1}}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


async def test_a_person_is_asked_before_it_is_started_and_before_it_is_used(
    tmp_path: Path, registry_url: str
) -> None:
    configured = settings(
        tmp_path,
        **RESOLVING,
        CCOS_MCP_REGISTRY_ENABLED="true",
        CCOS_MCP_REGISTRY_BASE_URL=registry_url,
        CCOS_REQUIRE_HTTPS="false",
        CCOS_EGRESS_PRIVATE_HOSTS=registry_url.removeprefix("http://"),
    )
    async with open_ccos(configured, work=False) as ccos:
        parked = await ccos.call(WANTED, {"timezone": "UTC"})
        assert isinstance(parked, Parked)
        await ccos.resolver.process_queue()
        (start,) = await ccos.resolver.approvals.recent()
        assert "io.github.someone/chronos would be started" in " ".join(start.risk["risk_factors"])
        assert start.candidate is None

        await ccos.resolver.approve(approval_id=start.id, by="tester")
        await ccos.resolver.process_queue()
        use = await ccos.resolver.approvals.waiting(WANTED)
        assert use is not None
        assert use.candidate is not None
        assert use.risk["level"] == "high"
        assert "it has the effect process" in use.risk["risk_factors"]

        await ccos.resolver.approve(approval_id=use.id, by="tester")
        await ccos.resolver.process_queue()
        outcome = await ccos.runtime.outcome(parked.execution_id)
        assert isinstance(outcome, Completed)
        assert outcome.value["timezone"] == "UTC"
        request = await ccos.resolver.queue.get(WANTED)
        assert request.status is RequestStatus.RESOLVED


async def test_nothing_is_started_when_the_person_says_no(
    tmp_path: Path, registry_url: str
) -> None:
    configured = settings(
        tmp_path,
        **RESOLVING,
        CCOS_MCP_REGISTRY_ENABLED="true",
        CCOS_MCP_REGISTRY_BASE_URL=registry_url,
        CCOS_REQUIRE_HTTPS="false",
        CCOS_EGRESS_PRIVATE_HOSTS=registry_url.removeprefix("http://"),
    )
    async with open_ccos(configured, work=False) as ccos:
        await ccos.call(WANTED, {"timezone": "UTC"})
        await ccos.resolver.process_queue()
        (start,) = await ccos.resolver.approvals.recent()
        await ccos.resolver.reject(approval_id=start.id, by="tester", reason="unknown author")
        await ccos.resolver.process_queue()
        request = await ccos.resolver.queue.get(WANTED)
        assert request.status is RequestStatus.REJECTED
        assert await ccos.marketplace.registered() == []
