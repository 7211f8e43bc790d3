"""A migration whose process is killed at any of its writes is carried on, or taken back: whole."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ccos.migration import MigrationReport
from migration.managing import manager_of, registered
from migration.samples import tool, written
from opening import opened, value

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

KILLS = int(os.environ.get("MIGRATION_KILLS", "4"))
"""In each way; all writes of a run are taken in turn where there are fewer."""


class Processes:
    """Runs migrations in processes that may be killed."""

    def __init__(self) -> None:
        tests = str(Path(__file__).parent.parent)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "migration.killing"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": tests},
        )

    def run(self, **command: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        plain = {name: str(one) if isinstance(one, Path) else one for name, one in command.items()}
        self._process.stdin.write(json.dumps(plain) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    made = Processes()
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "tools"
    for name in ("a", "b", "c", "d"):
        written(path, f"{name}.rn", tool(name, "1"))
    written(path, "broken.rn", "pub fn NAME() {")
    return path


def moments(writes: int, seed: str) -> list[tuple[int, bool]]:
    """The writes to be killed at, before or after their commit."""
    all_of_them = [(at, after) for at in range(1, writes + 1) for after in (False, True)]
    if len(all_of_them) <= KILLS:
        return all_of_them
    return sorted(random.Random(seed).sample(all_of_them, KILLS))


WAYS: list[dict[str, Any]] = [
    {"mode": "Incremental"},
    {"mode": "Incremental", "validation_mode": "Comprehensive"},
    {"mode": "Full"},
    {"mode": "Full", "validation_mode": "Comprehensive"},
    {
        "mode": "Incremental",
        "enable_parallel_migration": True,
        "max_concurrent_migrations": 4,
        "validation_mode": "Skip",
    },
]


@pytest.mark.parametrize("config", WAYS, ids=lambda one: "-".join(map(str, one.values())))
async def test_it_is_carried_on(
    tmp_path: Path, folder: Path, processes: Processes, config: dict[str, Any]
) -> None:
    whole = processes.run(home=tmp_path / "whole", folder=folder, config=config)
    assert whole["status"] == 0
    dead = 0
    for at, after in moments(whole["writes"], str(config)):
        home = tmp_path / f"home-{at}-{after}"
        killed = processes.run(home=home, folder=folder, config=config, at=at, after=after)
        dead += killed["status"] == -signal.SIGKILL
        async with opened(home) as ccos, manager_of(ccos, folder, **config) as manager:
            bridge = manager.bridge()
            half = await bridge.list_migrated_tools()
            faults = await bridge.migrator.faults(half)
            assert not any(faults.values()), (at, after, faults)
            reports = await manager.recover()
            assert len(reports) <= 1
            assert not await bridge.migrator.journal.unfinished()
            await manager.execute_migration()
            tools = [one.original_name for one in await bridge.list_migrated_tools()]
            assert tools == ["a", "b", "c", "d"], (at, after)
            assert (await bridge.validate_migration()).issues == ()
            for name in tools:
                assert value(await ccos.call(f"tools.{name}", {})) == 1
            assert (await ccos.audit.verify()).intact
            for report in reports:
                state = report.state
                assert state.phase.value == "Completed"
                assert (state.successfully_migrated, state.failed_migrations) == (4, 1)
                assert report.backup is not None
    assert dead >= KILLS // 2  # what is written at once may be one commit or several


@pytest.mark.parametrize("mode", ["Incremental", "Full"])
async def test_it_is_taken_back(
    tmp_path: Path, folder: Path, processes: Processes, mode: str
) -> None:
    config: dict[str, Any] = {"mode": mode, "rollback_on_failure": True}
    (folder / "broken.rn").unlink()
    written(folder, "late.rn", tool("late", '"text"', extra=_PROMISES))
    whole = processes.run(home=tmp_path / "whole", folder=folder, config=config)
    for at, after in moments(whole["writes"], mode):
        home = tmp_path / f"home-{at}-{after}"
        killed = processes.run(home=home, folder=folder, config=config, at=at, after=after)
        assert killed["status"] == -signal.SIGKILL
        async with opened(home) as ccos, manager_of(ccos, folder, **config) as manager:
            reports = await manager.recover()
            found = await registered(ccos)
            assert not any(
                found[name]
                for name in ("scripts", "script_tools", "capabilities", "migrated_tools")
            ), (at, after)
            assert not await manager.bridge().migrator.journal.unfinished()
            assert all(one.rolled_back for one in reports)
            assert all(one.state.phase.value == "Failed" for one in reports)


_PROMISES = 'pub fn OUTPUT_SCHEMA() { #{ type: "integer" } }'


async def test_a_killed_rollback_is_all_or_nothing(
    tmp_path: Path, folder: Path, processes: Processes
) -> None:
    for after in (False, True):
        home = tmp_path / f"home-{after}"
        async with opened(home) as ccos, manager_of(ccos, folder) as manager:
            migration_id = (await manager.execute_migration()).migration_id
            before = await registered(ccos)
        command = {"home": home, "folder": folder, "config": {}, "roll_back": migration_id}
        killed = processes.run(**command, at=1, after=after)
        assert killed["status"] == -signal.SIGKILL
        async with opened(home) as ccos:
            now = await registered(ccos)
            assert (now == before) is not after
            assert bool(now["migrated_tools"]) is not after


async def test_files_that_changed_or_went_meanwhile_come_from_their_copies(
    tmp_path: Path, folder: Path, processes: Processes
) -> None:
    killed = processes.run(home=tmp_path / "home", folder=folder, config={}, at=3)
    assert killed["status"] == -signal.SIGKILL
    for name in ("a", "b", "c"):
        written(folder, f"{name}.rn", tool(name, "2"))
    (folder / "d.rn").unlink()
    async with opened(tmp_path / "home") as ccos, manager_of(ccos, folder) as manager:
        (report,) = await manager.recover()
        assert report.state.successfully_migrated == 4
        for name in ("a", "b", "c", "d"):
            assert value(await ccos.call(f"tools.{name}", {})) == 1
        checked = await manager.bridge().validate_migration()
        assert (checked.valid, len(checked.warnings)) == (True, 4)


async def test_a_worker_carries_on_by_itself(
    tmp_path: Path, folder: Path, processes: Processes
) -> None:
    home = tmp_path / "home"
    processes.run(home=home, folder=folder, config={}, at=3)
    clean = {name: one for name, one in os.environ.items() if not name.startswith("CCOS_")}
    worker = subprocess.Popen(
        [sys.executable, "-m", "ccos", "worker", "--home", str(home)],
        env=clean,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert worker.stderr is not None
    for line in worker.stderr:
        if line.startswith("Migration "):
            break
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    assert line.endswith("was ended: Completed.\n")
    async with opened(home) as ccos, manager_of(ccos, folder) as manager:
        assert len(await manager.bridge().list_migrated_tools()) == 4


async def test_two_processes_do_not_migrate_at_once(tmp_path: Path, folder: Path) -> None:
    async with (
        opened(tmp_path / "home") as ccos,
        opened(tmp_path / "home") as other,
        manager_of(ccos, folder) as manager,
        manager_of(other, folder) as elsewhere,
    ):
        inner = manager.bridge().migrator.register
        reports: list[MigrationReport] = []

        async def while_it_runs(*arguments: Any, **rest: Any) -> Any:
            if not reports:
                reports.append(await elsewhere.execute_migration())
            return await inner(*arguments, **rest)

        manager.bridge().migrator.register = while_it_runs  # type: ignore[method-assign]
        report = await manager.execute_migration()
        assert report.state.successfully_migrated == 4
        assert "on its way in another process" in reports[0].failed_tools[-1].message
        assert (await elsewhere.execute_migration()).state.skipped == 4
