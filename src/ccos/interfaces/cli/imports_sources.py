"""Descriptions in files, folders and at URLs: read one after the other, and registered."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ccos.errors import CcosError, ImportDocumentError
from ccos.importers.openapi.document import MAXIMUM_BYTES
from ccos.interfaces.cli.exits import ExitCode, UsageError
from ccos.interfaces.cli.imports_report import Progress, Report, Totals, changes, show
from ccos.interfaces.cli.options import LongCommon
from ccos.interfaces.cli.session import Session, opened, screen_of
from ccos.resolution.registration import register_imported

_FETCH_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Document:
    """A description that is to be read."""

    location: str
    folder: Path | None
    """Where files that it refers to may lie; None for a URL."""
    named: bool
    """Whether the command line names it, and not only its folder."""


Importer = Callable[[Document, Session | None], Awaitable[Report]]
"""Reads one description; what makes it unusable is raised."""


def documents(source: str, suffixes: Collection[str]) -> list[Document]:
    """The descriptions that a file name, folder or URL stands for.

    Args:
        source: What the command line names.
        suffixes: The endings of the files that count in a folder.
    """
    if is_url(source):
        return [Document(source, None, named=True)]
    path = Path(source)
    if not path.is_dir():
        return [Document(source, path.parent, named=True)]
    files = (one for one in path.rglob("*") if one.suffix.lower() in suffixes)
    return [Document(str(one), path, named=False) for one in sorted(files) if one.is_file()]


def one_document(source: str, suffixes: Collection[str]) -> Document:
    """The one description that the command line names.

    Raises:
        UsageError: It is a folder.
    """
    found = documents(source, suffixes)
    if [one.named for one in found] != [True]:
        raise UsageError("--request needs one description, not a folder.")
    return found[0]


def is_url(source: str) -> bool:
    """Whether a source is fetched and not opened."""
    return source.startswith(("http://", "https://"))


async def import_documents(
    found: Sequence[Document],
    importer: Importer,
    *,
    kind: str,
    fetches: bool,
    dry_run: bool,
    force: bool,
    by: str | None,
    common: LongCommon,
) -> ExitCode:
    """Import every description, say what came of each, and register what can be used.

    Args:
        found: The descriptions.
        importer: Reads one.
        kind: Kind of source for the provenance, such as ``openapi_document``.
        fetches: Whether something may have to be fetched for files, too.
        dry_run: Whether nothing is registered.
        force: Whether also what breaks callers or was revoked is registered.
        by: Who vouches for them.
        common: The options of the command.
    """
    screen = screen_of(common)
    totals, lost = Totals(), False
    progress = Progress(len(found), screen)
    needs_session = not dry_run or fetches or any(one.folder is None for one in found)
    async with maybe_opened(common, needs_session) as session:
        for number, document in enumerate(found):
            report = Report(document.location)
            try:
                report = await importer(document, session)
                if session is not None and not dry_run and report.capabilities:
                    report.changed = await changes(session.ccos.marketplace, report.capabilities)
                    report.registered = await register_imported(
                        session.ccos.marketplace,
                        report.capabilities,
                        source=kind,
                        reference=document.location,
                        by=session.by(by),
                        force=force,
                    )
            except CcosError as error:
                report.error = error.message
                fault = {"operation": "", "reason": error.message, "where": ""}
                report.quarantined = [*report.quarantined, fault]
                lost = lost or document.named or bool(report.capabilities)
            totals.add(report)
            show(report, screen, alone=len(found) == 1)
            progress.step(number + 1, document.location)
    screen.json_line({"summary": totals.summary()})
    screen.text(totals.text())
    return ExitCode.FAILED if lost or totals.unusable == len(found) else ExitCode.DONE


def read_file(location: str) -> bytes:
    """The content of a file, as far as it would be read.

    Raises:
        ImportDocumentError: It cannot be read.
    """
    try:
        with Path(location).open("rb") as file:
            return file.read(MAXIMUM_BYTES + 1)
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else None
        raise ImportDocumentError(
            f"{location} cannot be read: {said or error}.",
            next_step="Name a file or folder that exists, or a URL.",
        ) from error


async def fetched(url: str, session: Session, *, vouched: bool) -> bytes:
    """What is found at a URL.

    Args:
        url: Where.
        session: Its egress is the way out.
        vouched: Whether the command line names this host, so that it needs no other permission.

    Raises:
        EgressError: It cannot be fetched.
        ImportDocumentError: It was answered with another status than 200.
    """
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


@contextlib.asynccontextmanager
async def maybe_opened(common: LongCommon, wanted: bool) -> AsyncIterator[Session | None]:
    """An open CCOS, or None where nothing needs one."""
    if not wanted:
        yield None
        return
    async with opened(common) as session:
        yield session
