"""Where hostile scripts are let loose: an engine, a secret in its reach, a server that counts."""

from __future__ import annotations

import asyncio
import os
import threading
import time
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
from ccos.errors import ScriptError
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


_VIOLATIONS = {"CCOS-SCRIPT-SECURITY", "CCOS-SCRIPT-RESOURCE", "CCOS-BUDGET-EXHAUSTED"}


def _refusal(arena: Arena, case: dict[str, Any]) -> tuple[ScriptError, str, EventType]:
    """The error, all that came out with it, and the event that tells of the end."""
    try:
        result = arena.run(case, case["timeout"])
    except ScriptError as error:
        return error, "", EventType.SCRIPT_COMPILED
    assert result.error is not None, f"it ran to its end: {result.value!r:.200}"
    said = f"{result.value}{result.stdout}{result.stderr}"
    return result.error, said, EventType.SCRIPT_EXECUTED


def check_refusal_and_twin(arena: Arena, case: dict[str, Any]) -> None:
    """A case is refused as it says, which is told and recorded; its harmless twin works.

    Args:
        arena: Where both run.
        case: An entry of a corpus.
    """
    since, visits = time.time(), arena.server.visits
    error, said, ending = _refusal(arena, case)
    assert error.code == case["refused"], error.message
    assert case["says"] in error.message
    assert "limit" not in case or error.details["limit"] == case["limit"]
    assert SECRET not in f"{said}{error.as_dict()}"
    # Whatever it said, nothing happened: no file, no process that makes one, no connection.
    assert not os.path.lexists(arena.folder / "CANARY")
    if case["level"] == "safe":
        assert arena.server.visits == visits

    wanted = {ending}
    if error.code in _VIOLATIONS:
        wanted.add(EventType.SECURITY_VIOLATION)
    if error.code == "CCOS-BUDGET-EXHAUSTED":
        wanted.add(EventType.BUDGET_EXHAUSTED)
    told = arena.events(since, wanted)
    endings = [one for one in told if one.type is ending and not one.data["success"]]
    assert len(endings) == 1
    entries = arena.portal.call(arena.ccos.audit.tail, 300)
    of_it = [one for one in entries if one.data.get("script_id") == endings[0].data["script_id"]]
    assert wanted <= {EventType(one.event_type) for one in of_it}
    assert SECRET not in str([one.data for one in of_it])

    (arena.folder / "TWIN").unlink(missing_ok=True)
    twin = arena.run(case["twin"] | {"budget": case.get("budget", {})}, 5.0)
    assert twin.error is None, twin.error
    assert twin.value == case["twin"]["value"]
    assert SECRET not in f"{twin.value}{twin.stdout}{twin.stderr}"
    health = arena.portal.call(arena.ccos.script_engine.health_check)
    assert health.details["active_executions"] == 0
