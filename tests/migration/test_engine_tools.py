"""Tools in the script engine: registered with their definition, and called as it says."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ccos.assembly import Ccos
from ccos.engine.executions import CompilationContext
from ccos.engine.modules import host_modules
from ccos.engine.scripts import ScriptTool, ToolParameter
from ccos.errors import InvalidArgumentsError, InvalidResultError, ScriptToolNotFoundError
from ccos.migration import (
    Discoverer,
    DiscoveryConfig,
    RuneInspector,
    call_in_engine,
    definition_of,
    registered_tool,
    script_tool,
)
from migration.inspecting import rune
from migration.samples import TOOLS
from opening import opened

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def registered(home: Path, *files: str) -> AsyncIterator[Ccos]:
    """A CCOS in whose engine the tools of some samples are registered."""
    async with opened(home) as ccos:
        async with rune() as language:
            discoverer = Discoverer(DiscoveryConfig(), RuneInspector(language, host_modules()))
            found = await discoverer.discover(*(TOOLS / name for name in files))
        for tool in found.tools:
            context = CompilationContext(name="tool.rn", language="rune")
            made = await ccos.script_engine.compile_script(tool.source_code, context)
            await ccos.script_engine.register_tool(script_tool(tool, made.script_id, note="kept"))
        yield ccos


async def test_a_registered_tool_keeps_its_definition(tmp_path: Path) -> None:
    async with registered(tmp_path, "count_words.rn") as ccos:
        kept = await registered_tool(ccos.script_engine, "count_words")
        definition = definition_of(kept)
        assert (definition.category, definition.tags) == ("text", ("text", "count"))
        assert kept.metadata["original_file_path"] == str(TOOLS / "count_words.rn")
        assert (kept.metadata["note"], kept.metadata["migrated_from_rune"]) == ("kept", "true")
        assert kept.signature == "call(least?: integer, text: string, unit?: string) -> object"
        called = await call_in_engine(
            ccos.script_engine, kept.script_id, definition, {"text": "one two"}
        )
        assert called.value == {"count": 2}


async def test_the_schemas_hold_in_the_engine_too(tmp_path: Path) -> None:
    async with registered(tmp_path, "greet.rn", "wrong_output.rn", "maths.rn") as ccos:
        engine = ccos.script_engine
        greet = await registered_tool(engine, "greet")
        with pytest.raises(InvalidArgumentsError, match="Missing required field: who"):
            await call_in_engine(engine, greet.script_id, definition_of(greet), {})
        assert engine.get_metrics()["total_requests"] == 0
        wrong = await registered_tool(engine, "wrong_output")
        with pytest.raises(InvalidResultError):
            await call_in_engine(engine, wrong.script_id, definition_of(wrong), {})
        halve = await registered_tool(engine, "rune_halve")
        result = await call_in_engine(engine, halve.script_id, definition_of(halve), {"value": 3.0})
        assert (result.value, result.success) == (1.5, True)
        with pytest.raises(ScriptToolNotFoundError):
            await registered_tool(engine, "rune_greet")


async def test_a_tool_of_another_language_is_called_by_its_signature(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        engine = ccos.script_engine
        source = "def power(base, exponent=2):\n    return base ** exponent\n"
        made = await engine.compile_script(source)
        tool = ScriptTool(
            name="power",
            description="Raises a number.",
            script_id=made.script_id,
            function_name="power",
            parameters=(
                ToolParameter("base", "integer"),
                ToolParameter("exponent", "integer", required=False),
            ),
        )
        await engine.register_tool(tool)
        definition = definition_of(await registered_tool(engine, "power"))
        for arguments, value in (({"base": 3}, 9), ({"base": 2, "exponent": 3}, 8)):
            result = await call_in_engine(engine, made.script_id, definition, arguments)
            assert result.value == value
        with pytest.raises(InvalidArgumentsError, match="/base"):
            await call_in_engine(engine, made.script_id, definition, {"base": "3"})
