"""Rolling back: exactly what was before comes back, pins, versions and aliases included."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from ccos.errors import MigrationFailedError
from ccos.migration import MigrationConfig
from ccos.migration.backups import LISTING, Original, back_up, copy_of, verify
from ccos.migration.definitions import content_hash
from ccos.storage.schema import capabilities
from migration.managing import Rows, managed, manager_of, registered
from migration.samples import tool, written
from opening import increment, opened, rows, value

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        written(tmp_path / "tools", f"{name}.rn", tool(name, "1"))
    return tmp_path / "tools"


def changed(folder: Path, *names: str) -> None:
    """Another text for some tools."""
    for name in names:
        written(folder, f"{name}.rn", tool(name, "2"))


async def test_a_first_migration_leaves_nothing_behind(tmp_path: Path, folder: Path) -> None:
    async with managed(tmp_path / "home", folder) as (manager, ccos):
        empty = await registered(ccos)
        report = await manager.execute_migration()
        assert await registered(ccos) != empty
        assert await manager.rollback_migration(report.migration_id) == ("a", "b", "c")
        assert await registered(ccos) == empty
        assert not await ccos.marketplace.search("tool")
        state = await manager.get_migration_status()
        assert (state.successfully_migrated, state.skipped) == (0, 3)


@pytest.mark.parametrize("preserved", [True, False])
async def test_an_older_version_comes_back_with_its_pins(
    tmp_path: Path, folder: Path, preserved: bool
) -> None:
    kept = MigrationConfig(preserve_tool_ids=preserved)
    async with managed(tmp_path / "home", folder, kept=kept) as (manager, ccos):
        first = await manager.execute_migration()
        await ccos.marketplace.add_alias("letters.first", "tools.a", actor="ann")
        before = await registered(ccos)
        changed(folder, "a", "b")
        second = await manager.execute_migration()
        assert second.migrated_tools == ("a", "b")
        assert value(await ccos.call("tools.a", {})) == 2
        assert (await manager.bridge().execute_migrated_tool("a", {})).result == 2
        found = await ccos.marketplace.get("tools.a")
        assert found is not None
        assert found.manifest.version == "1.0.1"
        assert await manager.rollback_migration(second.migration_id) == ("a", "b")
        assert await registered(ccos) == before
        assert value(await ccos.call("letters.first", {})) == 1
        assert value(await ccos.call("tools.a", {})) == 1
        assert (await manager.bridge().execute_migrated_tool("a", {})).result == 1
        assert (await manager.bridge().validate_migration()).issues == ()
        tools = {one.original_name: one for one in await manager.bridge().list_migrated_tools()}
        assert tools["a"].metadata["migration_id"] == first.migration_id


async def test_one_tool_goes_back_step_by_step(tmp_path: Path, folder: Path) -> None:
    async with managed(tmp_path / "home", folder) as (manager, ccos):
        states: list[Rows] = [await registered(ccos)]
        await manager.execute_migration()
        await manager.rollback_tool_migration("b")
        await manager.rollback_tool_migration("c")
        states.append(await registered(ccos))
        changed(folder, "a")
        assert await manager.bridge().reload_migrated_tool("a")
        assert await manager.rollback_tool_migration("a")
        assert await registered(ccos) == states[1]
        assert await manager.rollback_tool_migration("a")
        assert await registered(ccos) == states[0]
        assert not await manager.rollback_tool_migration("a")


@pytest.mark.parametrize("name", ["", "   ", "nobody", "a\n", "../a", "a" * 5000, "\ud800"])
async def test_what_was_never_migrated_is_not_rolled_back(
    tmp_path: Path, folder: Path, name: str
) -> None:
    async with managed(tmp_path / "home", folder) as (manager, ccos):
        await manager.execute_migration()
        before = await registered(ccos)
        assert not await manager.rollback_tool_migration(name)
        assert await registered(ccos) == before


async def test_a_later_migration_has_to_go_first(tmp_path: Path, folder: Path) -> None:
    async with managed(tmp_path / "home", folder) as (manager, ccos):
        first = await manager.execute_migration()
        changed(folder, "b")
        second = await manager.execute_migration()
        before = await registered(ccos)
        with pytest.raises(MigrationFailedError, match=second.migration_id):
            await manager.rollback_migration(first.migration_id)
        assert await registered(ccos) == before
        await manager.rollback_migration(second.migration_id)
        assert await manager.rollback_migration(first.migration_id[:8]) == ("a", "b", "c")
        with pytest.raises(MigrationFailedError, match="no migration"):
            await manager.rollback_migration("0000")


async def test_another_process_rolls_back(tmp_path: Path, folder: Path) -> None:
    async with managed(tmp_path / "home", folder) as (manager, ccos):
        empty = await registered(ccos)
        report = await manager.execute_migration()
    async with opened(tmp_path / "home") as ccos, manager_of(ccos, folder) as manager:
        assert await manager.rollback_tool_migration("a")
        assert await manager.rollback_migration(report.migration_id) == ("b", "c")
        assert await registered(ccos) == empty


async def test_what_was_not_migrated_is_never_replaced(tmp_path: Path, folder: Path) -> None:
    async with opened(tmp_path / "home") as ccos:
        await ccos.register("tools.a", increment)
        before = await registered(ccos)
        async with manager_of(ccos, folder) as manager:
            report = await manager.execute_migration()
            assert report.migrated_tools == ("b", "c")
            assert "was not migrated" in report.failed_tools[0].message
            await manager.rollback_migration(report.migration_id)
        assert await registered(ccos) == before
        assert value(await ccos.call("tools.a", {"x": 1})) == 2


async def test_a_version_stays_bound_to_what_it_was(tmp_path: Path, folder: Path) -> None:
    async with managed(tmp_path / "home", folder / "a.rn") as (manager, ccos):
        await manager.execute_migration()
        assert await manager.bridge().remove_migrated_tool("a")
        changed(folder, "a")
        await manager.execute_migration()
        query = sa.select(capabilities.c.version, capabilities.c.standing).order_by(
            capabilities.c.version
        )
        assert [tuple(one) for one in await rows(ccos, query)] == [
            ("1.0.0", "removed"),
            ("1.0.1", "active"),
        ]


async def test_originals_are_copied_with_checksums(tmp_path: Path, folder: Path) -> None:
    async with managed(tmp_path / "home", folder) as (manager, _):
        report = await manager.execute_migration()
    assert report.backup is not None
    backup = Path(report.backup)
    assert verify(backup) == (3, ())
    listed = json.loads((backup / LISTING).read_text())["files"]
    assert [one["path"] for one in listed] == [str(folder / f"{one}.rn") for one in "abc"]
    for one in listed:
        original = Path(one["path"]).read_bytes()
        assert (backup / one["copy"]).read_bytes() == original
        assert one["sha256"] == content_hash(original).removeprefix("sha256:")
        assert copy_of(backup, content_hash(original)) == original
    (backup / listed[0]["copy"]).write_bytes(b"something else")
    assert copy_of(backup, f"sha256:{listed[0]['sha256']}") is None
    assert verify(backup)[1] == (
        f"{listed[0]['copy']} is not the copy of {listed[0]['path']} that was made.",
    )


async def test_without_backups_nothing_is_copied(tmp_path: Path, folder: Path) -> None:
    kept = MigrationConfig(backup_originals=False)
    async with managed(tmp_path / "home", folder, kept=kept) as (manager, _):
        report = await manager.execute_migration()
    assert report.backup is None
    assert not (tmp_path / "home" / "backups").exists()
    assert report.success


def test_a_backup_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    original = written(tmp_path, "a.rn")
    wanted = [Original(original, content_hash(original.read_bytes()))]
    with pytest.raises(MigrationFailedError, match="cannot be copied"):
        back_up(tmp_path / "file" / "below", wanted)
    assert back_up(tmp_path / "folder", wanted).changed == ()
    assert back_up(tmp_path / "other", [Original(original, "sha256:0")]).changed == (original,)


async def test_without_room_for_copies_nothing_is_migrated(tmp_path: Path, folder: Path) -> None:
    async with managed(tmp_path / "home", folder) as (manager, ccos):
        written(tmp_path / "home", "backups", "in the way")
        before = await registered(ccos)
        report = await manager.execute_migration()
        assert report.state.phase.value == "Failed"
        assert "cannot be copied" in report.failed_tools[0].message
        assert await registered(ccos) == before
