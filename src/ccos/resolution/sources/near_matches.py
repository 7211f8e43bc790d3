"""Capabilities that are registered under a name near to the wanted one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ccos.marketplace import Marketplace, Standing
from ccos.resolution.sources.base import Candidate, RiskName, Wanted

_SHORTEST_PREFIX: Final = 3


class NearMatches:
    """Proposes registered capabilities of the same namespace whose last segment is near.

    Tools of MCP servers are left out: their names are the servers' and mean nothing beyond them.
    """

    name = "near_matches"
    method = "partial_match"
    flag: str | None = "auto_resolution"
    highest_risk: RiskName = "medium"

    def __init__(self, marketplace: Marketplace) -> None:
        self._marketplace = marketplace

    async def find(self, wanted: Wanted) -> Sequence[Candidate]:
        """The near ones; see `Source`."""
        found = []
        for registered in await self._marketplace.registered(include_withheld=False):
            manifest = registered.manifest
            if registered.standing is Standing.ACTIVE and _near(wanted.capability_id, manifest.id):
                found.append(
                    Candidate(
                        manifest=manifest,
                        source=self.name,
                        reference=f"marketplace:{manifest.id}@{manifest.version}",
                        relevance=1.0,
                        trust_tier=manifest.trust_tier,
                    )
                )
        return found


def _near(wanted: str, offered: str) -> bool:
    """Same namespace, and one last segment begins with the other."""
    wanted_space, _, wanted_last = wanted.rpartition(".")
    offered_space, _, offered_last = offered.rpartition(".")
    if wanted == offered or wanted_space != offered_space or offered.startswith("mcp."):
        return False
    shorter, longer = sorted((wanted_last.lower(), offered_last.lower()), key=len)
    return len(shorter) >= _SHORTEST_PREFIX and longer.startswith(shorter)
