"""What the provider of a withheld capability offers now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from ccos.capabilities import (
    Manifest,
    McpPromptProvider,
    McpProvider,
    McpResourceProvider,
    McpServer,
)
from ccos.capabilities.mcp import McpOffers
from ccos.errors import CcosError, SourceError
from ccos.importers.mcp import ImportedServer, import_tools
from ccos.importers.mcp_offers import import_offers
from ccos.marketplace import Marketplace, Standing
from ccos.resolution.sources.base import Candidate, RiskName, Wanted
from ccos.resolution.sources.introspection import ListTools
from ccos.resolution.sources.proposals import candidates

ListOffers = Callable[[McpServer], Awaitable[McpOffers]]


class ChangedProviders:
    """Proposes the present definition of a capability that was withheld since it changed.

    The very server that it was registered with is asked, whatever other sources know of it. A tool
    that somebody reviewed as harmless is not that tool any more, so it acts on the world again.

    Args:
        marketplace: Where the capability is registered.
        list_tools: Asks a server for its tools, without an answer remembered from before.
        list_offers: The same for its resources, templates and prompts.
    """

    name = "changed_providers"
    method = "provider_review"
    flag: str | None = "auto_resolution"
    highest_risk: RiskName = "high"

    def __init__(
        self,
        marketplace: Marketplace,
        list_tools: ListTools,
        list_offers: ListOffers | None = None,
    ) -> None:
        self._marketplace = marketplace
        self._list_tools = list_tools
        self._list_offers = list_offers

    async def find(self, wanted: Wanted) -> Sequence[Candidate]:
        """The present definition; see `Source`.

        Raises:
            SourceError: if the server does not tell, or no longer offers the tool.
        """
        registered = await self._marketplace.get(wanted.capability_id)
        if registered is None or registered.standing is Standing.ACTIVE:
            return []
        before = registered.manifest
        provider = before.provider
        if not isinstance(provider, McpProvider | McpResourceProvider | McpPromptProvider):
            return []
        try:
            imported = await self._imported(before, provider)
        except CcosError as error:
            raise SourceError(
                error.message, next_step=error.next_step, details=error.details
            ) from error
        present = [one for one in imported.capabilities if one.id == before.id]
        if not present:
            name = _name(provider)
            faults = [one.reason for one in imported.quarantined if one.name == name]
            raise SourceError(" ".join((f"The server no longer offers {name}.", *faults)))
        return candidates(
            present,
            source=self.name,
            reference=f"marketplace:{before.id}@{before.version}",
            relevance=1.0,
            tier=before.trust_tier,
        )

    async def _imported(
        self,
        before: Manifest,
        provider: McpProvider | McpResourceProvider | McpPromptProvider,
    ) -> ImportedServer:
        server_name = before.metadata.get("mcp_server", before.id)
        documentation = before.metadata.get("documentation", "")
        if isinstance(provider, McpProvider):
            return import_tools(
                server_name,
                provider.server,
                await self._list_tools(provider.server),
                effects=before.effects,
                documentation=documentation,
            )
        offers = McpOffers()
        if self._list_offers is not None:
            offers = await self._list_offers(provider.server)
        return import_offers(
            server_name,
            provider.server,
            offers,
            effects=before.effects,
            documentation=documentation,
        )


def _name(provider: McpProvider | McpResourceProvider | McpPromptProvider) -> str:
    match provider:
        case McpProvider(tool=name) | McpPromptProvider(prompt=name):
            return name
        case McpResourceProvider(uri=uri):
            return uri
