"""A small estate, with faults of every kind: it comes out the same in every way of migrating."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ccos.migration import MigrationConfig, ValidationConfig
from migration.estate import BROKEN, Estate, estate
from migration.managing import managed, registered

pytestmark = pytest.mark.anyio

QUICK = MigrationConfig(validation=ValidationConfig(probe_seconds=0.3))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Estate:
    return estate(tmp_path_factory.mktemp("estate"), 80)


async def test_every_way_leads_to_the_same_end(tmp_path: Path, made: Estate) -> None:
    kinds: list[Counter[str]] = []
    for number, (mode, at_once) in enumerate((("Incremental", 1), ("Incremental", 4), ("Full", 4))):
        async with managed(
            tmp_path / f"home{number}",
            made.folder,
            kept=QUICK,
            mode=mode,
            enable_parallel_migration=at_once > 1,
            max_concurrent_migrations=at_once,
        ) as (manager, ccos):
            before = await registered(ccos)
            report = await manager.execute_migration()
            state = report.state
            assert list(report.migrated_tools) == made.good
            assert state.total_discovered == made.total
            assert state.failed_migrations == sum(made.broken.values())
            kinds.append(Counter(one.error_type.value for one in report.failed_tools))
            assert await manager.rollback_migration(report.migration_id) == tuple(made.good)
            assert await registered(ccos) == before
    assert kinds[0] == kinds[1] == kinds[2]
    assert kinds[0].keys() == {"DiscoveryFailed", "CompilationFailed", "ValidationFailed"}


async def test_a_dry_run_predicts_what_fails_before_a_call(tmp_path: Path, made: Estate) -> None:
    async with managed(tmp_path / "home", made.folder, mode="DryRun") as (manager, _):
        report = await manager.execute_migration()
    plan = report.plan or ()
    assert len(plan) == report.state.skipped == made.total
    only_by_calling = sum(made.broken[kind] for kind in ("endless", "wrong output"))
    fails = [one.tool for one in plan if one.action == "fail"]
    assert len(fails) == sum(made.broken.values()) - only_by_calling


@pytest.mark.parametrize("kind", BROKEN)
async def test_each_fault_fails_alone(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "tools"
    folder.mkdir()
    source = BROKEN[kind]("broken")
    (folder / "broken.rn").write_bytes(source if isinstance(source, bytes) else source.encode())
    good = estate(folder / "good", 3, huge=False)
    async with managed(tmp_path / "home", folder, kept=QUICK) as (manager, _):
        report = await manager.execute_migration()
    assert list(report.migrated_tools) == good.good
    failed = [one for one in report.failed_tools if "broken" in one.context["path"]]
    assert len(failed) == 1
