"""The official MCP registry, ``/v0.1``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from ccos.capabilities import HttpServer, McpServer, StdioServer, TrustTier, id_tokens
from ccos.egress import Egress
from ccos.errors import EgressError, SourceError
from ccos.resolution.sources.base import Candidate, RiskName, Wanted
from ccos.resolution.sources.introspection import Introspector
from ccos.resolution.sources.proposals import tool_candidates
from ccos.resolution.sources.registry_records import RegistryServer, read_record
from ccos.resolution.sources.trust import trust_tier

_PAGE: Final = 100
_LEAST_RELEVANCE: Final = 0.3
_SEARCH_WORDS: Final = 3
_SHORTEST_WORD: Final = 3
_UNREMARKABLE: Final = frozenset(
    """
    add ask call check cancel close convert copy count create delete describe do download execute
    export fetch filter find generate get has import insert is list load lookup make move open
    parse post put query read remove render replace resolve run save search select send set show
    sort start stop submit sync test transform update upload validate view watch write
    mcp server tool tools api
    """.split()  # noqa: SIM905
)
_NAMESPACE_WORDS: Final = frozenset({"app", "com", "dev", "github", "gitlab", "net", "org"})
_BROAD: Final = frozenset({"api", "sdk", "client", "service", "provider"})
_NARROW: Final = frozenset({"plugin", "extension", "specific", "custom"})


@dataclass(slots=True)
class _Search:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    found: tuple[RegistryServer, ...] = ()
    fresh_until: float = float("-inf")


class McpRegistry:
    """Searches the registry by the words of an id and asks the best servers for their tools.

    To ask a package for its tools is to run it. A package that a stranger published therefore only
    runs if a person approved the search; no secret and no variable of CCOS is passed to it, nor
    to a remote server, before somebody approved it.

    Args:
        egress: The way out; the registry's host counts as allowed.
        introspector: Asks servers for their tools.
        base_url: Address of the registry.
        timeout_seconds: How long one search may take with all its pages.
        max_servers: How many servers one search may bring.
        cache_ttl_seconds: How long the answer to a search is reused.
        introspected: How many servers are asked for their tools.
        operator_official: Hosts that an operator declared official.
        operator_approved: Hosts that an operator approved.
    """

    name = "mcp_registry"
    method = "mcp_registry"
    flag: str | None = "mcp_registry_enabled"
    highest_risk: RiskName = "high"

    def __init__(
        self,
        egress: Egress,
        introspector: Introspector,
        *,
        base_url: str,
        timeout_seconds: float = 10.0,
        max_servers: int = 100,
        cache_ttl_seconds: float = 3600.0,
        introspected: int = 3,
        operator_official: frozenset[str] = frozenset(),
        operator_approved: frozenset[str] = frozenset(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._egress = egress
        self._introspector = introspector
        self._base_url = base_url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._max_servers = max_servers
        self._cache_ttl_seconds = cache_ttl_seconds
        self._introspected = introspected
        self._operator_official = operator_official
        self._operator_approved = operator_approved
        self._clock = clock
        self._searches: dict[str, _Search] = {}

    async def find(self, wanted: Wanted) -> Sequence[Candidate]:
        """The tools of the most relevant servers; see `Source`.

        Raises:
            SourceError: if the registry does not answer properly and in time, or every relevant
                server that was asked for its tools failed.
        """
        ranked = await self.servers(wanted.capability_id)
        found: list[Candidate] = []
        faults: list[SourceError] = []
        withheld: list[str] = []
        asked = 0
        for score, record in ranked:
            server = self._usable(record, launch=wanted.approved)
            if server is None:
                withheld += [record.name] if record.servers() else []
                continue
            if asked == self._introspected:
                break
            asked += 1
            try:
                listing = await self._introspector.tools(_without_secrets(server))
            except SourceError as error:
                faults.append(error)
                continue
            found += tool_candidates(
                record.name,
                server,
                listing,
                source=self.name,
                reference=f"{self._base_url}/v0.1/servers/{record.name}@{record.version}",
                relevance=score,
                tier=self._tier(record, server),
            )
        if found:
            return found
        if faults:
            raise faults[0]
        if withheld:
            names = withheld[: self._introspected]
            raise SourceError(
                f"{', '.join(names)} would have to be started to see what it offers, and nobody "
                "approved that.",
                details={"needs_approval": names},
            )
        return []

    async def servers(self, capability_id: str) -> list[tuple[float, RegistryServer]]:
        """The servers that could offer ``capability_id`` with their relevance, best first.

        Raises:
            SourceError: if the registry does not answer properly and in time.
        """
        records: dict[str, RegistryServer] = {}
        for word in search_words(capability_id):
            for record in await self._search(word):
                records.setdefault(record.name, record)
        ranked = [(server_relevance(capability_id, record), record) for record in records.values()]
        kept = [pair for pair in ranked if pair[0] >= _LEAST_RELEVANCE]
        return sorted(kept, key=lambda pair: (-pair[0], pair[1].name))

    async def _search(self, word: str) -> tuple[RegistryServer, ...]:
        search = self._searches.setdefault(word, _Search())
        async with search.lock:
            if self._clock() >= search.fresh_until:
                try:
                    async with asyncio.timeout(self._timeout_seconds):
                        search.found = await self._pages(word)
                except TimeoutError as error:
                    raise SourceError(
                        f"The MCP registry did not answer within {self._timeout_seconds:g} s."
                    ) from error
                except EgressError as error:
                    raise SourceError(
                        f"The MCP registry cannot be searched: {error.message}",
                        next_step=error.next_step,
                        details=error.details,
                    ) from error
                search.fresh_until = self._clock() + self._cache_ttl_seconds
        return search.found

    async def _pages(self, word: str) -> tuple[RegistryServer, ...]:
        found: dict[str, RegistryServer] = {}
        read = 0
        cursor = ""
        seen = {cursor}
        while read < self._max_servers:
            limit = min(_PAGE, self._max_servers - read)
            items, cursor = await self._page(word, limit, cursor)
            for item in items[:limit]:
                if (record := read_record(item)) is not None:
                    found.setdefault(record.name, record)
            read += len(items)
            if not cursor or not items:
                break
            if cursor in seen:
                raise SourceError("The MCP registry repeats a page instead of ending.")
            seen.add(cursor)
        return tuple(found.values())

    async def _page(self, word: str, limit: int, cursor: str) -> tuple[list[Any], str]:
        # Search is for a substring of the name, and most names start with io.github.
        search = f"/{word}" if word in _NAMESPACE_WORDS else word
        params = {"search": search, "limit": str(limit), "version": "latest"}
        if cursor:
            params["cursor"] = cursor
        response = await self._egress.request(
            "GET",
            f"{self._base_url}/v0.1/servers",
            params=params,
            headers={"Accept": "application/json"},
            purpose="mcp-registry",
            extra_allowed_hosts=frozenset({urlsplit(self._base_url).hostname or ""}),
            timeout_seconds=self._timeout_seconds,
        )
        if response.status != 200:
            raise SourceError(f"The MCP registry answered with status {response.status}.")
        body = response.json()
        items = body.get("servers") if isinstance(body, dict) else None
        metadata = body.get("metadata") if isinstance(body, dict) else None
        if not isinstance(items, list):
            raise SourceError("The MCP registry answered something that is no list of servers.")
        following = metadata.get("nextCursor") if isinstance(metadata, dict) else None
        return items, following if isinstance(following, str) else ""

    def _usable(self, record: RegistryServer, *, launch: bool) -> McpServer | None:
        for server in record.servers():
            if isinstance(server, HttpServer) or launch:
                return server
        return None

    def _tier(self, record: RegistryServer, server: McpServer) -> TrustTier:
        if not isinstance(server, HttpServer):
            return TrustTier.COMMUNITY
        return trust_tier(
            server.url,
            operator_official=self._operator_official,
            operator_approved=self._operator_approved,
            registry_name=record.name,
        )


def search_words(capability_id: str) -> tuple[str, ...]:
    """The words worth searching for: those of the id in order, without verbs and short ones."""
    words = dict.fromkeys(
        word
        for word in id_tokens(capability_id)
        if len(word) >= _SHORTEST_WORD and word not in _UNREMARKABLE
    )
    return tuple(words)[:_SEARCH_WORDS]


def server_relevance(capability_id: str, record: RegistryServer) -> float:
    """How well a server fits a wanted id, from 0 to 1.

    The first segment of an id names what it belongs to, so that counts as the id here; its other
    words only count when they are in the server's name. Praise in a description counts nothing: a
    server is official if it runs in the domain that its name claims.
    """
    tokens = [token for token in id_tokens(capability_id) if token not in _UNREMARKABLE]
    subject = id_tokens(capability_id.split(".")[0])
    name = [token for token in id_tokens(record.short_name) if token not in _UNREMARKABLE]
    words = id_tokens(record.description)
    score = 0
    if record.short_name == capability_id or (name and tuple(name) == subject):
        score += 10
    if _within(subject, words):
        score += 8
    elif "".join(subject) in record.description.lower():
        score += 3
    if _within(subject, tuple(name)):
        score += 6
    if any(token in tokens for token in name):
        score += 4
    if any(record.vouches_for(server) for server in record.servers()):
        score += 2
    score += bool(_BROAD.intersection(id_tokens(record.short_name)))
    score -= 2 * bool(_NARROW.intersection((*name, *words)))
    return min(max(score / 10, 0.0), 1.0)


def _within(part: tuple[str, ...], whole: tuple[str, ...]) -> bool:
    return any(
        whole[start : start + len(part)] == part for start in range(len(whole) - len(part) + 1)
    )


def _without_secrets(server: McpServer) -> McpServer:
    if isinstance(server, StdioServer):
        return server.model_copy(update={"environment": ()})
    return server.model_copy(update={"auth": None})
