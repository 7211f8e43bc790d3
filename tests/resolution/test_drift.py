"""Rug pulls: whatever a provider changes is found, withheld and asked about again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ccos.assembly import Ccos
from ccos.capabilities import (
    HttpServer,
    LocalProvider,
    Manifest,
    McpServer,
    StdioServer,
    TrustTier,
)
from ccos.capabilities.mcp import McpTool, ToolListing
from ccos.errors import ProviderUnavailableError
from ccos.events import EventType
from ccos.importers.mcp import import_tools
from ccos.marketplace import Standing
from ccos.resolution.drift import Change, DriftWatch, changes_between
from ccos.resolution.queue import RequestStatus
from ccos.resolution.sources import ChangedProviders
from opening import DETECTING, RESOLVING, happened, opened, status

pytestmark = pytest.mark.anyio

SERVER = StdioServer(registry="command", package="/usr/bin/clock")
OTHER = HttpServer(url="https://clock.example/mcp")
INPUT = {
    "type": "object",
    "properties": {"zone": {"type": "string", "enum": ["utc", "local"]}},
    "required": ["zone"],
}
OUTPUT = {
    "type": "object",
    "properties": {"time": {"type": "string", "maxLength": 30}},
    "required": ["time"],
}
CLAIMS = {"readOnlyHint": True}
TELL = McpTool("tell", INPUT, None, "Tells the time.", OUTPUT, CLAIMS)
ID = "mcp.clock.tell"


def tell(**changes: Any) -> McpTool:
    parts = {
        "name": "tell",
        "input_schema": INPUT,
        "description": "Tells the time.",
        "output_schema": OUTPUT,
        "annotations": CLAIMS,
        **changes,
    }
    return McpTool(**parts)


def properties(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**schema, "properties": {**schema["properties"], **more}}


class Clock:
    """A server whose tools can be exchanged."""

    def __init__(self, *tools: McpTool) -> None:
        self.tools = tools or (TELL,)
        self.asked: list[McpServer] = []
        self.down = False
        self.now = 0.0

    async def list_tools(self, server: McpServer) -> ToolListing:
        self.asked.append(server)
        if self.down:
            raise ProviderUnavailableError("The clock stands still.")
        return ToolListing(self.tools)

    def watch(self, ccos: Ccos, interval_seconds: float = 0.0) -> DriftWatch:
        return DriftWatch(
            ccos.marketplace,
            ccos.resolver,
            self.list_tools,
            interval_seconds=interval_seconds,
            clock=lambda: self.now,
        )


async def register(ccos: Ccos, server: McpServer = SERVER, name: str = "clock") -> Manifest:
    (manifest,) = import_tools(name, server, ToolListing((TELL,)), effects=("clock",)).capabilities
    approved = manifest.model_copy(update={"trust_tier": TrustTier.APPROVED})
    await ccos.marketplace.register(approved, actor="test")
    return approved


RUG_PULLS: list[tuple[McpTool | None, set[Change]]] = [
    (tell(description="Tells the time and sets it."), {Change.TEXT}),
    (tell(title="Clock"), {Change.TEXT}),
    (
        tell(
            input_schema=properties(INPUT, day={"type": "string"}) | {"required": ["zone", "day"]}
        ),
        {Change.NARROWED_INPUT, Change.LOOSENED_INPUT},
    ),
    (
        tell(input_schema=properties(INPUT, zone={"type": "string"})),
        {Change.LOOSENED_INPUT},
    ),
    (
        tell(input_schema=properties(INPUT, zone={"type": "string", "enum": ["utc"]})),
        {Change.NARROWED_INPUT},
    ),
    (
        tell(
            input_schema=properties(
                INPUT, zone={"type": "string", "enum": ["utc", "local"], "default": "utc"}
            )
        ),
        {Change.SCHEMA},
    ),
    (tell(output_schema=properties(OUTPUT, time={"type": "string"})), {Change.LOOSENED_OUTPUT}),
    (tell(output_schema=None), {Change.LOOSENED_OUTPUT}),
    (tell(annotations={"readOnlyHint": False}), {Change.CLAIMS}),
    (tell(annotations={}), {Change.CLAIMS}),
    (tell(name="tells"), {Change.RENAMED}),
    (None, {Change.REMOVED}),
    (tell(description="Tells\u202e the time."), {Change.UNREADABLE}),
    (tell(description="Tells the \ud800 time."), {Change.UNREADABLE}),
]


@pytest.mark.parametrize(("now", "changes"), RUG_PULLS, ids=range(len(RUG_PULLS)))
async def test_a_changed_definition_is_quarantined_and_queued(
    tmp_path: Path, now: McpTool | None, changes: set[Change]
) -> None:
    clock = Clock()
    async with opened(tmp_path, **DETECTING) as ccos:
        await register(ccos)
        clock.tools = (now,) if now is not None else (McpTool("other", {"type": "object"}),)
        report = await clock.watch(ccos).look()
        (drift,) = report.drifted
        assert set(drift.changes) == changes
        registered = await ccos.marketplace.get(ID)
        assert registered is not None
        assert registered.standing is Standing.QUARANTINED
        assert "its provider changed" in registered.reason
        (told,) = await happened(ccos, EventType.CAPABILITY_DRIFTED)
        assert set(told["changes"]) == changes
        assert await status(ccos, ID) is RequestStatus.PENDING
        # A second look finds nothing more to withhold.
        assert (await clock.watch(ccos).look()).drifted == ()


async def test_what_stayed_the_same_goes_on_and_additions_change_nothing(tmp_path: Path) -> None:
    clock = Clock(McpTool("other", {"type": "object"}), TELL)
    async with opened(tmp_path, **DETECTING) as ccos:
        await register(ccos)
        report = await clock.watch(ccos).look()
        assert (report.looked_at, report.drifted) == (1, ())
        assert report.added == ("clock: other",)
        registered = await ccos.marketplace.get(ID)
        assert registered is not None
        assert registered.standing is Standing.ACTIVE
        assert await ccos.resolver.queue.requests() == []


async def test_a_server_that_does_not_answer_withholds_nothing(tmp_path: Path) -> None:
    clock = Clock()
    clock.down = True
    async with opened(tmp_path, **DETECTING) as ccos:
        await register(ccos)
        report = await clock.watch(ccos).look()
        assert report.unreachable == ("clock: The clock stands still.",)
        registered = await ccos.marketplace.get(ID)
        assert registered is not None
        assert registered.standing is Standing.ACTIVE


async def test_a_change_asks_a_person_and_a_yes_takes_it_up_again(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, **RESOLVING, CCOS_HIGH_RISK_AUTO_RESOLUTION="true") as ccos:
        ccos.resolver.add_custom_resolver(ChangedProviders(ccos.marketplace, clock.list_tools))
        await register(ccos)
        clock.tools = (tell(description="Tells the time, also of yesterday."),)
        await clock.watch(ccos).look()
        await ccos.worker.run_once()
        question = await ccos.resolver.approvals.waiting(ID)
        assert question is not None
        assert any("differs from version" in one for one in question.risk["risk_factors"])
        await ccos.resolver.approve(approval_id=question.id, by="alice")
        await ccos.worker.run_once()
        registered = await ccos.marketplace.get(ID)
        assert registered is not None
        assert registered.standing is Standing.ACTIVE
        assert registered.manifest.description == "Tells the time, also of yesterday."
        assert (await clock.watch(ccos).look()).drifted == ()


async def test_without_resolution_a_change_is_withheld_all_the_same(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path) as ccos:
        await register(ccos)
        clock.tools = (tell(description="Sets the time."),)
        await clock.watch(ccos).look()
        registered = await ccos.marketplace.get(ID)
        assert registered is not None
        assert registered.standing is Standing.QUARANTINED
        assert await ccos.resolver.queue.requests() == []


async def test_the_schedule(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, **DETECTING) as ccos:
        await register(ccos)
        never, hourly = clock.watch(ccos), clock.watch(ccos, 3600.0)
        clock.now = 3599.0
        assert await hourly.round() is None
        clock.now = 3600.0
        assert await never.round() is None
        assert await hourly.round() is not None
        assert await hourly.round() is None
        assert clock.asked == [SERVER]


async def test_a_notice_is_followed_at_once_and_only_for_its_server(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, **DETECTING) as ccos:
        await register(ccos)
        await register(ccos, OTHER, "clock2")
        watch = clock.watch(ccos)
        assert await watch.round() is None
        watch.notice(OTHER)
        report = await watch.round()
        assert report is not None
        assert report.looked_at == 1
        assert clock.asked == [OTHER]
        assert await watch.round() is None


async def test_a_storm_of_notices_is_one_look(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, **DETECTING) as ccos:
        await register(ccos)
        watch = clock.watch(ccos)
        for _ in range(1_000):
            watch.notice(SERVER)
        await watch.round()
        assert clock.asked == [SERVER]


def test_a_server_that_moved_and_effects_that_grew() -> None:
    (before,) = import_tools("clock", SERVER, ToolListing((TELL,))).capabilities
    (moved,) = import_tools(
        "clock", OTHER, ToolListing((TELL,)), effects=before.effects
    ).capabilities
    assert changes_between(before, moved) == (Change.REPOINTED,)
    (grown,) = import_tools("clock", SERVER, ToolListing((TELL,)), effects=("disk",)).capabilities
    assert changes_between(before, grown) == (Change.EFFECTS,)
    assert changes_between(before, before) == ()
    local = before.model_copy(update={"provider": LocalProvider(handler="x")})
    assert changes_between(before, local) == (Change.REPOINTED,)


@pytest.mark.parametrize("on", [True, False], ids=["on", "off"])
async def test_the_worker_looks_again_where_the_loop_is_on(tmp_path: Path, on: bool) -> None:
    clock = Clock()
    variables = {**RESOLVING, "CCOS_CONTINUOUS_RESOLUTION": "true" if on else "false"}
    async with opened(tmp_path, **variables) as ccos:
        await register(ccos)
        ccos.worker.drift = clock.watch(ccos, 60.0)
        await ccos.worker.run_once()
        assert clock.asked == []
        clock.now = 60.0
        await ccos.worker.run_once()
        assert bool(clock.asked) is on
