"""Scripts in RTFS under the engine: run, streamed, stopped, limited and recorded as any other."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

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
from ccos.engine.service import ScriptEngine
from ccos.events import EventType
from opening import opened, until

pytestmark = pytest.mark.anyio

SAFE = level_policy(SecurityLevel.SAFE)
PRODUCTION = level_policy(SecurityLevel.PRODUCTION)


async def run(
    service: ScriptEngine, source: str, policy: SecurityPolicy = SAFE, **context: Any
) -> ExecutionResult:
    return await service.execute_script_source(
        source,
        ExecutionContext(**context),
        CompilationContext(name="it.rtfs", policy=policy),
    )


def failed(result: ExecutionResult) -> tuple[str, Any, Any]:
    assert result.error is not None, result
    details = result.error.details
    return result.error.code, details.get("kind"), details.get("line")


async def test_a_script_computes_prints_and_asks_the_host(tmp_path: Path) -> None:
    source = """
      (println "out" {:n 1})
      (log "said")
      {:abs (call :crucible.basic/math_abs -3)
       :named (call :crucible.basic/string-join {:parts ["a" "b"] :delimiter "-"})
       :pairs (call "crucible.basic.string_split" :s "a,b" :delimiter ",")
       :both (step-parallel (call :crucible.basic/math-abs -1) (+ 1 1))
       :now (> (current-time-millis) 1600000000000)
       :given [@who (context/get :none 7)]}"""
    async with opened(tmp_path) as ccos:
        result = await run(ccos.script_engine, source, arguments={"who": "me"})
        assert result.error is None
        assert result.value == {
            "abs": 3,
            "named": "a-b",
            "pairs": ["a", "b"],
            "both": [1, 2],
            "now": True,
            "given": ["me", 7],
        }
        assert (result.stdout, result.stderr) == ('out {"n": 1}\n', "INFO said\n")
        assert result.statistics.host_calls == {
            "crucible.basic.math_abs": 2,
            "crucible.basic.string_join": 1,
            "crucible.basic.string_split": 1,
        }


async def test_a_function_takes_its_arguments_by_name(tmp_path: Path) -> None:
    source = "(defn total [a & more] (reduce + a more)) (defn two ([a] a) ([a b] b))"
    async with opened(tmp_path) as ccos:
        service = ccos.script_engine
        result = await run(service, source, function="total", arguments={"a": 1, "more": [2, 3]})
        assert result.value == 6
        assert (await run(service, source, function="total", arguments={"a": 1})).value == 1
        for arguments in ({}, {"a": 1, "b": 2}, {"a": 1, "more": 2}):
            result = await run(service, source, function="total", arguments=arguments)
            assert failed(result)[:2] == ("CCOS-SCRIPT-RAISED", "ArityMismatch")
        for function in ("none", "two"):
            result = await run(service, source, function=function)
            assert failed(result)[:2] == ("CCOS-SCRIPT-RAISED", "UndefinedSymbol")


async def test_an_error_has_its_place_in_the_text(tmp_path: Path) -> None:
    source = '(println "before")\n(defn f [n]\n  (/ 10 n))\n(map f [1 0])'
    async with opened(tmp_path) as ccos:
        result = await run(ccos.script_engine, source)
        assert failed(result) == ("CCOS-SCRIPT-RAISED", "DivisionByZero", 3)
        assert "it.rtfs, line 3, column 3: DivisionByZero" in str(result.error)
        assert result.stdout == "before\n"
        # The second run uses the unit that was kept of the first.
        assert failed(await run(ccos.script_engine, source)) == failed(result)
        result = await run(ccos.script_engine, '\n(throw {:type :low :message "m" :data [1]})')
        assert result.error is not None
        assert result.error.details == {
            "kind": "ApplicationError",
            "type": "low",
            "data": [1],
            "line": 2,
            "column": 1,
        }


@pytest.mark.parametrize(
    ("source", "context", "limit"),
    [
        ("(loop [] (recur))", {"timeout": 0.3}, "time"),
        ("(loop [x [1]] (recur (concat x x)))", {}, "interpreter"),
        ("(defn f [n] (+ 1 (f n))) (f 1)", {"timeout": 20}, "any"),
        (
            "(loop [i 0] (call :crucible.basic/math-abs i) (recur (inc i)))",
            {"budget": Budget({Dimension.HOST_CALLS: Allowance(5)})},
            "budget.host_calls",
        ),
    ],
    ids=["time", "memory", "recursion", "host calls"],
)
async def test_limits_hold(tmp_path: Path, source: str, context: Any, limit: str) -> None:
    async with opened(tmp_path) as ccos:
        result = await run(ccos.script_engine, source, **context)
        assert not result.success
        assert result.error is not None
        if result.status is not ExecutionStatus.TIMEOUT:
            assert result.error.code in ("CCOS-SCRIPT-RESOURCE", "CCOS-BUDGET-EXHAUSTED")
            assert limit in ("any", result.error.details["limit"])
        assert (await run(ccos.script_engine, "(reduce + (range 1000))")).value == 499_500


async def test_deep_recursion_is_no_limit(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        source = "(defn f [n] (if (= n 0) 0 (+ 1 (f (- n 1))))) (f 5000)"
        assert (await run(ccos.script_engine, source)).value == 5000


async def test_a_script_is_cancelled_while_it_computes_and_while_it_waits(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        service = ccos.script_engine
        for source in ("(loop [] (recur))", "(thread/sleep 60000)"):
            task = asyncio.create_task(run(service, source, execution_id="one", timeout=60))

            async def runs() -> bool:
                return bool(service._executions.active)

            await until(runs)
            await asyncio.sleep(0.05)
            assert await service.cancel_execution("one")
            assert (await task).status is ExecutionStatus.CANCELLED
        assert (await run(service, "(thread/sleep 1)")).success


async def test_a_stream_tells_output_as_it_comes_and_the_result_at_the_end(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        service = ccos.script_engine
        context = CompilationContext(name="it.rtfs", policy=SAFE)
        made = await service.compile_script(
            '(println "a") (thread/sleep 1) (println "b") 3', context
        )
        chunks = [one async for one in service.execute_script_stream(made.script_id)]
        told = [one.data for one in chunks if one.type is ChunkType.STDOUT]
        assert told == ["a\n", "b\n"]
        assert chunks[-1].data.value == 3


async def test_no_call_of_a_capability_leaves_a_script(tmp_path: Path) -> None:
    source = '(try (call :weather/current :city "x") (catch SecurityViolation e (:kind e)))'
    async with opened(tmp_path) as ccos:
        await ccos.register("weather.current", lambda city: city)
        assert (await run(ccos.script_engine, source)).value == "security-violation"
        result = await run(ccos.script_engine, "(call (str :weather.current))")
        assert failed(result)[:2] == ("CCOS-SCRIPT-SECURITY", "SecurityViolation")
        # Arguments that do not fit a host function are an error that a program can catch.
        wrong = '(try (call :crucible.basic/math-abs "x") (catch TypeValidationError e 1))'
        assert (await run(ccos.script_engine, wrong)).value == 1


async def test_steps_are_told_and_executions_are_on_the_audit_trail(tmp_path: Path) -> None:
    kinds = (EventType.STEP_STARTED, EventType.STEP_COMPLETED, EventType.STEP_LOGGED)
    async with opened(tmp_path) as ccos:
        told = ccos.events.subscribe(kinds)
        source = '(step "outer" (step :inner 1)) (step :info "hello" {:n 1})'
        result = await run(ccos.script_engine, source)
        assert result.stderr == "INFO hello\n"
        told.close()
        seen = [one async for one in told]
        assert [(one.type.value, one.data.get("label")) for one in seen] == [
            ("step_started", "outer"),
            ("step_started", "inner"),
            ("step_completed", "inner"),
            ("step_completed", "outer"),
            ("step_logged", None),
        ]
        assert seen[1].data["steps"] == ["outer", "inner"]
        await ccos.script_engine.get_execution_stats()
        entries = [
            one
            for one in await ccos.audit.tail(100)
            if one.execution_id == result.execution_id and one.event_type == "script_executed"
        ]
        assert len(entries) == 1


async def test_the_kind_of_script_is_told_by_its_name_or_its_language(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        service = ccos.script_engine
        context = CompilationContext(name="noname", language="rtfs")
        result = await service.execute_script_source("(+ 1 2)", None, context)
        assert result.value == 3
        assert [one.name for one in await service.list_scripts(language="rtfs")] == ["noname"]
