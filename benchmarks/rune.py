"""What Rune costs in the script engine, beside the bare worker and beside a plain Rust host.

Prints medians: a warm call of a small tool through the engine and through the bare worker, a host
call, a thousand calls at concurrency 16, and the processor time of a loop of ten million iterations
here and in the plainest host of Rune there can be: `native/rune-worker/examples/plain_host.rs`,
built with `cargo build --release --example plain_host`. Two bounds are checked: a warm call takes
at most 0.4 ms, and the loop at most 1.1 of the plain host's time. Exit code 1 if one is missed.

Run with `python benchmarks/rune.py [--json]`. Without the plain host its figures are left out.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil

import ccos.assembly
from ccos.engine.executions import CompilationContext, ExecutionContext
from ccos.engine.policy import SecurityLevel, level_policy
from ccos.engine.rune import Accepted, find_worker
from ccos.engine.rune.client import CallLimits, Declared, RuneWorker
from ccos.engine.service import ScriptEngine

ALLOWED_WARM_MS = 0.4
ALLOWED_LOOP = 1.1
RUNS = 1000
CONCURRENCY = 16
ROUNDS = 7
BUILT = Path(__file__).parents[1] / "native/rune-worker/target/release"
PLAIN_HOST = BUILT / "examples/plain_host"
PRODUCTION = level_policy(SecurityLevel.PRODUCTION)
TOOL = """
pub fn call(args) {
    let total = 0;
    for number in 0..args.n { total += number }
    #{total}
}
"""
LOOP = """
pub fn main() {
    let total = 0;
    for number in 0..10000000 { total += number % 7 }
    total
}
"""
HOST_CALLS = "pub fn call(args) { for n in 0..args.n { crucible::math_abs(n); } }"


def compiled(worker: RuneWorker, source: str) -> str:
    made = worker.compile(source, "it.rn", Declared())
    assert isinstance(made, Accepted), made
    return made.unit


def bare_call(worker: RuneWorker, unit: str, function: str, arguments: list[Any]) -> Any:
    limits = CallLimits(10**12, 50 * 2**20)
    worker.begin(
        worker.encoded_call(unit, function, arguments, seed="", limits=limits), seconds=60.0
    )
    return worker.event(60.0).value("value")


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


async def execution(
    engine: ScriptEngine, source: str, arguments: dict[str, Any]
) -> Callable[[], Awaitable[object]]:
    context = CompilationContext(name="it.rn", policy=PRODUCTION)
    identity = (await engine.compile_script(source, context)).script_id

    async def run() -> None:
        result = await engine.execute_script(identity, ExecutionContext(arguments=arguments))
        assert result.success, result.error

    return run


async def calls(engine: ScriptEngine, worker: RuneWorker) -> dict[str, float]:
    run = await execution(engine, TOOL, {"n": 10})
    unit = compiled(worker, TOOL)

    def bare() -> object:
        return bare_call(worker, unit, "call", [{"n": 10}])

    await milliseconds_async(run, 100)
    milliseconds(bare, 100)
    rounds = [
        (milliseconds(bare, RUNS // 4), await milliseconds_async(run, RUNS // 4)) for _ in range(4)
    ]
    few = await milliseconds_async(await execution(engine, HOST_CALLS, {"n": 0}), 100)
    many = await milliseconds_async(await execution(engine, HOST_CALLS, {"n": 100}), 30)
    places = asyncio.Semaphore(CONCURRENCY)

    async def one() -> None:
        async with places:
            await run()

    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(RUNS)))
    seconds = time.perf_counter() - started
    return {
        "bare_warm_ms": statistics.median(one for one, _ in rounds),
        "warm_ms": statistics.median(one for _, one in rounds),
        "host_call_ms": (many - few) / 100,
        f"seconds_for_{RUNS}_at_{CONCURRENCY}": seconds,
    }


def processor_ms(process: int) -> float:
    """What a process has computed so far, its threads together."""
    times = psutil.Process(process).cpu_times()
    return 1000 * (times.user + times.system)


def plain_loop(script: Path) -> float:
    """Processor time of the plain host from its start to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([PLAIN_HOST, script], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


async def loops(engine: ScriptEngine, worker: RuneWorker) -> dict[str, float]:
    """Processor time, which does not depend on who else computes; rounds take turns."""
    run = await execution(engine, LOOP, {})
    unit = compiled(worker, LOOP)
    await run()
    bare, through, plain = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "loop.rn"
        script.write_text(LOOP)
        for _ in range(ROUNDS):
            before = processor_ms(worker.pid)
            bare_call(worker, unit, "main", [])
            bare.append(processor_ms(worker.pid) - before)
            before = sum(map(processor_ms, engine_workers(worker)))
            await run()
            through.append(sum(map(processor_ms, engine_workers(worker))) - before)
            if PLAIN_HOST.exists():
                plain.append(await asyncio.to_thread(plain_loop, script))
    figures = {
        "loop_bare_ms": statistics.median(bare),
        "loop_ms": statistics.median(through),
    }
    if plain:
        figures["loop_plain_ms"] = statistics.median(plain)
        figures["loop_ratio"] = figures["loop_ms"] / figures["loop_plain_ms"]
    return figures


def engine_workers(bare: RuneWorker) -> list[int]:
    """Process ids of the workers of the engine."""
    children = psutil.Process().children()
    return [one.pid for one in children if "rune" in one.name() and one.pid != bare.pid]


async def measure() -> dict[str, float]:
    worker = await asyncio.to_thread(RuneWorker, find_worker())
    try:
        with tempfile.TemporaryDirectory() as home:
            async with ccos.assembly.open(home=Path(home), work=False) as opened:
                engine = opened.script_engine
                return await calls(engine, worker) | await loops(engine, worker)
    finally:
        worker.close()


if __name__ == "__main__":
    if "CCOS_RUNE_WORKER" not in os.environ and (BUILT / "ccos-rune-worker").exists():
        os.environ["CCOS_RUNE_WORKER"] = str(BUILT / "ccos-rune-worker")
    figures = asyncio.run(measure())
    kept = figures["warm_ms"] <= ALLOWED_WARM_MS
    kept = kept and figures.get("loop_ratio", 0.0) <= ALLOWED_LOOP
    if "--json" in sys.argv:
        print(json.dumps(figures | {"kept": kept, "processors": psutil.cpu_count()}, indent=2))
    else:
        for name, figure in figures.items():
            print(f"{name:28} {figure:10.3f}")
        print("within bounds" if kept else "OUT OF BOUNDS")
    sys.exit(0 if kept else 1)
