"""The contract of attributes: ``#[tool(…)]`` and ``#[param(…)]``, several tools a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from ccos.engine.rune import Attribute
from ccos.migration import metadata
from ccos.migration.definitions import (
    DEFAULT_CATEGORY,
    DEFAULT_VERSION,
    Binding,
    Form,
    ToolDefinition,
    ToolEntry,
)
from ccos.migration.inspection import FunctionSeen, Outline
from ccos.migration.metadata import MAX_DESCRIPTION_CHARACTERS, MetadataError
from ccos.migration.parameters import (
    Declared,
    check_against,
    completed,
    kind_problem,
    schema_of,
)
from ccos.migration.problems import Problem, invalid
from ccos.migration.reading import Described

TOOL: Final = "tool"
PARAM: Final = "param"
_TOOL_KEYS: Final = frozenset({"desc", "description", "version", "tags", "category"})
_PARAM_KEYS: Final = frozenset({"name", "type", "desc", "description", "required"})


def tools_by_attribute(outline: Outline) -> list[FunctionSeen]:
    """The functions that an attribute declares to be tools, or parameters of tools, by line."""
    found = [one for one in outline.functions.values() if one.has(TOOL) or one.has(PARAM)]
    return sorted(found, key=lambda one: (one.line, one.path))


def read_attributes(function: FunctionSeen) -> Described:
    """The tool that the attributes of a function describe."""
    reader = _Reader(function)
    reader.check()
    (tool,) = [one for one in function.attributes if one.name == TOOL][:1] or (None,)
    declared = [found for found in map(reader.parameter, function.attributes) if found]
    if tool is None or reader.problems:
        return Described(None, tuple(reader.problems), tuple(reader.warnings))
    description = reader.text(tool, ("desc", "description"), MAX_DESCRIPTION_CHARACTERS)
    if not description and not reader.problems:
        description = function.documentation[:MAX_DESCRIPTION_CHARACTERS]
        if not description:
            reader.refuse(
                "The contract is incomplete: its description is missing.",
                tool.line,
                'Write #[tool(desc = "…")], or a comment /// before it.',
            )
    version = reader.text(tool, ("version",)) or DEFAULT_VERSION
    category = reader.text(tool, ("category",)) or DEFAULT_CATEGORY
    tags = reader.value(tool, "tags", metadata.texts) or ()
    reader.problems += check_against(function, declared, function.name)
    if reader.problems:
        return Described(None, tuple(reader.problems), tuple(reader.warnings))
    reader.warnings += _undeclared(function, declared)
    definition = ToolDefinition(
        name=function.name,
        description=description,
        entry=ToolEntry(function.path, function.parameters, Binding.NAMED),
        form=Form.ATTRIBUTES,
        input_schema=schema_of(completed(function, declared)),
        version=version,
        category=category,
        tags=tags,
    )
    return Described(definition, (), tuple(reader.warnings), function.line)


class _Reader:
    """Reads the attributes of one function, and collects what is wrong with them."""

    def __init__(self, function: FunctionSeen) -> None:
        self._function = function
        self.problems: list[Problem] = []
        self.warnings: list[str] = []

    def check(self) -> None:
        """Look for what is wrong with the attributes as a whole."""
        tools = [one for one in self._function.attributes if one.name == TOOL]
        if not tools:
            self.refuse(
                f"{self._function.path} has #[param] but no #[tool].",
                self._function.line,
                'Write #[tool(desc = "…")] before it.',
            )
        for extra in tools[1:]:
            self.refuse(f"{self._function.path} has #[tool] twice.", extra.line)
        if not self._function.public:
            self.refuse(
                f"{self._function.path} is not public.",
                self._function.line,
                f"Write pub fn {self._function.name}.",
            )
        for attribute in self._function.attributes:
            self._check_arguments(attribute)

    def _check_arguments(self, attribute: Attribute) -> None:
        if attribute.error is not None:
            self.refuse(
                f"#[{attribute.name}] cannot be read: {attribute.error}",
                attribute.line,
                _EXAMPLES[attribute.name],
            )
        known = _TOOL_KEYS if attribute.name == TOOL else _PARAM_KEYS
        for key in sorted(attribute.arguments.keys() - known):
            self.warnings.append(
                f"line {attribute.line}: {key!r} means nothing in #[{attribute.name}]."
            )

    def parameter(self, attribute: Attribute) -> Declared | None:
        """The parameter that an attribute declares; None for another attribute or a bad one."""
        if attribute.name != PARAM or attribute.error is not None:
            return None
        name = self.text(attribute, ("name",))
        if not name:
            if "name" not in attribute.arguments:
                self.refuse("#[param] has no name.", attribute.line, _EXAMPLES[PARAM])
            return None
        where = f"The parameter {name!r}"
        kind = self.text(attribute, ("type",)) or None
        if kind is not None:
            line, tool = attribute.line, self._function.name
            problem = kind_problem(kind, where, line=line, tool=tool)
            self.problems += [problem] if problem else []
        required = attribute.arguments.get("required", True)
        if not isinstance(required, bool):
            self.refuse(
                f"{where} has a required that is no truth value.",
                attribute.line,
                "Write required = false.",
            )
        description = self.text(attribute, ("desc", "description"), MAX_DESCRIPTION_CHARACTERS)
        return Declared(name, kind, description, bool(required), attribute.line)

    def text(self, attribute: Attribute, keys: Iterable[str], limit: int = 256) -> str:
        """The text of the first of these keys that is there; empty if none is."""
        for key in keys:
            if key in attribute.arguments:
                found = self.value(attribute, key, lambda value: metadata.text(value, limit))
                return found or ""
        return ""

    def value(self, attribute: Attribute, key: str, read: Callable[[Any], Any]) -> Any:
        """The value of a key; None if it is not there, or with a problem if it makes no sense."""
        if key not in attribute.arguments:
            return None
        try:
            return read(attribute.arguments[key])
        except MetadataError as error:
            message = f"{key} of #[{attribute.name}] {error.message}."
            self.refuse(message, attribute.line, error.hint)
            return None

    def refuse(self, message: str, line: int, hint: str = "") -> None:
        """Note what is wrong."""
        self.problems.append(invalid(message, tool=self._function.name, line=line, hint=hint))


def _undeclared(function: FunctionSeen, declared: Iterable[Declared]) -> Iterable[str]:
    names = {one.name for one in declared}
    for parameter in function.parameters:
        if parameter not in names:
            yield (
                f"line {function.line}: the parameter {parameter!r} of {function.path} has no "
                "#[param]; it is required and may be anything."
            )


_EXAMPLES: Final = {
    TOOL: 'Write #[tool(desc = "What it does", tags = ["a", "b"])].',
    PARAM: 'Write #[param(name = "city", type = "string", desc = "Where")].',
}
