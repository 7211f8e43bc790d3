"""Scripts, tools and compiled units as somebody might register them."""

from __future__ import annotations

from typing import Any

from ccos.engine.languages import Compiled, Diagnostic, Severity
from ccos.engine.policy import SecurityLevel, level_policy
from ccos.engine.scripts import Script, ScriptTool, ToolParameter, script_id

FORMAT = "python 3.11"


def script(source: str = "1 + 1", *, name: str = "sum.py", **changes: Any) -> Script:
    """A script with the id of its content, unless ``changes`` has another."""
    level = changes.pop("level", SecurityLevel.SAFE)
    options = changes.pop("options", level_policy(level).options())
    language = changes.pop("language", "python")
    fields: dict[str, Any] = {
        "script_id": script_id(source, language, options),
        "created_at": 1000.0,
        "updated_at": 1000.0,
        **changes,
    }
    return Script(
        language=language, name=name, source=source, level=level, options=options, **fields
    )


def tool(script: Script, name: str = "forecast", **changes: Any) -> ScriptTool:
    """A tool made of a function of ``script``."""
    fields: dict[str, Any] = {
        "description": "Tells the weather.",
        "function_name": "call",
        "parameters": (
            ToolParameter("city", "string", "Where."),
            ToolParameter("days", "integer", required=False),
        ),
        "return_type": "object",
        "metadata": {"origin": "wetter.rn"},
        **changes,
    }
    return ScriptTool(name=name, script_id=script.script_id, **fields)


def compiled(source: str = "1 + 1", unit: bytes = b"\x00unit\xff") -> Compiled:
    """A compiled script with something in every field."""
    return Compiled(
        source=source,
        name="sum.py",
        unit=unit,
        exports={"call": ("city", "days"), "a": ()},
        modules=frozenset({"crucible.basic"}),
        warnings=(Diagnostic("unused", "W1", Severity.WARNING, "sum.py", 3, 4),),
    )
