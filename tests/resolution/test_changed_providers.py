"""A capability that was withheld because its provider changed: what is offered now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ccos.assembly import Ccos
from ccos.capabilities import EffectType, Manifest, McpServer, StdioServer, TrustTier
from ccos.capabilities.mcp import McpOffers, McpPrompt, McpResource, McpTool, ToolListing
from ccos.errors import ProviderUnavailableError, SourceError
from ccos.importers.mcp import import_tools
from ccos.importers.mcp_offers import import_offers
from ccos.resolution.sources import ChangedProviders, Wanted
from opening import increment, opened

pytestmark = pytest.mark.anyio

SERVER = StdioServer(registry="command", package="/usr/bin/clock")
SCHEMA = {"type": "object"}
TELL = McpTool("tell", SCHEMA, description="Tells the time.")
WANTED = Wanted("mcp.clock.tell")


class Clock:
    """A server whose tools can be exchanged."""

    def __init__(self, *tools: McpTool) -> None:
        self.tools = tools
        self.asked: list[McpServer] = []
        self.down = False

    async def list_tools(self, server: McpServer) -> ToolListing:
        self.asked.append(server)
        if self.down:
            raise ProviderUnavailableError("The clock stands still.")
        return ToolListing(self.tools)


async def register(ccos: Ccos) -> Manifest:
    (manifest,) = import_tools(
        "clock",
        SERVER,
        ToolListing((TELL,)),
        effects=("clock",),
        read_only_tools=("tell",),
        documentation="https://clock.example",
    ).capabilities
    registered = manifest.model_copy(update={"trust_tier": TrustTier.APPROVED})
    await ccos.marketplace.register(registered, actor="test")
    return registered


async def test_the_present_definition_is_proposed_and_no_review_is_carried_over(
    tmp_path: Path,
) -> None:
    clock = Clock(McpTool("tell", SCHEMA, description="Sets the time."), McpTool("other", SCHEMA))
    async with opened(tmp_path) as ccos:
        before = await register(ccos)
        await ccos.marketplace.quarantine(before.id, actor="ccos", reason="it changed")
        (found,) = await ChangedProviders(ccos.marketplace, clock.list_tools).find(WANTED)
        assert clock.asked == [SERVER]
        assert (found.manifest.id, found.manifest.description) == (before.id, "Sets the time.")
        assert before.effect_type is EffectType.READ_ONLY
        assert found.manifest.effect_type is EffectType.EFFECTFUL
        assert found.manifest.effects == before.effects
        assert found.manifest.metadata == before.metadata
        assert found.manifest.trust_tier is TrustTier.APPROVED
        assert found.reference == "marketplace:mcp.clock.tell@1.0.0"


async def test_nobody_is_asked_about_what_is_not_withheld(tmp_path: Path) -> None:
    clock = Clock(TELL)
    async with opened(tmp_path) as ccos:
        source = ChangedProviders(ccos.marketplace, clock.list_tools)
        assert await source.find(WANTED) == []
        await register(ccos)
        assert await source.find(WANTED) == []
        await ccos.register("math.next", increment)
        await ccos.marketplace.quarantine("math.next", actor="ccos", reason="it changed")
        assert await source.find(Wanted("math.next")) == []
        assert clock.asked == []


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ((), "no longer offers tell."),
        ((McpTool("show", SCHEMA),), "no longer offers tell."),
        ((McpTool("tell", SCHEMA, description="a\u202eb"),), "hides the character"),
        ((TELL, TELL), "more than once"),
    ],
)
async def test_what_cannot_be_proposed_is_told(
    tmp_path: Path, tools: tuple[McpTool, ...], words: str
) -> None:
    clock = Clock(*tools)
    async with opened(tmp_path) as ccos:
        await register(ccos)
        await ccos.marketplace.quarantine("mcp.clock.tell", actor="ccos", reason="it changed")
        with pytest.raises(SourceError, match=words):
            await ChangedProviders(ccos.marketplace, clock.list_tools).find(WANTED)


async def test_a_server_that_is_down_is_told(tmp_path: Path) -> None:
    clock = Clock()
    clock.down = True
    async with opened(tmp_path) as ccos:
        await register(ccos)
        await ccos.marketplace.quarantine("mcp.clock.tell", actor="ccos", reason="it changed")
        with pytest.raises(SourceError, match="stands still"):
            await ChangedProviders(ccos.marketplace, clock.list_tools).find(WANTED)


async def test_a_resource_and_a_prompt_that_changed_are_proposed_anew(tmp_path: Path) -> None:
    rules = McpResource("clock://rules", "rules", description="Rules.")
    greet = McpPrompt("greet", description="Greets.")
    listed = import_offers("clock", SERVER, McpOffers((rules,), (greet,))).capabilities
    changed = McpOffers(
        (replace(rules, description="New rules."),), (replace(greet, description="Shouts."),)
    )

    async def list_offers(server: McpServer) -> McpOffers:
        assert server == SERVER
        return changed

    async with opened(tmp_path) as ccos:
        source = ChangedProviders(ccos.marketplace, Clock().list_tools, list_offers)
        for manifest, text in zip(listed, ("New rules.", "Shouts."), strict=True):
            await ccos.marketplace.register(manifest, actor="test")
            assert await source.find(Wanted(manifest.id)) == []
            await ccos.marketplace.quarantine(manifest.id, actor="ccos", reason="it changed")
            (found,) = await source.find(Wanted(manifest.id))
            assert (found.manifest.id, found.manifest.description) == (manifest.id, text)
        changed = McpOffers()
        with pytest.raises(SourceError, match="no longer offers clock://rules"):
            await source.find(Wanted(listed[0].id))
