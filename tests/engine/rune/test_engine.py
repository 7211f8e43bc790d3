"""Rune through the script engine: what holds for Python holds for it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ccos.engine.budget import Allowance, Budget, Dimension
from ccos.engine.executions import (
    ChunkType,
    CompilationContext,
    ExecutionContext,
    ExecutionResult,
    ExecutionStatus,
)
from ccos.engine.policy import SecurityLevel, SecurityPolicy, level_policy
from ccos.engine.scripts import ScriptTool
from ccos.engine.service import ScriptEngine
from ccos.errors import ConfigurationError
from opening import opened

pytestmark = pytest.mark.anyio

SAFE = level_policy(SecurityLevel.SAFE)
PRODUCTION = level_policy(SecurityLevel.PRODUCTION)
SPIN = "pub fn main() { loop {} }"
TOOL = """
pub fn NAME() { "adder" }
pub async fn call(args) {
    let total = 0;
    for n in args.numbers { total += n }
    println!("added {}", args.numbers.len());
    #{total}
}
"""


@pytest.fixture
async def engine(anyio_backend: str, tmp_path: Path, program: Path) -> AsyncIterator[ScriptEngine]:
    async with opened(tmp_path / "home") as ccos:
        yield ccos.script_engine


async def run(
    engine: ScriptEngine, source: str, policy: SecurityPolicy = SAFE, **context: Any
) -> ExecutionResult:
    return await engine.execute_script_source(
        source, ExecutionContext(**context), CompilationContext(name="it.rn", policy=policy)
    )


def failed(result: ExecutionResult) -> tuple[ExecutionStatus, str, Any]:
    assert result.error is not None, result
    return result.status, result.error.code, result.error.details.get("limit")


def workers() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "rune" in one.name()]


async def test_a_tool_runs_and_says_what_it_printed(engine: ScriptEngine) -> None:
    result = await run(engine, TOOL, arguments={"numbers": [1, 2, 3]})
    assert (result.value, result.stdout, result.error) == ({"total": 6}, "added 3\n", None)
    named = await run(engine, TOOL, function="call", arguments={"args": {"numbers": [4]}})
    assert named.value == {"total": 4}


async def test_the_ending_of_a_name_or_the_language_itself_tells_that_it_is_rune(
    engine: ScriptEngine,
) -> None:
    for name, language in [("a.rn", None), ("a.RUNE", None), ("a", "rune")]:
        made = await engine.compile_script(TOOL, CompilationContext(name=name, language=language))
        assert made.language.name == "rune"
        assert made.compiled.exports["call"] == ("args",)


async def test_what_was_compiled_runs_in_the_next_process(tmp_path: Path, program: Path) -> None:
    async with opened(tmp_path / "home") as ccos:
        made = await ccos.script_engine.compile_script(TOOL, CompilationContext(name="a.rn"))
    async with opened(tmp_path / "home") as ccos:
        result = await ccos.script_engine.execute_script(
            made.script_id, ExecutionContext(arguments={"numbers": [1]})
        )
        assert result.value == {"total": 1}


async def test_output_streams_while_the_script_runs(engine: ScriptEngine) -> None:
    source = 'pub fn main() { println!("first"); for n in 0..10000000 {} println!("last"); 7 }'
    made = await engine.compile_script(source, CompilationContext(name="a.rn", policy=PRODUCTION))
    said = [
        (time.monotonic(), chunk.data)
        async for chunk in engine.execute_script_stream(made.script_id, ExecutionContext())
        if chunk.type in (ChunkType.STDOUT, ChunkType.RESULT)
    ]
    assert "".join(data for _, data in said[:-1]) == "first\nlast\n"
    assert said[1][0] - said[0][0] > 0.05


async def test_what_the_worker_measures_is_told(engine: ScriptEngine) -> None:
    small, large = [
        (
            await run(
                engine, f"pub fn main() {{ let v = []; for n in 0..{n} {{ v.push(n); }} v.len() }}"
            )
        )
        for n in (10, 100_000)
    ]
    assert (small.value, large.value) == (10, 100_000)
    before, after = small.statistics.measured, large.statistics.measured
    assert before.memory_peak_bytes is not None
    assert after.memory_peak_bytes is not None
    assert after.memory_peak_bytes > 1_000_000 > before.memory_peak_bytes > 100
    assert 0 < (after.compute_seconds or 0) <= large.seconds
    assert large.statistics.as_dict()["memory_peak_bytes"] == after.memory_peak_bytes
    raised = await run(engine, 'pub fn main() { panic!("no") }')
    assert raised.statistics.measured.memory_peak_bytes is not None


async def test_instructions_are_told_where_they_ran_out(
    engine: ScriptEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ccos.engine.rune.session.INSTRUCTIONS_PER_SECOND", 1000)
    result = await run(engine, SPIN)
    instructions = result.statistics.measured.instructions
    assert instructions is not None
    assert failed(result)[2] == "time"
    assert result.error is not None
    assert f"more than {instructions} instructions" in result.error.message


async def test_a_call_that_is_not_awaited_is_warned_of(engine: ScriptEngine) -> None:
    source = """pub async fn main() {
    crucible::http_get("https://example.org");
    let kept = crucible::http_get("https://example.org");
    7
}"""
    made = await engine.compile_script(source, CompilationContext(name="a.rn", policy=PRODUCTION))
    [warning] = made.compiled.warnings
    assert (warning.code, warning.line, warning.column) == ("not-awaited", 2, 5)
    assert "Write .await after the call" in warning.message
    result = await engine.execute_script(made.script_id, ExecutionContext())
    assert (result.value, result.statistics.system_calls) == (7, 0)
    told = "crucible::http::http_get was called without .await, so nothing came of it.\n"
    assert result.stderr == f"WARN a.rn: {told}" * 2
    awaited = source.replace('org")', 'org").await')
    made = await engine.compile_script(awaited, CompilationContext(name="a.rn", policy=PRODUCTION))
    assert made.compiled.warnings == ()


async def test_progress_and_logs_are_told(engine: ScriptEngine) -> None:
    source = """
    use crucible::basic;
    pub fn main() { basic::report_progress(0.5, "half"); basic::log_warn("careful") }
    """
    made = await engine.compile_script(source, CompilationContext(name="a.rn"))
    chunks = [one async for one in engine.execute_script_stream(made.script_id, ExecutionContext())]
    progress = [one.data for one in chunks if one.type is ChunkType.PROGRESS]
    assert progress == [{"fraction": 0.5, "message": "half"}]
    assert [one.data for one in chunks if one.type is ChunkType.STDERR] == ["WARN careful\n"]


async def test_cancelling_ends_the_worker(engine: ScriptEngine) -> None:
    made = await engine.compile_script(SPIN, CompilationContext(name="a.rn"))
    context = ExecutionContext(execution_id="spinning")
    running = asyncio.create_task(engine.execute_script(made.script_id, context))
    while not (busy := [one for one in workers() if sum(one.cpu_times()[:2]) > 0.2]):
        await asyncio.sleep(0.05)
    assert not running.done()
    assert await engine.cancel_execution("spinning")
    assert (await running).status is ExecutionStatus.CANCELLED
    assert not any(one.is_running() for one in busy)
    assert (await run(engine, TOOL, arguments={"numbers": []})).success


async def test_the_clock_on_the_wall_stops_one_that_computes_and_one_that_waits(
    engine: ScriptEngine,
) -> None:
    result = await run(engine, SPIN, level_policy(SecurityLevel.DEVELOPMENT), timeout=0.3)
    assert failed(result)[:2] == (ExecutionStatus.TIMEOUT, "CCOS-SCRIPT-TIMEOUT")
    waits = """
    pub async fn main() { crucible::process::process_exec("sleep", ["30"]).await }
    """
    result = await run(engine, waits, level_policy(SecurityLevel.DEVELOPMENT), timeout=0.5)
    assert failed(result)[:2] == (ExecutionStatus.TIMEOUT, "CCOS-SCRIPT-TIMEOUT")
    assert result.seconds < 5


async def test_computing_is_bounded_by_its_share_of_the_time(engine: ScriptEngine) -> None:
    result = await run(engine, SPIN, timeout=0.6)
    assert failed(result) == (ExecutionStatus.FAILED, "CCOS-SCRIPT-RESOURCE", "time")


async def test_memory_is_bounded(engine: ScriptEngine) -> None:
    grows = "pub fn main() { let v = []; loop { v.push([1, 2, 3]) } }"
    result = await run(engine, grows)
    assert failed(result) == (ExecutionStatus.FAILED, "CCOS-SCRIPT-RESOURCE", "memory")
    holds = "pub fn main() { let v = []; for n in 0..100000 { v.push(n) } v.len() }"
    assert (await run(engine, holds)).value == 100_000


async def test_output_is_bounded_and_what_was_said_before_is_kept(engine: ScriptEngine) -> None:
    result = await run(engine, 'pub fn main() { loop { println!("text") } }')
    assert failed(result) == (ExecutionStatus.FAILED, "CCOS-SCRIPT-RESOURCE", "output")
    assert result.stdout.startswith("text\ntext\n")


async def test_a_budget_is_counted(engine: ScriptEngine) -> None:
    budget = Budget({Dimension.HOST_CALLS: Allowance(10)})
    source = "pub fn call(args) { for n in 0..args.n { crucible::math_abs(n) } args.n }"
    assert (await run(engine, source, arguments={"n": 10}, budget=budget)).value == 10
    result = await run(engine, source, arguments={"n": 11}, budget=budget)
    assert failed(result)[1] == "CCOS-BUDGET-EXHAUSTED"


async def test_a_capability_is_refused_to_a_script_with_the_way_to_call_it(
    engine: ScriptEngine,
) -> None:
    source = 'pub async fn main() { ccos::call("weather.current", #{}).await? }'
    result = await run(engine, source)
    assert result.error is not None
    assert "Capabilities are called by plans" in result.error.message


async def test_a_script_is_offered_as_a_tool(engine: ScriptEngine) -> None:
    made = await engine.compile_script(TOOL, CompilationContext(name="adder.rn"))
    tool = ScriptTool(
        name="adder", description="Adds numbers.", script_id=made.script_id, function_name="call"
    )
    await engine.register_tool(tool)
    found = await engine.get_script_tool("adder")
    context = ExecutionContext(
        function=found.function_name, arguments={"args": {"numbers": [1, 2]}}
    )
    assert (await engine.execute_script(found.script_id, context)).value == {"total": 3}


async def test_a_check_names_the_levels_at_which_it_may_run(engine: ScriptEngine) -> None:
    source = 'pub async fn main() { crucible::http::http_get("http://x").await? }'
    found = await engine.validate_source_security(
        source, CompilationContext(name="a.rn", policy=SAFE)
    )
    assert not found.valid
    assert [level.value for level in found.levels] == ["development", "production"]
    assert found.modules == {"crucible.http"}


async def test_executions_side_by_side_do_not_meet(engine: ScriptEngine) -> None:
    source = "pub fn call(args) { let o = #{n: args.n}; for _ in 0..1000 { o.n += 1 } o.n }"
    made = await engine.compile_script(source, CompilationContext(name="a.rn"))

    async def one(n: int) -> Any:
        context = ExecutionContext(arguments={"n": n})
        return (await engine.execute_script(made.script_id, context)).value

    assert await asyncio.gather(*map(one, range(50))) == [n + 1000 for n in range(50)]


async def test_without_a_worker_the_error_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCOS_RUNE_WORKER", "/nowhere/ccos-rune-worker")
    async with opened(tmp_path / "home") as ccos:
        with pytest.raises(ConfigurationError) as caught:
            await run(ccos.script_engine, TOOL)
        assert "pip install ccos-rune" in caught.value.next_step
        # What is not Rune does not care.
        result = await ccos.script_engine.execute_script_source("6 * 7")
        assert result.value == 42


def test_the_command_line_runs_it(tmp_path: Path, program: Path) -> None:
    script = tmp_path / "tool.rn"
    script.write_text(TOOL)
    command = [sys.executable, "-m", "ccos", "script", "run"]
    done = subprocess.run(
        [*command, str(script), "--arguments", '{"numbers": [1, 2]}'],
        capture_output=True,
        env=os.environ | {"CCOS_HOME": str(tmp_path / "home")},
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"total": 3' in done.stdout
    assert "added 2" in done.stdout
