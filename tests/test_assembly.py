"""The whole with real parts: servers that are processes, the durable engine, loopback HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from ccos import assembly
from ccos.assembly import Ccos
from ccos.errors import ConfigurationError, DefinitionChangedError, NotCallableError
from ccos.events import EventType
from ccos.marketplace import Standing
from ccos.resolution.queue import RequestStatus
from ccos.resolution.results import NotResolved, Resolved
from ccos.runtime import ExecutionState, Failed
from opening import (
    OFF,
    ON,
    RESOLVING,
    failure,
    happened,
    parked,
    settings,
    status,
    until,
    value,
)

pytestmark = pytest.mark.anyio

SERVER = str(Path(__file__).parent / "providers" / "mcp_bad_server.py")

LOCAL = {
    **RESOLVING,
    "CCOS_MCP_REGISTRY_ENABLED": OFF,
    "CCOS_REQUIRE_HTTPS": OFF,
    "CCOS_EGRESS_PRIVATE_HOSTS": "127.0.0.1",
    "CCOS_POLL_INTERVAL_SECONDS": "0.05",
}


def catalogue(home: Path, *modes: str) -> dict[str, str]:
    """A catalogue file with one server for each way of behaving."""
    entries = [
        {
            "name": mode,
            "matches": [f"{mode}.*"],
            "server": {
                "transport": "stdio",
                "registry": "command",
                "package": sys.executable,
                "arguments": [SERVER, mode, str(home / f"{mode}.state")],
            },
        }
        for mode in modes
    ]
    path = home / "catalogue.json"
    path.write_text(json.dumps({"entries": entries}))
    return {"CCOS_CATALOGUE_FILES": str(path)}


@contextlib.asynccontextmanager
async def whole(home: Path, *modes: str, **options: Any) -> AsyncIterator[Ccos]:
    """A CCOS with these servers in its catalogue; it works unless ``work`` is false."""
    work: bool = options.pop("work", True)
    chosen = settings(home, **{**LOCAL, **catalogue(home, *modes), **options})
    async with assembly.open(chosen, work=work) as ccos:
        yield ccos


async def settled(ccos: Ccos, capability_id: str, *waited: RequestStatus) -> str:
    """Wait until a request is in one of these states; what was its last error."""

    async def reached() -> bool:
        return await status(ccos, capability_id) in waited

    await until(reached, seconds=30)
    return (await ccos.resolver.queue.get(capability_id)).last_error or ""


class Service:
    """Answers over HTTP as the test says, and counts what it is asked."""

    def __init__(self, answer: Callable[[str], Awaitable[bytes]]) -> None:
        self.answer = answer
        self.paths: list[str] = []
        self.url = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        self.paths.append(scope["path"])
        body = await self.answer(scope["path"])
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Service]:
        configuration = uvicorn.Config(
            self, host="127.0.0.1", port=0, log_level="error", lifespan="off"
        )
        server = uvicorn.Server(configuration)
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        self.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.should_exit = server.force_exit = True
            await serving


async def test_a_plan_that_misses_two_kinds_of_things_ends_with_both_results(
    tmp_path: Path,
) -> None:
    async def answer(path: str) -> bytes:
        return json.dumps({"path": path}).encode()

    plan = """
import asyncio
tool, page = await asyncio.gather(good.work(x=1), shop.get_order(number="7"))
{"tool": tool, "page": page}
"""
    async with Service(answer).running() as shop:
        document = {
            "openapi": "3.1.0",
            "info": {"title": "Shop", "version": "1"},
            "servers": [{"url": shop.url}],
            "paths": {
                "/orders/{number}": {
                    "get": {
                        "operationId": "getOrder",
                        "parameters": [
                            {
                                "name": "number",
                                "in": "path",
                                "required": True,
                                "schema": {"type": "string"},
                            }
                        ],
                        "responses": {"200": {"description": "An order"}},
                    }
                }
            },
        }
        (tmp_path / "apis").mkdir()
        (tmp_path / "apis" / "shop.json").write_text(json.dumps(document))
        async with whole(tmp_path, "good", work=True, CCOS_IMPORTERS_ENABLED=ON) as ccos:
            ticket = parked(await ccos.run(plan, name="both.py"))
            assert ticket.missing == ("good.work", "shop.get_order")
            # Plain http to an address is nobody's good name: a person decides about the shop.
            await settled(ccos, "good.work", RequestStatus.RESOLVED)
            await settled(ccos, "shop.get_order", RequestStatus.AWAITING_APPROVAL)
            assert shop.paths == []
            await ccos.resolver.approve(capability_id="shop.get_order", by="alice")
            result = value(await ccos.settled(ticket.execution_id))
            assert result == {"tool": {"value": 1}, "page": {"path": "/orders/7"}}
            assert shop.paths == ["/orders/7"]
            assert (await ccos.audit.verify()).intact


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("dies-at-start", "no licence found"),
        ("hangs", "timed out after 1.5 s"),
        ("endless-list", ""),
    ],
)
async def test_a_server_that_cannot_be_asked_is_a_reason_in_the_queue_and_nothing_is_lost(
    tmp_path: Path, mode: str, words: str
) -> None:
    async with whole(tmp_path, mode, "good", CCOS_RESOLUTION_TIMEOUT_SECONDS="1.5") as ccos:
        ticket = parked(await ccos.call(f"{mode}.work", {"x": 1}))
        reason = await settled(
            ccos, f"{mode}.work", RequestStatus.FAILED, RequestStatus.PERMANENTLY_FAILED
        )
        assert words in reason
        assert "catalogue" in reason
        assert "\x1b" not in reason
        assert parked(await ccos.runtime.outcome(ticket.execution_id)) == ticket
        assert isinstance(await ccos.resolver.resolve_capability("good.work"), Resolved)
        assert value(await ccos.call("good.work", {"x": 1})) == {"value": 1}
        assert (await ccos.audit.verify()).intact


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("floods", "MCP server"),
        ("babbles", "MCP server"),
        ("dies-in-call", "I cannot go on"),
        ("lies", "output schema"),
    ],
)
async def test_a_server_that_misbehaves_in_a_call_is_an_outcome_with_a_reason(
    tmp_path: Path, mode: str, words: str
) -> None:
    async with whole(tmp_path, mode) as ccos:
        ticket = parked(await ccos.call(f"{mode}.work", {"x": 1}))
        async with asyncio.timeout(30):
            await ccos.settled(ticket.execution_id)
        execution = await ccos.runtime.execution(ticket.execution_id)
        results = await happened(ccos, EventType.CAPABILITY_RESULT)
        unknowns = await happened(ccos, EventType.EXECUTION_OUTCOME_UNKNOWN)
        told = json.dumps([*results, *unknowns])
        assert words in told
        # What may have acted is for a person; what answered wrongly is a failure.
        answered = mode == "lies"
        expected = ExecutionState.FAILED if answered else ExecutionState.OUTCOME_UNKNOWN
        assert execution.state is expected


async def test_a_changed_definition_is_withheld_until_somebody_approves_it(
    tmp_path: Path,
) -> None:
    async with whole(tmp_path, "changing") as ccos:
        ticket = parked(await ccos.call("changing.work", {"x": 1}))
        assert value(await ccos.settled(ticket.execution_id)) == {"value": 1}
        before = await ccos.marketplace.get("changing.work")
        assert before is not None
        assert before.standing is Standing.ACTIVE

        refused: list[Any] = []

        async def noticed() -> bool:
            outcome = await ccos.call("changing.work", {"x": 1})
            if isinstance(outcome, Failed):
                refused.append(outcome.error)
            return bool(refused)

        await until(noticed)
        assert isinstance(refused[0], DefinitionChangedError)
        withheld = await ccos.marketplace.get("changing.work")
        assert withheld is not None
        assert withheld.standing is Standing.QUARANTINED
        assert len(await happened(ccos, EventType.CAPABILITY_QUARANTINED)) == 1
        later = failure(await ccos.call("changing.work", {"x": 1}))
        assert isinstance(later, NotCallableError)
        assert "quarantined" in later.message

        capability_id = before.manifest.id
        await settled(ccos, capability_id, RequestStatus.AWAITING_APPROVAL)
        approval = await ccos.resolver.approvals.waiting(capability_id)
        assert approval is not None
        assert approval.candidate is not None
        assert "sends it to me" in approval.candidate["manifest"]["description"]
        assert any("differs from version" in one for one in approval.risk["risk_factors"])
        await ccos.resolver.approve(approval_id=approval.id, by="alice")
        await settled(ccos, capability_id, RequestStatus.RESOLVED)
        after = await ccos.marketplace.get("changing.work")
        assert after is not None
        assert after.standing is Standing.ACTIVE
        assert after.manifest.version != before.manifest.version
        versions = [one.manifest.version for one in await ccos.marketplace.versions(capability_id)]
        assert versions == [before.manifest.version, after.manifest.version]
        assert value(await ccos.call("changing.work", {"x": 1})) == {"value": 1}


async def test_a_tool_that_is_gone_is_withheld_and_the_queue_says_why(tmp_path: Path) -> None:
    async with whole(tmp_path, "removing") as ccos:
        ticket = parked(await ccos.call("removing.work", {"x": 1}))
        assert value(await ccos.settled(ticket.execution_id)) == {"value": 1}

        async def noticed() -> bool:
            return isinstance(await ccos.call("removing.work", {"x": 1}), Failed)

        await until(noticed)
        reason = await settled(ccos, "mcp.removing.work", RequestStatus.FAILED)
        assert "The server no longer offers work." in reason
        withheld = await ccos.marketplace.get("removing.work")
        assert withheld is not None
        assert withheld.standing is Standing.QUARANTINED


async def garbage(_: str) -> bytes:
    return b"<html>not a registry</html>"


async def slowly(_: str) -> bytes:
    await asyncio.sleep(0.8)
    return b'{"servers": [], "metadata": {"count": 0}}'


async def never(_: str) -> bytes:
    await asyncio.sleep(30)
    return b""


@pytest.mark.parametrize(
    ("answer", "words"),
    [(garbage, "mcp_registry: "), (slowly, "did not answer within"), (never, "did not answer")],
)
async def test_a_registry_that_answers_badly_is_a_reason_and_the_other_sources_are_asked(
    tmp_path: Path, answer: Callable[[str], Awaitable[bytes]], words: str
) -> None:
    async with Service(answer).running() as registry:
        variables = {
            "CCOS_MCP_REGISTRY_ENABLED": ON,
            "CCOS_MCP_REGISTRY_BASE_URL": registry.url,
            "CCOS_MCP_REGISTRY_TIMEOUT_SECONDS": "0.3",
            "CCOS_IMPORTERS_ENABLED": ON,
        }
        async with whole(tmp_path, work=False, **variables) as ccos:
            result = await ccos.resolver.resolve_capability("weather.forecast")
            assert isinstance(result, NotResolved)
            assert words in result.reason
            assert result.retry_after is not None
            assert len(registry.paths) >= 1
            request = await ccos.resolver.queue.get("weather.forecast")
            assert request.methods_tried == [
                "provider_review",
                "partial_match",
                "curated_catalogue",
                "mcp_registry",
                "openapi_import",
            ]
            assert request.backoff_seconds == 1


async def test_resolved_alone_after_a_restart_by_the_next_process(tmp_path: Path) -> None:
    async with whole(tmp_path, "good", work=False) as ccos:
        ticket = parked(await ccos.call("good.work", {"x": 1}))
    async with whole(tmp_path, "good") as ccos:
        assert value(await ccos.settled(ticket.execution_id)) == {"value": 1}


async def test_the_durable_engine_serves_one_resolver_of_a_process_at_a_time(
    tmp_path: Path,
) -> None:
    async with whole(tmp_path, "good", work=False) as first:
        assert isinstance(await first.resolver.resolve_capability("good.work"), Resolved)
        (tmp_path / "second").mkdir()
        async with whole(tmp_path / "second", "good", work=False) as second:
            result = await second.resolver.resolve_capability("good.work")
            assert isinstance(result, NotResolved)
            assert "works in this process already" in result.reason
    async with whole(tmp_path / "second", "good", work=False) as second:
        result = await second.resolver.resolve_capability("good.work", force=True)
        assert isinstance(result, Resolved)


async def test_what_left_and_what_was_kept_from_leaving_is_on_the_trail(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    async with Service(garbage).running() as registry:
        location = f"{registry.url}/openapi.json"
        variables = {"CCOS_IMPORTERS_ENABLED": ON, "CCOS_OPENAPI_DOCUMENTS": location}
        async with whole(tmp_path / "one", work=False, **variables) as ccos:
            await ccos.resolver.resolve_capability("weather.forecast")

            async def recorded() -> bool:
                return bool(await happened(ccos, EventType.EGRESS_REQUEST))

            await until(recorded)
            (sent,) = await happened(ccos, EventType.EGRESS_REQUEST)
            assert (sent["host"], sent["status"]) == ("127.0.0.1", 200)
        asked = len(registry.paths)
        variables["CCOS_EGRESS_PRIVATE_HOSTS"] = ""
        async with whole(tmp_path / "two", work=False, **variables) as ccos:
            await ccos.resolver.resolve_capability("weather.forecast")

            async def violated() -> bool:
                return bool(await happened(ccos, EventType.SECURITY_VIOLATION))

            await until(violated)
        assert len(registry.paths) == asked


async def test_opening_reads_the_given_home_and_refuses_what_makes_no_sense(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCOS_HOME", str(tmp_path / "environment"))
    async with assembly.open(home=tmp_path / "given", work=False) as ccos:
        assert ccos.settings.home == tmp_path / "given"
    monkeypatch.setenv("CCOS_AUTO_RESOLUTION", "perhaps")
    with pytest.raises(ConfigurationError, match="CCOS_AUTO_RESOLUTION"):
        assembly.open(home=tmp_path / "given")


async def test_a_ccos_that_cannot_be_opened_leaves_nothing_running(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "ccos.key").write_bytes(b"too short")
    before = asyncio.all_tasks()
    with pytest.raises(Exception, match="damaged"):
        async with assembly.open(settings(tmp_path)):
            raise AssertionError("It must not open.")
    assert asyncio.all_tasks() == before
    (tmp_path / "keys" / "ccos.key").unlink()
    started = time.monotonic()
    async with assembly.open(settings(tmp_path), work=True):
        pass
    assert time.monotonic() - started < 30
