"""From a server's list of tools to candidates."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from ccos.capabilities import Manifest, McpServer, TrustTier
from ccos.capabilities.mcp import ToolListing
from ccos.importers.mcp import import_tools
from ccos.resolution.sources.base import Candidate


def tool_candidates(
    server_name: str,
    server: McpServer,
    listing: ToolListing,
    *,
    source: str,
    reference: str,
    relevance: float,
    tier: TrustTier,
    effects: Sequence[str] | None = None,
    read_only_tools: Collection[str] = (),
    documentation: str = "",
) -> list[Candidate]:
    """A candidate for each tool that can be imported."""
    imported = import_tools(
        server_name,
        server,
        listing,
        effects=effects,
        read_only_tools=read_only_tools,
        documentation=documentation,
    )
    return candidates(
        imported.capabilities, source=source, reference=reference, relevance=relevance, tier=tier
    )


def candidates(
    manifests: Iterable[Manifest],
    *,
    source: str,
    reference: str,
    relevance: float,
    tier: TrustTier,
) -> list[Candidate]:
    """A candidate for each manifest, which takes over the tier."""
    return [
        Candidate(
            manifest=manifest.model_copy(update={"trust_tier": tier}),
            source=source,
            reference=reference,
            relevance=relevance,
            trust_tier=tier,
        )
        for manifest in manifests
    ]
