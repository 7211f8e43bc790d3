"""API descriptions in configured folders, files and at configured URLs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ccos.capabilities import Manifest, id_tokens, provider_url
from ccos.egress import Egress
from ccos.errors import CcosError, SourceError
from ccos.importers.openapi import ImportedApi, import_openapi, read_document
from ccos.resolution.sources.base import Candidate, RiskName, Wanted
from ccos.resolution.sources.catalogue import Catalogue
from ccos.resolution.sources.proposals import candidates
from ccos.resolution.sources.trust import trust_tier

MAXIMUM_DOCUMENT_BYTES: Final = 50_000_000
_SUFFIXES: Final = frozenset({".json", ".yaml", ".yml"})
_MAXIMUM_FILES: Final = 1000
_NAMED: Final = 1.0
_RELATED: Final = 0.7


@dataclass(slots=True)
class _Known:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    stamp: tuple[float, ...] = ()
    api: ImportedApi | None = None


class OpenApiDocuments:
    """Proposes the operations of described APIs that a wanted id could mean.

    A file is read again when its time or size changed, a URL after a while. A description that
    cannot be used does not keep the others from being used.

    Args:
        egress: The way out for URLs.
        locations: Folders (``.json``, ``.yaml`` and ``.yml`` files in them), files and URLs.
        catalogue: Further descriptions, for the ids that it names.
        cache_ttl_seconds: How long a fetched description is reused.
        operator_official: Hosts that an operator declared official.
        operator_approved: Hosts that an operator approved.
    """

    name = "openapi_documents"
    method = "openapi_import"
    flag: str | None = "importers_enabled"
    highest_risk: RiskName = "high"

    def __init__(
        self,
        egress: Egress,
        locations: Sequence[str],
        *,
        catalogue: Catalogue | None = None,
        cache_ttl_seconds: float = 3600.0,
        operator_official: frozenset[str] = frozenset(),
        operator_approved: frozenset[str] = frozenset(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._egress = egress
        self._locations = tuple(locations)
        self._catalogue = catalogue
        self._cache_ttl_seconds = cache_ttl_seconds
        self._operator_official = operator_official
        self._operator_approved = operator_approved
        self._clock = clock
        self._known: dict[tuple[str, str | None], _Known] = {}

    async def find(self, wanted: Wanted) -> Sequence[Candidate]:
        """The operations of every API that the id could belong to; see `Source`.

        Raises:
            SourceError: if nothing was found and a description could not be used.
        """
        found: list[Candidate] = []
        faults: list[str] = []
        for location, base_url, named in await self._places(wanted.capability_id):
            try:
                api = await self._api(location, base_url)
            except CcosError as error:
                faults.append(f"{location}: {error.message}")
                continue
            relevance = named or document_relevance(wanted.capability_id, location, api)
            if relevance:
                found += self._proposals(location, api, relevance, curated=bool(named))
        if faults and not found:
            raise SourceError(
                f"{len(faults)} API description{'s' * (len(faults) != 1)} cannot be used: "
                + "; ".join(faults[:3]),
                details={"faults": faults},
            )
        return found

    async def _places(self, capability_id: str) -> list[tuple[str, str | None, float]]:
        """Where to look: location, base URL if known, and relevance if somebody named it."""
        places: list[tuple[str, str | None, float]] = []
        for location in self._locations:
            if _is_url(location):
                places.append((location, None, 0.0))
            else:
                files = await asyncio.to_thread(_files, Path(location))
                places += [(str(path), None, 0.0) for path in files]
        matching = self._catalogue.matching(capability_id) if self._catalogue else []
        for relevance, entry in matching:
            if entry.document is not None:
                places.append((entry.document.url, entry.document.base_url, relevance))
        return places

    async def _api(self, location: str, base_url: str | None) -> ImportedApi:
        known = self._known.setdefault((location, base_url), _Known())
        async with known.lock:
            if _is_url(location):
                fresh = bool(known.stamp) and self._clock() < known.stamp[0]
                if known.api is None or not fresh:
                    known.api = await self._fetched(location, base_url)
                    known.stamp = (self._clock() + self._cache_ttl_seconds,)
            else:
                stamp = await asyncio.to_thread(_stamp, location)
                if known.api is None or stamp != known.stamp:
                    content = await asyncio.to_thread(_content, location)
                    known.api = await asyncio.to_thread(_imported, content, location, base_url)
                    known.stamp = stamp
            return known.api

    async def _fetched(self, location: str, base_url: str | None) -> ImportedApi:
        response = await self._egress.request(
            "GET",
            location,
            headers={"Accept": "application/json, application/yaml, */*;q=0.5"},
            purpose="api-description",
            # An operator or the catalogue named this very address.
            extra_allowed_hosts=frozenset({urlsplit(location).hostname or ""}),
        )
        if response.status != 200:
            raise SourceError(f"It was answered with status {response.status}.")
        return await asyncio.to_thread(_imported, response.body, location, base_url)

    def _proposals(
        self, location: str, api: ImportedApi, relevance: float, *, curated: bool
    ) -> list[Candidate]:
        found: list[Candidate] = []
        for manifest in api.capabilities:
            tier = trust_tier(
                provider_url(manifest.provider) or "",
                operator_official=self._operator_official,
                operator_approved=self._operator_approved,
                curated=curated and _same_site(location, manifest),
            )
            found += candidates(
                (manifest,), source=self.name, reference=location, relevance=relevance, tier=tier
            )
        return found


def document_relevance(capability_id: str, location: str, api: ImportedApi) -> float:
    """How well an API fits a wanted id, from 0 to 1.

    The first segment of the id, or the second in ``openapi.<api>.…``, is compared with the name of
    the API, its title, the name of its file, and the hosts it is reached at.
    """
    segments = capability_id.replace(":", ".").split(".")
    if segments[0] == "openapi" and len(segments) > 1:
        segments = segments[1:]
    subject = id_tokens(segments[0])
    if not subject:
        return 0.0
    hosts = {
        urlsplit(provider_url(item.provider) or "").hostname or "" for item in api.capabilities
    }
    stem = Path(urlsplit(location).path if _is_url(location) else location).stem
    names = [id_tokens(name) for name in (api.api, api.title, stem)]
    names += [id_tokens(label) for host in hosts for label in host.split(".")[:-1]]
    if subject in names:
        return _NAMED
    return _RELATED if any(set(subject) <= set(name) for name in names) else 0.0


def _same_site(location: str, manifest: Manifest) -> bool:
    """The catalogue vouches for the API's own host only where the document lies on it too."""
    described = urlsplit(provider_url(manifest.provider) or "").hostname
    return described is not None and described == urlsplit(location).hostname


def _is_url(location: str) -> bool:
    return location.startswith(("https://", "http://"))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path] if path.exists() else []
    found = (item for item in path.rglob("*") if item.suffix.lower() in _SUFFIXES)
    return sorted(item for item in found if item.is_file())[:_MAXIMUM_FILES]


def _stamp(location: str) -> tuple[float, ...]:
    try:
        status = os.stat(location)  # noqa: PTH116
    except OSError as error:
        raise SourceError(f"It cannot be read: {error.strerror}.") from error
    return (float(status.st_mtime_ns), float(status.st_size))


def _content(location: str) -> bytes:
    try:
        with Path(location).open("rb") as file:
            content = file.read(MAXIMUM_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise SourceError(f"It cannot be read: {error.strerror}.") from error
    if len(content) > MAXIMUM_DOCUMENT_BYTES:
        raise SourceError(f"It has more than {MAXIMUM_DOCUMENT_BYTES} bytes.")
    return content


def _imported(content: bytes, location: str, base_url: str | None) -> ImportedApi:
    return import_openapi(
        read_document(content, location=location), location=location, base_url=base_url
    )
