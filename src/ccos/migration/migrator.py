"""Migrating tools: prepare, register, compare, put back. Each write is whole or not at all."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from ccos.engine.policy import SecurityLevel
from ccos.engine.scripts import script_id as content_id
from ccos.engine.service import ScriptEngine
from ccos.errors import CcosError, MigrationFailedError
from ccos.events import Event, EventType
from ccos.marketplace.store import Standing
from ccos.migration.definitions import RuneTool
from ccos.migration.failures import failure_of, is_transient
from ccos.migration.journal import MigrationJournal, Step, StepState
from ccos.migration.migration_config import MigrationConfig, ValidationMode
from ccos.migration.outcomes import MigratedTool, MigrationError
from ccos.migration.parts import MigrationParts
from ccos.migration.problems import MigrationErrorType
from ccos.migration.registration import Prepared, Registered, ToolRegistrar, savepoint
from ccos.migration.staging import Stager
from ccos.migration.validation import Findings, Probe
from ccos.storage import Transaction
from ccos.storage.schema import capabilities, script_tools, scripts

T = TypeVar("T")

_PAUSES: Final = (0.05, 0.2, 0.8)
"""Seconds before what failed for a passing reason is tried again."""


@dataclass(frozen=True, slots=True)
class Work:
    """A step, its tool, and what was made of it so far."""

    step: Step
    prepared: Prepared
    findings: Findings

    @property
    def tool(self) -> RuneTool:
        """The tool."""
        return self.prepared.staged.tool


class Migrator:
    """What bridge and manager have in common.

    Args:
        parts: Of the open CCOS.
        config: How tools are kept.
    """

    def __init__(self, parts: MigrationParts, config: MigrationConfig) -> None:
        self.parts = parts
        self.config = config
        self.loaded: dict[str, str] = {}
        """What the engine has in memory, by script."""
        self.journal = MigrationJournal(parts.storage)
        self.stager = Stager(parts, preserve_ids=config.preserve_tool_ids)
        self.probe = Probe(config.validation, parts)
        self.registrar = ToolRegistrar(
            parts.storage,
            parts.audit,
            parts.marketplace,
            max_source_bytes=parts.engine_config.max_source_size,
        )
        self.engine: ScriptEngine = parts.engine(
            dataclasses.replace(
                parts.engine_config,
                policy=parts.policy_at(config.security_level),
                enable_caching=config.enable_caching,
                max_cache_size=config.max_cache_size,
            )
        )

    async def start(self) -> None:
        """Start the engine; harmless twice."""
        await self.engine.start()

    async def stop(self) -> None:
        """Stop what runs; harmless twice."""
        await self.probe.stop()
        await self.engine.stop()

    async def prepare(
        self,
        step: Step,
        tool: RuneTool,
        *,
        level: SecurityLevel,
        validation: ValidationMode,
    ) -> Work:
        """Compile a tool and try it out; nothing is registered.

        Raises:
            MigrationFailedError: if it cannot be migrated.
        """
        staged = await self.again(lambda: self.stager.stage(tool, level))
        try:
            prepared = self.registrar.prepared(staged, migration_id=step.migration_id)
        except CcosError as error:
            raise failure_of(tool, error, phase="register").raised() from error
        findings = Findings()
        if validation is not ValidationMode.SKIP:
            try:
                findings = await self.again(lambda: self.probe.check(staged))
            except CcosError as error:
                raise failure_of(tool, error, phase="validate").raised() from error
            self.judge(tool, findings)
        return Work(step, prepared, findings)

    def judge(self, tool: RuneTool, findings: Findings) -> None:
        """Go on, or not.

        Raises:
            MigrationFailedError: if what was found stands against the tool.
        """
        if not findings.failed(strict=self.config.validation.strict):
            return
        raise MigrationError(
            tool_name=tool.name,
            error_type=MigrationErrorType.VALIDATION_FAILED,
            message=f"Tool {tool.name!r}: {findings.first()}",
            context={
                "path": "memory" if tool.file_path is None else str(tool.file_path),
                "phase": "validate",
                "issues": list(findings.issues),
                "warnings": list(findings.warnings),
                "checks": dict(findings.checks),
            },
        ).raised()

    async def register(self, work: Work, state: StepState, *, force: bool) -> Registered:
        """Register one tool, and note it.

        Raises:
            MigrationFailedError: if it cannot be; nothing of it is there then.
        """

        def unit(transaction: Transaction) -> Registered:
            return self._register_in(transaction, work, state, force=force)

        try:
            done = await self.again(lambda: self.parts.storage.write("migrate_tool", unit))
        except CcosError as error:
            raise failure_of(work.tool, error, phase="register").raised() from error
        await self.forget(_replaced(done))
        return done

    async def register_all(
        self, works: Sequence[Work], state: StepState, *, force: bool, all_or_none: bool
    ) -> tuple[dict[int, Registered], dict[int, MigrationError]]:
        """Register many tools in one transaction; by position those that are, and are not.

        Args:
            works: The tools.
            state: What their steps become.
            force: Whether they may break callers of earlier versions.
            all_or_none: Whether the first that cannot be registered leaves all others out.

        Raises:
            MigrationFailedError: if nothing can be written.
        """
        failures: dict[int, MigrationError] = {}

        def unit(transaction: Transaction) -> dict[int, Registered]:
            failures.clear()
            done: dict[int, Registered] = {}
            for work in works:
                try:
                    with savepoint(transaction):
                        done[work.step.position] = self._register_in(
                            transaction, work, state, force=force
                        )
                except CcosError as error:
                    if is_transient(error):
                        raise
                    failure = failure_of(work.tool, error, phase="register")
                    failures[work.step.position] = failure
                    if all_or_none:
                        raise failure.raised() from error
            return done

        try:
            done = await self.again(
                lambda: asyncio.to_thread(self.parts.storage.write_blocking, "migrate_tools", unit)
            )
        except MigrationFailedError:
            if not failures:
                raise
            return {}, failures
        except CcosError as error:
            raise failure_of(works[0].tool, error, phase="register").raised() from error
        for one in done.values():
            await self.forget(_replaced(one))
        return done, failures

    async def settle(
        self,
        step: Step,
        state: StepState,
        *,
        error: MigrationError | None = None,
        findings: Findings | None = None,
        mode: str = "",
    ) -> None:
        """Note what became of a tool that is not registered by this, or is validated now."""

        def unit(transaction: Transaction) -> None:
            self.settle_in(transaction, step, state, error=error, findings=findings, mode=mode)

        await self.again(lambda: self.parts.storage.write("migration_step", unit))

    def settle_in(
        self,
        transaction: Transaction,
        step: Step,
        state: StepState,
        *,
        error: MigrationError | None = None,
        findings: Findings | None = None,
        mode: str = "",
    ) -> None:
        """Equivalent to :meth:`settle` as part of ``transaction``."""
        warnings = () if findings is None else findings.warnings
        self.journal.settle_in(transaction, step, state, error=error, warnings=warnings)
        kind = _TOLD.get(state)
        if kind is not None:
            self.registrar.told_in(
                transaction,
                kind,
                migration_id=step.migration_id,
                tool_name=step.tool,
                path=step.path,
                mode=mode,
                success=state is StepState.MIGRATED,
                error_type=None if error is None else error.error_type.value,
                message=None if error is None else error.message,
            )

    async def put_back(
        self,
        steps: Sequence[Step],
        *,
        reason: str,
        state: StepState = StepState.ROLLED_BACK,
        errors: Mapping[int, MigrationError] | None = None,
    ) -> None:
        """Restore what was before some steps, the last first, in one transaction.

        Args:
            steps: With what was before.
            reason: Why, for the audit trail.
            state: What the steps become.
            errors: Why, by position, for steps that failed.
        """

        def unit(transaction: Transaction) -> set[str]:
            touched: set[str] = set()
            for step in sorted(steps, key=lambda one: -one.position):
                assert step.before is not None
                touched |= self.registrar.restore_in(
                    transaction, step.tool, step.before, reason=reason
                )
                error = (errors or {}).get(step.position)
                self.settle_in(transaction, step, state, error=error)
            return touched

        if steps:
            write = self.parts.storage.write_blocking
            touched = await self.again(lambda: asyncio.to_thread(write, "migration_undo", unit))
            await self.forget(touched)

    async def forget(self, script_ids: set[str] | frozenset[str]) -> None:
        """Have the engine read scripts anew that are not what they were."""
        for script_id in sorted(script_ids):
            event = Event(EventType.SCRIPT_UNLOADED, data={"script_id": script_id})
            await self.engine.handle_event(event)
            self.loaded.pop(script_id, None)

    async def pin(self, tool: MigratedTool) -> None:
        """Have the engine run the text that is registered now, whoever registered it."""
        script_id, content = tool.migrated_script_id, tool.metadata["content_id"]
        if self.loaded.get(script_id, content) != content:
            await self.forget({script_id})
        self.loaded[script_id] = content

    async def again(self, action: Callable[[], Awaitable[T]]) -> T:
        """Do something, and do it again after a pause if it failed for a passing reason."""
        for pause in _PAUSES:
            try:
                return await action()
            except CcosError as error:
                if not is_transient(error):
                    raise
            await asyncio.sleep(pause)
        return await action()

    async def faults(self, tools: Sequence[MigratedTool]) -> dict[str, list[str]]:
        """What is missing or altered of migrated tools, by name."""
        wanted = {one.original_name: one for one in tools}

        def query(connection: sa.Connection) -> list[Any]:
            kept = sa.select(scripts.c.id, scripts.c.source, scripts.c.language, scripts.c.options)
            offered = sa.select(script_tools.c.name, script_tools.c.script_id)
            known = sa.select(capabilities.c.id, capabilities.c.version).where(
                capabilities.c.standing == Standing.ACTIVE
            )
            return [connection.execute(one).all() for one in (kept, offered, known)]

        rows, offered, active = await self.parts.storage.read(query)
        sources = {row.id: row for row in rows}
        names = {row.name: row.script_id for row in offered}
        versions = {row.id: row.version for row in active}
        return {name: _faults(one, sources, names, versions) for name, one in wanted.items()}

    def _register_in(
        self, transaction: Transaction, work: Work, state: StepState, *, force: bool
    ) -> Registered:
        step, findings = work.step, work.findings
        done = self.registrar.register_in(
            transaction, work.prepared, migration_id=step.migration_id, force=force
        )
        self.journal.settle_in(
            transaction, step, state, warnings=findings.warnings, before=done.before
        )
        if state is StepState.MIGRATED:
            self.registrar.told_in(
                transaction,
                EventType.TOOL_MIGRATED,
                migration_id=step.migration_id,
                tool_name=step.tool,
                path=step.path,
                success=True,
                script_id=done.migrated.migrated_script_id,
                capability_id=done.migrated.metadata["capability_id"],
            )
        return done


_TOLD: Final = {
    StepState.MIGRATED: EventType.TOOL_MIGRATED,
    StepState.FAILED: EventType.TOOL_MIGRATION_FAILED,
    StepState.ROLLED_BACK: EventType.TOOL_ROLLED_BACK,
}


def _replaced(done: Registered) -> frozenset[str]:
    """Scripts that were there before, so that memory may have them."""
    return frozenset(one for one, row in done.before["scripts"].items() if row is not None)


def _faults(
    tool: MigratedTool,
    sources: Mapping[str, Any],
    names: Mapping[str, str],
    versions: Mapping[str, str],
) -> list[str]:
    found = []
    script_id = tool.migrated_script_id
    row = sources.get(script_id)
    if row is None:
        found.append(f"its script {script_id} is gone")
    else:
        identity = content_id(row.source, row.language, json.loads(row.options))
        if identity != tool.metadata["content_id"]:
            found.append(f"its script {script_id} is not the one that was migrated")
    if names.get(tool.original_name) != script_id:
        found.append("the engine does not offer it")
    capability = tool.metadata["capability_id"]
    if versions.get(capability) is None:
        found.append(f"the capability {capability} is not active")
    elif versions[capability] != tool.metadata["capability_version"]:
        found.append(f"the capability {capability} has another version")
    return found
