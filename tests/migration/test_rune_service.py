"""The original runtime: it finds tools, calls them by itself, and notices when they change."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from ccos.engine.health import ServiceStatus
from ccos.engine.modules import host_modules
from ccos.engine.policy import SecurityLevel, level_policy
from ccos.errors import (
    ConfigurationError,
    EngineStoppedError,
    ScriptError,
    ScriptToolNotFoundError,
)
from ccos.events import EventType
from ccos.migration import (
    DiscoveryConfig,
    ExecutionConfig,
    LoadingAction,
    RegistryConfig,
    RuneInspector,
    RuneService,
    RuneServiceConfig,
    ToolSandbox,
)
from migration.inspecting import rune
from migration.samples import TOOLS, tool, written
from migration.services import call, code, parts, service
from opening import happened, opened, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "tools"
    path.mkdir()
    return path


def test_the_defaults_are_those_of_the_reference() -> None:
    config = RuneServiceConfig()
    assert config.service_name == "crucible-rune"
    assert config.discovery.directories == (Path("tools"), Path("rune-tools"), Path("scripts"))
    assert (config.execution.default_timeout, config.execution.max_timeout) == (30, 300)
    assert (config.execution.max_memory, config.execution.capture_output) == (104857600, True)
    assert config.execution.default_environment == {}
    assert config.security == level_policy(SecurityLevel.SAFE)
    with pytest.raises(ConfigurationError, match="max_memory"):
        ExecutionConfig(max_memory=0)


async def test_tools_of_every_form_are_called(tmp_path: Path) -> None:
    async with service(tmp_path / "home", TOOLS) as (runtime, _):
        results = {
            "greet": ({"who": "Ada"}, "Hello, Ada!"),
            "count_words": ({"text": "one two  three"}, {"count": 3}),
            "constants": ({"a": [1, None]}, {"a": [1, None]}),
            "anything": ({"value": {"deep": [True]}}, {"deep": [True]}),
            "unicode": None,
            "größe_測る": ({"täxt": "äöü"}, 3),
            "computed": ({"a": 1, "b": 2}, 3),
            "add": ({"b": 1.5, "a": 2.0}, 3.5),
            "halve": ({"value": 3.0}, 1.5),
            "one_of_each": (
                {"s": "a", "n": 1.0, "i": 2, "t": False, "l": [1], "o": {"k": 1}},
                ["a", 1.0, 2, False, [1], {"k": 1}],
            ),
            "repeat": ({"what": "a"}, ["a", "a"]),
            "square": ({"x": 3}, 9),
            "header": ({"text": "hey"}, "hey!"),
            "header_main": ({}, "called"),
            "with blanks": ({}, 1),
            "upper": ({"text": "a"}, "A"),
            "lower": ({"text": "B"}, "b"),
            "works": ({}, 1),
            "type_arguments": ({"items": [1, 2]}, [2, 4]),
        }
        for name, expected in results.items():
            if expected is not None:
                result = await call(runtime, name, expected[0])
                assert (name, result.error, result.result) == (name, None, expected[1])
                assert result.execution_time > 0


async def test_an_open_ccos_has_one_beside_its_engine(tmp_path: Path) -> None:
    async with opened(tmp_path / "home") as ccos:
        config = RuneServiceConfig(discovery=DiscoveryConfig(directories=(TOOLS,)))
        async with ccos.rune_service(config) as runtime:
            await runtime.discover_tools_from_directories()
            assert (await call(runtime, "square", {"x": 3})).result == 9
        assert not await ccos.script_engine.list_script_tools()


async def test_an_optional_argument_that_is_left_out_is_unit(tmp_path: Path) -> None:
    async with service(tmp_path / "home", TOOLS) as (runtime, _):
        given: dict[str, Any] = {"s": "a", "n": 1.5}
        result = await call(runtime, "one_of_each", given)
        assert result.result == ["a", 1.5, None, None, None, None]
        assert (await call(runtime, "rune_one_of_each", {**given, "o": None})).success


@pytest.mark.parametrize(
    ("how", "expected", "says"),
    [
        ("why", "CCOS-SCRIPT-RAISED", "no way: why"),
        ("panic", "CCOS-SCRIPT-RAISED", "the tool gave up"),
        ("absent", "CCOS-SCRIPT-RAISED", "missing"),
        ("loop", "CCOS-SCRIPT-", ""),
    ],
)
async def test_a_failure_is_a_result(tmp_path: Path, how: str, expected: str, says: str) -> None:
    async with service(tmp_path / "home", TOOLS) as (runtime, _):
        result = await call(runtime, "fails", {"how": how}, timeout=1.0)
        assert not result.success
        assert code(result).startswith(expected)
        assert says in str(result.error)
        assert result.execution_time < 5
        printed = await call(runtime, "fails", {"how": "prints"})
        assert (printed.result, printed.metadata["stdout"]) == (1, "out loud\n")
        metrics = await runtime.get_metrics()
        assert (metrics.total_requests, metrics.failed_requests) == (2, 1)


async def test_arguments_and_results_are_held_to_the_schemas(tmp_path: Path) -> None:
    async with service(tmp_path / "home", TOOLS) as (runtime, ccos):
        missing = await call(runtime, "greet", {})
        assert missing.error is not None
        assert missing.error.message == "Missing required field: who"
        assert code(await call(runtime, "greet", ["Ada"])) == "CCOS-CAPABILITY-ARGUMENTS"
        assert code(await call(runtime, "add", {"a": "1", "b": 2})) == "CCOS-CAPABILITY-ARGUMENTS"
        assert code(await call(runtime, "add", {"a": 1, "b": 2, "c": 3})).endswith("ARGUMENTS")
        assert await happened(ccos, EventType.SCRIPT_EXECUTED) == []
        broken = await call(runtime, "wrong_output")
        assert (code(broken), broken.result) == ("CCOS-CAPABILITY-RESULT", None)
        runtime.registry.set_enabled("greet", False)
        disabled = await call(runtime, "greet", {"who": "Ada"})
        assert disabled.error is not None
        assert disabled.error.message == "Tool 'greet' is disabled."
        with pytest.raises(ScriptToolNotFoundError, match="'none'"):
            await call(runtime, "none")


async def test_what_the_level_does_not_have_is_refused_and_there_is_no_other_way(
    tmp_path: Path,
) -> None:
    async with service(tmp_path / "home", TOOLS) as (runtime, ccos):
        refused = await call(runtime, "fetch", {"url": "http://127.0.0.1:9/"})
        assert code(refused) == "CCOS-SCRIPT-SECURITY"
        assert (await runtime.validate_tool("fetch")).errors != ()
        assert (await runtime.validate_tool("greet")).valid
        assert list(await ccos.script_engine.list_scripts()) == []
    production = SecurityLevel.PRODUCTION
    async with service(tmp_path / "other", TOOLS, level=production) as (runtime, _):
        assert (await runtime.validate_tool("fetch")).valid
        failed = await call(runtime, "fetch", {"url": "http://127.0.0.1:9/"})
        assert "loopback address" in str(failed.error)  # it ran, and got no further


async def test_the_engine_and_the_service_know_nothing_of_each_other(tmp_path: Path) -> None:
    async with service(tmp_path / "home", TOOLS) as (runtime, ccos):
        assert (await call(runtime, "greet", {"who": "Ada"})).success
        assert list(await ccos.script_engine.list_script_tools()) == []
        assert ccos.script_engine.get_metrics()["total_requests"] == 0
        with pytest.raises(ScriptToolNotFoundError):
            await ccos.script_engine.get_script_tool("greet")
        await ccos.script_engine.stop()
        assert (await call(runtime, "greet", {"who": "Ada"})).success


async def test_calls_are_on_the_audit_trail(tmp_path: Path) -> None:
    async with service(tmp_path / "home", TOOLS) as (runtime, ccos):
        await call(runtime, "greet", {"who": "Ada"}, user_context="alice")
        await runtime.stop()
        (entry,) = [
            one
            for one in await ccos.audit.tail(10)
            if one.event_type == EventType.SCRIPT_EXECUTED.value
        ]
        assert (entry.actor, entry.data["success"]) == ("alice", True)


async def test_the_time_of_a_call_is_bounded(folder: Path, tmp_path: Path) -> None:
    written(folder, "spin.rn", tool("spin", "loop {}"))
    config = ExecutionConfig(default_timeout=0.2, max_timeout=0.3)
    async with service(tmp_path / "home", folder, execution=config) as (runtime, _):
        for timeout in (None, 100.0):
            result = await call(runtime, "spin", timeout=timeout)
            assert code(result) in ("CCOS-SCRIPT-TIMEOUT", "CCOS-SCRIPT-RESOURCE")
            assert result.execution_time < 3
        for wrong in (0.0, -1.0, float("nan"), float("inf")):
            assert code(await call(runtime, "spin", timeout=wrong)) == "CCOS-CONFIGURATION"


async def test_the_memory_of_a_call_is_bounded(folder: Path, tmp_path: Path) -> None:
    body = "let all = []; for i in 0..100000 { all.push(i); } all.len()"
    written(folder, "fills.rn", tool("fills", body))
    async with service(tmp_path / "home", folder) as (runtime, _):
        assert (await call(runtime, "fills")).result == 100_000
    small = ExecutionConfig(max_memory=200_000)
    async with service(tmp_path / "other", folder, execution=small) as (runtime, _):
        assert code(await call(runtime, "fills")) == "CCOS-SCRIPT-RESOURCE"


async def test_output_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    quiet = ExecutionConfig(capture_output=False)
    async with service(tmp_path / "home", TOOLS, execution=quiet) as (runtime, _):
        result = await call(runtime, "fails", {"how": "prints"})
        assert "stdout" not in result.metadata
        assert result.metadata["migrated_execution"] is False


async def test_tools_see_the_environment_that_they_are_given(folder: Path, tmp_path: Path) -> None:
    written(folder, "env.rn", tool("env", 'crucible::process::env_get("WHERE").await'))
    config = ExecutionConfig(default_environment={"WHERE": "here"})
    async with service(
        tmp_path / "home", folder, execution=config, level=SecurityLevel.DEVELOPMENT
    ) as (runtime, _):
        assert (await call(runtime, "env")).result == "here"
        assert (await call(runtime, "env", environment={"WHERE": "there"})).result == "there"


async def test_many_calls_at_once(tmp_path: Path) -> None:
    async with service(tmp_path / "home", TOOLS) as (runtime, _):
        calls = [call(runtime, "add", {"a": number, "b": 1}) for number in range(40)]
        assert [one.result for one in await asyncio.gather(*calls)] == list(range(1, 41))


async def test_a_service_that_does_not_run_calls_nothing(folder: Path, tmp_path: Path) -> None:
    written(folder, "a.rn")
    async with service(tmp_path / "home", folder) as (runtime, _):
        assert (await runtime.service_health()).status is ServiceStatus.HEALTHY
        running = asyncio.create_task(call(runtime, "a", {"x": 1}))
        await running
        await runtime.stop()
        await runtime.stop()
        assert (await runtime.service_health()).status is ServiceStatus.UNHEALTHY
        with pytest.raises(EngineStoppedError):
            await call(runtime, "a")
        await runtime.start()
        assert (await call(runtime, "a", {"x": 1})).result == {"x": 1}


async def test_health_and_metrics_are_measured(folder: Path, tmp_path: Path) -> None:
    written(folder, "a.rn")
    async with service(tmp_path / "home", folder) as (runtime, _):
        before = await runtime.get_metrics()
        assert (before.total_requests, before.average_response_time) == (0, None)
        result = await call(runtime, "a")
        after = await runtime.get_metrics()
        assert (after.total_requests, after.successful_requests) == (1, 1)
        assert after.average_response_time == result.execution_time
        assert after.memory_usage is not None
        assert after.memory_usage > 0
        details = (await runtime.service_health()).details
        assert (details["tools"], details["total_executions"]) == (1, 1)
        info = runtime.system_info()
        assert info["extensions"] == ["rn", "rune"]
        assert info["directories"] == [str(folder)]
        assert info["rune_version"].startswith("rune-0.")


async def test_a_sandbox_of_another_policy_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path / "home") as ccos, rune() as language:
        production = level_policy(SecurityLevel.PRODUCTION)
        with pytest.raises(ConfigurationError, match="another policy"):
            RuneService(
                RuneServiceConfig(),
                inspector=RuneInspector(language, host_modules()),
                sandbox=ToolSandbox(production, **parts(ccos, language)),
                rune_version=lambda: "",
            )


async def test_a_changed_file_is_loaded_anew(folder: Path, tmp_path: Path) -> None:
    path = written(folder, "a.rn", tool("a", "1"))
    async with service(tmp_path / "home", folder) as (runtime, _):
        assert not await runtime.reload_tool("a")
        path.write_text(tool("a", "2"))
        assert (await call(runtime, "a")).result == 1
        assert (await runtime.validate_tool("a")).warnings == (
            "Its file changed since it was loaded.",
        )
        assert await runtime.reload_tool("a")
        assert (await call(runtime, "a")).result == 2
        history = [one.action for one in runtime.registry.get_loading_history()]
        assert history == [LoadingAction.LOADED, LoadingAction.RELOADED]
        with pytest.raises(ScriptToolNotFoundError):
            await runtime.reload_tool("none")


@pytest.mark.parametrize(
    "bad",
    [
        "pub fn NAME() {",
        tool("another"),
        tool("a", 'crucible::file::file_read("x")'),
        "",
    ],
    ids=["broken", "renamed", "forbidden", "empty"],
)
async def test_a_bad_new_version_leaves_the_old_one_serving(
    folder: Path, tmp_path: Path, bad: str
) -> None:
    path = written(folder, "a.rn", tool("a", "1"))
    async with service(tmp_path / "home", folder) as (runtime, _):
        path.write_text(bad)
        with pytest.raises(ScriptError):
            await runtime.reload_tool("a")
        assert (await call(runtime, "a")).result == 1
        path.unlink()
        with pytest.raises(ScriptError, match="is gone"):
            await runtime.reload_tool("a")
        assert not (await runtime.validate_tool("a")).valid
        assert (await call(runtime, "a")).result == 1


async def test_reloading_takes_what_came_and_gives_up_what_went(
    folder: Path, tmp_path: Path
) -> None:
    for name in ("stays", "goes", "changes", "breaks", "renamed"):
        written(folder, f"{name}.rn")
    async with service(tmp_path / "home", folder) as (runtime, _):
        assert await runtime.reload_tools() == 0
        (folder / "goes.rn").unlink()
        written(folder, "comes.rn")
        written(folder, "changes.rn", tool("changes", "2"))
        written(folder, "breaks.rn", "pub fn NAME(")
        written(folder, "renamed.rn", tool("new_name"))
        assert await runtime.reload_tools() == 5
        names = [one.name for one in await runtime.list_tools()]
        assert names == ["breaks", "changes", "comes", "new_name", "stays"]
        assert (await call(runtime, "changes")).result == 2
        assert (await call(runtime, "breaks", {"x": 1})).result == {"x": 1}


async def test_a_name_that_a_second_file_takes_is_refused_to_it(
    folder: Path, tmp_path: Path
) -> None:
    written(folder, "one/a.rn", tool("a", "1"))
    written(folder, "two/b.rn", tool("a", "2"))
    config = DiscoveryConfig(directories=(folder / "one",))
    async with service(tmp_path / "home", folder, discovery=config) as (runtime, _):
        assert await runtime.discover_tools_from_directory(folder / "two") == 0
        assert (await call(runtime, "a")).result == 1
        refused = runtime.registry.get_loading_history()[-1]
        assert refused.action is LoadingAction.REFUSED
        assert await runtime.discover_tools_from_directory(folder / "none") == 0


async def test_changes_are_noticed_without_being_asked(folder: Path, tmp_path: Path) -> None:
    path = written(folder, "a.rn", tool("a", "1"))
    quick = DiscoveryConfig(directories=(folder,), interval_seconds=0.05, debounce_seconds=0.05)
    async with service(tmp_path / "home", folder, discovery=quick) as (runtime, _):

        async def answers(expected: int) -> bool:
            return bool((await call(runtime, "a")).result == expected)

        status = path.stat()
        path.write_text(tool("a", "2"))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        await until(lambda: answers(2))
        written(folder, "b.rn")
        await until(lambda: _knows(runtime, "b"))
        (folder / "b.rn").unlink()

        async def forgotten() -> bool:
            return not await _knows(runtime, "b")

        await until(forgotten)


async def _knows(runtime: RuneService, name: str) -> bool:
    return await runtime.get_tool(name) is not None


async def test_looking_elsewhere_hides_no_change(folder: Path, tmp_path: Path) -> None:
    path = written(folder, "one/a.rn", tool("a", "1"))
    written(folder, "two/b.rn")
    quick = DiscoveryConfig(
        directories=(folder / "one",), interval_seconds=0.3, debounce_seconds=0.02
    )
    async with service(tmp_path / "home", folder, discovery=quick) as (runtime, _):
        path.write_text(tool("a", "2"))
        assert await runtime.discover_tools_from_directory(folder / "two") == 1

        async def answers() -> bool:
            return bool((await call(runtime, "a")).result == 2)

        await until(answers)


async def test_a_tool_may_be_called_like_the_alias_of_another(folder: Path, tmp_path: Path) -> None:
    both = "".join(f'#[tool(desc = "One.")] pub fn {name}() {{ "{name}" }}' for name in NAMES)
    written(folder, "both.rn", both)
    async with service(tmp_path / "home", folder) as (runtime, _):
        for name in NAMES:
            assert (await call(runtime, name)).result == name


NAMES = ("double", "rune_double")


@pytest.mark.parametrize("off", ["service", "discovery", "registry"])
async def test_changes_are_not_looked_for_if_that_is_switched_off(
    folder: Path, tmp_path: Path, off: str
) -> None:
    path = written(folder, "a.rn", tool("a", "1"))
    discovery = DiscoveryConfig(
        directories=(folder,),
        interval_seconds=0.02,
        debounce_seconds=0.02,
        hot_reload=off != "discovery",
    )
    async with service(
        tmp_path / "home",
        folder,
        discovery=discovery,
        hot_reload=off != "service",
        cache=RegistryConfig(enable_hot_reload=off != "registry"),
    ) as (runtime, _):
        path.write_text(tool("a", "2"))
        await asyncio.sleep(0.3)
        assert (await call(runtime, "a")).result == 1


async def test_a_tool_that_was_not_looked_at_for_long_is_looked_at_before_a_call(
    folder: Path, tmp_path: Path
) -> None:
    path = written(folder, "a.rn", tool("a", "1"))
    brief = RegistryConfig(cache_ttl_secs=0.05)
    async with service(tmp_path / "home", folder, cache=brief, hot_reload=False) as (runtime, _):
        path.write_text(tool("a", "2"))
        await asyncio.sleep(0.1)
        assert (await call(runtime, "a")).result == 2
        path.unlink()
        await asyncio.sleep(0.1)
        assert (await call(runtime, "a")).result == 2
