"""What becomes of the tools that a server lists."""

from __future__ import annotations

from typing import Any

import pytest

from ccos.capabilities import EffectType, HttpServer, McpProvider, StdioServer
from ccos.capabilities.mcp import McpTool, ToolListing, tool_hash
from ccos.importers.mcp import MAXIMUM_DESCRIPTION, import_tools

REMOTE = HttpServer(url="https://mcp.example.com/mcp")
LOCAL = StdioServer(registry="pypi", package="weather", version="2.1")


def tool(name: str = "forecast", **fields: Any) -> McpTool:
    return McpTool(name, fields.pop("input_schema", {"type": "object"}), **fields)


def listing(*tools: McpTool) -> ToolListing:
    return ToolListing(tools)


def test_tool_keeps_its_schemas_and_is_pinned() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    output = {"type": "object", "properties": {"celsius": {"type": "number"}}}
    offered = tool(
        input_schema=schema, output_schema=output, title="Forecast", description="Tells."
    )
    imported = import_tools("io.github.user/weather", LOCAL, listing(offered))
    (manifest,) = imported.capabilities
    assert imported.quarantined == ()
    assert manifest.id == "mcp.io.github.user.weather.forecast"
    assert (manifest.name, manifest.description) == ("Forecast", "Tells.")
    assert manifest.version == "2.1.0"
    assert manifest.input_schema == schema
    assert manifest.output_schema == output
    assert manifest.provider == McpProvider(
        server=LOCAL, tool="forecast", tool_hash=tool_hash(offered)
    )


def test_hints_of_the_server_are_not_believed() -> None:
    hints = {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True}
    (manifest,) = import_tools("w", LOCAL, listing(tool(annotations=hints))).capabilities
    assert manifest.effect_type is EffectType.EFFECTFUL
    reviewed = import_tools(
        "w", LOCAL, listing(tool(), tool("send")), read_only_tools=("forecast",), effects=("clock",)
    )
    first, second = reviewed.capabilities
    assert first.effect_type is EffectType.READ_ONLY
    assert second.effect_type is EffectType.EFFECTFUL
    assert first.effects == ("clock",)


def test_effects_nobody_declared_are_the_widest_of_the_transport() -> None:
    (local,) = import_tools("w", LOCAL, listing(tool())).capabilities
    (remote,) = import_tools("w", REMOTE, listing(tool())).capabilities
    assert local.effects == ("network", "process")
    assert remote.effects == ("network",)
    assert import_tools("w", LOCAL, listing(tool()), effects=()).capabilities[0].effects == ()


def test_names_that_share_an_id_are_told_apart() -> None:
    names = ["a/b", "a.b", "a b", "a_b", "plain"]
    imported = import_tools("w", REMOTE, listing(*map(tool, names)))
    ids = [manifest.id for manifest in imported.capabilities]
    assert len(set(ids)) == 5
    assert ids[-1] == "mcp.w.plain"
    again = import_tools("w", REMOTE, listing(*map(tool, reversed(names))))
    assert {m.id for m in again.capabilities} == set(ids)


def test_name_listed_twice_is_quarantined_both_times() -> None:
    imported = import_tools("w", REMOTE, listing(tool("a"), tool("a"), tool("b")))
    assert [m.id for m in imported.capabilities] == ["mcp.w.b"]
    assert [item.name for item in imported.quarantined] == ["a", "a"]


@pytest.mark.parametrize(
    "text",
    [
        "zero\u200bwidth",
        "right\u202eto left",
        "isolate\u2066d",
        "tag\U000e0041",
        "selector\U000e0100",
        "bell\x07",
        "escape\x1b[31m",
        "soft\u00adhyphen",
        "byte order\ufeff",
        "joined\u200dletters",
        "far" + " " * 40 + "away",
        "visible <!-- hidden -->",
        "QUJD" * 100,
        "x " * MAXIMUM_DESCRIPTION,
    ],
)
def test_poisoned_text_is_quarantined_wherever_it_stands(text: str) -> None:
    nested = {"type": "object", "properties": {"a": {"description": text}}}
    named = {"type": "object", "properties": {text: {"type": "string"}}}
    for bad in (
        tool(description=text),
        tool(title=text),
        tool(input_schema=nested),
        tool(input_schema=named),
        tool(output_schema={"enum": [text]}),
        tool(annotations={"title": text}),
    ):
        imported = import_tools("w", REMOTE, listing(bad, tool("good")))
        assert [m.id for m in imported.capabilities] == ["mcp.w.good"]
        assert imported.quarantined[0].reason


@pytest.mark.parametrize(
    "text",
    [
        "Line one.\n\n    Args:\n\tcity: The city — naïve, 東京, עברית.",
        "A family 👨\u200d👩\u200d👧 and ❤️\u200d🔥.",
        "See https://example.com/a/very/long/path?with=" + "x" * 100,
    ],
)
def test_honest_text_is_kept(text: str) -> None:
    (manifest,) = import_tools("w", REMOTE, listing(tool(description=text))).capabilities
    assert manifest.description == text


@pytest.mark.parametrize("name", ["", "x" * 129, "fоrecast", "a\nb", " a", "a\u200bb"])
def test_names_that_deceive_are_quarantined(name: str) -> None:
    imported = import_tools("w", REMOTE, listing(tool(name)))
    assert imported.capabilities == ()
    assert len(imported.quarantined) == 1


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"properties": {"a": {"$ref": "https://example.com/schema.json"}}},
        {"pattern": "("},
        {"maximum": float("nan")},
        deep(100),
        deep(5000),
        {"enum": ["x" * 9000] * 200},
    ],
)
def test_unusable_schema_is_quarantined_and_the_rest_is_kept(schema: dict[str, Any]) -> None:
    imported = import_tools("w", REMOTE, listing(tool(input_schema=schema), tool("good")))
    assert [m.id for m in imported.capabilities] == ["mcp.w.good"]
    assert imported.quarantined[0].name == "forecast"


def test_change_of_anything_relied_on_changes_the_definition() -> None:
    before = import_tools("w", REMOTE, listing(tool(description="a"))).capabilities[0]
    after = import_tools(
        "w", REMOTE, listing(tool(description="a", annotations={"readOnlyHint": True}))
    ).capabilities[0]
    assert before.definition_hash() != after.definition_hash()
