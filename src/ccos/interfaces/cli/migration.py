"""``ccos migration``: bring legacy tools into the script engine, and take them out again."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import App, Parameter

from ccos.errors import FeatureDisabledError, MigrationFailedError
from ccos.interfaces.cli.asking import can_ask, says_yes
from ccos.interfaces.cli.exits import ExitCode, UsageError
from ccos.interfaces.cli.options import LONG_COMMON, LongCommon
from ccos.interfaces.cli.safe_text import short
from ccos.interfaces.cli.screen import Screen
from ccos.interfaces.cli.screen import moment as moment_of
from ccos.interfaces.cli.session import Session, opened

if TYPE_CHECKING:
    from ccos.migration import (
        MigratedTool,
        MigrationManager,
        MigrationReport,
        MigrationState,
        MigrationValidation,
        ToolMigrationBridge,
    )

app = App(name="migration", help="Bring legacy tools into the script engine, and out again.")

_PROGRESS_SECONDS: Final = 1.0
_LINE: Final = 120
_LISTED: Final = 20

Name = Annotated[
    str | None, Parameter(help="The tool; all if left out.", allow_leading_hyphen=True)
]
Tool = Annotated[str | None, Parameter(name="--tool", help="The same as the argument.")]
Format = Annotated[
    Literal["table", "json"],
    Parameter(name=("--format", "-f"), help="A table, or JSON as with --json."),
]
Confirm = Annotated[
    bool,
    Parameter(
        name=("--confirm", "-c"),
        negative="",
        help="Do not ask. Without a terminal nothing is done without it.",
    ),
]
Folders = Annotated[
    list[Path] | None,
    Parameter(
        name=("--directory", "-d"),
        negative="",
        help="Where the tools are; by default tools and rune_tools. May be given several times.",
    ),
]


@app.command
async def migrate(
    tool: Annotated[
        str | None,
        Parameter(help="Only this tool; all if left out.", allow_leading_hyphen=True),
    ] = None,
    /,
    *,
    tool_option: Tool = None,
    force: Annotated[
        bool,
        Parameter(
            name=("--force", "-f"),
            negative="",
            help="Migrate again what has not changed, and replace versions whose callers break.",
        ),
    ] = False,
    security_level: Annotated[
        str | None,
        Parameter(help="safe, development (dev) or production (prod); safe unless configured."),
    ] = None,
    dry_run: Annotated[
        bool, Parameter(negative="", help="Say what would happen; call and write nothing.")
    ] = False,
    mode: Annotated[
        str | None, Parameter(help="incremental, full, dry-run or manual; incremental by default.")
    ] = None,
    validation: Annotated[
        str | None, Parameter(help="skip, basic or comprehensive; basic unless configured.")
    ] = None,
    directory: Folders = None,
    parallel: Annotated[
        int | None, Parameter(help="Migrate so many at once, from 1 to 1000; 1 by default.")
    ] = None,
    rollback_on_failure: Annotated[
        bool,
        Parameter(negative="", help="End with the first failure and restore what was before."),
    ] = False,
    report: Annotated[
        Path | None,
        Parameter(help="Write the report there: .json, .html, or .xml for JUnit."),
    ] = None,
    common: LongCommon = LONG_COMMON,
) -> ExitCode:
    """Migrate the tools of some folders, or one of them.

    A migration whose process died is carried on first. Exit code 1 if a tool failed, or would
    fail in a dry run; 2 if what is asked for makes no sense.
    """
    name = _one_of(tool, tool_option)
    wanted: dict[str, Any] = {"rollback_on_failure": rollback_on_failure}
    if dry_run and mode not in (None, "dry-run"):
        raise UsageError("--dry-run is a mode of its own; leave --mode out.")
    wanted["mode"] = "dry-run" if dry_run else (mode or ("manual" if name else "incremental"))
    if parallel is not None:
        wanted |= {"enable_parallel_migration": parallel > 1, "max_concurrent_migrations": parallel}
    for key, value in (
        ("security_level", security_level),
        ("validation_mode", validation),
        ("migration_directories", directory),
    ):
        if value is not None:
            wanted[key] = value
    _check_report_name(report)
    async with _session(common, needed=True) as session:
        from ccos.migration import (
            MigrationManager,
            MigrationManagerConfig,
            MigrationMode,
            MigrationPhase,
        )

        config = MigrationManagerConfig.of(session.settings.migration, **wanted)
        if name is not None and config.mode not in (MigrationMode.MANUAL, MigrationMode.DRY_RUN):
            raise UsageError("One tool is migrated with --mode manual, or left out of --mode.")
        async with await MigrationManager.new(config, session.ccos.migration_parts()) as manager:
            made = await _executed(manager, name, force, session.screen)
        if name is not None and made.plan is not None:
            made = _only(made, name)
        await asyncio.to_thread(_write_report, made, report)
        session.screen.document(made.as_dict())
        _show_report(session.screen, made)
        failed = any(name in (None, one.tool_name) for one in made.failed_tools)
        failed |= any(one.action == "fail" for one in made.plan or ())
        ended = made.state.phase is MigrationPhase.COMPLETED
        return ExitCode.DONE if ended and not failed else ExitCode.FAILED


@app.command
async def status(
    *,
    format: Format = "table",  # noqa: A002 - the name of the option
    detailed: Annotated[
        bool,
        Parameter(name=("--detailed", "-d"), negative="", help="List the migrations as well."),
    ] = False,
    validate: Annotated[
        bool, Parameter(negative="", help="Look whether every migrated tool is whole.")
    ] = False,
    common: LongCommon = LONG_COMMON,
) -> ExitCode:
    """Show how many tools are migrated, and how the last migration ended.

    Exit code 1 if --validate finds something wrong.
    """
    async with _session(_formatted(common, format)) as session:
        bridge = _bridge(session)
        journal = bridge.migrator.journal
        settings, stats = session.settings.migration, await bridge.get_migration_stats()
        migrations = await journal.all(limit=_LISTED if detailed else 1)
        unfinished = [one.id for one in await journal.unfinished()]
        checked = await _validated(bridge, None) if validate else None
        last = migrations[0] if migrations else None
        document: dict[str, Any] = {
            "enabled": settings.enabled,
            "auto_migrate": settings.auto_migrate,
            **stats.as_dict(),
            "unfinished": unfinished,
            "last_migration": None if last is None else _summary(last),
        }
        if detailed:
            document["migrations"] = [_summary(one) for one in migrations]
        if checked is not None:
            document["validation"] = checked.as_dict()
        session.screen.document(document)
        moment = stats.migration_timestamp
        session.screen.fields(
            [
                ("enabled", settings.enabled),
                ("auto migrate", settings.auto_migrate),
                ("migrated", stats.total_migrated),
                ("active", stats.active_tools),
                ("inactive", stats.inactive_tools),
                ("last change", "never" if moment is None else moment.isoformat(" ", "seconds")),
                ("last migration", "none" if last is None else f"{last.id}: {last.phase.value}"),
                ("unfinished", ", ".join(unfinished) or "none"),
            ]
        )
        if detailed:
            session.screen.table(
                ("id", "mode", "phase", "migrated", "failed", "skipped", "started"),
                (
                    (*[*_summary(one).values()][:-1], moment_of(one.started_at))
                    for one in migrations
                ),
                empty="There were no migrations.",
            )
        if checked is not None:
            _show_validation(session.screen, checked)
        return ExitCode.FAILED if checked is not None and not checked.valid else ExitCode.DONE


@app.command(name="list")
async def list_tools(
    *,
    format: Format = "table",  # noqa: A002 - the name of the option
    active: Annotated[bool, Parameter(negative="", help="Only those that may be called.")] = False,
    inactive: Annotated[
        bool, Parameter(negative="", help="Only those that may not be called.")
    ] = False,
    metadata: Annotated[
        bool,
        Parameter(name=("--metadata", "-m"), negative="", help="Show where each comes from."),
    ] = False,
    common: LongCommon = LONG_COMMON,
) -> None:
    """List the migrated tools."""
    async with _session(_formatted(common, format)) as session:
        if not session.settings.migration.enabled:
            session.screen.note("Migrating legacy tools is switched off.")
        tools = await _bridge(session).list_migrated_tools()
        if active or inactive:
            tools = [
                one for one in tools if (active and one.active) or (inactive and not one.active)
            ]
        session.screen.document({"tools": [_listed(one) for one in tools]})
        columns = ["name", "script", "active", "level", "migrated"]
        columns += ["from", "source", "migration"] if metadata else []
        session.screen.table(
            columns,
            (_row(one, metadata=metadata) for one in tools),
            empty="No tools are migrated.",
        )


@app.command
async def validate(
    tool: Name = None,
    /,
    *,
    tool_option: Tool = None,
    auto_fix: Annotated[
        bool,
        Parameter(
            negative="",
            help="Register lost scripts again, drop orphans, and quote reserved keys in files that "
            "failed for them; every change is listed.",
        ),
    ] = False,
    format: Format = "table",  # noqa: A002 - the name of the option
    common: LongCommon = LONG_COMMON,
) -> ExitCode:
    """Look whether migrated tools are whole, compile, and are what was migrated.

    Exit code 1 if something is wrong, 4 if there is no such tool.
    """
    name = _one_of(tool, tool_option)
    async with _session(_formatted(common, format), needed=True) as session:
        from ccos.migration.repair import repair

        bridge = _bridge(session)
        async with bridge:
            changes = await repair(bridge, name) if auto_fix else []
            checked = await bridge.validate_migration(name)
        session.screen.document({**checked.as_dict(), "changes": changes})
        for change in changes:
            session.screen.text(f"Changed: {change}")
        _show_validation(session.screen, checked)
        return ExitCode.DONE if checked.valid else ExitCode.FAILED


@app.command
async def rollback(
    tool: Name = None,
    /,
    *,
    tool_option: Tool = None,
    migration: Annotated[
        str | None, Parameter(help="A whole migration, by its id or the beginning of it.")
    ] = None,
    confirm: Confirm = False,
    backup: Annotated[
        bool,
        Parameter(negative="", help="Write an archive of what is migrated before, and name it."),
    ] = False,
    common: LongCommon = LONG_COMMON,
) -> ExitCode:
    """Restore what was before a tool, a migration, or everything was migrated.

    Exit code 1 if that fails, 4 if there is no such tool.
    """
    name = _one_of(tool, tool_option)
    if name is not None and migration is not None:
        raise UsageError("Name a tool or a migration, not both.")
    async with _session(common, needed=True) as session:
        from ccos.errors import ScriptToolNotFoundError

        async with _manager(session) as manager:
            if name is not None and await manager.bridge().get_migrated_tool(name) is None:
                raise ScriptToolNotFoundError(
                    f"Tool not found in the migration registry: {name[:100]!r}.",
                    next_step="List the migrated tools with `ccos migration list`.",
                )
            what = name or migration or "every migration"
            await _ask(session, f"Restore what was before {what}?", confirm=confirm)
            written = await _archived(session, manager.bridge()) if backup else None
            if name is not None:
                done = [name] if await manager.rollback_tool_migration(name) else []
            elif migration is not None:
                done = list(await manager.rollback_migration(migration))
            else:
                done = await _roll_back_all(manager)
        session.screen.document({"rolled_back": done, "backup": written})
        if written is not None:
            session.screen.text(f"Archive: {written}")
        session.screen.text(f"Rolled back: {', '.join(done) or 'nothing'}")
        return ExitCode.DONE


@app.command
async def reload(
    tool: Annotated[str, Parameter(help="The tool.", allow_leading_hyphen=True)],
    /,
    *,
    force: Annotated[
        bool,
        Parameter(
            name=("--force", "-f"),
            negative="",
            help="Even if its file has not changed, or if callers break by it.",
        ),
    ] = False,
    common: LongCommon = LONG_COMMON,
) -> ExitCode:
    """Migrate a tool anew from its file. The old version serves until the new one does.

    Exit code 1 if the new version cannot be used, 4 if there is no such tool.
    """
    async with _session(common, needed=True) as session:
        bridge = _bridge(session)
        async with bridge:
            changed = await bridge.reload_migrated_tool(tool, force=force)
        session.screen.document({"tool": tool, "reloaded": changed})
        session.screen.text(
            f"{tool} is loaded anew." if changed else f"{tool} has not changed; nothing was done."
        )
        return ExitCode.DONE


@app.command
async def cleanup(
    *,
    inactive: Annotated[
        bool, Parameter(negative="", help="Remove tools that may not be called.")
    ] = False,
    failed: Annotated[
        bool, Parameter(negative="", help="Forget the failures of migrations that ended.")
    ] = False,
    confirm: Confirm = False,
    common: LongCommon = LONG_COMMON,
) -> ExitCode:
    """Show what is no longer needed, then remove exactly that."""
    if not (inactive or failed):
        raise UsageError("Say what to clean up: --inactive, --failed, or both.")
    async with _session(common, needed=True) as session:
        bridge = _bridge(session)
        journal = bridge.migrator.journal
        tools = [one for one in await bridge.list_migrated_tools() if inactive and not one.active]
        failures = await journal.failures() if failed else []
        for tool in tools:
            session.screen.text(f"inactive: {tool.original_name}")
        for migration_id, step in failures:
            session.screen.text(f"failed: {step.tool} in {migration_id}")
        if tools or failures:
            await _ask(session, "Remove these?", confirm=confirm)
        removed = [
            one.original_name
            for one in tools
            if await bridge.remove_migrated_tool(one.original_name)
        ]
        keys = [(migration_id, step.position) for migration_id, step in failures]
        forgotten = await journal.forget_failures(keys) if keys else 0
        session.screen.document({"removed": removed, "forgotten": forgotten})
        session.screen.text(f"{len(removed)} tools removed, {forgotten} failures forgotten.")
        return ExitCode.DONE


@app.command
async def report(
    migration: Annotated[
        str | None,
        Parameter(help="Its id or the beginning of it; the last one if left out."),
    ] = None,
    /,
    *,
    format: Annotated[  # noqa: A002 - the name of the option
        Literal["json", "html", "junit", "schema"],
        Parameter(name=("--format", "-f"), help="schema is the JSON Schema of the JSON form."),
    ] = "json",
    output: Annotated[
        Path | None, Parameter(name=("--output", "-o"), help="Write it there, not on the screen.")
    ] = None,
    common: LongCommon = LONG_COMMON,
) -> ExitCode:
    """Write the report of a migration: as JSON, as a page, or as a JUnit file.

    Exit code 1 if there is none.
    """
    async with _session(common) as session:
        text = await _report_text(session, migration, format)
    if output is None:
        sys.stdout.write(text)
    else:
        await asyncio.to_thread(_written, output, text)
        session.screen.document({"written": str(output)})
        session.screen.text(f"Written: {output}")
    return ExitCode.DONE


# What commands share


@contextlib.asynccontextmanager
async def _session(common: LongCommon, *, needed: bool = False) -> AsyncIterator[Session]:
    """An open CCOS; with ``needed`` only if migrating is switched on."""
    async with opened(common) as session:
        if needed and not session.settings.migration.enabled:
            raise FeatureDisabledError(
                "Migrating legacy tools is switched off.",
                next_step="Set CCOS_MIGRATION_ENABLED=true to switch it on.",
            )
        yield session


def _bridge(session: Session) -> ToolMigrationBridge:
    from ccos.migration import MigrationConfig, RuneServiceConfig, ToolMigrationBridge

    config = MigrationConfig.of(session.settings.migration)
    return ToolMigrationBridge(RuneServiceConfig(), config, session.ccos.migration_parts())


@contextlib.asynccontextmanager
async def _manager(session: Session) -> AsyncIterator[MigrationManager]:
    from ccos.migration import MigrationManager, MigrationManagerConfig

    config = MigrationManagerConfig.of(session.settings.migration)
    async with await MigrationManager.new(config, session.ccos.migration_parts()) as manager:
        yield manager


def _one_of(argument: str | None, option: str | None) -> str | None:
    if argument is not None and option is not None and argument != option:
        raise UsageError("Name the tool once.")
    return option if argument is None else argument


def _formatted(common: LongCommon, chosen: str) -> LongCommon:
    return dataclasses.replace(common, json=True) if chosen == "json" else common


async def _executed(
    manager: MigrationManager, name: str | None, force: bool, screen: Screen
) -> MigrationReport:
    from ccos.migration import MigrationMode

    if name is None or manager.config.mode is MigrationMode.DRY_RUN:
        return await manager.execute_migration(force=force, progress=_Progress(screen))
    try:
        await manager.migrate_specific_tool(name, force)
    except MigrationFailedError as error:
        from ccos.migration import MigrationError

        if MigrationError.cause_of(error) is None:
            raise
        made = await manager.get_migration_report()
        if not made.failed_tools or name not in {one.tool_name for one in made.failed_tools}:
            raise
        return made
    return await manager.get_migration_report()


def _only(made: MigrationReport, name: str) -> MigrationReport:
    """The plan of one tool.

    Raises:
        MigrationFailedError: if it was not found.
    """
    plan = tuple(one for one in made.plan or () if one.tool == name)
    if not plan:
        raise MigrationFailedError(f"Tool not found: {name[:100]!r}.")
    return dataclasses.replace(made, plan=plan)


async def _validated(bridge: ToolMigrationBridge, name: str | None) -> MigrationValidation:
    async with bridge:
        return await bridge.validate_migration(name)


async def _roll_back_all(manager: MigrationManager) -> list[str]:
    """Roll back migrations, the newest first, until nothing is migrated."""
    done: list[str] = []
    while tools := await manager.bridge().list_migrated_tools():
        newest = max(tools, key=lambda one: one.migrated_at)
        names = await manager.rollback_migration(newest.metadata["migration_id"])
        if not names:
            raise MigrationFailedError(
                f"Nothing is known of what was before {newest.original_name!r} was migrated."
            )
        done += [one for one in names if one not in done]
    return sorted(done)


async def _archived(session: Session, bridge: ToolMigrationBridge) -> str:
    """Write what is migrated, and the copies of the originals, into an archive."""
    from ccos.migration.backups import archive

    folder = bridge.migrator.parts.backups
    tools = [one.as_dict() for one in await bridge.list_migrated_tools()]
    migrations = await bridge.migrator.journal.all(limit=10_000)
    reports = [one.report.as_dict() for one in migrations if one.report is not None]
    documents = {
        "tools.json": json.dumps(tools, indent=2, ensure_ascii=False).encode(),
        "reports.json": json.dumps(reports, indent=2, ensure_ascii=False).encode(),
    }
    folders = [Path(one.backup) for one in migrations if one.backup is not None]
    target = folder / f"rollback-{time.strftime('%Y%m%dT%H%M%S')}-{time.time_ns() % 10**6}.tar.gz"
    await asyncio.to_thread(archive, target, documents, folders)
    return str(target)


async def _ask(session: Session, question: str, *, confirm: bool) -> None:
    """Go on only if a person says so, or said so.

    Raises:
        UsageError: if nobody can be asked, or the answer is no.
    """
    if confirm:
        return
    if not can_ask(session.screen):
        raise UsageError(
            "There is no terminal to ask on; nothing was done.", next_step="Say --confirm."
        )
    if not await says_yes(session.screen, question):
        raise UsageError("Nothing was done.", next_step="Answer y to go on.")


async def _report_text(session: Session, migration: str | None, chosen: str) -> str:
    from ccos.migration.reports import as_html, as_junit, report_schema

    if chosen == "schema":
        return json.dumps(report_schema(), indent=2) + "\n"
    journal = _bridge(session).migrator.journal
    if migration is None:
        ended = [one for one in await journal.all() if one.report is not None]
        found = ended[0] if ended else None
    else:
        found = await journal.migration(migration)
    if found is None or found.report is None:
        raise MigrationFailedError(
            "There is no report of such a migration.",
            next_step="List the migrations with `ccos migration status --detailed`.",
        )
    match chosen:
        case "html":
            return as_html(found.report)
        case "junit":
            return as_junit(found.report)
    return found.report.to_json() + "\n"


def _check_report_name(path: Path | None) -> None:
    if path is not None and path.suffix.lower() not in (".json", ".html", ".xml"):
        raise UsageError("--report is a file that ends in .json, .html or .xml.")


def _write_report(made: MigrationReport, path: Path | None) -> None:
    if path is None:
        return
    from ccos.migration.reports import as_html, as_junit

    match path.suffix.lower():
        case ".html":
            text = as_html(made)
        case ".xml":
            text = as_junit(made)
        case _:
            text = made.to_json() + "\n"
    _written(path, text)


def _written(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}.") from error


class _Progress:
    """Says on standard error, once a second, how far a migration is."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._due = time.monotonic() + _PROGRESS_SECONDS

    def __call__(self, state: MigrationState) -> None:
        now = time.monotonic()
        done = state.successfully_migrated + state.failed_migrations + state.skipped
        if now >= self._due and done < state.total_discovered:
            self._due = now + _PROGRESS_SECONDS
            self._screen.note(f"{done} of {state.total_discovered} tools are done.")


def _show_report(screen: Screen, made: MigrationReport) -> None:
    if made.plan is not None:
        screen.table(
            ("tool", "action", "problems"),
            ((one.tool, one.action, short("; ".join(one.problems), _LINE)) for one in made.plan),
            empty="No tools were found.",
        )
    for one in made.failed_tools:
        line = f":{one.context['line']}" if one.context.get("line") else ""
        place = f" ({one.context['path']}{line})" if one.context.get("path") else ""
        screen.text(f"{one.tool_name}: {one}{place}")
    for warning in made.state.warnings[:_LISTED]:
        screen.note(f"Warning: {warning}")
    if made.rolled_back:
        screen.text("What was before was restored.")
    state = made.state
    seconds = 0.0 if made.duration is None else made.duration.total_seconds()
    screen.text(
        f"{state.phase.value}: {state.total_discovered} found, {state.successfully_migrated} "
        f"migrated, {state.failed_migrations} failed, {state.skipped} skipped; {seconds:.2f} s. "
        f"Migration {made.migration_id}"
    )


def _show_validation(screen: Screen, checked: MigrationValidation) -> None:
    for issue in checked.issues:
        screen.text(f"Issue: {issue}")
    for warning in checked.warnings:
        screen.text(f"Warning: {warning}")
    screen.text(f"{checked.valid_tools} of {checked.total_tools} migrated tools are sound.")


def _summary(migration: Any) -> dict[str, Any]:
    state = None if migration.report is None else migration.report.state
    return {
        "id": migration.id,
        "mode": migration.config.mode.value,
        "phase": migration.phase.value,
        "migrated": None if state is None else state.successfully_migrated,
        "failed": None if state is None else state.failed_migrations,
        "skipped": None if state is None else state.skipped,
        "started_at": migration.started_at,
    }


def _listed(tool: MigratedTool) -> dict[str, Any]:
    known = tool.as_dict()
    del known["definition"]
    return known


def _row(tool: MigratedTool, *, metadata: bool) -> Sequence[object]:
    row: list[object] = [
        tool.original_name,
        tool.migrated_script_id,
        "yes" if tool.active else "no",
        tool.metadata["security_level"],
        tool.migrated_at.isoformat(" ", "seconds"),
    ]
    if metadata:
        row += [
            tool.metadata["original_file_path"],
            tool.metadata["source_hash"][:19],
            tool.metadata["migration_id"],
        ]
    return row
