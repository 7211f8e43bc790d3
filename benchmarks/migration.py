"""How quickly legacy tools migrate: an estate of 2,000 of them, in every way there is.

Each figure is of a CCOS of its own. The speeds of one and of two tools at once are taken in turn,
several times, and their medians compared: exit status 1 if two are less than 1.5 times as fast.
Run it with ``make bench``, or with a number of tools as the only argument.
"""

from __future__ import annotations

import asyncio
import os
import platform
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# In place of this folder, whose migration.py would hide the tests of that name.
sys.path[0] = str(Path(__file__).parents[1] / "tests")

from ccos.migration import MigrationPhase, MigrationReport  # noqa: E402
from migration.estate import Estate, estate  # noqa: E402
from migration.managing import everything, manager_of  # noqa: E402
from opening import opened  # noqa: E402

TOOLS = 2000
ROUNDS = 3
KILLS = 12
RATIO_LIMIT = 1.5
SLICE = 400

_CHILD = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from migration.managing import manager_of
from opening import opened

async def main():
    async with opened(Path(sys.argv[2])) as ccos:
        async with manager_of(ccos, Path(sys.argv[3]), mode=sys.argv[4]) as manager:
            await manager.execute_migration()

asyncio.run(main())
"""


async def migrated(home: Path, folder: Path, **config: Any) -> tuple[MigrationReport, float]:
    """Migrate an estate in a home of its own; the report, and seconds."""
    async with opened(home) as ccos, manager_of(ccos, folder, **config) as manager:
        started = time.perf_counter()
        report = await manager.execute_migration()
        return report, time.perf_counter() - started


def said(what: str, report: MigrationReport, seconds: float, made: Estate) -> None:
    """One line of the table, after making sure that the counts are right."""
    state = report.state
    assert state.total_discovered == made.total, (state.total_discovered, made.total)
    assert state.total_discovered == (
        state.successfully_migrated + state.failed_migrations + state.skipped
    )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{what:<28} {state.successfully_migrated:>5} migrated {state.failed_migrations:>4} failed"
        f" {state.skipped:>5} skipped {seconds:>7.1f} s {state.total_discovered / seconds:>7.0f}/s"
        f" {memory:>5.0f} MB"
    )


async def modes(made: Estate, work: Path) -> None:
    """Every mode once, and everything taken back."""
    report, seconds = await migrated(work / "dry", made.folder, mode="DryRun")
    said("dry run", report, seconds, made)
    report, seconds = await migrated(
        work / "skip", made.folder, mode="Incremental", validation_mode="Skip"
    )
    said("incremental, unvalidated", report, seconds, made)
    report, seconds = await migrated(work / "incremental", made.folder, mode="Incremental")
    said("incremental", report, seconds, made)
    report, seconds = await migrated(
        work / "parallel",
        made.folder,
        mode="Incremental",
        enable_parallel_migration=True,
        max_concurrent_migrations=4,
    )
    said("incremental, 4 at once", report, seconds, made)
    async with opened(work / "full") as ccos:
        before = await everything(ccos, without=_JOURNAL)
        async with manager_of(
            ccos,
            made.folder,
            mode="Full",
            enable_parallel_migration=True,
            max_concurrent_migrations=4,
        ) as manager:
            started = time.perf_counter()
            report = await manager.execute_migration()
            said("full, 4 at once", report, time.perf_counter() - started, made)
            started = time.perf_counter()
            back = await manager.rollback_migration(report.migration_id)
            seconds = time.perf_counter() - started
        same = await everything(ccos, without=_JOURNAL) == before
        print(f"{'rollback of all':<28} {len(back):>5} tools {seconds:>33.1f} s; as before: {same}")
        assert same
        assert list(back) == made.good


_JOURNAL = {
    *("migrations", "migration_steps", "compiled_scripts", "script_usage", "workers"),
    *("audit_entries", "counters"),
}


async def ratio(work: Path) -> float:
    """How much faster two tools at once are than one, on tools that are sound."""
    folder = work / "sound"
    made = estate(folder, SLICE, huge=False, sound=True)
    speeds: dict[int, list[float]] = {1: [], 2: []}
    for number in range(ROUNDS):
        for at_once in (1, 2):
            home = work / f"ratio-{number}-{at_once}"
            report, seconds = await migrated(
                home,
                folder,
                enable_parallel_migration=at_once > 1,
                max_concurrent_migrations=at_once,
            )
            assert list(report.migrated_tools) == made.good
            speeds[at_once].append(report.state.total_discovered / seconds)
            shutil.rmtree(home)
    medians = {at_once: statistics.median(found) for at_once, found in speeds.items()}
    for at_once, found in speeds.items():
        listed = ", ".join(f"{one:.0f}" for one in found)
        print(f"{at_once} at once: {medians[at_once]:.0f} tools/s ({listed})")
    return medians[2] / medians[1]


async def smoke(work: Path) -> None:
    """What one waits for with 20 tools, beside what it may take."""
    made = estate(work / "twenty", 20, huge=False)
    figures: list[tuple[str, float, float]] = []

    async def timed(what: str, allowed: float, action: Any) -> None:
        started = time.perf_counter()
        await action()
        figures.append((what, time.perf_counter() - started, allowed))

    async with opened(work / "smoke") as ccos:
        async with manager_of(ccos, made.folder, mode="DryRun") as manager:
            await timed("dry run of 20", 5, manager.execute_migration)
        started = time.perf_counter()
        async with manager_of(ccos, made.folder) as manager:
            figures.append(("manager", time.perf_counter() - started, 3))
            await manager.execute_migration()
            await timed("statistics", 0.01, manager.get_migration_statistics)
            await timed("list", 0.05, manager.bridge().list_migrated_tools)
            await manager.bridge().validate_migration()
            await timed("validate", 0.1, manager.bridge().validate_migration)
    listed = ", ".join(
        f"{what} {s * 1000:.1f} ms (allowed {a * 1000:.0f})" for what, s, a in figures
    )
    print(listed)
    assert all(seconds <= allowed for _, seconds, allowed in figures)


async def kills(made: Estate, work: Path) -> None:
    """A migration is killed again and again, and comes to the same end."""
    home, chance, deaths = work / "killed", random.Random(7), 0
    tests = str(Path(__file__).parents[1] / "tests")
    command = [sys.executable, "-c", _CHILD, tests, str(home), str(made.folder), "Incremental"]
    for _ in range(KILLS):
        child = subprocess.Popen(command, start_new_session=True)
        time.sleep(chance.uniform(1.5, 6))
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            deaths += 1
        child.wait()
    report, _ = await migrated(home, made.folder)
    async with opened(home) as ccos, manager_of(ccos, made.folder) as manager:
        await manager.recover()
        tools = [one.original_name for one in await manager.bridge().list_migrated_tools()]
        checked = await manager.bridge().validate_migration()
        unfinished = await manager.bridge().migrator.journal.unfinished()
    print(
        f"killed {deaths} times: {len(tools)} of {len(made.good)} tools there, all whole: "
        f"{checked.valid}, unfinished: {len(unfinished)}"
    )
    assert tools == made.good
    assert checked.valid, checked.issues[:5]
    assert not unfinished
    assert report.state.phase is MigrationPhase.COMPLETED


async def main(count: int) -> int:
    """Measure, and say whether the bound is kept."""
    print(f"Python {platform.python_version()}, {os.cpu_count()} processors")
    work = Path(tempfile.mkdtemp(prefix="ccos-migration-"))
    try:
        made = estate(work / "estate", count)
        print(f"{made.total} tools, {sum(made.broken.values())} of them broken")
        reached = await ratio(work)
        print(f"2 at once to 1: {reached:.2f} (at least {RATIO_LIMIT})")
        await smoke(work)
        await modes(made, work)
        await kills(made, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if reached < RATIO_LIMIT:
        print("OUT OF BOUNDS")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else TOOLS)))
