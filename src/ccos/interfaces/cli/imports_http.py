"""What ``ccos import http`` does."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from ccos.capabilities import Manifest, canonical_id
from ccos.errors import CcosError, UnknownCapabilityError
from ccos.importers.http import Exchange, SkippedEntry, exchange_of_curl, exchanges_of, learn
from ccos.importers.openapi import read_document
from ccos.interfaces.cli.candidates import manifest_fields
from ccos.interfaces.cli.decisions import confirmed
from ccos.interfaces.cli.exits import ExitCode, UsageError
from ccos.interfaces.cli.imports_report import Report, Totals, changes, show, show_preview
from ccos.interfaces.cli.options import LongCommon, read_input
from ccos.interfaces.cli.session import opened, screen_of
from ccos.providers.http_template import preview_template
from ccos.resolution.registration import register_imported


@dataclass(frozen=True, slots=True)
class Lessons:
    """Which examples there are, and how they are meant."""

    files: tuple[str, ...]
    commands: tuple[str, ...]
    """curl commands; ``@file`` and ``-`` stand for the text of a file and of standard input."""
    path: str | None = None
    response_path: str = ""
    fixed: tuple[str, ...] = ()
    name: str | None = None
    select: str | None = None


async def import_examples(
    lessons: Lessons,
    *,
    dry_run: bool,
    yes: bool,
    force: bool,
    by: str | None,
    common: LongCommon,
) -> ExitCode:
    """Show what the examples teach, ask, and register it.

    Raises:
        UsageError: Nobody can be asked, and the command does not say yes.
        ImportDocumentError: The examples cannot be read.
    """
    asks = not (yes or dry_run)
    if asks and (common.json or not (sys.stdin.isatty() and sys.stdout.isatty())):
        raise UsageError(
            "What was learned has to be confirmed, and there is no terminal to ask at.",
            next_step="Look at it with --dry-run, then say --yes.",
        )
    report, learned = _learned(lessons)
    screen, totals = screen_of(common), Totals()
    for manifest in learned:
        screen.fields(manifest_fields(manifest))
        screen.text("")
    if not dry_run and learned:
        async with opened(common) as session:
            verb = f"Register {len(learned)} capabilit{'y' if len(learned) == 1 else 'ies'}"
            if asks and not await confirmed(session, verb, yes=False):
                session.screen.note("Nothing was registered.")
                return ExitCode.DONE
            try:
                report.changed = await changes(session.ccos.marketplace, learned)
                report.registered = await register_imported(
                    session.ccos.marketplace,
                    learned,
                    source="http_example",
                    reference=report.document,
                    by=session.by(by),
                    force=force,
                )
            except CcosError as error:
                report.error = error.message
    totals.add(report)
    show(report, screen, alone=True)
    screen.json_line({"summary": totals.summary()})
    screen.text(totals.text())
    return ExitCode.FAILED if report.error or not learned else ExitCode.DONE


def show_template(
    lessons: Lessons, operation: str, arguments: dict[str, Any], common: LongCommon
) -> ExitCode:
    """Print the request for one endpoint; nothing is sent.

    Raises:
        UnknownCapabilityError: The examples teach no such endpoint.
        InvalidArgumentsError: The arguments do not fit.
    """
    _, learned = _learned(lessons)
    matching = [one for one in learned if operation in (one.id, one.name)]
    if not matching:
        raise UnknownCapabilityError(
            f"The examples teach no endpoint {operation!r}.",
            next_step="Name its id, or its METHOD and path; --dry-run lists them.",
        )
    show_preview(matching[0].id, preview_template(matching[0], arguments), screen_of(common))
    return ExitCode.DONE


def _learned(lessons: Lessons) -> tuple[Report, Sequence[Manifest]]:
    started = time.perf_counter()
    exchanges, skipped = _exchanges(lessons)
    sources = [*("curl" for _ in lessons.commands[:1]), *lessons.files]
    found = learn(
        exchanges,
        source=", ".join(sources),
        path=lessons.path,
        response_path=lessons.response_path,
        fixed=lessons.fixed,
    )
    learned = list(found.capabilities)
    if lessons.select is not None:
        pattern = lessons.select
        learned = [
            one for one in learned if fnmatchcase(one.id, pattern) or fnmatchcase(one.name, pattern)
        ]
    if lessons.name is not None:
        if len(learned) != 1:
            raise UsageError(f"--name needs one endpoint, and there are {len(learned)}.")
        learned = [learned[0].model_copy(update={"id": canonical_id(lessons.name)})]
    report = Report(", ".join(sources), capabilities=learned)
    report.quarantined = [
        {"operation": one.what or "?", "reason": one.reason, "where": one.where}
        for one in (*skipped, *found.skipped)
    ]
    report.more = {
        "capabilities": [
            {"id": one.id, "input_schema": one.input_schema, "output_schema": one.output_schema}
            for one in learned
        ]
    }
    report.seconds = time.perf_counter() - started
    return report, learned


def _exchanges(lessons: Lessons) -> tuple[list[Exchange], list[SkippedEntry]]:
    found: list[Exchange] = []
    skipped: list[SkippedEntry] = []
    for command in lessons.commands:
        from_file = command == "-" or command.startswith("@")
        text = read_input(command.removeprefix("@")) if from_file else command
        found.append(exchange_of_curl(text))
    for file in lessons.files:
        document = read_document(read_input(file).encode(), location=file)
        exchanges, passed_over = exchanges_of(document, file)
        found += exchanges
        skipped += passed_over
    return found, skipped
