"""Validation: what each mode checks, that it can fail, and that it never acts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ccos.capabilities import SchemaValidator
from ccos.events import EventType
from ccos.migration import MigrationConfig, MigrationReport, ValidationConfig
from ccos.migration.engine_tools import call_in_engine
from ccos.migration.inputs import refused_sample, samples
from migration.managing import managed
from migration.samples import tool, written
from opening import happened

pytestmark = pytest.mark.anyio

QUICK = ValidationConfig(probe_seconds=0.5)


async def migrated(
    tmp_path: Path, source: str, *, validation: ValidationConfig = QUICK, **config: Any
) -> MigrationReport:
    """The report of migrating one tool ``t``."""
    written(tmp_path / "tools", "t.rn", source)
    async with managed(
        tmp_path / "home", tmp_path / "tools", kept=MigrationConfig(validation=validation), **config
    ) as (manager, _):
        return await manager.execute_migration()


BAD = {
    "loops": (tool("t", "loop { let x = 1; }"), "computed for more than"),
    "floods": (tool("t", 'loop { println!("flood, flood, flood"); }'), ""),
    "allocates": (
        tool("t", 'let all = []; let w = "aaaaaaaa"; loop { w = `${w}${w}`; all.push(w); }'),
        "",
    ),
    "recurses": (tool("t", "again(1)", extra="fn again(x) { again(x + 1) + 1 }"), ""),
    "breaks its promise": (
        tool("t", '"text"', extra='pub fn OUTPUT_SCHEMA() { #{ type: "integer" } }'),
        "not what it promises",
    ),
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_tool_fails_where_it_is_looked_at(tmp_path: Path, kind: str) -> None:
    source, says = BAD[kind]
    report = await migrated(tmp_path, source)
    (failed,) = report.failed_tools
    assert failed.error_type.value == "ValidationFailed", failed
    assert "Test execution failed" in failed.message
    assert says in failed.message
    assert report.validation is not None
    assert (report.validation.valid, report.validation.valid_tools) == (False, 0)


@pytest.mark.parametrize("kind", BAD)
async def test_skip_looks_at_nothing(tmp_path: Path, kind: str) -> None:
    report = await migrated(tmp_path, BAD[kind][0], validation_mode="Skip")
    assert report.migrated_tools == ("t",)
    assert report.validation is None


async def test_a_tool_that_gives_up_is_a_warning(tmp_path: Path) -> None:
    source = tool("t", 'Err("no such thing")')
    report = await migrated(tmp_path / "a", source)
    assert report.migrated_tools == ("t",)
    assert report.validation is not None
    assert "no such thing" in report.validation.warnings[0]
    strict = ValidationConfig(strict=True)
    report = await migrated(tmp_path / "b", source, validation=strict)
    assert report.failed_tools[0].error_type.value == "ValidationFailed"


async def test_tools_that_declare_effects_are_never_called(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    body = f'crucible::file::file_write("{canary}", "x").await?'
    report = await migrated(
        tmp_path,
        tool("t", body),
        validation_mode="Comprehensive",
        security_level="development",
    )
    assert report.migrated_tools == ("t",), report.failed_tools
    assert not canary.exists()
    assert report.validation is not None
    assert any("declares effects" in one for one in report.validation.warnings)
    assert report.validation.checks["t"]["called"] is False


async def test_a_level_that_lacks_a_module_is_told_which_has_it(tmp_path: Path) -> None:
    body = "crucible::http::http_get(args.url).await"
    report = await migrated(tmp_path / "a", tool("t", body))
    (failed,) = report.failed_tools
    assert failed.error_type.value == "ValidationFailed"
    assert failed.context["allowed_at"] == ["development", "production"]
    assert failed.context["line"] == 6
    assert (await migrated(tmp_path / "b", tool("t", body), security_level="prod")).success


async def test_calls_can_be_switched_off(tmp_path: Path) -> None:
    off = ValidationConfig(validate_functionality=False)
    for mode in ("Basic", "Comprehensive"):
        report = await migrated(
            tmp_path / mode, BAD["loops"][0], validation=off, validation_mode=mode
        )
        assert report.migrated_tools == ("t",)
        assert report.validation is not None
        assert report.validation.checks["t"]["called"] is False


async def test_never_without_what_a_tool_needs(tmp_path: Path) -> None:
    source = tool("t", "args.x + 1", properties='x: #{ type: "integer", minimum: 41 }').replace(
        'type: "object", properties', 'type: "object", required: ["x"], properties'
    )
    report = await migrated(tmp_path / "a", source, validation_mode="Comprehensive")
    assert report.validation is not None
    checks = report.validation.checks["t"]
    assert checks["arguments"] == {"x": 41}
    assert checks["compared"] >= 2
    assert report.validation.warnings == ()
    intricate = source.replace("minimum: 41", 'type: "string", pattern: "^q{7}z$"')
    report = await migrated(tmp_path / "b", intricate.replace('type: "integer", ', ""))
    assert report.migrated_tools == ("t",)
    assert report.validation is not None
    assert "No arguments could be made" in report.validation.warnings[0]


async def test_a_difference_to_the_original_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def altered(*arguments: Any, **rest: Any) -> Any:
        import dataclasses

        result = await call_in_engine(*arguments, **rest)
        return dataclasses.replace(result, value=result.value + 1)

    monkeypatch.setattr("ccos.migration.validation.call_in_engine", altered)
    report = await migrated(tmp_path, tool("t", "1"), validation_mode="Comprehensive")
    (failed,) = report.failed_tools
    assert failed.error_type.value == "ValidationFailed"
    assert "the original gives 1 and the migrated tool 2" in failed.message
    assert not report.migrated_tools


async def test_what_differs_by_the_clock_is_a_warning(tmp_path: Path) -> None:
    report = await migrated(
        tmp_path, tool("t", "crucible::basic::time_now()"), validation_mode="Comprehensive"
    )
    assert report.migrated_tools == ("t",), report.failed_tools
    assert report.validation is not None
    assert any("something else each time" in one for one in report.validation.warnings)


async def test_a_tool_that_became_slow_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(*arguments: Any, **rest: Any) -> Any:
        import dataclasses

        result = await call_in_engine(*arguments, **rest)
        return dataclasses.replace(result, seconds=result.seconds + 60)

    monkeypatch.setattr("ccos.migration.validation.call_in_engine", slow)
    for demanded in (False, True):
        chosen = ValidationConfig(validate_performance=demanded)
        report = await migrated(
            tmp_path / str(demanded), tool("t"), validation=chosen, validation_mode="Comprehensive"
        )
        assert report.validation is not None
        found = report.validation.issues if demanded else report.validation.warnings
        assert "the original takes" in found[0]
        assert bool(report.failed_tools) is demanded


async def test_the_modes_differ_in_what_they_run(tmp_path: Path) -> None:
    counts = {}
    for mode in ("Skip", "Basic", "Comprehensive"):
        source = tool("t", "args.len()", properties='a: #{ type: "string" }')
        written(tmp_path / "tools", "t.rn", source)
        async with managed(tmp_path / mode, tmp_path / "tools", validation_mode=mode) as (
            manager,
            ccos,
        ):
            await manager.execute_migration()
            await manager.aclose()
            counts[mode] = len(await happened(ccos, EventType.SCRIPT_EXECUTED))
    assert counts["Skip"] == 0
    assert counts["Basic"] == 1
    assert counts["Comprehensive"] > 3


async def test_what_is_damaged_later_is_found(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        written(tmp_path / "tools", f"{name}.rn")
    async with managed(tmp_path / "home", tmp_path / "tools") as (manager, ccos):
        await manager.execute_migration()
        bridge = manager.bridge()
        assert (await bridge.validate_migration()).valid
        await ccos.marketplace.revoke("tools.a", actor="ann", reason="bad")
        await ccos.script_engine.unregister_tool("b")
        written(tmp_path / "tools", "c.rn", tool("c", "2"))
        found = await bridge.validate_migration()
        assert (found.valid, found.total_tools, found.valid_tools) == (False, 3, 1)
        assert found.issues == (
            "a: the capability tools.a is not active.",
            "b: the engine does not offer it.",
        )
        assert "changed; reload it" in found.warnings[0]


SCHEMAS: list[dict[str, Any]] = [
    {},
    {"type": "object"},
    {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer", "minimum": 7}}},
    {"required": ["a"], "properties": {"a": {"exclusiveMaximum": -3, "type": "number"}}},
    {"required": ["a"], "properties": {"a": {"type": "integer", "multipleOf": 6, "minimum": 7}}},
    {"required": ["a"], "properties": {"a": {"enum": [{"x": 1}, None]}}},
    {"required": ["a"], "properties": {"a": {"const": "fixed"}}},
    {"required": ["a"], "properties": {"a": {"type": "string", "minLength": 9, "maxLength": 9}}},
    {"required": ["a"], "properties": {"a": {"type": "string", "format": "date-time"}}},
    {"required": ["a"], "properties": {"a": {"type": ["string", "null"]}}},
    {
        "required": ["a"],
        "properties": {
            "a": {"type": "array", "minItems": 2, "items": {"anyOf": [{"type": "null"}, {}]}}
        },
    },
    {"required": ["a"], "properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"const": 3}}},
    {"required": ["a", "b"], "properties": {"a": {"allOf": [{"type": "integer"}, {"minimum": 4}]}}},
    {"properties": {"a": {"oneOf": [{"type": "boolean"}, {"type": "string", "minLength": 3}]}}},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_samples_satisfy_their_schema_and_stay_the_same(schema: dict[str, Any]) -> None:
    made = samples(schema, 4)
    assert made
    validator = SchemaValidator(schema)
    assert all(validator.accepts(one) for one in made)
    assert made == samples(schema, 4)
    assert set(made[0]) == set(schema.get("required", []))
    wrong = refused_sample(schema)
    assert wrong is None or not validator.accepts(wrong)
    if "required" in schema:
        assert wrong is not None


@pytest.mark.parametrize(
    "schema",
    [
        {"required": ["a"], "properties": {"a": {"pattern": "^q{7}$", "type": "string"}}},
        {"required": ["a"], "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {}}},
        {"required": ["a"], "properties": {"a": False}},
        {"required": ["a"], "properties": {"a": {"type": "array", "minItems": 10**9}}},
        {"required": ["a"], "properties": {"a": {"$ref": "#"}}},
    ],
    ids=str,
)
def test_for_an_intricate_schema_there_is_nothing_or_what_fits(schema: dict[str, Any]) -> None:
    validator = SchemaValidator(schema)
    assert all(validator.accepts(one) for one in samples(schema, 3))
