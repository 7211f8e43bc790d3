"""Tools as a server lists them: which one a name means, and what its hash covers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ccos.capabilities.mcp import McpTool, ToolListing, tool_hash

TOOL = McpTool("forecast", {"type": "object"}, "Forecast", "Tells.", {"type": "string"}, {"a": 1})


def test_name_that_is_listed_twice_means_no_tool() -> None:
    other = McpTool("other", {})
    listing = ToolListing((TOOL, other, replace(other, title="Another")))
    assert listing.find("forecast") is TOOL
    assert listing.find("other") is None
    assert listing.find("Forecast") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "forecasts"},
        {"input_schema": {"type": "object", "required": ["x"]}},
        {"title": None},
        {"description": "Tells!"},
        {"output_schema": None},
        {"annotations": {"a": 2}},
    ],
)
def test_every_word_of_a_tool_is_pinned(changes: dict[str, Any]) -> None:
    assert tool_hash(replace(TOOL)) == tool_hash(TOOL)
    assert tool_hash(replace(TOOL, **changes)) != tool_hash(TOOL)


def test_tool_that_has_no_canonical_form_has_no_hash() -> None:
    with pytest.raises(ValueError):
        tool_hash(replace(TOOL, description="\ud800"))
