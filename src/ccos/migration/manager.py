"""The manager: runs a migration in one of four modes, and takes it back where that is wanted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ccos.errors import CcosError, ConfigurationError, FeatureDisabledError, MigrationFailedError
from ccos.migration.backups import copy_of
from ccos.migration.bridge import ToolMigrationBridge
from ccos.migration.definitions import RuneTool, shown_path
from ccos.migration.discovery import Discovery
from ccos.migration.discovery_config import DiscoveryConfig
from ccos.migration.journal import Migration, Step, StepState
from ccos.migration.migration_config import (
    MigrationConfig,
    MigrationManagerConfig,
    MigrationMode,
)
from ccos.migration.outcomes import (
    MigratedTool,
    MigrationError,
    MigrationPhase,
    MigrationReport,
    MigrationState,
    MigrationStats,
    PlannedTool,
)
from ccos.migration.parts import MigrationParts
from ccos.migration.problems import MigrationErrorType
from ccos.migration.registry import RegistryConfig
from ccos.migration.run import NOT_NAMED, MigrationRun, Progress, failures_of, new_migration_id
from ccos.migration.rune_service import RuneService
from ccos.migration.rune_service_config import RuneServiceConfig

_PLANNED: Final = "It was a dry run."
_MANY: Final = 1_000_000


class MigrationManager:
    """Migrates the tools of some folders. Made by :meth:`new`.

    Use it as an async context manager, or end it with :meth:`aclose`.

    Args:
        config: What it is to do.
        parts: Of the open CCOS.
        migration_config: How tools are kept; by default as the settings say.
    """

    def __init__(
        self,
        config: MigrationManagerConfig,
        parts: MigrationParts,
        migration_config: MigrationConfig | None = None,
    ) -> None:
        self.config = config
        self.migration_id = new_migration_id()
        self._parts = parts
        discovery = DiscoveryConfig(
            directories=tuple(config.migration_directories), concurrency=config.at_once
        )
        self._rune_config = RuneServiceConfig(
            discovery=discovery,
            security=parts.policy_at(config.security_level),
            cache=RegistryConfig(max_cached_tools=_MANY),
        )
        kept = migration_config or MigrationConfig.of(parts.settings)
        kept = dataclasses.replace(kept, security_level=config.security_level, auto_migrate=False)
        self._bridge = ToolMigrationBridge(self._rune_config, kept, parts)
        self._rune_service = (
            parts.original(self._rune_config) if config.preserve_original_service else None
        )
        self._compared: RuneService | None = None
        self._run: MigrationRun | None = None
        self._begun = False
        self._discovery: Discovery | None = None
        self._planned: MigrationState | None = None
        self._progress: Progress | None = None

    @classmethod
    async def new(
        cls,
        config: MigrationManagerConfig,
        parts: MigrationParts,
        migration_config: MigrationConfig | None = None,
    ) -> Self:
        """A manager that has done nothing yet, and writes nothing until it is told to migrate.

        Raises:
            FeatureDisabledError: if migrating is switched off.
        """
        if not parts.settings.enabled:
            raise FeatureDisabledError(
                "Migrating legacy tools is switched off.",
                next_step="Set CCOS_MIGRATION_ENABLED=true to switch it on.",
            )
        return cls(config, parts, migration_config)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop what runs; harmless twice."""
        for service in (self._rune_service, self._compared):
            if service is not None:
                await service.stop()
        await self._bridge.stop()

    def bridge(self) -> ToolMigrationBridge:
        """The bridge that keeps what is migrated."""
        return self._bridge

    def rune_service(self) -> RuneService | None:
        """The original runtime, with the tools that were found; None if it is not preserved.

        It is not started: use it as an async context manager, or call its ``start``.
        """
        return self._rune_service

    # A migration

    async def execute_migration(
        self, *, force: bool = False, progress: Progress | None = None
    ) -> MigrationReport:
        """Do what the configuration says, after carrying on what other processes left undone.

        Args:
            force: Whether tools are migrated again that have not changed, and may take the place
                of versions whose callers break by that.
            progress: Called after each tool.

        Returns:
            What came of it, failures among it.

        Raises:
            ConfigurationError: if nothing can be done at all.
        """
        self._progress = progress
        self.migration_id = new_migration_id()
        self._begun = False
        self._planned = None
        self._run = self._new_run(force=force)
        try:
            if self.config.mode is MigrationMode.DRY_RUN:
                return await self._plan()
            if self.config.mode is not MigrationMode.MANUAL:
                await self._bridge.start()
                await self.recover()
            self._run.discovered(await self._discover())
            if self.config.mode is MigrationMode.MANUAL:
                self._run.leave_out_all(NOT_NAMED)
                self._run.complete()
                return await self._run.report()
            await self._run.begin()
            self._begun = True
            return await self._run.carry_on()
        except (ConfigurationError, FeatureDisabledError):
            raise
        except CcosError as error:
            return await self._broken(error)

    def cancel(self) -> None:
        """Let the migration that is on its way begin with no further tool."""
        if self._run is not None:
            self._run.cancel()

    async def get_migration_status(self) -> MigrationState:
        """How far the migration of this manager is."""
        if self._planned is not None:
            return self._planned
        return MigrationState() if self._run is None else self._run.state()

    async def get_migration_statistics(self) -> MigrationStats:
        """What is migrated now, by whomever."""
        return await self._bridge.get_migration_stats()

    async def export_migration_report(self, report: MigrationReport) -> str:
        """A report as indented JSON text, by the published schema."""
        return report.to_json()

    async def get_migration_report(self) -> MigrationReport:
        """What came of the migration of this manager so far.

        Raises:
            MigrationFailedError: if there is none yet.
        """
        if self._run is None:
            raise MigrationFailedError(
                "Nothing was migrated yet.", next_step="Execute a migration first."
            )
        return await self._run.report()

    async def migrate_specific_tool(self, name: str, force: bool = False) -> MigratedTool:
        """Migrate one tool by its name; state and report of this manager tell of it as well.

        Args:
            name: As the tool calls itself.
            force: Whether it is migrated again, or although it breaks callers.

        Raises:
            MigrationFailedError: if there is none of this name, if it is migrated already, or if
                it cannot be migrated; that is in state and report as well.
        """
        await self._bridge.start()
        if self._run is None or not self._run.steps:
            self._run = self._new_run()
            self._run.discovered(await self._discover())
            self._run.leave_out_all(NOT_NAMED)
            self._run.complete()
        found = self._discovery or await self._discover()
        tool = next((one for one in found.tools if one.name == name), None)
        position = next((one.position for one in self._run.steps if one.tool == name), None)
        if tool is None or position is None:
            raise self._unknown(name)
        if await self._bridge.get_migrated_tool(name) is not None and not force:
            raise MigrationFailedError(
                f"Tool {name!r} is migrated already.",
                next_step="Migrate it with force, or reload it.",
                details={"tool": name},
            )
        if not self._begun:
            await self._run.begin()
            self._begun = True
        self._run.breaking_allowed = force
        await self._run.redo(position, tool)
        step = self._run.steps[position]
        if step.error is not None:
            raise step.error.raised()
        migrated = await self._bridge.get_migrated_tool(name)
        assert migrated is not None
        return migrated

    async def rollback_tool_migration(self, name: str) -> bool:
        """Restore what was before a tool was migrated last; False if none of this name is.

        Raises:
            MigrationFailedError: if nothing is known of what was before.
        """
        if not name.strip():
            return False
        done = await self._bridge.rollback_tool(name)
        if done and self._run is not None:
            self._run.rolled_back(name)
        return done

    async def rollback_migration(self, migration_id: str) -> tuple[str, ...]:
        """Restore what was before a whole migration, all of it at once; returns the tools.

        Raises:
            MigrationFailedError: if there is no such migration, or a later one changed one of its
                tools; that has to be rolled back before.
        """
        journal = self._bridge.migrator.journal
        migration = await journal.migration(migration_id)
        if migration is None:
            raise MigrationFailedError(
                f"There is no migration {migration_id[:100]!r}.",
                next_step="List them with `ccos migration status --detailed`.",
            )
        steps = [one for one in await journal.steps(migration.id) if one.state.is_there]
        known = {one.original_name: one for one in await journal.tools()}
        for step in steps:
            owner = known[step.tool].metadata["migration_id"] if step.tool in known else None
            if owner not in (migration.id, None):
                raise MigrationFailedError(
                    f"Tool {step.tool!r} was migrated again by {owner}.",
                    next_step=f"Roll back {owner} first.",
                    details={"tool": step.tool, "migration_id": owner},
                )
        present = [one for one in steps if one.tool in known]
        reason = f"rollback of migration {migration.id}"
        await self._bridge.migrator.put_back(present, reason=reason)
        if self._run is not None and self._run.migration_id == migration.id:
            for step in present:
                self._run.rolled_back(step.tool)
        return tuple(one.tool for one in present)

    async def recover(self) -> list[MigrationReport]:
        """Carry on every migration whose process died, or finish its way back.

        Raises:
            MigrationFailedError: if that fails.
        """
        journal, workers = self._bridge.migrator.journal, self._parts.workers
        alive = await workers.alive()
        reports = []
        for migration in await journal.unfinished():
            if migration.owner in alive and migration.owner != workers.me.id:
                continue
            if migration.id == (self._run.migration_id if self._run else None):
                continue
            claimed = await self._claimed(migration)
            if claimed:
                reports.append(await self._carried_on(migration))
        return reports

    # Inside

    def _new_run(self, *, force: bool = False) -> MigrationRun:
        manual = self.config.mode is MigrationMode.MANUAL
        return MigrationRun(
            self._bridge.migrator,
            self.config,
            migration_id=self.migration_id,
            kind="manual" if manual else "migrate",
            force=force or manual,
            original=self._for_comparison,
            progress=self._progress,
        )

    async def _discover(self) -> Discovery:
        found = await self._bridge.discover(
            *self.config.migration_directories, at_once=self.config.at_once
        )
        self._discovery = found
        self._show_original(found.tools)
        return found

    def _show_original(self, tools: Sequence[RuneTool]) -> None:
        """Let the original runtime have the tools, in their own language."""
        if self._rune_service is None:
            return
        registry = self._rune_service.registry
        for tool in tools:
            if tool.language == "rune" and registry.get_tool(tool.name) is None:
                registry.register_tool(tool)

    async def _for_comparison(self) -> RuneService | None:
        """An original runtime that is always asked the same way as the engine."""
        if self._compared is None:
            self._compared = self._parts.original(self._rune_config)
            await self._compared.start()
        return self._compared

    async def _plan(self) -> MigrationReport:
        """What would happen: found, parsed, compiled, and not kept."""
        assert self._run is not None
        found = await self._discover()
        self._run.discovered(found)
        known = {one.original_name: one for one in await self._bridge.list_migrated_tools()}
        level = self.config.security_level
        planned = [
            PlannedTool(
                tool=one.tool_name,
                path=str(one.context["path"]),
                level=level.value,
                action="fail",
                problems=(str(one),),
            )
            for one in failures_of(found)
        ]

        async def look(tool: RuneTool) -> None:
            action, problems = "migrate", []
            earlier = known.get(tool.name)
            if earlier is not None:
                same = earlier.metadata["source_hash"] == tool.source_hash
                action = "keep" if same else "update"
            try:
                staged = await self._bridge.migrator.stager.stage(tool, level)
                self._bridge.migrator.registrar.prepared(staged, migration_id=self.migration_id)
            except CcosError as error:
                cause = (
                    MigrationError.cause_of(error)
                    if isinstance(error, MigrationFailedError)
                    else None
                )
                action = "fail"
                problems.append(str(cause) if cause else error.message)
            path = "memory" if tool.file_path is None else shown_path(tool.file_path)
            planned.append(
                PlannedTool(
                    tool=tool.name,
                    path=path,
                    level=level.value,
                    action=action,
                    problems=tuple(problems),
                )
            )

        self._run.forget_failures(_PLANNED)
        await self._run.each(found.tools, look)
        self._run.complete()
        self._planned = self._run.state()
        report = await self._run.report()
        plan = tuple(sorted(planned, key=lambda one: (one.tool, one.path)))
        return dataclasses.replace(report, plan=plan)

    async def _claimed(self, migration: Migration) -> bool:
        journal, me = self._bridge.migrator.journal, self._parts.workers.me.id
        return await self._parts.storage.write(
            "migration_claim",
            lambda transaction: journal.claim_in(transaction, migration, me),
        )

    async def _carried_on(self, migration: Migration) -> MigrationReport:
        journal = self._bridge.migrator.journal
        steps = await journal.steps(migration.id)
        run = MigrationRun(
            self._bridge.migrator,
            migration.config,
            migration_id=migration.id,
            original=self._for_comparison,
            progress=self._progress,
        )
        waiting = [one for one in steps if one.state in (StepState.PENDING, StepState.REGISTERED)]
        paths = sorted({Path(one.path) for one in waiting if one.path != "memory"})
        found = await self._bridge.discover(*paths) if paths else None
        tools = list(found.tools) if found is not None else []
        tools += await self._from_copies(migration, waiting, tools)
        run.resume(migration, steps, tools)
        if run.config.mode is MigrationMode.MANUAL:
            run.breaking_allowed = True
        return await run.carry_on()

    async def _from_copies(
        self, migration: Migration, waiting: Sequence[Step], found: Sequence[RuneTool]
    ) -> list[RuneTool]:
        """Tools whose files changed or went, from the copies that were made of them."""
        if migration.backup is None:
            return []
        there = {(one.name, one.source_hash) for one in found}
        tools = []
        for step in waiting:
            if (step.tool, step.source_hash) in there:
                continue
            content = copy_of(Path(migration.backup), step.source_hash)
            if content is None:
                continue
            report = await self._bridge.read_copy(content, Path(step.path))
            tools += [one for one in report.tools if one.name == step.tool]
        return tools

    async def _broken(self, error: CcosError) -> MigrationReport:
        """The report of a migration that could not go on at all."""
        assert self._run is not None
        cause = MigrationError(
            tool_name="",
            error_type=MigrationErrorType.SERVICE_ERROR,
            message=error.message,
            context={"code": error.code, "next_step": error.next_step},
        )
        self._run.break_off(cause)
        state = self._run.state()
        self._planned = state
        return MigrationReport(
            migration_id=self.migration_id,
            config=self.config,
            stats=MigrationStats(),
            state=state,
            failed_tools=state.errors,
            duration=timedelta(0),
            timestamp=datetime.now(UTC),
        )

    def _unknown(self, name: str) -> MigrationFailedError:
        """There is no such tool, or it is broken, and why."""
        failures = [] if self._discovery is None else failures_of(self._discovery)
        for one in failures:
            if one.tool_name == name:
                return one.raised()
        shown = name[:100]
        return MigrationError(
            tool_name=shown,
            error_type=MigrationErrorType.DISCOVERY_FAILED,
            message=f"Tool not found: {shown!r}.",
            context={
                "phase": "discover",
                "directories": [shown_path(one) for one in self.config.migration_directories],
            },
        ).raised("See what there is with `ccos migration migrate --dry-run`.")


Phase51MigrationManager = MigrationManager

__all__ = ["MigrationManager", "MigrationPhase", "Phase51MigrationManager"]
