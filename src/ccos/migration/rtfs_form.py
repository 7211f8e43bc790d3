"""Tools in RTFS: functions at the top of a text that have a docstring; types become schemas."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Final

from ccos.migration import metadata
from ccos.migration.definitions import Binding, Form, ToolDefinition, ToolEntry
from ccos.migration.discovery_config import DiscoveryConfig
from ccos.migration.metadata import MAX_DESCRIPTION_CHARACTERS, MetadataError
from ccos.migration.problems import MigrationErrorType, Problem, invalid
from ccos.migration.reading import Described, Reading, Verdict, refused
from ccos.rtfs import NotRepresentableError, RtfsSyntaxError, to_json_schema
from ccos.rtfs import read as read_forms
from ccos.rtfs.forms import (
    Colon,
    Keyword,
    ListForm,
    Literal,
    MapForm,
    Symbol,
    VectorForm,
    head_name,
    is_symbol,
    without_meta,
)
from ccos.rtfs.forms import Form as RtfsForm
from ccos.rtfs.types import TypeSyntaxError, read_type

_DEFINES: Final = "defn"


class RtfsReader:
    """Reads tools in RTFS: every ``defn`` at the top with a docstring is one."""

    language = "rtfs"
    extensions = ("rtfs",)

    async def read(self, source: str, name: str, config: DiscoveryConfig) -> Reading:
        """What a text is; see :class:`ccos.migration.reading.SourceReader`."""
        try:
            forms = (await asyncio.to_thread(read_forms, source, name)).forms
        except RtfsSyntaxError as error:
            problem = Problem(
                type=MigrationErrorType.COMPILATION_FAILED,
                message=error.message,
                code=error.code,
                line=error.details.get("line", 0),
                column=error.details.get("column", 0),
            )
            return refused([problem])
        functions = [
            one for one in map(without_meta, forms) if isinstance(one, ListForm) and _is_tool(one)
        ]
        if not functions:
            return Reading(Verdict.LIBRARY, "It has no function with a docstring.")
        described = [
            _described(one, source.count("\n", 0, one.start) + 1, validate=config.validate_tools)
            for one in functions
        ]
        problems = tuple(problem for one in described for problem in one.problems)
        tools = tuple(one for one in described if one.definition is not None)
        if not tools:
            return refused(problems)
        listed = ", ".join(one.definition.name for one in tools[:5] if one.definition)
        warnings = tuple(warning for one in described for warning in one.warnings)
        return Reading(Verdict.TOOL, f"It has {listed}.", tools, problems, warnings)


def _is_tool(form: ListForm) -> bool:
    items = form.items
    return (
        head_name(form) == _DEFINES
        and len(items) > 3
        and isinstance(items[1], Symbol)
        and isinstance(items[2], Literal)
        and items[2].kind == "string"
    )


def _described(form: ListForm, line: int, *, validate: bool) -> Described:
    name, documentation = form.items[1], form.items[2]
    assert isinstance(name, Symbol)
    assert isinstance(documentation, Literal)
    rest = list(form.items[3:])
    if rest and isinstance(rest[0], MapForm) and len(rest) > 1:
        rest.pop(0)
    vector = without_meta(rest[0]) if rest else None

    def wrong(message: str, hint: str = "") -> Described:
        return Described(None, (invalid(message, tool=name.name, line=line, hint=hint),))

    if not isinstance(vector, VectorForm):
        return wrong(f"{name.name} has several arities.", "Give a tool one vector of parameters.")
    warnings: list[str] = []
    properties: dict[str, Any] = {}
    for parameter, kind in _parameters(vector.items):
        if parameter is None:
            return wrong(
                f"{name.name} has a parameter without a name, or takes any number of arguments.",
                "Name each parameter of a tool.",
            )
        schema = {} if kind is None else _schema(kind)
        if schema is None:
            warnings.append(
                f"line {line}: {parameter} has a type that no schema says; anything is accepted."
            )
        properties[parameter] = schema or {}
    try:
        definition = ToolDefinition(
            name=metadata.name(name.name),
            description=metadata.text(documentation.value, MAX_DESCRIPTION_CHARACTERS),
            entry=ToolEntry(name.name, tuple(properties), Binding.NAMED),
            form=Form.SIGNATURE,
            input_schema=metadata.input_schema(
                {
                    "type": "object",
                    "properties": properties,
                    "required": list(properties),
                    "additionalProperties": False,
                },
                validate=validate,
            ),
            output_schema=_output(rest[1:]),
        )
    except MetadataError as error:
        return wrong(f"The tool {name.name} {error.message}.")
    return Described(definition, warnings=tuple(warnings), line=line)


def _parameters(
    items: Sequence[RtfsForm],
) -> Iterator[tuple[str | None, RtfsForm | None]]:
    """Each parameter with its type; without a name for what is no plain parameter."""
    waiting = list(items)
    while waiting:
        item = without_meta(waiting.pop(0))
        kind: RtfsForm | None = None
        if waiting and isinstance(waiting[0], Colon):
            waiting.pop(0)
            kind = waiting.pop(0) if waiting else None
        elif waiting and isinstance(waiting[0], Keyword):
            kind = waiting.pop(0)
        plain = isinstance(item, Symbol) and not is_symbol(item, "&", "_")
        yield (item.name if plain and isinstance(item, Symbol) else None), kind


def _output(rest: Sequence[RtfsForm]) -> dict[str, Any] | None:
    if len(rest) > 2 and isinstance(rest[0], Colon):
        return _schema(rest[1])
    if len(rest) > 1 and isinstance(rest[0], Keyword):
        return _schema(rest[0])
    return None


def _schema(kind: RtfsForm) -> dict[str, Any] | None:
    try:
        return to_json_schema(read_type(kind))
    except (TypeSyntaxError, NotRepresentableError):
        return None
