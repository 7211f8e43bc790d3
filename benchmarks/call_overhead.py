"""What a call costs with policy and audit on, and what parking and resuming costs.

Two ratios are printed, each against a peer that runs in the same process at the same time:

* a registered local capability against the same function behind fastmcp's in-memory client;
* park plus resume of a plan against one synced SQLite commit.

Exit status 1 if a median is above its limit. Run it with ``make bench``.
"""

from __future__ import annotations

import asyncio
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path

import ccos
from ccos import EffectType
from ccos.config import load_settings

ROUNDS = 400
CALL_LIMIT = 0.7
PARK_LIMIT = 12.0


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def add_async(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def microseconds(action: Callable[[], Awaitable[object]]) -> float:
    """How long one action takes."""
    started = time.perf_counter()
    await action()
    return (time.perf_counter() - started) * 1e6


def commit(connection: sqlite3.Connection) -> float:
    """How long one synced commit of one small row takes."""
    started = time.perf_counter()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO rows (text) VALUES (?)", ("x" * 200,))
    connection.execute("COMMIT")
    return (time.perf_counter() - started) * 1e6


def synced_database(path: Path) -> sqlite3.Connection:
    """A SQLite file in WAL mode that syncs every commit, as CCOS opens its own."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, text TEXT)")
    return connection


async def measure(home: Path) -> dict[str, list[float]]:
    """All series, their rounds interleaved so that each sees the same weather."""
    from fastmcp import Client, FastMCP

    server = FastMCP("peer")
    server.tool(add)
    settings = load_settings(
        environ={"CCOS_HOME": str(home), "CCOS_MISSING_CAPABILITY_ENABLED": "true"}
    ).settings
    times: dict[str, list[float]] = {
        name: []
        for name in ("fastmcp", "read-only call", "effectful call", "park", "resume", "commit")
    }
    raw = synced_database(home / "raw.sqlite")
    async with ccos.open(settings, work=False) as runtime, Client(server) as client:
        await runtime.register("bench.add", add_async, effect_type=EffectType.READ_ONLY)
        await runtime.register("bench.act", add_async)
        arguments = {"a": 1, "b": 2}
        for number in range(ROUNDS):
            times["fastmcp"].append(await microseconds(lambda: client.call_tool("add", arguments)))
            times["read-only call"].append(
                await microseconds(lambda: runtime.call("bench.add", arguments))
            )
            times["effectful call"].append(
                await microseconds(lambda: runtime.call("bench.act", arguments))
            )
            times["commit"].append(commit(raw))
            await park_and_resume(runtime, number, times)
    raw.close()
    return times


async def park_and_resume(runtime: ccos.Ccos, number: int, times: dict[str, list[float]]) -> None:
    """Park a plan on a capability that is missing, register it, and resume the plan."""
    name = f"late.number_{number}"
    started = time.perf_counter()
    parked = await runtime.run(f"await {name}(a=1, b=2)")
    times["park"].append((time.perf_counter() - started) * 1e6)
    assert isinstance(parked, ccos.Parked), parked
    await runtime.register(name, add_async, effect_type=EffectType.READ_ONLY)
    started = time.perf_counter()
    outcome = await runtime.runtime.resume(parked.execution_id)
    times["resume"].append((time.perf_counter() - started) * 1e6)
    assert isinstance(outcome, ccos.Completed), outcome


def main() -> int:
    """Measure, print, judge."""
    with tempfile.TemporaryDirectory() as folder:
        times = asyncio.run(measure(Path(folder)))
    skipped = ROUNDS // 10
    median = {name: statistics.median(series[skipped:]) for name, series in times.items()}
    print(
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"fastmcp {version('fastmcp')}, {ROUNDS} rounds, medians in microseconds"
    )
    for name, value in median.items():
        print(f"  {name:16} {value:8.0f}")
    call = median["read-only call"] / median["fastmcp"]
    effectful = median["effectful call"] / median["fastmcp"]
    park = (median["park"] + median["resume"]) / median["commit"]
    print(f"read-only call / fastmcp in memory: {call:.2f} (at most {CALL_LIMIT})")
    print(
        f"effectful call / fastmcp in memory: {effectful:.2f} (two synced commits; for information)"
    )
    print(f"park plus resume: {park:.1f} synced commits (at most {PARK_LIMIT:g})")
    return 0 if call <= CALL_LIMIT and park <= PARK_LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
