"""The curated catalogue: well-known MCP servers and API documents, found by patterns of ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ccos.capabilities import McpServer, TrustTier
from ccos.capabilities.providers import HttpServer, Url
from ccos.errors import ConfigurationError, SourceError
from ccos.nesting import nests_deeper
from ccos.resolution.sources.base import Candidate, RiskName, Wanted
from ccos.resolution.sources.introspection import Introspector
from ccos.resolution.sources.patterns import IdPattern
from ccos.resolution.sources.proposals import tool_candidates
from ccos.resolution.sources.trust import trust_tier

MAXIMUM_FILE_BYTES: Final = 5_000_000
_DEPTH: Final = 64

_Text = Annotated[str, StringConstraints(max_length=2000)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ApiDocument(_Model):
    """Where the description of a well-known API is found."""

    url: Url
    base_url: Url | None = None
    """Where the API is reached, if the document does not say."""


class CatalogueEntry(_Model):
    """One reviewed server or API."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._/-]{0,99}$")]
    matches: tuple[str, ...] = Field(min_length=1, max_length=50)
    """Patterns of the capability ids that this entry may provide."""
    description: _Text = ""
    documentation: _Text = ""
    server: McpServer | None = None
    document: ApiDocument | None = None
    effects: tuple[str, ...] = ()
    """Effects that each tool of the server has."""
    read_only_tools: tuple[str, ...] = ()
    """Tools that a person reviewed and found to change nothing."""

    def fits(self, capability_id: str) -> float:
        """How well the best of the patterns fits, from 0 to 1."""
        return max(IdPattern(pattern).fits(capability_id) for pattern in self.matches)


class _CatalogueFile(_Model):
    entries: tuple[CatalogueEntry, ...]


@dataclass(frozen=True)
class Catalogue:
    """The entries that ship with CCOS and those of further files, which come first.

    Args:
        files: JSON files ``{"entries": [...]}``.
        shipped: Whether the shipped entries count.
    """

    files: tuple[Path, ...] = ()
    shipped: bool = True

    @cached_property
    def entries(self) -> tuple[CatalogueEntry, ...]:
        """All entries, read on first use.

        Raises:
            ConfigurationError: if a file cannot be read, naming the file and the place in it.
        """
        found = [entry for path in self.files for entry in _read(path)]
        if self.shipped:
            shipped = resources.files("ccos.resolution") / "catalogue.json"
            found.extend(_parse(shipped.read_bytes(), "the shipped catalogue"))
        return tuple(found)

    def matching(self, capability_id: str) -> list[tuple[float, CatalogueEntry]]:
        """The entries for a wanted id, each with how well it fits; best first."""
        found = [(entry.fits(capability_id), entry) for entry in self.entries]
        return sorted((pair for pair in found if pair[0] > 0), key=lambda pair: -pair[0])


class CuratedCatalogue:
    """Proposes the tools of the servers that the catalogue names for an id."""

    name = "catalogue"
    method = "curated_catalogue"
    flag: str | None = "auto_resolution"
    highest_risk: RiskName = "high"

    def __init__(self, catalogue: Catalogue, introspector: Introspector) -> None:
        self._catalogue = catalogue
        self._introspector = introspector

    async def find(self, wanted: Wanted) -> Sequence[Candidate]:
        """The tools of every matching server; see `Source`.

        Raises:
            SourceError: if servers match and none of them tells its tools.
        """
        found: list[Candidate] = []
        faults: list[SourceError] = []
        for relevance, entry in self._catalogue.matching(wanted.capability_id):
            if entry.server is None:
                continue
            try:
                listing = await self._introspector.tools(entry.server)
            except SourceError as error:
                faults.append(error)
                continue
            found += tool_candidates(
                entry.name,
                entry.server,
                listing,
                source=self.name,
                reference=f"catalogue:{entry.name}",
                relevance=relevance,
                tier=_tier(entry.server),
                effects=entry.effects,
                read_only_tools=entry.read_only_tools,
                documentation=entry.documentation,
            )
        if faults and not found:
            raise faults[0]
        return found


def _tier(server: McpServer) -> TrustTier:
    if isinstance(server, HttpServer):
        return trust_tier(server.url, curated=True)
    return TrustTier.APPROVED


def _read(path: Path) -> tuple[CatalogueEntry, ...]:
    try:
        with path.open("rb") as file:
            content = file.read(MAXIMUM_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"The catalogue file {path} cannot be read: {error.strerror}."
        ) from error
    if len(content) > MAXIMUM_FILE_BYTES:
        raise ConfigurationError(
            f"The catalogue file {path} has more than {MAXIMUM_FILE_BYTES} bytes."
        )
    return _parse(content, f"The catalogue file {path}")


def _parse(content: bytes, what: str) -> tuple[CatalogueEntry, ...]:
    try:
        if nests_deeper(content, _DEPTH):
            raise ConfigurationError(f"{what} nests deeper than {_DEPTH} levels.")
        data: Any = json.loads(content)
        entries = _CatalogueFile.model_validate(data).entries
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = "/".join(map(str, first["loc"]))
        raise ConfigurationError(f"{what} is wrong at {place}: {first['msg']}.") from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{what} is not JSON: {error}") from error
    for entry in entries:
        if (entry.server is None) == (entry.document is None):
            raise ConfigurationError(
                f"{what}: the entry {entry.name!r} needs either a server or a document."
            )
        for pattern in entry.matches:
            try:
                IdPattern(pattern)
            except ConfigurationError as error:
                raise ConfigurationError(
                    f"{what}: the entry {entry.name!r} is wrong. {error.message}",
                    next_step=error.next_step,
                ) from error
    return entries
