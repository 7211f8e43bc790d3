"""What the script engine costs beside a bare interpreter pool, measured in one run.

Prints medians: compiling cold and cached, a warm execution, a host call, a thousand executions at
concurrency 1, 8 and 64, and the memory of an idle worker. Policy, budget, events and audit are on.
Two bounds are checked: a warm execution takes at most 0.15 ms more than bare `pydantic_monty`, and
at concurrency 64 the engine reaches at least 0.6 of its throughput. Exit code 1 if one is missed.

Run with `python benchmarks/engine.py [--json]`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pydantic_monty as monty

import ccos.assembly
from ccos.engine.executions import CompilationContext, ExecutionContext
from ccos.engine.service import ScriptEngine

ALLOWED_EXTRA_MS = 0.15
ALLOWED_THROUGHPUT = 0.6
RUNS = 1000
WORKERS = 4
SOURCE = """
def main(n):
    total = 0
    for number in range(n):
        total += number
    return {"total": total}
"""
BARE = SOURCE + "\nmain(**__arguments__)"
ARGUMENTS = {"n": 10}
HOST_CALLS = """
from crucible.basic import math_abs

def main(n):
    for number in range(n):
        math_abs(number)
"""


def bare_run(pool: monty.Monty) -> None:
    limits: monty.ResourceLimits = {
        "max_memory": 50 * 2**20,
        "max_feed_duration_secs": 5.0,
        "max_recursion_depth": 1000,
    }
    with pool.checkout(limits=limits) as session:
        session.feed_run(BARE, inputs={"__arguments__": ARGUMENTS})


def milliseconds(work: Callable[[], object], runs: int = RUNS) -> float:
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


async def milliseconds_async(work: Callable[[], Awaitable[object]], runs: int = RUNS) -> float:
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        await work()
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


def bare_throughput(pool: monty.Monty, concurrency: int) -> float:
    with ThreadPoolExecutor(concurrency) as threads:
        started = time.perf_counter()
        list(threads.map(lambda _: bare_run(pool), range(RUNS)))
        return RUNS / (time.perf_counter() - started)


async def throughput(work: Callable[[], Awaitable[object]], concurrency: int) -> float:
    places = asyncio.Semaphore(concurrency)

    async def one() -> None:
        async with places:
            await work()

    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(RUNS)))
    return RUNS / (time.perf_counter() - started)


async def compile_times(engine: ScriptEngine) -> tuple[float, float]:
    numbers = iter(range(10**9))

    async def cold() -> None:
        await engine.compile_script(f"{SOURCE}# {next(numbers)}\n")

    async def cached() -> None:
        await engine.compile_script(SOURCE)

    return await milliseconds_async(cold, 100), await milliseconds_async(cached)


async def measure(engine: ScriptEngine, pool: monty.Monty) -> dict[str, Any]:
    cold, cached = await compile_times(engine)
    script = (await engine.compile_script(SOURCE, CompilationContext())).script_id
    calling = (await engine.compile_script(HOST_CALLS)).script_id

    def execution(identity: str, n: int) -> Callable[[], Awaitable[object]]:
        async def run() -> None:
            context = ExecutionContext(function="main", arguments={"n": n})
            result = await engine.execute_script(identity, context)
            assert result.success, result.error

        return run

    run = execution(script, 10)
    await milliseconds_async(run, 50)
    milliseconds(lambda: bare_run(pool), 50)
    rounds = [
        (milliseconds(lambda: bare_run(pool), RUNS // 4), await milliseconds_async(run, RUNS // 4))
        for _ in range(4)
    ]
    bare = statistics.median(one for one, _ in rounds)
    warm = statistics.median(one for _, one in rounds)
    none = await milliseconds_async(execution(calling, 0), 100)
    many = await milliseconds_async(execution(calling, 100), 50)
    figures: dict[str, Any] = {
        "compile_cold_ms": cold,
        "compile_cached_ms": cached,
        "bare_warm_ms": bare,
        "warm_ms": warm,
        "extra_ms": warm - bare,
        "host_call_ms": (many - none) / 100,
    }
    for concurrency in (1, 8, 64):
        # What was imported and compiled before is dealt with before, not by chance in between.
        gc.collect()
        ours = await throughput(run, concurrency)
        gc.collect()
        theirs = await asyncio.to_thread(bare_throughput, pool, concurrency)
        figures[f"per_second_at_{concurrency}"] = ours
        figures[f"bare_per_second_at_{concurrency}"] = theirs
        figures[f"ratio_at_{concurrency}"] = ours / theirs
    usage = await engine.get_resource_usage()
    figures["memory_per_worker_mb"] = usage.memory_bytes / max(1, usage.workers) / 2**20
    return figures


async def main() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home, monty.Monty(max_processes=WORKERS) as pool:
        async with ccos.assembly.open(home=Path(home), work=False) as opened:
            return await measure(opened.script_engine, pool)


if __name__ == "__main__":
    figures = asyncio.run(main())
    kept = figures["extra_ms"] <= ALLOWED_EXTRA_MS and figures["ratio_at_64"] >= ALLOWED_THROUGHPUT
    if "--json" in sys.argv:
        print(json.dumps(figures | {"kept": kept, "processors": psutil.cpu_count()}, indent=2))
    else:
        for name, figure in figures.items():
            print(f"{name:28} {figure:10.3f}")
        print("within bounds" if kept else "OUT OF BOUNDS")
    sys.exit(0 if kept else 1)
