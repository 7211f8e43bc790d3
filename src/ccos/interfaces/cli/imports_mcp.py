"""What ``ccos import mcp`` does."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from ccos.capabilities import AuthReference, HttpServer, Manifest, McpServer, StdioServer
from ccos.errors import CcosError
from ccos.importers.mcp import ImportedServer, import_tools
from ccos.importers.mcp_offers import import_offers
from ccos.interfaces.cli.exits import ExitCode, UsageError
from ccos.interfaces.cli.imports_report import Progress, Report, Totals, changes, show
from ccos.interfaces.cli.options import LongCommon
from ccos.interfaces.cli.session import Session, opened
from ccos.resolution.registration import register_imported

_PROGRAM: Final = re.compile(r"(pypi|npm):(@?[^@]+)@([^@]+)")


@dataclass(frozen=True, slots=True)
class NamedServer:
    """A server, and what it is called in ids."""

    source: str
    name: str
    server: McpServer


def server_of(
    source: str,
    *,
    name: str | None,
    arguments: Sequence[str] = (),
    environment: Sequence[str] = (),
    token: str | None = None,
) -> NamedServer:
    """The server that the command line means.

    Raises:
        UsageError: It is neither a URL nor a program.
    """
    try:
        server: McpServer
        if source.startswith(("http://", "https://")):
            if arguments or environment:
                raise UsageError("--arg and --env are for programs.")
            auth = None if token is None else AuthReference(scheme="bearer", environment=(token,))
            server = HttpServer(url=source, auth=auth)
            return NamedServer(source, name or _name(urlsplit(source).hostname or ""), server)
        if token is not None:
            raise UsageError("--token is for a server at a URL; a program gets --env.")
        program = _PROGRAM.fullmatch(source)
        given = {"arguments": tuple(arguments), "environment": tuple(environment)}
        if program:
            server = StdioServer.model_validate(
                {"registry": program[1], "package": program[2], "version": program[3], **given}
            )
        elif source.startswith("command:") and source != "command:":
            path = source.removeprefix("command:")
            server = StdioServer.model_validate({"registry": "command", "package": path, **given})
        else:
            raise UsageError(
                f"{source} is no MCP server.",
                next_step="Name a URL, pypi:package@version, npm:package@version, or "
                "command:/path/of/program.",
            )
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = "/".join(str(part) for part in fault["loc"])
        raise UsageError(f"{source} cannot be used: {place}: {fault['msg']}.") from error
    return NamedServer(source, name or _name(server.package), server)


async def import_servers(
    servers: Sequence[NamedServer],
    *,
    read_only: Collection[str],
    select: str | None,
    dry_run: bool,
    force: bool,
    by: str | None,
    common: LongCommon,
) -> ExitCode:
    """Ask every server, say what came of it, and register what can be used."""
    totals, lost = Totals(), False
    async with opened(common) as session:
        progress = Progress(len(servers), session.screen)
        for number, one in enumerate(servers):
            report = await _report(one, read_only, select, session)
            try:
                report.changed = await changes(session.ccos.marketplace, report.capabilities)
                if report.capabilities and not dry_run:
                    report.registered = await register_imported(
                        session.ccos.marketplace,
                        report.capabilities,
                        source="mcp_server",
                        reference=one.source,
                        by=session.by(by),
                        force=force,
                    )
            except CcosError as error:
                report.error = error.message
            lost = lost or bool(report.error)
            totals.add(report)
            show(report, session.screen, alone=len(servers) == 1)
            progress.step(number + 1, one.source)
        session.screen.json_line({"summary": totals.summary()})
        session.screen.text(totals.text())
    return ExitCode.FAILED if lost else ExitCode.DONE


async def _report(
    named: NamedServer, read_only: Collection[str], select: str | None, session: Session
) -> Report:
    report = Report(named.source)
    started = time.perf_counter()
    try:
        listing = await session.ccos.mcp.list_tools(named.server, vouched=True)
        offers = await session.ccos.mcp.list_offers(named.server, vouched=True)
    except CcosError as error:
        report.error = error.message
        report.quarantined = [{"operation": "", "reason": error.message, "where": ""}]
        return report
    tools = import_tools(named.name, named.server, listing, read_only_tools=read_only)
    others = import_offers(named.name, named.server, offers)
    report.title, report.version = listing.server_name, listing.server_version
    report.capabilities = [
        one
        for imported in (tools, others)
        for one in imported.capabilities
        if select is None or _is_selected(one, select)
    ]
    report.quarantined = [
        {"operation": one.name, "reason": one.reason, "where": where}
        for where, imported in _places(tools, others)
        for one in imported.quarantined
        if select is None or fnmatchcase(one.name, select)
    ]
    report.seconds = time.perf_counter() - started
    return report


def _places(tools: ImportedServer, others: ImportedServer) -> list[tuple[str, ImportedServer]]:
    return [("tools/list", tools), ("resources/list and prompts/list", others)]


def _is_selected(manifest: Manifest, pattern: str) -> bool:
    provider = manifest.provider
    name = getattr(provider, "tool", getattr(provider, "prompt", getattr(provider, "uri", "")))
    return any(fnmatchcase(text, pattern) for text in (manifest.id, manifest.name, str(name)))


def _name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", ".", text.rpartition("/")[2] or text).strip(".-") or "server"
