"""Legacy tools in the script engine: registered there, found there again, and called there."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Final

from ccos.engine.executions import ExecutionContext, ExecutionResult
from ccos.engine.scripts import ScriptTool, ToolParameter
from ccos.engine.service import ScriptEngine
from ccos.errors import ScriptToolNotFoundError
from ccos.migration.calls import bound_arguments, checked_result
from ccos.migration.definitions import (
    ALIAS_PREFIX,
    RUNE,
    Binding,
    Form,
    RuneTool,
    ToolDefinition,
    ToolEntry,
    shown_path,
)

_DEFINITION: Final = "definition"


def script_tool(tool: RuneTool, script_id: str, **metadata: str) -> ScriptTool:
    """What the engine registers for a legacy tool.

    Args:
        tool: The tool.
        script_id: The compiled script of its text.
        metadata: Text to keep with it besides its definition.
    """
    definition = tool.definition
    output = (definition.output_schema or {}).get("type")
    kept = definition.as_dict()
    del kept["parameters"]  # they are in the schema
    known = {
        "migrated_from_rune": str(tool.language == RUNE).lower(),
        "language": tool.language,
        "original_tool_name": tool.name,
        "original_file_path": "memory" if tool.file_path is None else shown_path(tool.file_path),
        "source_hash": tool.source_hash,
        _DEFINITION: json.dumps(kept, ensure_ascii=False),
    }
    return ScriptTool(
        name=tool.name,
        description=definition.description,
        script_id=script_id,
        function_name=definition.entry.function,
        parameters=tuple(
            ToolParameter(one.name, one.param_type, one.description, one.required)
            for one in definition.parameters
        ),
        return_type=output if isinstance(output, str) else "any",
        metadata=known | metadata,
        version=definition.version,
        author=definition.author,
    )


def definition_of(tool: ScriptTool) -> ToolDefinition:
    """The definition of a registered tool; of one that never was a legacy tool, its signature."""
    kept = tool.metadata.get(_DEFINITION)
    if kept is not None:
        return ToolDefinition.from_dict(json.loads(kept))
    names = tuple(one.name for one in tool.parameters)
    properties = {one.name: _schema_of(one) for one in tool.parameters}
    return ToolDefinition(
        name=tool.name,
        description=tool.description,
        entry=ToolEntry(tool.function_name, names, Binding.NAMED),
        form=Form.ATTRIBUTES,
        input_schema={
            "type": "object",
            "properties": properties,
            "required": [one.name for one in tool.parameters if one.required],
            "additionalProperties": False,
        },
        version=tool.version or "",
        author=tool.author,
    )


async def registered_tool(engine: ScriptEngine, name: str) -> ScriptTool:
    """The registered tool of a name, or of an alias of one.

    Raises:
        ScriptToolNotFoundError: if there is none.
    """
    try:
        return await engine.get_script_tool(name)
    except ScriptToolNotFoundError:
        if not name.startswith(ALIAS_PREFIX):
            raise
        meant = await engine.get_script_tool(name.removeprefix(ALIAS_PREFIX))
        if definition_of(meant).form is not Form.ATTRIBUTES:
            raise
        return meant


async def call_in_engine(
    engine: ScriptEngine,
    script_id: str,
    definition: ToolDefinition,
    arguments: Any,
    context: ExecutionContext | None = None,
) -> ExecutionResult:
    """Call a tool in the engine; its failure is a result too.

    Args:
        engine: Where it runs; nothing else ever runs it instead.
        script_id: The compiled script of its text.
        definition: Of the tool.
        arguments: An object of JSON data, checked against its input schema.
        context: Who calls, for how long, and the rest; function and arguments do not count.

    Raises:
        InvalidArgumentsError: if the arguments are not what it takes; nothing ran then.
        InvalidResultError: if the result is not what it promises.
        ScriptError: as :meth:`ScriptEngine.execute_script`.
    """
    bound: Mapping[str, Any] = bound_arguments(definition, arguments)
    call = dataclasses.replace(
        context or ExecutionContext(), function=definition.entry.function, arguments=bound
    )
    result = await engine.execute_script(script_id, call)
    if result.error is None:
        checked_result(definition, result.value)
    return result


def _schema_of(parameter: ToolParameter) -> dict[str, Any]:
    schema: dict[str, Any] = {} if parameter.kind == "any" else {"type": parameter.kind}
    return schema | ({"description": parameter.description} if parameter.description else {})
