"""The registry: what it takes, what it refuses, and what it remembers of that."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from ccos.errors import (
    ConfigurationError,
    ScriptConflictError,
    ScriptError,
    ScriptToolNotFoundError,
)
from ccos.migration import (
    Binding,
    Form,
    LoadingAction,
    RegistryConfig,
    RuneTool,
    ToolDefinition,
    ToolEntry,
    ToolRegistry,
)


def made(name: str = "a", **changes: Any) -> RuneTool:
    of_tool = {item.name for item in dataclasses.fields(RuneTool)}
    parts = {key: changes.pop(key) for key in list(changes) if key in of_tool}
    definition = {
        "name": name,
        "description": f"The tool {name}.",
        "entry": ToolEntry("call", ("args",), Binding.OBJECT),
        "form": Form.FUNCTIONS,
        "input_schema": {"type": "object"},
    }
    tool = {
        "definition": ToolDefinition(**{**definition, **changes}),
        "source_code": "text",
        "source_hash": "sha256:1",
        "created_at": 1.0,
        "modified_at": 1.0,
    }
    return RuneTool(**{**tool, **parts})


def registry(*tools: RuneTool, clock: Any = None, **config: Any) -> ToolRegistry:
    found = ToolRegistry(RegistryConfig(**config), clock=clock or (lambda: 0.0))
    for tool in tools:
        found.register_tool(tool)
    return found


def test_the_defaults_are_those_of_the_reference() -> None:
    config = RegistryConfig()
    assert (config.max_cached_tools, config.max_loading_history) == (1000, 1000)
    assert (config.enable_hot_reload, config.validate_on_load) == (True, True)
    assert (config.cache_ttl_secs, config.track_loading_history) == (3600, True)


@pytest.mark.parametrize("name", ["max_cached_tools", "cache_ttl_secs", "max_loading_history"])
def test_a_limit_of_zero_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        RegistryConfig(**{name: 0})  # type: ignore[arg-type]


def test_tools_come_back_by_name() -> None:
    found = registry(made("b"), made("a"))
    assert [tool.name for tool in found.list_tools()] == ["a", "b"]
    assert found.find("b").name == "b"
    assert found.get_tool("c") is None
    with pytest.raises(ScriptToolNotFoundError, match="Tool not found: 'c'"):
        found.find("c")


def test_a_name_is_taken_once() -> None:
    found = registry(made())
    with pytest.raises(ScriptConflictError, match="'a' is registered already"):
        found.register_tool(made(description="Another."))
    assert found.find("a").definition.description == "The tool a."
    assert found.unregister_tool("a")
    assert not found.unregister_tool("a")
    found.register_tool(made(description="Another."))


def test_a_full_registry_gives_no_tool_up() -> None:
    found = registry(made("a"), made("b"), max_cached_tools=2)
    with pytest.raises(ScriptConflictError, match="full"):
        found.register_tool(made("c"))
    assert [tool.name for tool in found.list_tools()] == ["a", "b"]
    found.unregister_tool("a")
    found.register_tool(made("c"))


@pytest.mark.parametrize(
    ("tool", "says"),
    [
        (made(" "), "name"),
        (made(description=" \n"), "description"),
        (made(source_code=""), "text"),
        (made(input_schema={"type": "strong"}), "schema"),
        (made(input_schema={"type": "string"}), "schema"),
        (made(output_schema={"$ref": "https://example.com/"}), "schema"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_used_is_refused(tool: RuneTool, says: str) -> None:
    found = registry()
    with pytest.raises(ScriptError, match=says):
        found.register_tool(tool)
    assert found.list_tools() == []
    (event,) = found.get_loading_history()
    assert (event.action, event.reason != "") == (LoadingAction.REFUSED, True)


def test_schemas_are_checked_unless_told_otherwise() -> None:
    wrong = made(input_schema={"type": "strong"})
    assert registry(wrong, validate_on_load=False).find("a") == wrong


def test_tools_are_found_by_category_tag_and_text() -> None:
    found = registry(
        made("Add", category="maths", tags=("sum", "basic")),
        made("count", category="text", tags=("basic",), description="ADDS up words."),
        made("other"),
    )
    assert [one.name for one in found.list_by_category("maths")] == ["Add"]
    assert [one.name for one in found.list_by_tag("basic")] == ["Add", "count"]
    assert [one.name for one in found.search_tools("add")] == ["Add", "count"]
    assert found.search_tools("nothing of that") == []


def test_aliases_are_of_the_attribute_form_only() -> None:
    found = registry(made("a"), made("b", form=Form.ATTRIBUTES))
    assert found.get_tool("rune_a") is None
    assert found.find("rune_b").name == "b"


def test_a_tool_is_replaced_or_stays_as_it_is() -> None:
    found = registry(made())
    assert not found.needs_reload("a", "sha256:1")
    assert found.needs_reload("a", "sha256:2")
    with pytest.raises(ScriptError):
        found.reload_tool(made(description="", source_hash="sha256:2"))
    assert found.find("a").source_hash == "sha256:1"
    found.set_enabled("a", False)
    found.reload_tool(made(source_hash="sha256:2"))
    assert (found.find("a").source_hash, found.find("a").enabled) == ("sha256:2", False)
    with pytest.raises(ScriptToolNotFoundError):
        found.reload_tool(made("c"))
    with pytest.raises(ScriptToolNotFoundError):
        found.needs_reload("c", "")


def test_only_tools_that_changed_are_reloaded() -> None:
    found = registry(made("a"), made("b"))
    fresh = [made("a"), made("b", source_hash="sha256:2"), made("c", source_hash="sha256:2")]
    assert found.reload_tools(fresh) == 1
    assert found.find("b").source_hash == "sha256:2"
    cold = registry(made("b"), enable_hot_reload=False)
    assert cold.reload_tools(fresh) == 0


def test_a_tool_gets_stale_after_a_while() -> None:
    now = [0.0]
    found = registry(made(), clock=lambda: now[0], cache_ttl_secs=10)
    now[0] = 10.0
    assert not found.is_stale("a")
    now[0] = 10.1
    assert found.is_stale("a")
    found.looked_at("a")
    assert not found.is_stale("a")
    assert not found.is_stale("none")


def test_it_counts_what_it_has() -> None:
    found = registry(
        made("a", tags=("x", "y"), file_path=Path("a.rn")),
        made("b", tags=("x",), category="text", enabled=False),
    )
    stats = found.get_stats()
    assert (stats.total_tools, stats.enabled_tools, stats.total_tags) == (2, 1, 2)
    assert stats.categories == {"general": 1, "text": 1}
    assert (stats.tools_with_files, stats.loading_history_size) == (1, 2)


def test_it_remembers_what_was_loaded() -> None:
    now = [1.0]
    found = registry(made("a"), clock=lambda: now[0], max_loading_history=3)
    now[0] = 2.0
    found.reload_tool(made("a", source_hash="sha256:2"))
    found.unregister_tool("a")
    history = [(one.tool_name, one.action.value, one.at) for one in found.get_loading_history()]
    assert history == [("a", "loaded", 1.0), ("a", "reloaded", 2.0), ("a", "unloaded", 2.0)]
    found.register_tool(made("b"))
    assert len(found.get_loading_history()) == 3
    assert found.get_loading_history()[-1].as_dict()["tool_name"] == "b"
    found.clear_loading_history()
    assert found.get_loading_history() == []
    assert registry(made(), track_loading_history=False).get_loading_history() == []
