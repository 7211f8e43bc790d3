"""The bridge: takes legacy tools into the script engine, keeps them, and calls them there."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from ccos.engine.executions import ExecutionContext, ExecutionResult
from ccos.engine.health import Meters, ServiceHealth, WorkerMeters
from ccos.engine.policy import SecurityLevel
from ccos.engine.service import ScriptEngine
from ccos.errors import (
    CcosError,
    ConfigurationError,
    EngineStoppedError,
    FeatureDisabledError,
    MigrationFailedError,
    ScriptConflictError,
    ScriptError,
    ScriptToolNotFoundError,
)
from ccos.migration.definitions import (
    ALIAS_PREFIX,
    Form,
    RuneTool,
    ToolDefinition,
    content_hash,
)
from ccos.migration.discovery import Discoverer, Discovery, FileReport
from ccos.migration.discovery_config import DiscoveryConfig
from ccos.migration.engine_tools import call_in_engine
from ccos.migration.inspection import RuneInspector
from ccos.migration.journal import Step
from ccos.migration.migration_config import (
    MigrationConfig,
    MigrationManagerConfig,
    MigrationMode,
    ValidationMode,
)
from ccos.migration.migrator import Migrator
from ccos.migration.outcomes import (
    MigratedTool,
    MigrationReport,
    MigrationStats,
    MigrationValidation,
)
from ccos.migration.parts import MigrationParts
from ccos.migration.run import MigrationRun, new_migration_id
from ccos.migration.rune_service_config import RuneServiceConfig
from ccos.migration.tool_service import (
    ServiceMetrics,
    ToolExecutionContext,
    ToolExecutionRequest,
    ToolExecutionResult,
    ToolValidation,
)
from ccos.storage import Transaction

_LONGEST_SHOWN: Final = 100
_CALLER: Final = "migration-bridge"


class ToolMigrationBridge:
    """Migrated tools, and the way in for further ones. Made by :meth:`new`.

    Use it as an async context manager, or end it with :meth:`stop`.

    Args:
        rune_config: Where tools are looked for, and how.
        migration_config: How they are kept.
        parts: Of the open CCOS.
    """

    def __init__(
        self,
        rune_config: RuneServiceConfig,
        migration_config: MigrationConfig,
        parts: MigrationParts,
    ) -> None:
        self.rune_config = rune_config
        self.config = migration_config
        self.migrator = Migrator(parts, migration_config)
        self._parts = parts
        self._found_by: tuple[DiscoveryConfig, Discoverer] | None = None
        self._stopped = False
        self._meters = Meters()
        self._worker_meters = WorkerMeters()

    @classmethod
    async def new(
        cls,
        rune_config: RuneServiceConfig,
        migration_config: MigrationConfig,
        parts: MigrationParts,
    ) -> Self:
        """A bridge that runs; with ``auto_migrate`` it has migrated the tools of its folders.

        Raises:
            FeatureDisabledError: if migrating is switched off, or scripts are.
        """
        made = cls(rune_config, migration_config, parts)
        await made.start()
        if migration_config.auto_migrate:
            await made.discover_and_migrate_tools()
        return made

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start its engine; harmless twice.

        Raises:
            FeatureDisabledError: if migrating is switched off, or scripts are.
        """
        if not self._parts.settings.enabled:
            raise FeatureDisabledError(
                "Migrating legacy tools is switched off.",
                next_step="Set CCOS_MIGRATION_ENABLED=true to switch it on.",
            )
        if not self._parts.switched_on:
            raise FeatureDisabledError(
                "The script engine is switched off.",
                next_step="Set CCOS_SCRIPT_ENGINE_ENABLED=true to switch it on.",
            )
        self._stopped = False
        await self.migrator.start()

    async def stop(self) -> None:
        """Stop its engine, and what runs in it; harmless twice."""
        self._stopped = True
        await self.migrator.stop()

    @property
    def engine(self) -> ScriptEngine:
        """Where migrated tools run."""
        return self.migrator.engine

    # Migrating

    async def discover(self, *paths: Path, at_once: int | None = None) -> Discovery:
        """What is in the folders of the configuration, or in others; nothing is registered."""
        config = self.rune_config.discovery
        if at_once is not None:
            config = dataclasses.replace(config, concurrency=at_once)
        # Absolute, so that a tool is found again from wherever somebody asks for it.
        roots = [one.absolute() for one in paths or config.directories]
        return await self._discoverer(config).discover(*roots)

    async def discover_and_migrate_tools(self) -> int:
        """Migrate the tools of the folders of the configuration; returns how many it migrated.

        A tool that cannot be migrated is in the log of the migration; the others go on.
        """
        run = self._run(MigrationMode.INCREMENTAL)
        run.discovered(await self.discover())
        await run.begin()
        return (await run.carry_on()).state.successfully_migrated

    async def migrate_single_tool(self, tool: RuneTool, *, force: bool = False) -> MigratedTool:
        """Migrate one tool that was found.

        Args:
            tool: The tool.
            force: Whether it may take the place of one of its name that was migrated before.

        Raises:
            MigrationFailedError: if it is migrated already, or cannot be; nothing changed then.
        """
        if await self.get_migrated_tool(tool.name) is not None and not force:
            raise MigrationFailedError(
                f"Tool {tool.name!r} is migrated already.",
                next_step="Reload it, or migrate it with force.",
                details={"tool": tool.name},
            )
        await self._migrated_alone(tool, "manual", force=force)
        migrated = await self.get_migrated_tool(tool.name)
        assert migrated is not None
        return migrated

    async def reload_migrated_tool(self, name: str, *, force: bool = False) -> bool:
        """Migrate a tool anew from its file; False if its text has not changed.

        The old version serves until the new one is registered, and goes on if that fails.

        Args:
            name: The tool.
            force: Whether it is done even if nothing changed, or if callers break by it.

        Raises:
            ScriptToolNotFoundError: if there is none of this name.
            MigrationFailedError: if its file is gone or its text cannot be used.
        """
        known = await self._known(name)
        path = known.metadata["original_file_path"]
        report = None if path == "memory" else await self._report(Path(path))
        if report is None:
            raise MigrationFailedError(
                f"The file of tool {known.original_name!r} is gone: {path}.",
                next_step="Put it back, or remove the tool; until then the old version serves.",
                details={"tool": known.original_name, "path": path},
            )
        fresh = next((one for one in report.tools if one.name == known.original_name), None)
        if fresh is None:
            raise MigrationFailedError(
                f"Tool {known.original_name!r} cannot be loaded anew: {report.reason}",
                next_step="Correct its file; until then the old version serves.",
                details={"problems": [one.as_dict() for one in report.problems]},
            )
        if fresh.source_hash == known.metadata["source_hash"] and not force:
            return False
        level = known.metadata["security_level"]
        await self._migrated_alone(fresh, "reload", force=force, level=level)
        return True

    async def remove_migrated_tool(self, name: str) -> bool:
        """Take a tool out of the engine and the marketplace; False if there is none of this name.

        Its file and the original runtime are left as they are.
        """
        known = await self.get_migrated_tool(name)
        if known is None:
            return False

        def unit(transaction: Transaction) -> None:
            self.migrator.registrar.remove_in(transaction, known, reason="removed")

        await self._parts.storage.write("migrated_tool_removed", unit)
        await self.migrator.forget({known.migrated_script_id})
        return True

    async def rollback_tool(self, name: str) -> bool:
        """Restore what was before a tool was migrated last; False if there is none of this name.

        Raises:
            MigrationFailedError: if nothing is known of what was before.
        """
        known = await self.get_migrated_tool(name)
        if known is None:
            return False
        step = await self.step_behind(known)
        if step is None:
            raise MigrationFailedError(
                f"Nothing is known of what was before {known.original_name!r} was migrated.",
                next_step="Migrate it again, or remove it.",
            )
        await self.migrator.put_back([step], reason=f"rollback of {known.original_name}")
        return True

    async def step_behind(self, tool: MigratedTool) -> Step | None:
        """The step that brought a tool in, with what was before; None if nothing is known."""
        migration_id = tool.metadata["migration_id"]
        return await self.migrator.journal.step_of(migration_id, tool.original_name)

    async def set_migrated_tool_active(self, name: str, active: bool) -> bool:
        """Let a tool be called here, or not; False if there is none of this name."""
        known, registrar = await self.get_migrated_tool(name), self.migrator.registrar
        if known is None:
            return False
        name = known.original_name
        return await self._parts.storage.write(
            "migrated_tool_active",
            lambda transaction: registrar.set_active_in(transaction, name, active),
        )

    # Migrated tools

    async def list_migrated_tools(self) -> list[MigratedTool]:
        """Every migrated tool, by name."""
        return await self.migrator.journal.tools()

    async def get_migrated_tool(self, name: str) -> MigratedTool | None:
        """The migrated tool of a name or an alias; None if there is none."""
        found = await self.migrator.journal.tool(name)
        if found is None and name.startswith(ALIAS_PREFIX):
            meant = await self.migrator.journal.tool(name.removeprefix(ALIAS_PREFIX))
            if meant is not None and meant.definition.form is Form.ATTRIBUTES:
                return meant
        return found

    async def get_migration_stats(self) -> MigrationStats:
        """How many tools are migrated, and when that changed last."""
        return await self.migrator.journal.stats()

    async def execute_migrated_tool(
        self,
        tool_name: str,
        parameters: Any,
        execution_context: ToolExecutionContext | None = None,
    ) -> ToolExecutionResult:
        """Call a migrated tool in the engine; its failure is a result too.

        Args:
            tool_name: Its name or alias.
            parameters: An object of JSON data, by the names of the tool's parameters.
            execution_context: On whose behalf, for how long.

        Raises:
            ScriptToolNotFoundError: if there is none of this name.
            EngineStoppedError: if the bridge does not run.
        """
        await self._ready()
        known = await self._known(tool_name)
        given = execution_context or ToolExecutionContext()
        if given.timeout is not None and not given.timeout > 0:
            raise ConfigurationError("The timeout of a call is a number of seconds above 0.")
        started = time.perf_counter()
        run: ExecutionResult | None = None
        value, failure = None, None
        try:
            if not known.active:
                raise ScriptConflictError(
                    f"Tool {known.original_name!r} is not active: tool not active.",
                    next_step="Activate it, or reload it.",
                )
            await self.migrator.pin(known)
            run = await call_in_engine(
                self.engine,
                known.migrated_script_id,
                dataclasses.replace(known.definition, enabled=True),
                parameters,
                ExecutionContext(
                    execution_id=given.execution_id,
                    timeout=given.timeout,
                    environment=given.environment,
                    caller=given.user_context or _CALLER,
                ),
            )
            if run.error is not None:
                raise run.error
            value = run.value
        except CcosError as error:
            failure = error
        seconds = time.perf_counter() - started
        self._meters.seconds += seconds
        self._meters.succeeded += failure is None
        self._meters.failed += failure is not None
        return ToolExecutionResult(
            tool_name=known.original_name,
            success=failure is None,
            result=value,
            error=failure,
            execution_time=seconds,
            context_ref=given.context_ref,
            metadata={
                "migrated_execution": True,
                "script_engine_version": self.engine.service_version(),
                "script_id": known.migrated_script_id,
                "security_level": known.metadata["security_level"],
                "stdout": "" if run is None else run.stdout,
                "stderr": "" if run is None else run.stderr,
            },
        )

    async def validate_migration(self, name: str | None = None) -> MigrationValidation:
        """Whether every migrated tool, or one, can be relied on as it is stored now.

        Raises:
            ScriptToolNotFoundError: if there is none of this name.
        """
        await self._ready()
        tools = await self.list_migrated_tools() if name is None else [await self._known(name)]
        faults = await self.migrator.faults(tools)
        issues: list[str] = []
        warnings: list[str] = []
        bad = 0
        for tool in tools:
            found = [*faults[tool.original_name], *await self._faults_of(tool)]
            bad += bool(found)
            issues += [f"{tool.original_name}: {one}." for one in found]
            if not tool.active:
                warnings.append(f"{tool.original_name}: it is not active.")
            warning = await asyncio.to_thread(_file_fault, tool)
            if warning:
                warnings.append(f"{tool.original_name}: {warning}")
        return MigrationValidation(
            valid=not issues,
            issues=tuple(issues),
            warnings=tuple(warnings),
            total_tools=len(tools),
            valid_tools=len(tools) - bad,
        )

    # The tool-service interface

    async def list_tools(self) -> list[ToolDefinition]:
        """The tools, by name."""
        return [one.definition for one in await self.list_migrated_tools()]

    async def get_tool(self, name: str) -> ToolDefinition | None:
        """One tool; None if there is none of this name."""
        found = await self.get_migrated_tool(name)
        return None if found is None else found.definition

    async def execute_tool(self, request: ToolExecutionRequest) -> ToolExecutionResult:
        """Call a tool; see :meth:`execute_migrated_tool`."""
        return await self.execute_migrated_tool(
            request.tool_name, request.parameters, request.context
        )

    async def validate_tool(self, name: str) -> ToolValidation:
        """Whether a tool can be used as it is now."""
        found = await self.get_migrated_tool(name)
        if found is None:
            return ToolValidation(
                valid=False, errors=(f"Tool not found: {name[:_LONGEST_SHOWN]!r}.",)
            )
        checked = await self.validate_migration(found.original_name)
        return ToolValidation(
            valid=checked.valid,
            errors=checked.issues,
            warnings=checked.warnings,
            metadata=found.metadata,
        )

    async def service_health(self) -> ServiceHealth:
        """How its engine is, and how many tools it has."""
        health = await self.engine.health_check()
        stats = await self.get_migration_stats()
        details = {
            **health.details,
            "migrated_tools": stats.total_migrated,
            "active_tools": stats.active_tools,
        }
        return dataclasses.replace(health, details=details)

    async def get_metrics(self) -> ServiceMetrics:
        """What it counted since it was made, and what the workers use now."""
        meters = self._meters
        workers = tuple(one for each in self._parts.languages for one in each.worker_ids())
        memory, share = await asyncio.to_thread(self._worker_meters.measure, workers)
        uptime = self.engine.get_metrics()["uptime"]
        return ServiceMetrics(
            total_requests=meters.total,
            successful_requests=meters.succeeded,
            failed_requests=meters.failed,
            average_response_time=meters.seconds / meters.total if meters.total else None,
            uptime=uptime,
            memory_usage=memory if workers else None,
            cpu_usage=share,
        )

    # Inside

    def _discoverer(self, config: DiscoveryConfig) -> Discoverer:
        if self._found_by is None or self._found_by[0] != config:
            inspector = RuneInspector(self._parts.rune(), self._parts.modules)
            made = Discoverer(config, inspector, readers=self._parts.readers)
            self._found_by = (config, made)
        return self._found_by[1]

    async def _ready(self) -> None:
        """Start with the first use; once stopped it stays so."""
        if not self._stopped:
            await self.start()

    async def _known(self, name: str) -> MigratedTool:
        found = await self.get_migrated_tool(name)
        if found is None:
            shown = name[:_LONGEST_SHOWN]
            raise ScriptToolNotFoundError(
                f"Tool not found in the migration registry: {shown!r}.",
                next_step="List the migrated tools with `ccos migration list`.",
                details={"tool": shown},
            )
        return found

    async def _migrated_alone(
        self, tool: RuneTool, kind: str, *, force: bool, level: str | None = None
    ) -> MigrationReport:
        run = self._run(MigrationMode.INCREMENTAL, kind=kind, force=True, level=level)
        run.breaking_allowed = force
        run.adopt([tool])
        await run.begin()
        report = await run.carry_on()
        if report.failed_tools:
            raise report.failed_tools[0].raised()
        return report

    def _run(
        self,
        mode: MigrationMode,
        *,
        kind: str = "migrate",
        force: bool = False,
        level: str | None = None,
    ) -> MigrationRun:
        directories: Sequence[Path] = self.rune_config.discovery.directories
        config = MigrationManagerConfig(
            mode=mode,
            security_level=SecurityLevel.parse(level or self.config.security_level),
            migration_directories=directories,
            validation_mode=ValidationMode.BASIC,
        )
        return MigrationRun(
            self.migrator, config, migration_id=new_migration_id(), kind=kind, force=force
        )

    async def read_copy(self, content: bytes, path: Path) -> FileReport:
        """What the copy of a file has; its tools are said to come from where the file was."""
        discoverer = self._discoverer(self.rune_config.discovery)
        return await discoverer.read_content(content, path)

    async def _report(self, path: Path) -> FileReport | None:
        found = await self.discover(path)
        return found.files[0] if found.files else None

    async def _faults_of(self, tool: MigratedTool) -> list[str]:
        """Why a tool cannot be loaded, by trying; empty if it can."""
        try:
            await self.migrator.pin(tool)
            await self.engine.precompile_script(tool.migrated_script_id)
        except EngineStoppedError:
            raise
        except ScriptError as error:
            return [error.message.rstrip(".")]
        return []


def _file_fault(tool: MigratedTool) -> str:
    path = tool.metadata["original_file_path"]
    if path == "memory":
        return ""
    try:
        content = Path(path).read_bytes()
    except OSError:
        return f"its file {path} cannot be read."
    if content_hash(content) != tool.metadata["source_hash"]:
        return f"its file {path} changed; reload it to follow."
    return ""
