"""The manager: what each mode does, that its counts are true, and what comes of failures."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ccos.errors import MigrationFailedError, ScriptError, StorageError
from ccos.events import EventType
from ccos.migration import (
    MigrationConfig,
    MigrationError,
    MigrationErrorType,
    MigrationPhase,
    MigrationReport,
    MigrationState,
    ValidationConfig,
)
from ccos.migration.migrator import Migrator
from ccos.migration.staging import Stager
from migration.managing import everything, files, managed, manager_of, registered
from migration.samples import TOOLS, tool, written
from opening import Failing, happened, increment, opened

pytestmark = pytest.mark.anyio

MODES = ["DryRun", "Incremental", "Full", "Manual"]
VALIDATIONS = ["Skip", "Basic", "Comprehensive"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three sound tools, one of them in Python, and two that are broken."""
    path = tmp_path / "tools"
    for name in ("alpha", "beta"):
        written(path, f"{name}.rn")
    written(path, "gamma.py", 'def gamma(x: int) -> int:\n    """Counts."""\n    return x + 1\n')
    written(path, "broken.rn", "pub fn NAME() {")
    written(path, "zeta.rn", tool("zeta", "crucible::file::file_read(args.path).await"))
    return path


def adds_up(state: MigrationState) -> bool:
    parts = state.successfully_migrated + state.failed_migrations + state.skipped
    return state.total_discovered == parts


def counts(report: MigrationReport) -> tuple[int, int, int, int]:
    state = report.state
    return (
        state.total_discovered,
        state.successfully_migrated,
        state.failed_migrations,
        state.skipped,
    )


@pytest.mark.parametrize("mode", MODES)
async def test_a_new_manager_has_done_nothing(tmp_path: Path, folder: Path, mode: str) -> None:
    async with opened(tmp_path / "home") as ccos:
        before, on_disk = await everything(ccos, without={"workers"}), files(tmp_path)
        async with manager_of(ccos, folder, mode=mode) as manager:
            assert await manager.get_migration_status() == MigrationState()
            stats = await manager.get_migration_statistics()
            assert (stats.total_migrated, stats.migration_timestamp) == (0, None)
            assert await everything(ccos, without={"workers"}) == before
            assert {k for k in files(tmp_path) if "ccos.sqlite" not in k} == {
                k for k in on_disk if "ccos.sqlite" not in k
            }


@pytest.mark.parametrize("validation", VALIDATIONS)
async def test_a_dry_run_calls_and_writes_nothing(
    tmp_path: Path, folder: Path, validation: str
) -> None:
    async with managed(tmp_path / "home", folder, mode="DryRun", validation_mode=validation) as (
        manager,
        ccos,
    ):
        before = await everything(ccos, without={"workers"})
        on_disk = files(tmp_path)
        report = await manager.execute_migration()
        assert await everything(ccos, without={"workers"}) == before
        assert files(tmp_path) == on_disk
        assert await manager.get_migration_status() == report.state
    assert counts(report) == (5, 0, 0, 5)
    assert report.state.phase is MigrationPhase.COMPLETED
    assert report.validation is None
    plan = {one.tool.rpartition("/")[2]: one for one in report.plan or ()}
    assert {name: one.action for name, one in plan.items()} == {
        "alpha": "migrate",
        "beta": "migrate",
        "gamma": "migrate",
        "broken.rn": "fail",
        "zeta": "fail",
    }
    assert "level development has it" in plan["zeta"].problems[0]
    assert plan["alpha"].path == str(folder / "alpha.rn")


@pytest.mark.parametrize("validation", VALIDATIONS)
@pytest.mark.parametrize("mode", ["Incremental", "Full"])
async def test_counts_are_what_happened(
    tmp_path: Path, folder: Path, mode: str, validation: str
) -> None:
    async with managed(tmp_path / "home", folder, mode=mode, validation_mode=validation) as (
        manager,
        ccos,
    ):
        report = await manager.execute_migration()
        assert counts(report) == (5, 3, 2, 0)
        assert report.state.phase is MigrationPhase.COMPLETED
        assert report.state == await manager.get_migration_status()
        assert report.migrated_tools == ("alpha", "beta", "gamma")
        kinds = {one.tool_name.rpartition("/")[2]: one.error_type for one in report.failed_tools}
        assert kinds == {
            "broken.rn": MigrationErrorType.COMPILATION_FAILED,
            "zeta": MigrationErrorType.VALIDATION_FAILED,
        }
        for one in report.failed_tools:
            assert one.context["path"].startswith(str(folder))
            assert one.context["phase"] in ("discover", "compile")
            assert one.context["line"] > 0
        assert (report.validation is None) == (validation == "Skip")
        assert len(await happened(ccos, EventType.TOOL_MIGRATED)) == 3
        assert len(await happened(ccos, EventType.TOOL_MIGRATION_FAILED)) == 2
        (begun,) = await happened(ccos, EventType.MIGRATION_STARTED)
        (ended,) = await happened(ccos, EventType.MIGRATION_COMPLETED)
        assert (begun["total_discovered"], begun["mode"]) == (5, mode)
        assert (ended["successfully_migrated"], ended["failed_migrations"]) == (3, 2)
        stats = await manager.get_migration_statistics()
        assert (stats.total_migrated, stats.active_tools, stats.inactive_tools) == (3, 3, 0)
        assert stats == await manager.bridge().get_migration_stats()


async def test_what_is_migrated_and_unchanged_is_left_alone(tmp_path: Path, folder: Path) -> None:
    async with managed(tmp_path / "home", folder) as (manager, ccos):
        await manager.execute_migration()
        before = await registered(ccos)
        again = await manager.execute_migration()
        assert counts(again) == (5, 0, 2, 3)
        assert await registered(ccos) == before
        forced = await manager.execute_migration(force=True)
        assert counts(forced) == (5, 3, 2, 0)


async def test_manual_mode_migrates_what_is_named(tmp_path: Path, folder: Path) -> None:
    async with managed(tmp_path / "home", folder, mode="Manual") as (manager, _):
        report = await manager.execute_migration()
        assert counts(report) == (5, 0, 1, 4)
        migrated = await manager.migrate_specific_tool("alpha")
        assert (migrated.original_name, migrated.active) == ("alpha", True)
        state = await manager.get_migration_status()
        assert (state.successfully_migrated, state.skipped) == (1, 3)
        with pytest.raises(MigrationFailedError, match="already"):
            await manager.migrate_specific_tool("alpha")
        await manager.migrate_specific_tool("alpha", force=True)
        assert (await manager.get_migration_status()).successfully_migrated == 1
        with pytest.raises(MigrationFailedError, match="level development has it"):
            await manager.migrate_specific_tool("zeta")
        state = await manager.get_migration_status()
        assert (state.successfully_migrated, state.failed_migrations, state.skipped) == (1, 2, 2)
        assert adds_up(state)
        with pytest.raises(MigrationFailedError, match="Tool not found"):
            await manager.migrate_specific_tool("nobody")
        report = await manager.get_migration_report()
        assert report.migrated_tools == ("alpha",)
        assert {one.tool_name for one in report.failed_tools} >= {"zeta"}


async def test_full_mode_registers_all_at_once(tmp_path: Path, folder: Path) -> None:
    seen: list[str] = []

    class Writes:
        def before_commit(self, name: str) -> None:
            seen.extend(name.split("+"))

        def after_commit(self, name: str) -> None:
            pass

    async with (
        opened(tmp_path / "home", observer=Writes()) as ccos,
        manager_of(ccos, folder, mode="Full") as manager,
    ):
        assert (await manager.execute_migration()).state.successfully_migrated == 3
    assert (seen.count("migrate_tools"), seen.count("migrate_tool")) == (1, 0)


@pytest.mark.parametrize("validation", ["Basic", "Comprehensive"])
@pytest.mark.parametrize("mode", ["Incremental", "Full"])
async def test_with_rollback_on_failure_nothing_stays(
    tmp_path: Path, mode: str, validation: str
) -> None:
    folder = tmp_path / "tools"
    for name in ("a", "b"):
        written(folder, f"{name}.rn")
    async with opened(tmp_path / "home") as ccos:
        async with manager_of(ccos, folder) as manager:
            await manager.execute_migration()
        before = await registered(ccos)
        for name in ("a", "b", "c"):
            written(folder, f"{name}.rn", tool(name, "args.len()"))
        written(folder, "late.rn", tool("late", "loop { let x = 1; }"))
        async with manager_of(
            ccos, folder, mode=mode, validation_mode=validation, rollback_on_failure=True
        ) as manager:
            report = await manager.execute_migration()
        assert await registered(ccos) == before
        assert report.state.phase is MigrationPhase.FAILED
        assert report.rolled_back
        assert counts(report) == (4, 0, 1, 3)
        (failed,) = report.failed_tools
        assert (failed.tool_name, failed.error_type.value) == ("late", "ValidationFailed")
        rolled_back = {one["tool_name"] for one in await happened(ccos, EventType.TOOL_ROLLED_BACK)}
        assert rolled_back == ({"a", "b", "c"} if mode == "Incremental" else set())


async def test_what_is_found_broken_stops_a_run_that_is_all_or_none(
    tmp_path: Path, folder: Path
) -> None:
    async with managed(tmp_path / "home", folder, mode="Full", rollback_on_failure=True) as (
        manager,
        _,
    ):
        report = await manager.execute_migration()
        assert counts(report) == (5, 0, 1, 4)
        assert report.state.phase is MigrationPhase.FAILED
        assert not await manager.bridge().list_migrated_tools()


async def test_a_run_in_which_everything_failed_has_failed(tmp_path: Path) -> None:
    written(tmp_path / "tools", "bad.rn", "pub fn NAME() {")
    async with managed(tmp_path / "home", tmp_path / "tools") as (manager, _):
        assert (await manager.execute_migration()).state.phase is MigrationPhase.FAILED


@pytest.mark.parametrize("mode", MODES)
async def test_a_missing_or_empty_folder_is_a_warning(tmp_path: Path, mode: str) -> None:
    (tmp_path / "empty").mkdir()
    async with managed(tmp_path / "home", tmp_path / "none", tmp_path / "empty", mode=mode) as (
        manager,
        _,
    ):
        report = await manager.execute_migration()
        assert counts(report) == (0, 0, 0, 0)
        assert report.state.phase is MigrationPhase.COMPLETED
        assert report.state.warnings == (f"{tmp_path / 'none'} does not exist.",)


async def test_so_many_at_once_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        written(tmp_path / "tools", f"t{number:02}.rn")
    now, peak = 0, 0
    inner = Stager.stage

    async def counted(self: Stager, *arguments: Any) -> Any:
        nonlocal now, peak
        now += 1
        peak = max(peak, now)
        try:
            await asyncio.sleep(0.01)
            return await inner(self, *arguments)
        finally:
            now -= 1

    monkeypatch.setattr(Stager, "stage", counted)
    reports = []
    for at_once in (1, 4):
        peak = 0
        async with managed(
            tmp_path / f"home{at_once}",
            tmp_path / "tools",
            enable_parallel_migration=at_once > 1,
            max_concurrent_migrations=at_once,
        ) as (manager, _):
            reports.append(await manager.execute_migration())
        assert peak == at_once
    assert reports[0].migrated_tools == reports[1].migrated_tools
    assert len(reports[0].migrated_tools) == 12


async def test_the_order_of_a_report_does_not_depend_on_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b", "d", "a", "c"):
        written(tmp_path / "tools", f"{name}.rn")
        written(tmp_path / "tools", f"{name}x.rn", tool(f"{name}x", "loop { let x = 1; }"))
    inner = Stager.stage

    async def uneven(self: Stager, wanted: Any, *arguments: Any) -> Any:
        await asyncio.sleep(0.02 if wanted.name < "c" else 0)
        return await inner(self, wanted, *arguments)

    monkeypatch.setattr(Stager, "stage", uneven)
    kept = MigrationConfig(validation=ValidationConfig(probe_seconds=0.2))
    async with managed(
        tmp_path / "home",
        tmp_path / "tools",
        kept=kept,
        enable_parallel_migration=True,
        max_concurrent_migrations=8,
    ) as (manager, _):
        report = await manager.execute_migration()
    assert report.migrated_tools == ("a", "b", "c", "d")
    assert [one.tool_name for one in report.failed_tools] == ["ax", "bx", "cx", "dx"]


async def test_progress_is_told_and_a_migration_can_be_cancelled(tmp_path: Path) -> None:
    for number in range(6):
        written(tmp_path / "tools", f"t{number}.rn")
    async with managed(tmp_path / "home", tmp_path / "tools") as (manager, ccos):
        seen: list[MigrationState] = []

        def progress(state: MigrationState) -> None:
            seen.append(state)
            if state.successfully_migrated == 2:
                manager.cancel()

        report = await manager.execute_migration(progress=progress)
        assert [one.successfully_migrated for one in seen] == [1, 2, 2]
        assert seen[0].phase is MigrationPhase.MIGRATING
        assert counts(report) == (6, 2, 0, 4)
        assert report.state.phase is MigrationPhase.FAILED
        assert "It was cancelled." in report.state.warnings
        assert "cancelled" in report.skipped_tools["t5"]
        assert not await manager.bridge().migrator.journal.unfinished()
        again = await manager.execute_migration()
        assert (again.state.successfully_migrated, again.state.skipped) == (4, 2)
        del ccos


async def test_all_kinds_of_failure_arise_with_their_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tools"
    written(folder, "discovery.rn", b"\xff\xfe")
    written(folder, "compilation.rn", "pub fn NAME() {")
    written(folder, "validation.rn", tool("validation", "loop { let x = 1; }"))
    written(folder, "registration.rn")
    written(folder, "unknown.rn")
    written(folder, "service.rn")
    inner = Migrator._register_in

    def register(self: Migrator, transaction: Any, work: Any, *arguments: Any, **rest: Any) -> Any:
        if work.tool.name == "unknown":
            raise ZeroDivisionError("nobody expects this")
        if work.tool.name == "service":
            raise StorageError("The disk is gone.")
        return inner(self, transaction, work, *arguments, **rest)

    monkeypatch.setattr(Migrator, "_register_in", register)
    monkeypatch.setattr("ccos.migration.migrator._PAUSES", (0.0,))
    async with opened(tmp_path / "home") as ccos:
        await ccos.register("tools.registration", increment)
        async with manager_of(ccos, folder) as manager:
            report = await manager.execute_migration()
    kinds = {one.tool_name.rpartition("/")[2]: one for one in report.failed_tools}
    assert {name: one.error_type.value for name, one in kinds.items()} == {
        "discovery.rn": "DiscoveryFailed",
        "compilation.rn": "CompilationFailed",
        "validation": "ValidationFailed",
        "registration": "RegistrationFailed",
        "unknown": "Unknown",
        "service": "ServiceError",
    }
    assert kinds["compilation.rn"].context["line"] == 1
    assert kinds["registration"].context["phase"] == "register"
    assert "failed to register" in kinds["registration"].message
    assert kinds["unknown"].context["code"] == "ZeroDivisionError"
    assert kinds["service"].context["code"] == "CCOS-STORAGE"
    assert all(one.context["path"].startswith(str(folder)) for one in kinds.values())


@pytest.mark.parametrize(("failures", "succeeds"), [(3, True), (4, False)])
async def test_what_fails_for_a_passing_reason_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int, succeeds: bool
) -> None:
    written(tmp_path / "tools", "a.rn")
    inner = Migrator._register_in
    tried = 0

    def register(self: Migrator, *arguments: Any, **rest: Any) -> Any:
        nonlocal tried
        tried += 1
        if tried <= failures:
            raise StorageError("The database is locked.")
        return inner(self, *arguments, **rest)

    monkeypatch.setattr(Migrator, "_register_in", register)
    monkeypatch.setattr("ccos.migration.migrator._PAUSES", (0.0, 0.01, 0.02))
    async with managed(tmp_path / "home", tmp_path / "tools", validation_mode="Skip") as (
        manager,
        _,
    ):
        report = await manager.execute_migration()
    assert tried == 4
    assert bool(report.migrated_tools) is succeeds


async def test_an_engine_that_cannot_go_on_gives_a_failed_report(tmp_path: Path) -> None:
    written(tmp_path / "tools", "a.rn")
    failing = Failing("migration_begin")
    async with (
        opened(tmp_path / "home", observer=failing) as ccos,
        manager_of(ccos, tmp_path / "tools") as manager,
    ):
        report = await manager.execute_migration()
        assert report.state.phase is MigrationPhase.FAILED
        assert [one.error_type for one in report.failed_tools] == [MigrationErrorType.SERVICE_ERROR]
        assert report.state == await manager.get_migration_status()
        failing.active = False
        assert (await manager.execute_migration()).success


async def test_a_file_that_changes_while_it_is_migrated_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tools"
    for name in ("a", "b"):
        written(folder, f"{name}.rn")
    async with managed(tmp_path / "home", folder) as (manager, _):
        inner = manager._discover

        async def then_changed() -> Any:
            found = await inner()
            written(folder, "a.rn", tool("a", "42"))
            return found

        monkeypatch.setattr(manager, "_discover", then_changed)
        report = await manager.execute_migration()
    assert report.migrated_tools == ("b",)
    (failed,) = report.failed_tools
    assert (failed.tool_name, failed.error_type.value) == ("a", "DiscoveryFailed")
    assert "changed while it was migrated" in failed.message


async def test_the_original_runtime_stands_beside(tmp_path: Path) -> None:
    for preserved in (True, False):
        async with managed(
            tmp_path / f"home{preserved}", TOOLS / "greet.rn", preserve_original_service=preserved
        ) as (manager, _):
            await manager.execute_migration()
            service = manager.rune_service()
            assert (service is not None) is preserved
            if service is not None:
                async with service:
                    assert await service.get_tool("greet") is not None


async def test_an_error_is_the_same_as_an_exception() -> None:
    error = MigrationError(
        tool_name="a", error_type=MigrationErrorType.UNKNOWN, message="why", context={"path": "p"}
    )
    assert MigrationError.cause_of(error.raised()) == error
    assert MigrationError.cause_of(MigrationFailedError("other")) is None
    assert not isinstance(error.raised(), ScriptError)
