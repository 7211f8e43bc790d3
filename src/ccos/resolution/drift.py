"""Drift: providers that no longer offer what was approved.

A server may change a tool after somebody approved it. Registered capabilities are therefore looked
at again on a schedule and whenever a server announces a change. A capability whose definition
changed is quarantined, so that no call reaches the new definition, and the new one is put before a
person. What a server merely adds changes nothing.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ccos.audit import AuditTrail
from ccos.capabilities import (
    Manifest,
    McpProvider,
    McpServer,
    breaking_input_changes,
    breaking_output_changes,
    differences,
)
from ccos.capabilities.mcp import ToolListing, tool_hash
from ccos.errors import CcosError
from ccos.events import Event, EventType
from ccos.importers.mcp import import_tools
from ccos.marketplace import Marketplace, Standing
from ccos.resolution.resolver import MissingCapabilityResolver
from ccos.resolution.sources.introspection import ListTools
from ccos.runtime import Sighting


class Change(StrEnum):
    """What became of a definition."""

    TEXT = "other words"
    NARROWED_INPUT = "an input that is newly required, narrowed or gone"
    LOOSENED_INPUT = "an input that accepts more"
    LOOSENED_OUTPUT = "an output that promises less"
    TIGHTENED_OUTPUT = "an output that promises more"
    CLAIMS = "other claims about what it does"
    EFFECTS = "other effects"
    REPOINTED = "another place"
    RENAMED = "another name"
    REMOVED = "no longer offered"
    UNREADABLE = "offered in a form that cannot be trusted"
    SCHEMA = "another schema"


@dataclass(frozen=True, slots=True)
class Drift:
    """A capability whose provider changed.

    Attributes:
        paths: Where the definitions differ, as JSON Pointers (RFC 6901).
        renamed_to: The tool that took the place of one that is gone.
    """

    capability_id: str
    changes: tuple[Change, ...]
    paths: tuple[str, ...] = ()
    renamed_to: str = ""

    def __str__(self) -> str:
        name = f" ({self.renamed_to})" if self.renamed_to else ""
        return f"its provider changed: {', '.join(self.changes)}{name}"


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What a look at the registered providers came to.

    Attributes:
        looked_at: How many capabilities were compared.
        unreachable: Servers that did not tell, and why; nothing follows from that.
        added: Tools that servers offer and nobody registered, as ``server: tool``.
    """

    looked_at: int = 0
    drifted: tuple[Drift, ...] = ()
    unreachable: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


def changes_between(before: Manifest, after: Manifest) -> tuple[Change, ...]:
    """What kinds of change lead from one definition to another; none if they are the same."""
    return tuple(dict.fromkeys(_changes(before, after)))


def _changes(before: Manifest, after: Manifest) -> Iterator[Change]:
    if (before.name, before.description) != (after.name, after.description):
        yield Change.TEXT
    old, new = before.input_schema, after.input_schema
    if old != new:
        narrowed = bool(breaking_input_changes(old, new))
        loosened = bool(breaking_input_changes(new, old))
        yield from (Change.NARROWED_INPUT,) * narrowed
        yield from (Change.LOOSENED_INPUT,) * loosened
        yield from (Change.SCHEMA,) * (not narrowed and not loosened)
    promised, promises = before.output_schema, after.output_schema
    if promised != promises:
        loosened = bool(breaking_output_changes(promised, promises))
        yield Change.LOOSENED_OUTPUT if loosened else Change.TIGHTENED_OUTPUT
    if before.metadata.get("claims") != after.metadata.get("claims"):
        yield Change.CLAIMS
    told = (before.effect_type, before.effects, before.permissions)
    if told != (after.effect_type, after.effects, after.permissions):
        yield Change.EFFECTS
    if _place(before) != _place(after):
        yield Change.REPOINTED


def _place(manifest: Manifest) -> object:
    return manifest.provider.model_dump(mode="json", exclude={"tool_hash", "timeout_seconds"})


class DriftWatch:
    """Looks at registered MCP tools again.

    Args:
        marketplace: What is registered.
        resolver: Puts new definitions before a person.
        list_tools: Asks a server, without an answer remembered from before.
        interval_seconds: How often; 0 is never by itself.
    """

    def __init__(
        self,
        marketplace: Marketplace,
        resolver: MissingCapabilityResolver,
        list_tools: ListTools,
        *,
        interval_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._marketplace = marketplace
        self._audit: AuditTrail = marketplace.audit
        self.resolver = resolver
        self._list_tools = list_tools
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._looked_at = clock()
        self._noticed: set[McpServer] = set()

    def notice(self, server: McpServer) -> None:
        """A server announced that its tools changed: look at it in the next round."""
        self._noticed.add(server)
        self.resolver.wake()

    async def round(self) -> DriftReport | None:
        """Look at what was announced, and at everything if it is time; None if there is nothing."""
        due = 0 < self._interval_seconds <= self._clock() - self._looked_at
        if due:
            self._looked_at = self._clock()
            self._noticed.clear()
            return await self.look()
        if self._noticed:
            servers, self._noticed = self._noticed, set()
            return await self.look(servers)
        return None

    async def look(self, servers: set[McpServer] | None = None) -> DriftReport:
        """Compare what is registered with what is offered, and quarantine what differs.

        Args:
            servers: Only these; all by default.
        """
        by_server: dict[McpServer, list[Manifest]] = defaultdict(list)
        for registered in await self._marketplace.registered(include_withheld=False):
            manifest = registered.manifest
            if isinstance(manifest.provider, McpProvider):
                by_server[manifest.provider.server].append(manifest)
        looked_at, drifted, unreachable, added = 0, list[Drift](), list[str](), list[str]()
        for server, manifests in by_server.items():
            if servers is not None and server not in servers:
                continue
            name = manifests[0].metadata.get("mcp_server", manifests[0].id)
            try:
                listing = await self._list_tools(server)
            except CcosError as error:
                unreachable.append(f"{name}: {error.message}")
                continue
            looked_at += len(manifests)
            drifted += _drifts(manifests, listing)
            known = {
                one.provider.tool for one in manifests if isinstance(one.provider, McpProvider)
            }
            added += [f"{name}: {one.name}" for one in listing.tools if one.name not in known]
        for drift in drifted:
            await self._quarantine(drift)
        return DriftReport(looked_at, tuple(drifted), tuple(unreachable), tuple(added))

    async def _quarantine(self, drift: Drift) -> None:
        registered = await self._marketplace.get(drift.capability_id)
        if registered is None or registered.standing is not Standing.ACTIVE:
            return
        await self._marketplace.quarantine(drift.capability_id, actor="ccos", reason=str(drift))
        await self._audit.append(
            Event(
                EventType.CAPABILITY_DRIFTED,
                drift.capability_id,
                data={
                    "changes": list(drift.changes),
                    "paths": list(drift.paths),
                    "renamed_to": drift.renamed_to,
                },
            )
        )
        if self.resolver.config.feature_flags.enabled:
            await self.resolver.review_changed(Sighting(drift.capability_id, {}, "", str(drift)))


def _drifts(manifests: Sequence[Manifest], listing: ToolListing) -> Iterator[Drift]:
    known = {one.provider.tool for one in manifests if isinstance(one.provider, McpProvider)}
    for before in manifests:
        provider = before.provider
        assert isinstance(provider, McpProvider)
        tool = listing.find(provider.tool)
        if tool is None:
            yield _gone(before, provider, listing, known)
            continue
        try:
            if tool_hash(tool) == provider.tool_hash:
                continue
        except ValueError:
            yield Drift(before.id, (Change.UNREADABLE,))
            continue
        after = _imported(before, provider, ToolListing((tool,)))
        if after is None:
            yield Drift(before.id, (Change.UNREADABLE,))
            continue
        paths = [one.path for one in differences(before.definition(), after.definition())]
        told = tuple(
            one for one in paths if not one.startswith(("/version", "/provider/tool_hash"))
        )
        yield Drift(before.id, changes_between(before, after) or (Change.TEXT,), told)


def _gone(before: Manifest, provider: McpProvider, listing: ToolListing, known: set[str]) -> Drift:
    """A tool that is missing; another one that is the same but for its name took its place."""
    for tool in listing.tools:
        if tool.name in known:
            continue
        same = (tool.description or "", tool.input_schema, tool.output_schema)
        if same == (before.description, before.input_schema, before.output_schema):
            return Drift(before.id, (Change.RENAMED,), renamed_to=tool.name)
    return Drift(before.id, (Change.REMOVED,))


def _imported(before: Manifest, provider: McpProvider, listing: ToolListing) -> Manifest | None:
    """The present definition under the old id, with what a person reviewed left as it was."""
    imported = import_tools(
        before.metadata.get("mcp_server", before.id),
        provider.server,
        listing,
        effects=before.effects,
        documentation=before.metadata.get("documentation", ""),
    )
    if not imported.capabilities:
        return None
    return imported.capabilities[0].model_copy(
        update={"id": before.id, "effect_type": before.effect_type, "version": before.version}
    )
