"""Where candidates for a missing capability come from."""

from ccos.resolution.sources.base import Candidate, RiskName, Source, Wanted
from ccos.resolution.sources.catalogue import Catalogue, CatalogueEntry, CuratedCatalogue
from ccos.resolution.sources.changed_providers import ChangedProviders
from ccos.resolution.sources.introspection import Introspector, ListTools
from ccos.resolution.sources.mcp_registry import McpRegistry
from ccos.resolution.sources.near_matches import NearMatches
from ccos.resolution.sources.openapi_documents import OpenApiDocuments
from ccos.resolution.sources.trust import OFFICIAL_HOSTS, trust_tier

__all__ = [
    "OFFICIAL_HOSTS",
    "Candidate",
    "Catalogue",
    "CatalogueEntry",
    "ChangedProviders",
    "CuratedCatalogue",
    "Introspector",
    "ListTools",
    "McpRegistry",
    "NearMatches",
    "OpenApiDocuments",
    "RiskName",
    "Source",
    "Wanted",
    "trust_tier",
]
