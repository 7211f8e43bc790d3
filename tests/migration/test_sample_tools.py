"""Every sample tool gets the verdict, the reason and the hint that are written down for it."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ccos.capabilities import SchemaValidator
from ccos.migration import Discoverer, Discovery, DiscoveryConfig, FileReport, Verdict
from ccos.migration.definitions import ToolDefinition
from migration.inspecting import Remembering
from migration.samples import TOOLS

EXPECTED: dict[str, dict[str, Any]] = tomllib.loads(
    (TOOLS / "expected.toml").read_text(encoding="utf-8")
)
MARKER = Path("/tmp/ccos-rune-marker")


@pytest.fixture(scope="module")
def found() -> Discovery:
    async def main() -> Discovery:
        inspector = Remembering()
        async with inspector.working():
            return await Discoverer(DiscoveryConfig(), inspector).discover(TOOLS)

    return asyncio.run(main())


def report(found: Discovery, name: str) -> FileReport:
    (one,) = (one for one in found.files if one.path.name == name)
    return one


def test_the_folder_and_the_list_of_expectations_are_the_same(found: Discovery) -> None:
    assert [one.path.name for one in found.files] == sorted(EXPECTED)
    assert len(EXPECTED) >= 80
    assert {one["verdict"] for one in EXPECTED.values()} == set(Verdict)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_sample_gets_its_verdict(found: Discovery, name: str) -> None:
    one, expected = report(found, name), EXPECTED[name]
    assert (one.verdict, [tool.name for tool in one.tools]) == (
        expected["verdict"],
        expected.get("tools", []),
    )
    if "type" in expected:
        problem = one.problems[0]
        place = f"{TOOLS}/"
        assert (problem.type, problem.message.replace(place, ""), problem.hint) == (
            expected["type"],
            expected["says"],
            expected.get("hint", ""),
        )
        assert (problem.tool, problem.code, problem.line) == (
            expected.get("tool", ""),
            expected.get("code", ""),
            expected.get("line", 0),
        )
    else:
        assert one.problems == ()
        assert one.reason == expected.get("says", one.reason)
    for warning in expected.get("warnings", []):
        assert warning in one.warnings


def test_what_was_found_adds_up(found: Discovery) -> None:
    summary = found.as_dict()["summary"]
    assert found.total_discovered == summary["tools"] + summary["failed"]
    whole = sum(1 for one in found.files if one.tools and not one.problems)
    assert summary["files"] == len(found.failed) + len(found.ignored) + whole


def test_nothing_ran_while_metadata_was_read(found: Discovery) -> None:
    assert "file_write" in (TOOLS / "side_effects.rn").read_text()
    assert str(MARKER) in (TOOLS / "side_effects.rn").read_text()
    assert report(found, "side_effects.rn").verdict is Verdict.INVALID
    assert not MARKER.exists()


def definition(found: Discovery, name: str) -> ToolDefinition:
    (one,) = (tool.definition for tool in found.tools if tool.name == name)
    return one


def test_a_tool_says_everything_about_itself(found: Discovery) -> None:
    full = definition(found, "count_words")
    assert (full.version, full.category, full.tags, full.author) == (
        "2.1.0",
        "text",
        ("text", "count"),
        "Ada",
    )
    assert full.permissions == ("none",)
    assert [one.as_dict() for one in full.dependencies] == [
        {"name": "split", "version": None, "optional": False},
        {"name": "trim", "version": "1.0", "optional": True},
    ]
    assert full.output_schema is not None
    assert [one.as_dict() for one in full.parameters] == [
        {
            "name": "least",
            "param_type": "integer",
            "description": "",
            "required": False,
            "default_value": 1,
        },
        {
            "name": "text",
            "param_type": "string",
            "description": "",
            "required": True,
            "default_value": None,
        },
        {
            "name": "unit",
            "param_type": "string",
            "description": "",
            "required": False,
            "default_value": "word",
        },
    ]


def test_a_tool_that_says_little_gets_the_defaults(found: Discovery) -> None:
    small = definition(found, "greet")
    assert (small.version, small.category, small.tags) == ("1.0.0", "general", ())
    assert (small.author, small.output_schema, small.enabled) == (None, None, True)
    assert (small.permissions, small.dependencies) == ((), ())


def test_attributes_make_a_schema_by_name(found: Discovery) -> None:
    add, halve = definition(found, "add"), definition(found, "halve")
    assert add.description == "Adds two numbers (both are needed)"
    assert (add.version, add.category, add.tags) == ("1.2.0", "maths", ("math", "basic"))
    assert add.input_schema == {
        "type": "object",
        "properties": {
            "a": {"type": "number", "description": "The first"},
            "b": {"type": "number", "description": "The second"},
        },
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    assert halve.description == "Halves a number."
    assert halve.input_schema["required"] == ["value"]
    assert SchemaValidator(dict(halve.input_schema)).accepts({"value": 3})
    assert not SchemaValidator(dict(halve.input_schema)).accepts({"value": 3, "other": 1})


def test_a_header_describes_a_tool_that_is_called_like_its_file(found: Discovery) -> None:
    shout = definition(found, "header")
    assert shout.description == "Shouts a text,\nas loud as it can."
    assert (shout.version, shout.tags) == ("0.3", ("text", "loud"))
    assert shout.entry.function == "run"
    assert shout.input_schema["properties"] == {
        "text": {"type": "string", "description": "What to shout"}
    }
    assert definition(found, "header_main").entry.function == "main"


def test_a_definition_survives_being_written_down(found: Discovery) -> None:
    for tool in found.tools:
        assert ToolDefinition.from_dict(tool.definition.as_dict()) == tool.definition
    assert len({tool.id for tool in found.tools}) == len(found.tools)
