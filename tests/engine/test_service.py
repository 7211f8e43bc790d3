"""The engine as a service: its life, its scripts and tools, its settings and its figures."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from ccos.assembly import Ccos
from ccos.engine.cache import CacheConfig
from ccos.engine.executions import CompilationContext, ExecutionContext
from ccos.engine.health import ServiceStatus
from ccos.engine.limits import ResourceLimits, ScriptEngineConfig
from ccos.engine.policy import MIB, SecurityLevel
from ccos.engine.scripts import ScriptTool, script_id
from ccos.engine.service import ScriptEngine
from ccos.errors import (
    CompilationError,
    ConfigurationError,
    EngineBusyError,
    EngineStoppedError,
    ScriptConflictError,
    ScriptNotFoundError,
    ScriptToolNotFoundError,
    SecurityViolationError,
)
from ccos.events import Event, EventType
from opening import happened, opened, until

from .engines import FILES, PRODUCTION, SAFE, SLEEP, SPIN, another, code, run

pytestmark = pytest.mark.anyio

MAIN = "def main(n):\n    return n + 1"
JSON = "from crucible.json import json_parse\njson_parse('[1]')"


@pytest.fixture
async def ccos(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Ccos]:
    async with opened(tmp_path / "home") as one:
        yield one


@pytest.fixture
def engine(ccos: Ccos) -> ScriptEngine:
    return ccos.script_engine


def under(policy: Any, **context: Any) -> CompilationContext:
    return CompilationContext(policy=policy, **context)


async def asleep(engine: ScriptEngine, *names: str, policy: Any = SAFE) -> list[asyncio.Task[Any]]:
    """Executions that run until they are cancelled."""
    before = (await engine.get_resource_usage()).active_executions
    tasks = [asyncio.create_task(run(engine, SLEEP, policy, execution_id=one)) for one in names]

    async def all_run() -> bool:
        active = (await engine.get_resource_usage()).active_executions
        return active == before + len(names)

    await until(all_run)
    return tasks


# Life.


async def test_starting_and_stopping_twice_is_harmless(ccos: Ccos, engine: ScriptEngine) -> None:
    assert engine.is_running()
    await engine.start()
    assert len(await happened(ccos, EventType.SERVICE_STARTED)) == 1
    await engine.stop()
    await engine.stop()
    assert not engine.is_running()
    assert len(await happened(ccos, EventType.SERVICE_STOPPED)) == 1


async def test_a_stopped_engine_executes_nothing_and_a_restarted_one_does(
    ccos: Ccos, engine: ScriptEngine
) -> None:
    identity = (await engine.compile_script("1")).script_id
    await engine.stop()
    for refused in (
        engine.execute_script(identity),
        engine.execute_script_source("1"),
        engine.compile_script("1"),
        engine.precompile_script(identity),
        anext(aiter(engine.execute_script_stream(identity))),
    ):
        with pytest.raises(EngineStoppedError) as caught:
            await refused
        assert caught.value.code == "CCOS-ENGINE-STOPPED"
    await engine.restart()
    assert (await engine.execute_script(identity)).value == 1
    assert len(await happened(ccos, EventType.SERVICE_RESTARTED)) == 1


async def test_stopping_cancels_what_runs_and_waits_for_it(engine: ScriptEngine) -> None:
    tasks = await asleep(engine, "a", "b")
    async with asyncio.timeout(5):
        await engine.stop()
        results = await asyncio.gather(*tasks)
    assert [result.status for result in results] == ["cancelled", "cancelled"]


async def test_an_engine_that_is_switched_off_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path, CCOS_SCRIPT_ENGINE_ENABLED="false") as ccos:
        assert not ccos.script_engine.is_running()
        with pytest.raises(EngineStoppedError):
            await run(ccos, "1")


# Compiling.


async def test_equal_text_is_one_script_and_another_policy_makes_another(
    engine: ScriptEngine,
) -> None:
    first = await engine.compile_script(MAIN)
    again = await engine.compile_script(MAIN, CompilationContext(name="other.py"))
    other = await engine.compile_script(MAIN, under(PRODUCTION))
    assert first.script_id == again.script_id != other.script_id
    assert first.script_id == script_id(MAIN, "python", {"policy": SAFE.options()})
    assert (first.cached, again.cached, other.cached) == (False, True, False)
    assert first.seconds > 0
    assert first.as_dict()["exports"] == {"main": ["n"]}


async def test_a_file_is_compiled_by_its_ending(engine: ScriptEngine, tmp_path: Path) -> None:
    path = tmp_path / "tool.py"
    path.write_text(MAIN)
    made = await engine.compile_script_file(path)
    assert (made.script.name, made.language.name) == ("tool.py", "python")
    assert made.script_id == (await engine.compile_script(MAIN)).script_id


async def test_a_file_that_is_no_text_or_not_there_is_refused(
    engine: ScriptEngine, tmp_path: Path
) -> None:
    (tmp_path / "bad.py").write_bytes(b"x = '\xff'")
    with pytest.raises(CompilationError, match=r"not UTF-8 text \(byte 5\)"):
        await engine.compile_script_file(tmp_path / "bad.py")
    with pytest.raises(CompilationError, match="cannot be read"):
        await engine.compile_script_file(tmp_path / "missing.py")


async def test_an_unknown_language_is_refused_and_a_named_one_taken(engine: ScriptEngine) -> None:
    with pytest.raises(ConfigurationError, match="no language 'cobol'") as caught:
        await engine.compile_script("1", CompilationContext(language="cobol"))
    assert "python" in caught.value.next_step
    with pytest.raises(ConfigurationError, match=r"language of note\.txt"):
        await engine.compile_script("1", CompilationContext(name="note.txt"))
    named = CompilationContext(name="note.txt", language="python")
    assert (await engine.execute_script_source("1", None, named)).value == 1


async def test_a_text_may_be_as_large_as_configured_and_no_larger(
    ccos: Ccos, engine: ScriptEngine
) -> None:
    await engine.update_config(ScriptEngineConfig(max_source_size=100))
    with pytest.raises(CompilationError, match="larger than the 100 bytes"):
        await engine.compile_script("#" * 101)
    with pytest.raises(CompilationError, match="larger than the 100 bytes"):
        await engine.compile_script("#" + "é" * 50)
    await engine.compile_script("#" * 100)


async def test_a_refusal_names_the_script_whose_errors_are_kept(engine: ScriptEngine) -> None:
    with pytest.raises(CompilationError) as refused:
        await engine.compile_script("x = (")
    assert engine.get_compilation_errors(refused.value.details["script_id"])


async def test_a_faulty_text_is_refused_with_its_place(engine: ScriptEngine) -> None:
    source = "x = 1\ny = = 2\n"
    with pytest.raises(CompilationError) as caught:
        await engine.compile_script(source, CompilationContext(name="bad.py"))
    (found,) = caught.value.details["diagnostics"]
    assert (found["file"], found["line"], found["column"]) == ("bad.py", 2, 5)
    identity = script_id(source, "python", {"policy": SAFE.options()})
    assert engine.get_compilation_errors(identity) == [found]
    assert engine.get_compilation_errors("script_other") == []


@pytest.mark.parametrize("source", [JSON, "import crucible.file", "import socket"])
async def test_what_a_level_does_not_have_is_a_violation_and_on_the_audit_trail(
    ccos: Ccos, engine: ScriptEngine, source: str
) -> None:
    with pytest.raises(SecurityViolationError, match="does not exist at level safe"):
        await engine.compile_script(source)
    (entry,) = await happened(ccos, EventType.SECURITY_VIOLATION)
    assert entry["action_taken"] == "not compiled"
    assert engine.get_compilation_errors(entry["script_id"])[0]["code"] == "CCOS-SCRIPT-SECURITY"


async def test_a_kept_script_is_compiled_anew_in_the_same_or_another_context(
    engine: ScriptEngine,
) -> None:
    made = await engine.compile_script(MAIN)
    assert (await engine.precompile_script(made.script_id)).cached
    anew = await engine.revalidate_script(made.script_id)
    assert (anew.script_id, anew.cached) == (made.script_id, False)
    other = await engine.update_script_context(made.script_id, under(PRODUCTION))
    assert other.script_id != made.script_id
    assert other.policy == PRODUCTION
    assert {info.script_id for info in await engine.list_scripts()} == {
        made.script_id,
        other.script_id,
    }


@pytest.mark.parametrize("method", ["revalidate_script", "precompile_script", "execute_script"])
async def test_a_script_that_is_not_kept_is_not_found(engine: ScriptEngine, method: str) -> None:
    with pytest.raises(ScriptNotFoundError):
        await getattr(engine, method)("script_nothing")


async def test_validation_tells_at_which_levels_a_script_could_run(engine: ScriptEngine) -> None:
    plain = await engine.compile_script(MAIN)
    found = await engine.validate_script_security(plain.script_id)
    assert (found.valid, set(found.levels)) == (True, set(SecurityLevel))
    files = await engine.compile_script("import crucible.file", under(FILES))
    found = await engine.validate_script_security(files.script_id)
    assert found.valid
    assert found.levels == (SecurityLevel.DEVELOPMENT,)
    assert found.modules == {"crucible.file"}


async def test_the_policy_of_the_engine_is_for_scripts_that_bring_none(
    ccos: Ccos, engine: ScriptEngine
) -> None:
    assert engine.get_security_policy() == SAFE
    await engine.set_security_policy(PRODUCTION)
    assert (await engine.compile_script("1")).policy == PRODUCTION
    assert (await engine.compile_script("1", under(SAFE))).policy == SAFE
    (entry,) = await happened(ccos, EventType.SECURITY_POLICY_UPDATED)
    assert entry["policy_name"] == "production"


# Scripts and tools.


def tool(identity: str, **changes: Any) -> ScriptTool:
    return dataclasses.replace(
        ScriptTool(name="increment", description="Next.", script_id=identity, function_name="main"),
        **changes,
    )


async def test_tools_are_registered_listed_found_and_taken_back(engine: ScriptEngine) -> None:
    identity = (await engine.compile_script(MAIN)).script_id
    await engine.register_tool(tool(identity))
    assert await engine.get_script_tool("increment") == tool(identity)
    assert list(await engine.list_script_tools()) == [tool(identity)]
    assert await engine.unregister_tool("increment")
    assert not await engine.unregister_tool("increment")
    with pytest.raises(ScriptToolNotFoundError):
        await engine.get_script_tool("increment")


async def test_a_tool_needs_a_script_and_a_name_of_its_own(engine: ScriptEngine) -> None:
    with pytest.raises(ScriptNotFoundError):
        await engine.register_tool(tool("script_nothing"))
    first = (await engine.compile_script(MAIN)).script_id
    second = (await engine.compile_script(f"{MAIN} + 0")).script_id
    await engine.register_tool(tool(first))
    with pytest.raises(ScriptConflictError):
        await engine.register_tool(tool(second))
    await engine.register_tool(tool(second, name="other"))


async def test_a_script_is_not_deleted_while_a_tool_uses_it(
    ccos: Ccos, engine: ScriptEngine
) -> None:
    identity = (await engine.compile_script(MAIN)).script_id
    await engine.register_tool(tool(identity))
    with pytest.raises(ScriptConflictError):
        await engine.delete_script(identity)
    assert (await engine.get_script_info(identity)).script_id == identity
    await engine.unregister_tool("increment")
    assert await engine.delete_script(identity)
    assert not await engine.delete_script(identity)
    with pytest.raises(ScriptNotFoundError):
        await engine.get_script_info(identity)
    with pytest.raises(ScriptNotFoundError):
        await engine.execute_script(identity)
    assert (await engine.compile_script(MAIN)).script_id == identity
    assert (await engine.get_script_info(identity)).script_id == identity


# Cache.


async def test_clearing_the_cache_costs_a_compilation_and_nothing_else(
    engine: ScriptEngine,
) -> None:
    made = await engine.compile_script(MAIN)
    await engine.register_tool(tool(made.script_id))
    assert (await engine.clear_cache()).entries == 1
    assert engine.get_cache_statistics().entries == 0
    context = ExecutionContext(function="main", arguments={"n": 1})
    assert (await engine.execute_script(made.script_id, context)).value == 2
    assert (await engine.get_script_tool("increment")).script_id == made.script_id
    assert engine.get_cache_statistics().entries == 1


async def test_without_a_cache_everything_works(tmp_path: Path) -> None:
    async with opened(tmp_path, CCOS_SCRIPT_ENGINE_ENABLE_CACHING="false") as ccos:
        engine = ccos.script_engine
        assert not engine.get_config().enable_caching
        for _ in range(2):
            made = await engine.compile_script(MAIN)
            assert not made.cached
            context = ExecutionContext(function="main", arguments={"n": 1})
            assert (await engine.execute_script(made.script_id, context)).value == 2
        assert engine.get_cache_statistics().entries == 0


async def test_what_falls_out_of_the_cache_is_compiled_again(engine: ScriptEngine) -> None:
    await engine.update_config(ScriptEngineConfig(max_cache_size=2))
    identities = [(await engine.compile_script(f"{number}")).script_id for number in range(5)]
    assert engine.get_cache_statistics().entries == 2
    values = [(await engine.execute_script(identity)).value for identity in identities]
    assert values == [0, 1, 2, 3, 4]


async def test_one_script_can_be_cached_otherwise_than_all_others(engine: ScriptEngine) -> None:
    never = (await engine.compile_script("1")).script_id
    small = (await engine.compile_script(f"2  # {'x' * 200}")).script_id
    other = (await engine.compile_script("3")).script_id
    await engine.cache_script(never, CacheConfig(enabled=False))
    await engine.cache_script(small, CacheConfig(size_limit=100))
    await engine.cache_script(other)
    assert [(await engine.precompile_script(one)).cached for one in (never, other)] == [False, True]
    assert engine.get_cache_statistics().bytes < 200
    values = [(await engine.execute_script(one)).value for one in (never, small, other)]
    assert values == [1, 2, 3]


async def test_what_is_no_script_cannot_be_cached_nor_in_no_time(engine: ScriptEngine) -> None:
    with pytest.raises(ScriptNotFoundError):
        await engine.cache_script("script_none")
    with pytest.raises(ConfigurationError, match="ttl"):
        CacheConfig(ttl=0)


async def test_memory_can_be_given_up_and_nothing_is_compiled_again(engine: ScriptEngine) -> None:
    identity = (await engine.compile_script("1 + 1")).script_id
    assert engine.cleanup_resources().entries == 1
    assert engine.get_cache_statistics().entries == 0
    assert (await engine.precompile_script(identity)).cached
    assert (await engine.execute_script(identity)).value == 2


# What happened elsewhere.


async def test_a_script_deleted_by_another_engine_is_gone_here_once_it_is_told(ccos: Ccos) -> None:
    engine, elsewhere = ccos.script_engine, another(ccos)
    identity = (await engine.compile_script("1")).script_id
    async with elsewhere:
        heard = elsewhere.subscribe(EventType.SCRIPT_UNLOADED)
        await elsewhere.delete_script(identity)
        event = await anext(aiter(heard))
    assert await engine.handle_event(event)
    with pytest.raises(ScriptNotFoundError):
        await engine.execute_script(identity)


async def test_events_that_mean_nothing_to_it_are_left_alone(engine: ScriptEngine) -> None:
    made = await engine.compile_script("1")
    assert not await engine.handle_event(Event(EventType.SCRIPT_EXECUTED))
    assert await engine.handle_event(Event(EventType.SCRIPT_UNLOADED))
    assert (await engine.precompile_script(made.script_id)).cached
    assert await engine.handle_event(Event(EventType.CACHE_CLEARED))
    assert engine.get_cache_statistics().entries == 0


async def test_configuration_changed_elsewhere_is_read_anew(ccos: Ccos) -> None:
    reading = another(ccos, reload=lambda: ScriptEngineConfig(max_source_size=50))
    assert await reading.handle_event(Event(EventType.CONFIGURATION_UPDATED))
    assert reading.get_config().max_source_size == 50


async def test_what_is_published_reaches_who_listens(engine: ScriptEngine) -> None:
    heard = engine.subscribe("script_cached")
    engine.publish(Event(EventType.SCRIPT_CACHED, data={"script_id": "x"}))
    assert (await anext(aiter(heard))).data == {"script_id": "x"}


# Settings.


async def test_a_configuration_can_be_looked_at_before_it_is_used(engine: ScriptEngine) -> None:
    engine.validate_config(ScriptEngineConfig(max_source_size=50))
    with pytest.raises(ConfigurationError, match="max_source_size"):
        engine.validate_config(ScriptEngineConfig(max_source_size=0))
    assert engine.get_config().max_source_size != 50


async def test_changed_limits_leave_everybody_where_they_are(engine: ScriptEngine) -> None:
    running = await asleep(engine, "one", "two")
    await engine.set_limits(ResourceLimits(max_concurrent_operations=2, operation_timeout=0.05))
    assert not await engine.readiness_check()
    with pytest.raises(EngineBusyError):
        await run(engine, "1")
    await engine.set_limits(ResourceLimits(max_concurrent_operations=3))
    assert (await run(engine, "1")).value == 1
    assert await engine.readiness_check()
    for one in ("one", "two"):
        await engine.cancel_execution(one)
    assert {(await one).status for one in running} == {"cancelled"}


@pytest.mark.parametrize(
    "config",
    [
        ScriptEngineConfig(max_source_size=0),
        ScriptEngineConfig(max_cache_size=-1),
        ScriptEngineConfig(default_execution_timeout=0),
        ScriptEngineConfig(resource_limits=ResourceLimits(max_concurrent_operations=0)),
        ScriptEngineConfig(resource_limits=ResourceLimits(max_memory_bytes=0)),
    ],
)
async def test_a_configuration_without_sense_changes_nothing(
    ccos: Ccos, engine: ScriptEngine, config: ScriptEngineConfig
) -> None:
    before = engine.get_config()
    (task,) = await asleep(engine, "goes on")
    with pytest.raises(ConfigurationError, match="above 0"):
        await engine.update_config(config)
    assert engine.get_config() is before
    assert not task.done()
    assert await happened(ccos, EventType.CONFIGURATION_UPDATED) == []
    await engine.cancel_execution("goes on")
    await task


async def test_another_configuration_holds_at_once_and_ends_what_runs(
    ccos: Ccos, engine: ScriptEngine
) -> None:
    (task,) = await asleep(engine, "ends")
    await engine.update_config(ScriptEngineConfig(max_output_bytes=10))
    assert (await task).status == "cancelled"
    assert code(await run(engine, "print('x' * 20)")) == "CCOS-SCRIPT-RESOURCE"
    assert (await run(engine, "print('x' * 9)")).success
    assert code(await run(engine, "print('é' * 5)")) == "CCOS-SCRIPT-RESOURCE"
    assert (await run(engine, "print('é' * 4)")).stdout == "éééé\n"
    assert len(await happened(ccos, EventType.CONFIGURATION_UPDATED)) == 1


async def test_reloading_reads_the_configuration_anew(ccos: Ccos) -> None:
    sizes = [0, 50]
    reading = another(ccos, reload=lambda: ScriptEngineConfig(max_source_size=sizes.pop(0)))
    with pytest.raises(ConfigurationError):
        await reading.reload_config()
    await reading.reload_config()
    assert reading.get_config().max_source_size == 50


async def test_limits_that_are_set_hold_at_development_too(engine: ScriptEngine) -> None:
    much = "len([0] * (9 * 1024 * 1024))"
    assert (await run(engine, much, FILES)).success
    await engine.set_limits(ResourceLimits(max_memory_bytes=MIB))
    assert engine.get_limits().max_memory_bytes == MIB
    assert code(await run(engine, much, FILES)) == "CCOS-SCRIPT-RESOURCE"
    with pytest.raises(ConfigurationError, match="max_queue_size has to be above 0"):
        await engine.set_limits(ResourceLimits(max_queue_size=0))
    assert engine.get_limits().max_memory_bytes == MIB


async def test_the_limit_on_all_executions_counts_those_of_every_policy(
    engine: ScriptEngine,
) -> None:
    await engine.set_limits(
        ResourceLimits(max_concurrent_operations=2, operation_timeout=0.3, max_queue_size=1)
    )
    tasks = await asleep(engine, "safe")
    tasks += await asleep(engine, "production", policy=PRODUCTION)
    with pytest.raises(EngineBusyError, match="did not get its turn"):
        await run(engine, "1", FILES)
    await engine.cancel_execution("safe")
    assert (await run(engine, "1", FILES)).value == 1
    await engine.cancel_execution("production")
    await asyncio.gather(*tasks)


async def test_what_does_not_fit_into_the_queue_is_refused_at_once(engine: ScriptEngine) -> None:
    await engine.set_limits(ResourceLimits(max_concurrent_operations=1, max_queue_size=1))
    tasks = await asleep(engine, "runs", "waits")
    with pytest.raises(EngineBusyError, match="1 executions wait") as caught:
        await run(engine, "1")
    assert caught.value.code == "CCOS-ENGINE-BUSY"
    for name in ("waits", "runs"):
        await engine.cancel_execution(name)
    await asyncio.gather(*tasks)
    assert (await run(engine, "1")).value == 1


# Health and figures.


async def test_health_is_healthy_degraded_or_unhealthy(ccos: Ccos, engine: ScriptEngine) -> None:
    await run(engine, "1")
    health = await engine.health_check()
    assert health.status is ServiceStatus.HEALTHY
    await engine.set_limits(ResourceLimits(max_concurrent_operations=2))
    tasks = await asleep(engine, "a", "b")
    health = await engine.health_check()
    assert health.status is ServiceStatus.DEGRADED
    assert health.details["active_executions"] == 2
    for name in ("a", "b"):
        await engine.cancel_execution(name)
    await asyncio.gather(*tasks)
    assert (await engine.health_check()).status is ServiceStatus.HEALTHY
    await engine.stop()
    assert (await engine.health_check()).status is ServiceStatus.UNHEALTHY
    changes = await happened(ccos, EventType.HEALTH_CHANGED)
    assert [one["status"] for one in changes] == ["degraded", "healthy", "unhealthy"]


async def test_health_has_figures_that_were_measured(engine: ScriptEngine) -> None:
    for source in ("1", "1", "2", "1 / 0"):
        await run(engine, source)
    details = (await engine.health_check()).details
    assert details["active_executions"] == 0
    assert details["cache_size"] == 3
    assert details["total_executions"] == 4
    assert details["success_rate"] == 75.0
    assert details["workers"] >= 1
    assert details["worker_memory_bytes"] > MIB
    await run(engine, SPIN, FILES, timeout=0.3)
    assert (await engine.get_resource_usage()).cpu_percent is not None


async def test_performance_is_measured(engine: ScriptEngine) -> None:
    before = await engine.get_performance_metrics()
    assert before.request_times == ()
    await run(engine, "1")
    after = (await engine.get_performance_metrics()).as_dict()
    assert len(after["request_times"]) == 1
    assert after["request_times"][0] > 0
    assert after["memory_usage"] > 1024 * 1024
    assert after["queue_sizes"] == {"a place in the engine": 0, "a place at level safe": 0}
    assert after["custom_metrics"]["cache_misses"] >= 1


async def test_it_is_alive_and_ready_while_it_runs(engine: ScriptEngine) -> None:
    assert (engine.service_name(), engine.service_version()) == ("script_engine", version("ccos"))
    assert engine.liveness_check()
    assert await engine.readiness_check()
    await engine.stop()
    assert not engine.liveness_check()
    assert not await engine.readiness_check()


async def test_metrics_count_from_the_last_reset(engine: ScriptEngine) -> None:
    await run(engine, "1")
    await run(engine, "1 / 0")
    metrics = engine.get_metrics()
    assert (metrics["total_requests"], metrics["failed_requests"]) == (2, 1)
    assert 0 < metrics["median_response_time"] < 5
    engine.reset_metrics()
    metrics = engine.get_metrics()
    assert (metrics["total_requests"], metrics["median_response_time"]) == (0, None)


async def test_statistics_survive_a_new_opening(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        made = await ccos.script_engine.compile_script(MAIN)
        for n in (1, 2, "x"):
            context = ExecutionContext(function="main", arguments={"n": n})
            await ccos.script_engine.execute_script(made.script_id, context)
    async with opened(tmp_path) as ccos:
        found = await ccos.script_engine.get_execution_stats()
        assert (found.total_executions, found.failed_executions) == (3, 1)
        assert (await ccos.script_engine.get_script_info(made.script_id)).execution_count == 3


# Events.


async def test_events_reach_all_who_listen_and_a_slow_one_loses_the_oldest(
    engine: ScriptEngine,
) -> None:
    kinds = ("script_compiled", EventType.SCRIPT_EXECUTED)
    one, two = engine.subscribe(*kinds), engine.subscribe(*kinds)
    slow = engine.subscribe(*kinds, capacity=1)
    result = await run(engine, "1")
    await engine.get_execution_stats()
    for subscription in (one, two, slow):
        engine.unsubscribe(subscription)
    for subscription in (one, two):
        events = [event async for event in subscription]
        assert [event.type for event in events] == ["script_compiled", "script_executed"]
        assert events[1].correlation_id == result.execution_id
        assert events[1].source == "script_engine"
    assert [event.type async for event in slow] == ["script_executed"]
    assert slow.lost == 1


async def test_an_execution_tells_its_steps_in_order(engine: ScriptEngine) -> None:
    subscription = engine.subscribe()
    result = await run(engine, "1")
    await engine.get_execution_stats()
    engine.unsubscribe(subscription)
    told = [one.type.value async for one in subscription if one.execution_id]
    assert told == [
        "script_execution_requested",
        "sandbox_created",
        "script_execution_started",
        "sandbox_destroyed",
        "script_executed",
    ]
    assert result.success


async def test_an_unknown_event_suggests_the_nearest(engine: ScriptEngine) -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'script_executed'"):
        engine.subscribe("script_execute")
    engine.unsubscribe(engine.subscribe("script_executed"))
