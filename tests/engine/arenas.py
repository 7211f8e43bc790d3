"""Where hostile scripts are let loose: an engine, a secret in its reach, a server that counts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal

from ccos.assembly import Ccos
from ccos.engine.budget import Allowance, Budget, Dimension
from ccos.engine.executions import CompilationContext, ExecutionContext, ExecutionResult
from ccos.engine.policy import SecurityLevel, level_policy
from ccos.events import Event, EventType, Subscription
from opening import opened

SECRET = "marker-7f3a91c2-never-shown"


class Server(ThreadingHTTPServer):
    """Says hello, and counts who comes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Hello)
        self.port: int = self.server_address[1]
        self.visits = 0

    def get_request(self) -> Any:
        self.visits += 1
        return super().get_request()


class _Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: Any) -> None:
        pass


@dataclass
class Arena:
    """An engine in a thread of its own, with a secret in reach of its process."""

    portal: BlockingPortal
    ccos: Ccos
    subscription: Subscription
    folder: Path
    server: Server
    name: str
    """What its scripts are called, which tells their language."""

    def run(self, entry: dict[str, Any], timeout: float) -> ExecutionResult:
        result: ExecutionResult = self.portal.call(self._run, entry, timeout)
        return result

    async def _run(self, entry: dict[str, Any], timeout: float) -> ExecutionResult:
        source = entry["source"]
        for name in ("SECRET_FILE", "PLAIN_FILE", "CANARY", "TWIN"):
            source = source.replace(name, str(self.folder / name))
        source = source.replace("PORT", str(self.server.port))
        limits = entry.get("budget", {})
        allowances = {Dimension(name): Allowance(limit) for name, limit in limits.items()}
        return await self.ccos.script_engine.execute_script_source(
            source,
            ExecutionContext(
                timeout=timeout,
                environment={"GIVEN": "given"},
                budget=Budget(allowances) if allowances else None,
            ),
            CompilationContext(name=self.name, policy=level_policy(SecurityLevel(entry["level"]))),
        )

    def events(self, since: float, wanted: set[EventType]) -> list[Event]:
        """The events that came after a moment, once there is one of each wanted type."""
        return self.portal.call(self._events, since, wanted)

    async def _events(self, since: float, wanted: set[EventType]) -> list[Event]:
        found: list[Event] = []
        async with asyncio.timeout(5):
            async for event in self.subscription:
                if event.at >= since:
                    found.append(event)
                if wanted <= {one.type for one in found}:
                    break
        return found


@contextmanager
def arena_of(folder: Path, isolation: str, name: str = "it.py") -> Iterator[Arena]:
    folder.joinpath("SECRET_FILE").write_text(SECRET)
    folder.joinpath("PLAIN_FILE").write_text("plain text")
    with start_blocking_portal() as portal, Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        opening = opened(
            folder / "home",
            CCOS_SCRIPT_ENGINE_ISOLATION=isolation,
            CCOS_REQUIRE_HTTPS="false",
            CCOS_EGRESS_PRIVATE_HOSTS="127.0.0.1",
        )
        with portal.wrap_async_context_manager(opening) as ccos:

            async def subscribe() -> Subscription:
                return ccos.events.subscribe(
                    [
                        EventType.SCRIPT_COMPILED,
                        EventType.SCRIPT_EXECUTED,
                        EventType.SECURITY_VIOLATION,
                        EventType.BUDGET_EXHAUSTED,
                    ]
                )

            yield Arena(portal, ccos, portal.call(subscribe), folder, server, name)
            server.shutdown()
