"""The bridge: calling, listing, removing and reloading migrated tools."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ccos.capabilities import ApprovalStatus, EffectType, ScriptProvider
from ccos.engine.health import ServiceStatus
from ccos.engine.policy import SecurityLevel, level_policy
from ccos.errors import (
    ConfigurationError,
    EngineStoppedError,
    FeatureDisabledError,
    MigrationFailedError,
    ScriptToolNotFoundError,
)
from ccos.migration import (
    DiscoveryConfig,
    MigrationConfig,
    RuneServiceConfig,
    ToolExecutionContext,
    ToolExecutionRequest,
    ToolMigrationBridge,
)
from ccos.migration.manifests import capability_id
from migration.managing import bridged, managed, manager_of, registered
from migration.samples import TOOLS, tool, written
from opening import Failing, failure, opened, value

pytestmark = pytest.mark.anyio

EVERY_TYPE: dict[str, Any] = {
    "text": "ümläut 測る \U0001f600",
    "empty": "",
    "whole": 7,
    "large": 2**62,
    "negative": -3,
    "float": 1.0,
    "small": 1e-9,
    "true": True,
    "false": False,
    "null": None,
    "list": [1, "two", [3.5, None], {}],
    "object": {"deep": {"deeper": [{"deepest": True}]}},
    "no items": [],
}


def config(*folders: Path) -> RuneServiceConfig:
    return RuneServiceConfig(discovery=DiscoveryConfig(directories=folders))


async def test_arguments_of_every_type_arrive_by_name(tmp_path: Path) -> None:
    async with managed(tmp_path / "home", TOOLS) as (manager, _):
        await manager.execute_migration()
        bridge = manager.bridge()
        result = await bridge.execute_migrated_tool("anything", {"value": EVERY_TYPE})
        assert (result.error, result.result) == (None, EVERY_TYPE)
        kinds = {name: type(one) for name, one in result.result.items()}
        assert kinds == {name: type(one) for name, one in EVERY_TYPE.items()}
        given = {"o": {"k": 1}, "l": [1], "t": False, "i": 2, "n": 1.0, "s": "a"}
        ordered = await bridge.execute_migrated_tool("one_of_each", given)
        assert ordered.result == ["a", 1.0, 2, False, [1], {"k": 1}]
        left_out = await bridge.execute_migrated_tool("rune_one_of_each", {"s": "a", "n": 1.5})
        assert left_out.result == ["a", 1.5, None, None, None, None]
        assert result.metadata["migrated_execution"] is True
        assert result.metadata["script_engine_version"]
        assert result.execution_time > 0


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("greet", {}, "CCOS-CAPABILITY-ARGUMENTS"),
        ("greet", {"who": 1}, "CCOS-CAPABILITY-ARGUMENTS"),
        ("greet", ["Ada"], "CCOS-CAPABILITY-ARGUMENTS"),
        ("anything", {"value": 2**63}, "CCOS-CAPABILITY-ARGUMENTS"),
        ("fails", {"how": "why"}, "CCOS-SCRIPT-RAISED"),
        ("fails", {"how": "panic"}, "CCOS-SCRIPT-RAISED"),
    ],
)
async def test_a_failure_is_a_result(tmp_path: Path, name: str, arguments: Any, code: str) -> None:
    folder = [TOOLS / f"{one}.rn" for one in ("greet", "fails")] + [TOOLS / "anything.rune"]
    async with managed(tmp_path / "home", *folder, validation_mode="Skip") as (manager, _):
        await manager.execute_migration()
        result = await manager.bridge().execute_migrated_tool(name, arguments)
        assert not result.success
        assert result.error is not None
        assert result.error.code == code


async def test_agents_call_migrated_tools_as_capabilities(tmp_path: Path) -> None:
    written(tmp_path / "tools", "shout.rn", tool("shout", "`${args.text}!`", properties=_TEXT))
    async with managed(tmp_path / "home", tmp_path / "tools") as (manager, ccos):
        report = await manager.execute_migration()
        assert value(await ccos.call("tools.shout", {"text": "hey"})) == "hey!"
        assert "text" in failure(await ccos.call("tools.shout", {"text": 1})).message
        found = await ccos.marketplace.get("tools.shout")
        assert found is not None
        manifest = found.manifest
        assert isinstance(manifest.provider, ScriptProvider)
        assert manifest.approval_status is ApprovalStatus.APPROVED
        assert manifest.effect_type is EffectType.PURE
        assert manifest.metadata["security_level"] == "safe"
        assert manifest.provenance is not None
        path = str(tmp_path / "tools" / "shout.rn")
        assert manifest.provenance.reference == f"{path}#{report.migration_id}"
        (migrated,) = await manager.bridge().list_migrated_tools()
        assert manifest.provenance.content_hash == migrated.metadata["source_hash"]
        assert migrated.metadata["original_file_path"] == path
        assert migrated.metadata["migration_id"] == report.migration_id
        assert migrated.metadata["migration_version"] == "5.1"
        assert migrated.metadata["risk"] == "low"
        hits = await ccos.marketplace.search("shout")
        assert [one.manifest.id for one, _ in hits] == ["tools.shout"]


_TEXT = 'text: #{ type: "string" }'


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("greet", "tools.greet"),
        ("Greet", "tools.Greet"),
        ("file.module.name", "tools.file.module.name"),
        ("with blanks", "tools.with_blanks-"),
        ("größe_測る", "tools.gr_e-"),
        ("a/b", "tools.a_b-"),
        ("..", "tools.tool-"),
        ("x" * 128, "tools." + "x" * 120 + "-"),
    ],
)
def test_a_capability_is_called_like_its_tool(name: str, expected: str) -> None:
    made = capability_id(name)
    assert made == expected if not expected.endswith("-") else made.startswith(expected)
    assert capability_id(name + "!") != made


async def test_effects_follow_the_modules_that_a_tool_uses(tmp_path: Path) -> None:
    folder = tmp_path / "tools"
    written(folder, "clock.rn", tool("clock", "crucible::basic::time_now()"))
    written(folder, "fetch.rn", tool("fetch", "crucible::http::http_get(args.url).await?"))
    written(folder, "asks.rn", tool("asks", extra='pub fn PERMISSIONS() { ["delete"] }'))
    async with managed(tmp_path / "home", folder, security_level="production") as (manager, ccos):
        report = await manager.execute_migration()
        assert report.success, report.failed_tools
        kinds = {}
        for name in ("clock", "fetch", "asks"):
            found = await ccos.marketplace.get(f"tools.{name}")
            assert found is not None
            kinds[name] = (found.manifest.effect_type.value, found.manifest.effects)
        assert kinds == {
            "clock": ("read_only", ()),
            "fetch": ("effectful", ("network",)),
            "asks": ("effectful", ()),
        }
        assert report.validation is not None
        called = {name: one["called"] for name, one in report.validation.checks.items()}
        assert called == {"clock": True, "fetch": False, "asks": False}
        risks = {
            one.original_name: one.metadata["risk"]
            for one in await manager.bridge().list_migrated_tools()
        }
        assert risks == {"clock": "low", "fetch": "medium", "asks": "high"}


async def test_another_process_sees_calls_and_removes_what_was_migrated(tmp_path: Path) -> None:
    async with managed(tmp_path / "home", TOOLS / "greet.rn") as (manager, _):
        await manager.execute_migration()
    async with opened(tmp_path / "home") as ccos, bridged(ccos) as bridge:
        assert [one.original_name for one in await bridge.list_migrated_tools()] == ["greet"]
        assert (await bridge.execute_migrated_tool("greet", {"who": "Ada"})).result == "Hello, Ada!"
        assert value(await ccos.call("tools.greet", {"who": "Bob"})) == "Hello, Bob!"
        assert (await bridge.validate_migration()).valid
        assert await bridge.remove_migrated_tool("greet")
        assert not await bridge.remove_migrated_tool("greet")
        assert await ccos.marketplace.get("tools.greet") is None
        assert not await bridge.engine.list_script_tools()
        assert not await bridge.engine.list_scripts()
        with pytest.raises(ScriptToolNotFoundError, match="migration registry: 'greet'"):
            await bridge.execute_migrated_tool("greet", {"who": "Ada"})


async def test_a_tool_that_is_not_active_is_not_called(tmp_path: Path) -> None:
    async with managed(tmp_path / "home", TOOLS / "greet.rn") as (manager, _):
        await manager.execute_migration()
        bridge = manager.bridge()
        assert await bridge.set_migrated_tool_active("greet", False)
        result = await bridge.execute_migrated_tool("greet", {"who": "Ada"})
        assert result.error is not None
        assert "tool not active" in result.error.message
        stats = await bridge.get_migration_stats()
        assert (stats.active_tools, stats.inactive_tools) == (0, 1)
        assert await bridge.set_migrated_tool_active("greet", True)
        assert (await bridge.execute_migrated_tool("greet", {"who": "Ada"})).success
        assert not await bridge.set_migrated_tool_active("nobody", True)


async def test_reload_is_atomic(tmp_path: Path) -> None:
    folder = tmp_path / "tools"
    path = written(folder, "t.rn", tool("t", "1"))
    async with managed(tmp_path / "home", folder) as (manager, ccos):
        await manager.execute_migration()
        bridge = manager.bridge()

        async def both() -> tuple[Any, Any]:
            ours = (await bridge.execute_migrated_tool("t", {})).result
            return ours, value(await ccos.call("tools.t", {}))

        assert await both() == (1, 1)
        assert not await bridge.reload_migrated_tool("t")
        assert await bridge.reload_migrated_tool("t", force=True)
        written(folder, "t.rn", tool("t", "2"))
        assert await bridge.reload_migrated_tool("t")
        assert await both() == (2, 2)
        before = await registered(ccos)
        for bad in ("pub fn NAME() {", tool("other"), tool("t", "loop { let x = 1; }")):
            path.write_text(bad)
            with pytest.raises(MigrationFailedError):
                await bridge.reload_migrated_tool("t")
            assert await both() == (2, 2)
        path.unlink()
        with pytest.raises(MigrationFailedError, match="is gone"):
            await bridge.reload_migrated_tool("t")
        assert await both() == (2, 2)
        assert await registered(ccos) == before
        with pytest.raises(ScriptToolNotFoundError):
            await bridge.reload_migrated_tool("nobody")


async def test_what_breaks_callers_is_reloaded_only_by_force(tmp_path: Path) -> None:
    folder = tmp_path / "tools"
    written(folder, "t.rn", tool("t", "1"))
    async with managed(tmp_path / "home", folder) as (manager, ccos):
        await manager.execute_migration()
        needs = tool("t", "args.x", properties='x: #{ type: "integer" }').replace(
            'type: "object", properties', 'type: "object", required: ["x"], properties'
        )
        written(folder, "t.rn", needs)
        with pytest.raises(MigrationFailedError, match="would break callers"):
            await manager.bridge().reload_migrated_tool("t")
        assert value(await ccos.call("tools.t", {})) == 1
        assert await manager.bridge().reload_migrated_tool("t", force=True)
        assert value(await ccos.call("tools.t", {"x": 5})) == 5
        found = await ccos.marketplace.get("tools.t")
        assert found is not None
        assert found.manifest.version == "2.0.0"


async def test_a_reload_elsewhere_is_seen_here(tmp_path: Path) -> None:
    folder = tmp_path / "tools"
    written(folder, "t.rn", tool("t", "1"))
    async with managed(tmp_path / "home", folder) as (manager, ccos):
        await manager.execute_migration()
        bridge = manager.bridge()
        assert (await bridge.execute_migrated_tool("t", {})).result == 1
        assert value(await ccos.call("tools.t", {})) == 1
        async with opened(tmp_path / "home") as other, bridged(other) as elsewhere:
            written(folder, "t.rn", tool("t", "2"))
            assert await elsewhere.reload_migrated_tool("t")
        assert (await bridge.execute_migrated_tool("t", {})).result == 2
        assert value(await ccos.call("tools.t", {})) == 2


async def test_a_failed_registration_leaves_nothing_behind(tmp_path: Path) -> None:
    failing = Failing("migrate_tool")
    failing.active = False
    async with (
        opened(tmp_path / "home", observer=failing) as ccos,
        bridged(ccos) as bridge,
    ):
        found = await bridge.discover(TOOLS / "greet.rn")
        before = await registered(ccos)
        failing.active = True
        with pytest.raises(MigrationFailedError, match="The disk is gone"):
            await bridge.migrate_single_tool(found.tools[0])
        failing.active = False
        assert await registered(ccos) == before
        migrated = await bridge.migrate_single_tool(found.tools[0])
        assert migrated.original_name == "greet"
        with pytest.raises(MigrationFailedError, match="already"):
            await bridge.migrate_single_tool(found.tools[0])
        again = await bridge.migrate_single_tool(found.tools[0], force=True)
        assert again.migrated_script_id == migrated.migrated_script_id


@pytest.mark.parametrize("preserved", [True, False])
async def test_ids_are_kept_when_that_is_asked_for(tmp_path: Path, preserved: bool) -> None:
    folder = tmp_path / "tools"
    written(folder, "t.rn", tool("t", "1"))
    async with (
        opened(tmp_path / "home") as ccos,
        bridged(ccos, config(folder), preserve_tool_ids=preserved) as bridge,
    ):
        assert await bridge.discover_and_migrate_tools() == 1
        (found,) = (await bridge.discover(folder)).tools
        (first,) = await bridge.list_migrated_tools()
        assert (first.migrated_script_id == found.id) is preserved
        assert (first.migrated_script_id == first.metadata["content_id"]) is not preserved
        written(folder, "t.rn", tool("t", "2"))
        await bridge.reload_migrated_tool("t")
        (second,) = await bridge.list_migrated_tools()
        assert (second.migrated_script_id == first.migrated_script_id) is preserved
        assert [one.script_id for one in await bridge.engine.list_scripts()] == [
            second.migrated_script_id
        ]
        assert (await bridge.execute_migrated_tool("t", {})).result == 2


async def test_a_bridge_migrates_by_itself_only_if_asked(tmp_path: Path) -> None:
    async with opened(tmp_path / "home") as ccos:
        chosen = config(TOOLS / "greet.rn")
        for auto_migrate, count in ((False, 0), (True, 1)):
            made = await ToolMigrationBridge.new(
                chosen, MigrationConfig(auto_migrate=auto_migrate), ccos.migration_parts()
            )
            async with made:
                assert len(await made.list_migrated_tools()) == count


async def test_the_engine_of_a_bridge_is_configured_as_asked(tmp_path: Path) -> None:
    async with (
        opened(tmp_path / "home") as ccos,
        bridged(
            ccos, enable_caching=False, max_cache_size=7, security_level=SecurityLevel.PRODUCTION
        ) as bridge,
    ):
        made = bridge.engine.get_config()
        assert (made.enable_caching, made.max_cache_size) == (False, 7)
        assert made.policy == level_policy(SecurityLevel.PRODUCTION)


async def test_level_and_limits_hold_in_every_call(tmp_path: Path) -> None:
    source = tool("slow", "let x = 0; loop { x = x + 1; if args.stop { return x; } }")
    written(tmp_path / "tools", "slow.rn", source)
    async with managed(tmp_path / "home", tmp_path / "tools", validation_mode="Skip") as (
        manager,
        _,
    ):
        await manager.execute_migration()
        context = ToolExecutionContext(timeout=0.3, user_context="ann")
        result = await manager.bridge().execute_migrated_tool("slow", {"stop": False}, context)
        assert result.error is not None
        assert result.error.code in ("CCOS-SCRIPT-TIMEOUT", "CCOS-SCRIPT-RESOURCE")
        again = await manager.bridge().execute_migrated_tool("slow", {"stop": True})
        assert (again.result, again.metadata["security_level"]) == (1, "safe")
        with pytest.raises(ConfigurationError):
            await manager.bridge().execute_migrated_tool(
                "slow", {}, ToolExecutionContext(timeout=0)
            )


async def test_twenty_tools_are_called_at_once(tmp_path: Path) -> None:
    for number in range(20):
        written(tmp_path / "tools", f"t{number}.rn", tool(f"t{number}", f"args.x + {number}"))
    async with managed(
        tmp_path / "home",
        tmp_path / "tools",
        mode="Full",
        enable_parallel_migration=True,
        validation_mode="Skip",
    ) as (manager, _):
        assert (await manager.execute_migration()).state.successfully_migrated == 20
        bridge = manager.bridge()
        calls = [bridge.execute_migrated_tool(f"t{one}", {"x": 100}) for one in range(20)]
        assert [one.result for one in await asyncio.gather(*calls)] == list(range(100, 120))
        metrics = await bridge.get_metrics()
        assert (metrics.total_requests, metrics.failed_requests) == (20, 0)
        assert metrics.average_response_time is not None
        health = await bridge.service_health()
        assert health.status is ServiceStatus.HEALTHY
        keys = {"active_executions", "cache_size", "total_executions", "success_rate"}
        assert keys <= health.details.keys()
        assert health.details["migrated_tools"] == 20


async def test_it_is_a_tool_service(tmp_path: Path) -> None:
    async with managed(tmp_path / "home", TOOLS / "greet.rn", TOOLS / "maths.rn") as (manager, _):
        await manager.execute_migration()
        bridge = manager.bridge()
        assert [one.name for one in await bridge.list_tools()] == ["add", "greet", "halve"]
        found = await bridge.get_tool("rune_halve")
        assert found is not None
        assert found.name == "halve"
        assert await bridge.get_tool("rune_greet") is None
        request = ToolExecutionRequest(tool_name="greet", parameters={"who": "Ada"})
        result = await bridge.execute_tool(request)
        assert result.result == "Hello, Ada!"
        assert result.context_ref == request.context.context_ref
        assert (await bridge.validate_tool("greet")).valid
        assert not (await bridge.validate_tool("nobody")).valid


async def test_a_stopped_bridge_calls_nothing(tmp_path: Path) -> None:
    async with managed(tmp_path / "home", TOOLS / "greet.rn") as (manager, _):
        await manager.execute_migration()
        bridge = manager.bridge()
        await bridge.stop()
        health = await bridge.service_health()
        assert health.status is ServiceStatus.UNHEALTHY
        result = await bridge.execute_migrated_tool("greet", {"who": "Ada"})
        assert isinstance(result.error, EngineStoppedError)


@pytest.mark.parametrize("variable", ["CCOS_MIGRATION_ENABLED", "CCOS_SCRIPT_ENGINE_ENABLED"])
async def test_nothing_is_migrated_where_that_is_switched_off(
    tmp_path: Path, variable: str
) -> None:
    async with opened(tmp_path / "home", **{variable: "false"}) as ccos:
        with pytest.raises(FeatureDisabledError):
            await ToolMigrationBridge.new(
                RuneServiceConfig(), MigrationConfig(), ccos.migration_parts()
            )
        with pytest.raises(FeatureDisabledError):
            async with manager_of(ccos, TOOLS) as manager:
                await manager.execute_migration()


async def test_originals_and_the_original_runtime_are_left_as_they_are(tmp_path: Path) -> None:
    path = written(tmp_path / "tools", "greet.rn", (TOOLS / "greet.rn").read_text())
    before = path.read_bytes()
    async with managed(tmp_path / "home", tmp_path / "tools") as (manager, _):
        await manager.execute_migration()
        service = manager.rune_service()
        assert service is not None
        await manager.rollback_tool_migration("greet")
        async with service:
            request = ToolExecutionRequest(tool_name="greet", parameters={"who": "Ada"})
            assert (await service.execute_tool(request)).result == "Hello, Ada!"
    assert path.read_bytes() == before


async def test_migrated_tools_give_what_the_originals_give(tmp_path: Path) -> None:
    calls: list[tuple[str, dict[str, Any]]] = [
        ("greet", {"who": "Ada"}),
        ("count_words", {"text": "one two  three"}),
        ("square", {"x": 3}),
        ("add", {"b": 1.5, "a": 2.0}),
        ("repeat", {"what": "a"}),
        ("größe_測る", {"täxt": "äöü"}),
        ("header", {"text": "hey"}),
        ("with blanks", {}),
    ]
    async with managed(tmp_path / "home", TOOLS) as (manager, _):
        await manager.execute_migration()
        service = manager.rune_service()
        assert service is not None
        async with service:
            for name, arguments in calls:
                request = ToolExecutionRequest(tool_name=name, parameters=arguments)
                original = await service.execute_tool(request)
                ours = await manager.bridge().execute_tool(request)
                assert original.success, name
                assert (ours.result, ours.error) == (original.result, None), name
