"""One migration from its beginning to its report, and on from wherever its process died."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from ccos.errors import MigrationFailedError
from ccos.events import EventType
from ccos.migration.backups import Original, back_up
from ccos.migration.definitions import RUNE, RuneTool, shown_path
from ccos.migration.discovery import Discovery
from ccos.migration.failures import failure_of, failure_of_problem
from ccos.migration.journal import Migration, Step, StepState
from ccos.migration.migration_config import (
    MigrationManagerConfig,
    MigrationMode,
    ValidationMode,
)
from ccos.migration.migrator import Migrator, Work
from ccos.migration.outcomes import (
    MigratedTool,
    MigrationError,
    MigrationPhase,
    MigrationReport,
    MigrationState,
    MigrationValidation,
)
from ccos.migration.problems import MigrationErrorType
from ccos.migration.rune_service import RuneService
from ccos.migration.validation import Comparison, Findings, listed
from ccos.storage import Transaction

_log = logging.getLogger(__name__)

Item = TypeVar("Item")

Progress = Callable[[MigrationState], None]
"""Called after each tool, with how far the migration is."""

UNCHANGED: Final = "It is migrated already and has not changed."
NOT_NAMED: Final = "It is migrated when it is named."
CANCELLED: Final = "The migration was cancelled before its turn."
STOPPED: Final = "The migration was stopped before its turn."
RESTORED: Final = "What was before the migration was restored."


def new_migration_id() -> str:
    """An id that no other migration has."""
    return str(uuid.uuid4())


class MigrationRun:
    """Carries one migration through.

    Args:
        migrator: Does the work.
        config: What it was asked for.
        migration_id: Its id.
        kind: ``migrate``, ``manual`` or ``reload``.
        force: Whether tools are migrated again that have not changed, and may break callers.
        original: The original runtime, for comparisons; None if there is none.
        progress: Is told after each tool.
    """

    def __init__(
        self,
        migrator: Migrator,
        config: MigrationManagerConfig,
        *,
        migration_id: str,
        kind: str = "migrate",
        force: bool = False,
        original: Callable[[], Awaitable[RuneService | None]] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.migration_id = migration_id
        self.config = config
        self.breaking_allowed = force
        """Whether tools may break those who call an earlier version."""
        self.steps: list[Step] = []
        self._migrator = migrator
        self._kind = kind
        self._force = force
        self._original = original
        self._progress = progress
        self._tools: dict[int, RuneTool] = {}
        self._reasons: dict[int, str] = {}
        self._findings: dict[int, Findings] = {}
        self._warnings: list[str] = []
        self._phase = MigrationPhase.NOT_STARTED
        self._started: float | None = None
        self._ended: float | None = None
        self._stopping = ""
        self._cancelled = False
        self._rolled_back = False
        self._backup: str | None = None
        self._broken: MigrationError | None = None
        self._known: Mapping[str, MigratedTool] = {}

    # What it is told

    def cancel(self) -> None:
        """Begin with no further tool; what is under way comes to its end."""
        self._cancelled = True
        self._stop(CANCELLED)

    def discovered(self, found: Discovery) -> None:
        """Take what was found: tools by name, and what cannot be used."""
        self._started = self._started or time.time()
        self._warnings = list(found.warnings)
        self._warnings += [f"{shown_path(one.path)}: {one.reason}" for one in found.skipped]
        self._warnings += [
            f"{shown_path(report.path)}: {text}"
            for report in found.files
            for text in report.warnings
        ]
        self._take(found.tools, failures_of(found))

    def adopt(self, tools: Sequence[RuneTool]) -> None:
        """Take tools that were found before."""
        self._started = self._started or time.time()
        self._take(tools, ())

    def _take(self, tools: Sequence[RuneTool], failures: Sequence[MigrationError]) -> None:
        waiting: list[tuple[str, RuneTool | MigrationError]] = [(one.name, one) for one in tools]
        waiting += [(one.tool_name, one) for one in failures]
        for position, (name, one) in enumerate(sorted(waiting, key=lambda pair: pair[0])):
            if isinstance(one, MigrationError):
                path = str(one.context.get("path", ""))
                step = Step(
                    migration_id=self.migration_id,
                    position=position,
                    tool=name,
                    path=path,
                    source_hash="",
                    state=StepState.FAILED,
                    error=one,
                )
            else:
                path = "memory" if one.file_path is None else shown_path(one.file_path)
                step = Step(
                    migration_id=self.migration_id,
                    position=position,
                    tool=name,
                    path=path,
                    source_hash=one.source_hash,
                )
                self._tools[position] = one
            self.steps.append(step)

    def leave_out_all(self, reason: str) -> None:
        """Let nothing be done with any tool that was found."""
        for step in self.steps:
            if step.state is StepState.PENDING:
                self._become(step, StepState.SKIPPED, reason=reason)

    def complete(self) -> None:
        """Be at the end without having done anything."""
        self._phase, self._ended = MigrationPhase.COMPLETED, time.time()

    def forget_failures(self, reason: str) -> None:
        """Count everything as left alone: nothing was tried."""
        for step in list(self.steps):
            self._become(step, StepState.SKIPPED, reason=reason)

    def break_off(self, cause: MigrationError) -> None:
        """Be at the end, since nothing can go on."""
        self._broken = cause
        self.leave_out_all(STOPPED)
        self._phase, self._ended = MigrationPhase.FAILED, time.time()

    def rolled_back(self, tool: str) -> None:
        """Take note that what was before a tool is there again."""
        for step in list(self.steps):
            if step.tool == tool and step.state.is_there:
                self._become(step, StepState.ROLLED_BACK, reason=RESTORED)

    # What it says

    def state(self) -> MigrationState:
        """How far it is."""
        counts = dict.fromkeys(StepState, 0)
        for step in self.steps:
            counts[step.state] += 1
        return MigrationState(
            phase=self._phase,
            total_discovered=len(self.steps),
            successfully_migrated=counts[StepState.MIGRATED] + counts[StepState.REGISTERED],
            failed_migrations=counts[StepState.FAILED],
            skipped=counts[StepState.SKIPPED] + counts[StepState.ROLLED_BACK],
            start_time=_moment(self._started),
            completion_time=_moment(self._ended),
            errors=(
                *(one.error for one in self.steps if one.error is not None),
                *((self._broken,) if self._broken is not None else ()),
            ),
            warnings=tuple(self._warnings),
        )

    async def report(self) -> MigrationReport:
        """What came of it so far."""
        state = self.state()
        seconds = None
        if self._started is not None:
            seconds = timedelta(seconds=max(0.0, (self._ended or time.time()) - self._started))
        skipped = (StepState.SKIPPED, StepState.ROLLED_BACK)
        return MigrationReport(
            migration_id=self.migration_id,
            config=self.config,
            stats=await self._migrator.journal.stats(),
            state=state,
            migrated_tools=tuple(one.tool for one in self.steps if one.state.is_there),
            failed_tools=state.errors,
            skipped_tools={
                one.tool: self._reasons.get(one.position, RESTORED)
                for one in self.steps
                if one.state in skipped
            },
            validation=self._validation(),
            duration=seconds,
            rolled_back=self._rolled_back,
            backup=self._backup,
        )

    # What it does

    async def begin(self) -> None:
        """Copy the originals, then note what is to be done; from here on it survives its process.

        Raises:
            MigrationFailedError: if another process migrates, or the originals cannot be copied.
        """
        parts, journal = self._migrator.parts, self._migrator.journal
        alive = await parts.workers.alive()
        changed = await self._copy_originals() if self._migrator.config.backup_originals else ()
        for step in list(self.steps):
            if step.path in changed and step.state is StepState.PENDING:
                self._become(step, StepState.FAILED, error=_changed(self._tools[step.position]))
        self._phase = MigrationPhase.MIGRATING
        me = parts.workers.me.id

        def unit(transaction: Transaction) -> None:
            journal.refuse_others_in(transaction, alive, me=me)
            journal.begin_in(
                transaction,
                Migration(
                    id=self.migration_id,
                    kind=self._kind,
                    config=self.config,
                    phase=self._phase,
                    going_back=False,
                    owner=me,
                    backup=self._backup,
                    report=None,
                    started_at=self._started or time.time(),
                    completed_at=None,
                ),
            )
            journal.add_steps_in(transaction, self.steps)
            self._migrator.registrar.told_in(
                transaction,
                EventType.MIGRATION_STARTED,
                migration_id=self.migration_id,
                mode=self.config.mode.value,
                asked_for=self._kind,
                total_discovered=len(self.steps),
            )
            for step in self.steps:
                if step.state is StepState.FAILED:
                    self._migrator.settle_in(
                        transaction,
                        step,
                        StepState.FAILED,
                        error=step.error,
                        mode=self.config.mode.value,
                    )

        await parts.storage.write("migration_begin", unit)

    def resume(
        self, migration: Migration, steps: Sequence[Step], tools: Sequence[RuneTool]
    ) -> None:
        """Take over what another process began."""
        self._started, self._backup = migration.started_at, migration.backup
        self._phase = migration.phase
        self._kind = migration.kind
        if migration.going_back:
            self._stopping = STOPPED
        found = {one.name: one for one in tools}
        for step in steps:
            self.steps.append(step)
            tool = found.get(step.tool)
            if tool is not None and tool.source_hash == step.source_hash:
                self._tools[step.position] = tool
            if step.state is StepState.SKIPPED:
                self._reasons[step.position] = step.warnings[0] if step.warnings else UNCHANGED
            if step.warnings:
                self._findings[step.position] = Findings(warnings=list(step.warnings))
        self._warnings.append(f"It was carried on after the process of {migration.owner} ended.")

    async def carry_on(self) -> MigrationReport:
        """Do what is still to do, validate it, and end; or go back, if that was asked for."""
        await self._migrator.start()
        self._known = {one.original_name: one for one in await self._migrator.journal.tools()}
        if self._failed() and self._all_or_none and not self._stopping:
            self._stopping = STOPPED
        if not self._stopping:
            if self.config.mode is MigrationMode.FULL:
                await self._full()
            else:
                await self.each(self._waiting(), self._migrate)
        if not self._going_back():
            await self._check_all()
        if self._going_back():
            await self._go_back()
        return await self._end()

    async def redo(self, position: int, tool: RuneTool) -> MigrationReport:
        """Migrate one tool of a manual migration, whatever became of it before."""
        step = dataclasses.replace(
            self.steps[position],
            state=StepState.PENDING,
            error=None,
            source_hash=tool.source_hash,
        )
        self.steps[position] = step
        self._tools[position] = tool
        self._reasons.pop(position, None)
        self._phase, self._ended, self._stopping = MigrationPhase.MIGRATING, None, ""
        self._cancelled = False
        journal, storage = self._migrator.journal, self._migrator.parts.storage

        def unit(transaction: Transaction) -> None:
            journal.note_in(
                transaction,
                self.migration_id,
                phase=self._phase,
                owner=self._migrator.parts.workers.me.id,
                going_back=False,
            )
            journal.settle_in(transaction, step, StepState.PENDING)

        await storage.write("migration_step", unit)
        return await self.carry_on()

    # The modes

    def _stop(self, reason: str) -> None:
        """Begin with no further tool; the first reason stays."""
        self._stopping = self._stopping or reason

    def _waiting(self) -> list[Step]:
        unsettled = (StepState.PENDING, StepState.REGISTERED)
        return [one for one in self.steps if one.state in unsettled]

    async def each(self, items: Sequence[Item], action: Callable[[Item], Awaitable[None]]) -> None:
        """Do something for each item, so many at once as allowed, begun in their order."""
        waiting = iter(items)

        async def worker() -> None:
            for one in waiting:
                if self._stopping:
                    return
                await action(one)
                if self._all_or_none and self._failed():
                    self._stop(STOPPED)
                self._tell()

        tasks = [
            asyncio.create_task(worker())
            for _ in range(min(self.config.at_once, max(1, len(items))))
        ]
        try:
            await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def _migrate(self, step: Step) -> None:
        """Carry one tool through; whatever is wrong with it stays its own affair."""
        try:
            tool = self._tool_of(step)
            if step.state is StepState.PENDING and self._is_known(tool):
                await self._leave_out(step, UNCHANGED)
                return
            work = await self._prepared(step, tool)
            if step.state is StepState.PENDING:
                state = StepState.REGISTERED if self._compares else StepState.MIGRATED
                done = await self._migrator.register(work, state, force=self.breaking_allowed)
                step = self._become(step, state, before=done.before)
            if self._compares:
                await self._compare(step, work)
        except MigrationFailedError as error:
            await self._fail(self.steps[step.position], error)
        except Exception as error:
            _log.debug("Migrating %s failed", step.tool, exc_info=True)
            failure = failure_of(self._tools[step.position], error, phase="register")
            await self._fail(self.steps[step.position], failure.raised())

    async def _full(self) -> None:
        """Prepare all tools, register all in one transaction, then compare all."""
        ready: dict[int, Work] = {}

        async def prepare(step: Step) -> None:
            try:
                tool = self._tool_of(step)
                if step.state is StepState.PENDING and self._is_known(tool):
                    await self._leave_out(step, UNCHANGED)
                else:
                    ready[step.position] = await self._prepared(step, tool)
            except MigrationFailedError as error:
                await self._fail(step, error)

        await self.each(self._waiting(), prepare)
        if self._stopping:
            return
        works = [ready[position] for position in sorted(ready)]
        new = [one for one in works if one.step.state is StepState.PENDING]
        if new:
            state = StepState.REGISTERED if self._compares else StepState.MIGRATED
            done, failures = await self._migrator.register_all(
                new, state, force=self.breaking_allowed, all_or_none=self._all_or_none
            )
            for position, registered in done.items():
                self._become(self.steps[position], state, before=registered.before)
            for position, failure in failures.items():
                await self._fail(self.steps[position], failure.raised())
            self._tell()
        if self._compares and not (self._failed() and self._all_or_none):
            await self._note(MigrationPhase.VALIDATING)

            async def compare(step: Step) -> None:
                try:
                    await self._compare(step, ready[step.position])
                except MigrationFailedError as error:
                    await self._fail(self.steps[step.position], error)

            await self.each(
                [one for one in self.steps if one.state is StepState.REGISTERED], compare
            )

    async def _prepared(self, step: Step, tool: RuneTool) -> Work:
        work = await self._migrator.prepare(
            step, tool, level=self.config.security_level, validation=self.config.validation_mode
        )
        self._findings[step.position] = work.findings
        return work

    async def _compare(self, step: Step, work: Work) -> None:
        migrated = await self._migrator.journal.tool(step.tool)
        assert migrated is not None
        original = None if self._original is None else await self._original()
        if original is not None and work.tool.language == RUNE:
            if original.registry.get_tool(step.tool) is not None:
                original.registry.unregister_tool(step.tool)
            original.registry.register_tool(work.tool)
        comparison = Comparison(
            self._migrator.config.validation,
            self._migrator.engine,
            original,
            self._migrator.probe,
        )
        found = await self._migrator.again(lambda: comparison.check(work.prepared.staged, migrated))
        before = work.findings
        findings = Findings(
            [*before.issues, *found.issues],
            [*before.warnings, *found.warnings],
            {**before.checks, **found.checks},
        )
        self._findings[step.position] = findings
        self._migrator.loaded[migrated.migrated_script_id] = migrated.metadata["content_id"]
        self._migrator.judge(work.tool, findings)
        await self._migrator.settle(
            step, StepState.MIGRATED, findings=findings, mode=self.config.mode.value
        )
        self._become(step, StepState.MIGRATED)

    async def _check_all(self) -> None:
        """Look whether everything that was migrated is where it has to be."""
        if self.config.validation_mode is ValidationMode.SKIP:
            return
        there = [one for one in self.steps if one.state.is_there]
        if not there:
            return
        await self._note(MigrationPhase.VALIDATING)
        known = {one.original_name: one for one in await self._migrator.journal.tools()}
        faults = await self._migrator.faults(
            [known[one.tool] for one in there if one.tool in known]
        )
        for step in there:
            found = faults.get(step.tool, ["it is not in the migration registry"])
            if found:
                error = MigrationError(
                    tool_name=step.tool,
                    error_type=MigrationErrorType.VALIDATION_FAILED,
                    message=f"Tool {step.tool!r} is not whole: {'; '.join(found)}.",
                    context={"path": step.path, "phase": "validate", "issues": found},
                )
                self._findings.setdefault(step.position, Findings()).issues += found
                await self._fail(step, error.raised())

    # The end

    def _going_back(self) -> bool:
        stopped = bool(self._stopping) or self._failed()
        return self._all_or_none and stopped

    async def _go_back(self) -> None:
        """Restore what was before this migration, all at once."""
        journal, storage = self._migrator.journal, self._migrator.parts.storage
        await storage.write(
            "migration_going_back",
            lambda transaction: journal.note_in(transaction, self.migration_id, going_back=True),
        )
        there = [one for one in self.steps if one.state.is_there]
        await self._migrator.put_back(there, reason=f"rollback of {self.migration_id}")
        for step in there:
            self._become(step, StepState.ROLLED_BACK, reason=RESTORED)
        self._rolled_back = True

    async def _end(self) -> MigrationReport:
        for step in self._waiting():
            reason = CANCELLED if self._cancelled else STOPPED
            self._become(step, StepState.SKIPPED, reason=reason)
        failed = self._failed()
        nothing = failed and not any(one.state.is_there for one in self.steps)
        only_failures = all(one.state is not StepState.SKIPPED for one in self.steps)
        ended_early = self._cancelled or self._rolled_back
        if ended_early or (nothing and only_failures):
            self._phase = MigrationPhase.FAILED
        else:
            self._phase = MigrationPhase.COMPLETED
        if self._cancelled:
            self._warnings.append("It was cancelled.")
        self._ended = time.time()
        report = await self.report()
        journal = self._migrator.journal

        def unit(transaction: Transaction) -> None:
            for step in self.steps:
                if step.state is StepState.SKIPPED:
                    reason = self._reasons.get(step.position, UNCHANGED)
                    journal.settle_in(transaction, step, step.state, warnings=[reason])
            journal.end_in(transaction, report)
            state = report.state
            self._migrator.registrar.told_in(
                transaction,
                EventType.MIGRATION_COMPLETED,
                migration_id=self.migration_id,
                mode=self.config.mode.value,
                success=report.success,
                phase=state.phase.value,
                total_discovered=state.total_discovered,
                successfully_migrated=state.successfully_migrated,
                failed_migrations=state.failed_migrations,
                skipped=state.skipped,
                rolled_back=self._rolled_back,
            )

        await self._migrator.again(
            lambda: self._migrator.parts.storage.write("migration_end", unit)
        )
        self._tell()
        return await self.report()

    # Steps

    @property
    def _all_or_none(self) -> bool:
        """Whether a failure takes the others back as well; what is named stands for itself."""
        manual = self.config.mode is MigrationMode.MANUAL
        return self.config.rollback_on_failure and not manual

    @property
    def _compares(self) -> bool:
        return self.config.validation_mode is ValidationMode.COMPREHENSIVE

    def _failed(self) -> bool:
        return any(one.state is StepState.FAILED for one in self.steps)

    def _tool_of(self, step: Step) -> RuneTool:
        tool = self._tools.get(step.position)
        if tool is None:
            raise MigrationError(
                tool_name=step.tool,
                error_type=MigrationErrorType.DISCOVERY_FAILED,
                message=f"The file of {step.tool!r} changed or went while it was migrated.",
                context={"path": step.path, "phase": "discover", "source_hash": step.source_hash},
            ).raised()
        return tool

    def _is_known(self, tool: RuneTool) -> bool:
        """Whether the same text is migrated already, at the same level."""
        known = self._known.get(tool.name)
        if known is None or self._force:
            return False
        same = known.metadata["source_hash"] == tool.source_hash
        return same and known.metadata["security_level"] == self.config.security_level.value

    async def _leave_out(self, step: Step, reason: str) -> None:
        self._become(step, StepState.SKIPPED, reason=reason)

    async def _fail(self, step: Step, error: MigrationFailedError) -> None:
        """Note a failure; if the tool is there already, what was before comes back."""
        cause = MigrationError.cause_of(error) or MigrationError(
            tool_name=step.tool,
            error_type=MigrationErrorType.UNKNOWN,
            message=error.message,
            context={"path": step.path, "phase": "register", "code": error.code},
        )
        if "issues" in cause.context and step.position not in self._findings:
            known = cause.context
            self._findings[step.position] = Findings(
                list(known["issues"]),
                list(known.get("warnings", ())),
                dict(known.get("checks", {})),
            )
        if step.state.is_there:
            await self._migrator.put_back(
                [step],
                reason=cause.message,
                state=StepState.FAILED,
                errors={step.position: cause},
            )
        else:
            await self._migrator.settle(
                step, StepState.FAILED, error=cause, mode=self.config.mode.value
            )
        self._become(step, StepState.FAILED, error=cause)

    def _become(
        self,
        step: Step,
        state: StepState,
        *,
        error: MigrationError | None = None,
        reason: str = "",
        before: dict[str, object] | None = None,
    ) -> Step:
        changed = dataclasses.replace(
            step, state=state, error=error, before=step.before if before is None else before
        )
        self.steps[step.position] = changed
        if reason:
            self._reasons[step.position] = reason
        return changed

    def _validation(self) -> MigrationValidation | None:
        if self.config.validation_mode is ValidationMode.SKIP or not self._findings:
            return None
        looked_at = [self.steps[position] for position in sorted(self._findings)]
        issues: list[str] = []
        warnings: list[str] = []
        for step in looked_at:
            findings = self._findings[step.position]
            issues += listed(step.tool, findings.issues)
            warnings += listed(step.tool, findings.warnings)
        strict = self._migrator.config.validation.strict
        bad = sum(self._findings[one.position].failed(strict=strict) for one in looked_at)
        return MigrationValidation(
            valid=not bad,
            issues=tuple(issues),
            warnings=tuple(warnings),
            total_tools=len(looked_at),
            valid_tools=len(looked_at) - bad,
            checks={one.tool: self._findings[one.position].checks for one in looked_at},
        )

    async def _note(self, phase: MigrationPhase) -> None:
        if self._phase is not phase:
            self._phase = phase
            await self._migrator.parts.storage.write(
                "migration_phase",
                lambda transaction: self._migrator.journal.note_in(
                    transaction, self.migration_id, phase=phase
                ),
            )

    async def _copy_originals(self) -> set[str]:
        """Copy the files of all tools; returns the paths of those that changed since."""
        originals: dict[Path, Original] = {}
        for tool in self._tools.values():
            if tool.file_path is not None:
                originals[tool.file_path] = Original(tool.file_path, tool.source_hash)
        if not originals:
            return set()
        folder = self._migrator.parts.backups / self.migration_id
        copied = await asyncio.to_thread(back_up, folder, list(originals.values()))
        self._backup = shown_path(folder)
        return {shown_path(one) for one in copied.changed}

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self.state())


def failures_of(found: Discovery) -> list[MigrationError]:
    """What was found and cannot be used: one failure for each tool, or for each file."""
    failures: list[MigrationError] = []
    for report in found.failed:
        path = shown_path(report.path)
        named = {one.tool: one for one in reversed(report.problems) if one.tool}
        chosen = [named[name] for name in sorted(named)] or report.problems[:1]
        failures += [failure_of_problem(one, path, path) for one in chosen]
    return failures


def _changed(tool: RuneTool) -> MigrationError:
    assert tool.file_path is not None
    return MigrationError(
        tool_name=tool.name,
        error_type=MigrationErrorType.DISCOVERY_FAILED,
        message=f"The file of {tool.name!r} changed while it was migrated; migrate it again.",
        context={
            "path": shown_path(tool.file_path),
            "phase": "backup",
            "source_hash": tool.source_hash,
        },
    )


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
