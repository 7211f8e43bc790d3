"""What ``ccos import openapi`` does."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from ccos.errors import CcosError, ImportDocumentError, UnknownCapabilityError
from ccos.importers.openapi import (
    ImportedApi,
    Loader,
    Note,
    documents_under,
    import_openapi,
    read_document,
)
from ccos.importers.openapi.document import MAXIMUM_BYTES
from ccos.interfaces.cli.exits import ExitCode, UsageError
from ccos.interfaces.cli.imports_report import Progress, Report, Totals, changes, show, show_preview
from ccos.interfaces.cli.options import LongCommon
from ccos.interfaces.cli.session import Session, opened, screen_of
from ccos.providers.openapi import preview_request
from ccos.resolution.registration import register_imported

_SUFFIXES: Final = frozenset({".json", ".yaml", ".yml"})
_FETCH_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Wishes:
    """How descriptions are to be read."""

    select: str | None = None
    files: bool = False
    """Whether references into files beside the document are followed."""
    egress: bool = False
    """Whether references over the network are followed, as far as the policy allows."""
    external: Literal["open", "quarantine"] = "open"
    api: str | None = None
    base_url: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    prefer_security: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Document:
    location: str
    folder: Path | None
    """Where files that it refers to may lie; None for a URL."""
    named: bool
    """Whether the command line names it, and not only its folder."""


@dataclass(frozen=True, slots=True)
class _Done:
    api: ImportedApi
    notes: tuple[Note, ...]
    """Those of reading the document, too."""
    seconds: float


async def import_sources(
    sources: Sequence[str],
    wishes: Wishes,
    *,
    dry_run: bool,
    force: bool,
    by: str | None,
    common: LongCommon,
) -> ExitCode:
    """Import every description, say what came of each, and register what can be used."""
    screen = screen_of(common)
    documents = [one for source in sources for one in _documents(source)]
    totals, lost = Totals(), False
    progress = Progress(len(documents), screen)
    needs_session = not dry_run or wishes.egress or any(one.folder is None for one in documents)
    async with _maybe_opened(common, needs_session) as session:
        for number, document in enumerate(documents):
            report = await _report(document, wishes, session)
            if session is not None and not dry_run and report.capabilities:
                try:
                    report.changed = await changes(session.ccos.marketplace, report.capabilities)
                    report.registered = await register_imported(
                        session.ccos.marketplace,
                        report.capabilities,
                        source="openapi_document",
                        reference=document.location,
                        by=session.by(by),
                        force=force,
                    )
                except CcosError as error:
                    report.error = error.message
                    lost = True
            lost = lost or (bool(report.error) and document.named)
            totals.add(report)
            show(report, screen, alone=len(documents) == 1)
            progress.step(number + 1, document.location)
    screen.json_line({"summary": totals.summary()})
    screen.text(totals.text())
    if totals.unusable == len(documents):
        lost = True
    return ExitCode.FAILED if lost else ExitCode.DONE


async def show_request(
    source: str, wishes: Wishes, operation: str, arguments: dict[str, Any], common: LongCommon
) -> ExitCode:
    """Print the request for one operation; nothing is sent.

    Raises:
        UnknownCapabilityError: No operation has this name.
        UsageError: Several have.
        InvalidArgumentsError: The arguments do not fit.
    """
    documents = _documents(source)
    if [one.named for one in documents] != [True]:
        raise UsageError("--request needs one description, not a folder.")
    (document,) = documents
    screen = screen_of(common)
    async with _maybe_opened(common, wishes.egress or document.folder is None) as session:
        found = (await _imported(document, wishes, session)).api
    matching = [
        one
        for one in found.capabilities
        if operation in (one.id, one.metadata.get("operation_id"), _line(found, one.id))
    ]
    if not matching:
        lost = next((one for one in found.quarantined if one.operation == operation), None)
        raise UnknownCapabilityError(
            f"{document.location} has no operation {operation!r} that can be called"
            + (f": {lost.reason}." if lost else "."),
            next_step="Name its operationId, its METHOD and path, or its id; --dry-run lists them.",
        )
    if len(matching) > 1:
        listed = ", ".join(one.id for one in matching)
        raise UsageError(
            f"{operation!r} names several operations.", next_step=f"Use one of {listed}"
        )
    show_preview(matching[0].id, preview_request(matching[0], arguments), screen)
    return ExitCode.DONE


def _line(api: ImportedApi, capability_id: str) -> str:
    """``GET /pets`` of an imported operation, as its document has it."""
    steps = api.places[capability_id].split("/")
    path = steps[2].replace("~1", "/").replace("~0", "~") if len(steps) > 3 else ""
    return f"{steps[-1].upper()} {path}"


def _documents(source: str) -> list[_Document]:
    if source.startswith(("http://", "https://")):
        return [_Document(source, None, named=True)]
    path = Path(source)
    if not path.is_dir():
        return [_Document(source, path.parent, named=True)]
    files = (one for one in path.rglob("*") if one.suffix.lower() in _SUFFIXES)
    return [_Document(str(one), path, named=False) for one in sorted(files) if one.is_file()]


async def _report(document: _Document, wishes: Wishes, session: Session | None) -> Report:
    report = Report(document.location)
    try:
        done = await _imported(document, wishes, session)
    except CcosError as error:
        report.error = error.message
        report.quarantined = [{"operation": "", "reason": error.message, "where": ""}]
        return report
    found = done.api
    report.seconds = done.seconds
    report.title, report.version = found.title, found.version
    report.capabilities = found.capabilities
    report.quarantined = [
        {"operation": one.operation, "reason": one.reason, "where": one.place}
        for one in found.quarantined
    ]
    report.more = {
        "needs_base_url": found.needs_base_url,
        "notes": [{"where": one.place, "reason": one.reason} for one in done.notes],
        "incoming": [
            {
                "kind": one.kind,
                "name": one.name,
                "method": one.method,
                "url": one.url,
                "operation": one.operation,
                "where": one.place,
            }
            for one in found.incoming
        ],
    }
    return report


async def _imported(document: _Document, wishes: Wishes, session: Session | None) -> _Done:
    fetched = None
    if document.folder is None:
        assert session is not None
        fetched = await _fetched(document.location, session, vouched=True)
    loader = _loader(document, wishes, session)

    def work() -> _Done:
        content = _content(document.location) if fetched is None else fetched
        notes: list[Note] = []
        started = time.perf_counter()
        api = import_openapi(
            read_document(content, location=document.location, notes=notes),
            location=document.location,
            api=wishes.api,
            base_url=wishes.base_url,
            variables=wishes.variables,
            allow_unknown_server=True,
            external=wishes.external,
            load=loader,
            prefer_security=wishes.prefer_security,
            select=wishes.select,
        )
        return _Done(api, (*notes, *api.notes), time.perf_counter() - started)

    return await asyncio.to_thread(work)


def _content(location: str) -> bytes:
    try:
        with Path(location).open("rb") as file:
            return file.read(MAXIMUM_BYTES + 1)
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else None
        raise ImportDocumentError(
            f"{location} cannot be read: {said or error}.",
            next_step="Name a file or folder that exists, or a URL.",
        ) from error


async def _fetched(url: str, session: Session, *, vouched: bool) -> bytes:
    hosts = frozenset({urlsplit(url).hostname or ""}) if vouched else frozenset[str]()
    response = await session.ccos.egress.request(
        "GET",
        url,
        headers={"Accept": "application/json, application/yaml, */*;q=0.5"},
        purpose="api-description",
        extra_allowed_hosts=hosts,
        timeout_seconds=_FETCH_SECONDS,
    )
    if response.status != 200:
        raise ImportDocumentError(f"{url} answered with status {response.status}.")
    return response.body


def _loader(document: _Document, wishes: Wishes, session: Session | None) -> Loader | None:
    """Gives the other documents that the caller allows; it is used in a thread."""
    beside = documents_under(document.folder) if wishes.files and document.folder else None
    loop = asyncio.get_running_loop()
    own_host = urlsplit(document.location).hostname if document.folder is None else None

    def load(location: str) -> Mapping[str, Any] | None:
        if not location.startswith(("http://", "https://")):
            return beside(location) if beside else None
        if not wishes.egress or session is None:
            return None
        vouched = urlsplit(location).hostname == own_host
        fetching = asyncio.run_coroutine_threadsafe(
            _fetched(location, session, vouched=vouched), loop
        )
        return read_document(fetching.result(), location=location)

    return load if wishes.files or wishes.egress else None


@contextlib.asynccontextmanager
async def _maybe_opened(common: LongCommon, wanted: bool) -> AsyncIterator[Session | None]:
    if not wanted:
        yield None
        return
    async with opened(common) as session:
        yield session
