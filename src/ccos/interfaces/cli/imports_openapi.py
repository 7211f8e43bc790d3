"""What ``ccos import openapi`` does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from ccos.errors import UnknownCapabilityError
from ccos.importers.openapi import (
    ImportedApi,
    Loader,
    Note,
    documents_under,
    import_openapi,
    read_document,
)
from ccos.interfaces.cli.exits import ExitCode, UsageError
from ccos.interfaces.cli.imports_report import Report, show_preview
from ccos.interfaces.cli.imports_sources import (
    Document,
    documents,
    fetched,
    import_documents,
    is_url,
    maybe_opened,
    one_document,
    read_file,
)
from ccos.interfaces.cli.options import LongCommon
from ccos.interfaces.cli.session import Session, screen_of
from ccos.providers.openapi import preview_request

_SUFFIXES: Final = frozenset({".json", ".yaml", ".yml"})


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
    return await import_documents(
        [one for source in sources for one in documents(source, _SUFFIXES)],
        partial(_report, wishes),
        kind="openapi_document",
        fetches=wishes.egress,
        dry_run=dry_run,
        force=force,
        by=by,
        common=common,
    )


async def show_request(
    source: str, wishes: Wishes, operation: str, arguments: dict[str, Any], common: LongCommon
) -> ExitCode:
    """Print the request for one operation; nothing is sent.

    Raises:
        UnknownCapabilityError: No operation has this name.
        UsageError: Several have, or the source is a folder.
        InvalidArgumentsError: The arguments do not fit.
    """
    document = one_document(source, _SUFFIXES)
    async with maybe_opened(common, wishes.egress or document.folder is None) as session:
        found = (await _imported(wishes, document, session)).api
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
    show_preview(matching[0].id, preview_request(matching[0], arguments), screen_of(common))
    return ExitCode.DONE


def _line(api: ImportedApi, capability_id: str) -> str:
    """``GET /pets`` of an imported operation, as its document has it."""
    steps = api.places[capability_id].split("/")
    path = steps[2].replace("~1", "/").replace("~0", "~") if len(steps) > 3 else ""
    return f"{steps[-1].upper()} {path}"


async def _report(wishes: Wishes, document: Document, session: Session | None) -> Report:
    done = await _imported(wishes, document, session)
    found = done.api
    return Report(
        document.location,
        found.title,
        found.version,
        found.capabilities,
        [
            {"operation": one.operation, "reason": one.reason, "where": one.place}
            for one in found.quarantined
        ],
        done.seconds,
        more={
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
        },
    )


async def _imported(wishes: Wishes, document: Document, session: Session | None) -> _Done:
    given: bytes | None = None
    if document.folder is None and session is not None:
        given = await fetched(document.location, session, vouched=True)
    loader = _loader(document, wishes, session)

    def work() -> _Done:
        content = read_file(document.location) if given is None else given
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


def _loader(document: Document, wishes: Wishes, session: Session | None) -> Loader | None:
    """Gives the other documents that the caller allows; it is used in a thread."""
    beside = documents_under(document.folder) if wishes.files and document.folder else None
    loop = asyncio.get_running_loop()
    own_host = urlsplit(document.location).hostname if document.folder is None else None

    def load(location: str) -> Mapping[str, Any] | None:
        if not is_url(location):
            return beside(location) if beside else None
        if not wishes.egress or session is None:
            return None
        vouched = urlsplit(location).hostname == own_host
        fetching = asyncio.run_coroutine_threadsafe(
            fetched(location, session, vouched=vouched), loop
        )
        return read_document(fetching.result(), location=location)

    return load if wishes.files or wishes.egress else None
