"""What the provider of a withheld capability offers now."""

from __future__ import annotations

from collections.abc import Sequence

from ccos.capabilities import McpProvider
from ccos.errors import CcosError, SourceError
from ccos.importers.mcp import import_tools
from ccos.marketplace import Marketplace, Standing
from ccos.resolution.sources.base import Candidate, RiskName, Wanted
from ccos.resolution.sources.introspection import ListTools
from ccos.resolution.sources.proposals import candidates


class ChangedProviders:
    """Proposes the present definition of a capability that was withheld since it changed.

    The very server that it was registered with is asked, whatever other sources know of it. A tool
    that somebody reviewed as harmless is not that tool any more, so it acts on the world again.

    Args:
        marketplace: Where the capability is registered.
        list_tools: Asks a server for its tools, without an answer remembered from before.
    """

    name = "changed_providers"
    method = "provider_review"
    flag: str | None = "auto_resolution"
    highest_risk: RiskName = "high"

    def __init__(self, marketplace: Marketplace, list_tools: ListTools) -> None:
        self._marketplace = marketplace
        self._list_tools = list_tools

    async def find(self, wanted: Wanted) -> Sequence[Candidate]:
        """The present definition; see `Source`.

        Raises:
            SourceError: if the server does not tell, or no longer offers the tool.
        """
        registered = await self._marketplace.get(wanted.capability_id)
        if registered is None or registered.standing is Standing.ACTIVE:
            return []
        before = registered.manifest
        if not isinstance(before.provider, McpProvider):
            return []
        try:
            listing = await self._list_tools(before.provider.server)
        except CcosError as error:
            raise SourceError(
                error.message, next_step=error.next_step, details=error.details
            ) from error
        imported = import_tools(
            before.metadata.get("mcp_server", before.id),
            before.provider.server,
            listing,
            effects=before.effects,
            documentation=before.metadata.get("documentation", ""),
        )
        present = [one for one in imported.capabilities if one.id == before.id]
        if not present:
            tool = before.provider.tool
            faults = [one.reason for one in imported.quarantined if one.name == tool]
            raise SourceError(" ".join((f"The server no longer offers {tool}.", *faults)))
        return candidates(
            present,
            source=self.name,
            reference=f"marketplace:{before.id}@{before.version}",
            relevance=1.0,
            tier=before.trust_tier,
        )
