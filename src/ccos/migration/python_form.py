"""Tools in Python: functions whose type hints and docstrings say what they take and do.

The text is parsed and never run, so a hint counts by how it is written.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any, Final

from ccos.engine.python.reading import parse
from ccos.errors import CompilationError
from ccos.migration import metadata
from ccos.migration.definitions import Binding, Form, ToolDefinition, ToolEntry
from ccos.migration.discovery_config import DiscoveryConfig
from ccos.migration.metadata import MAX_DESCRIPTION_CHARACTERS, MetadataError
from ccos.migration.problems import MigrationErrorType, Problem, invalid
from ccos.migration.reading import Described, Reading, Verdict, refused

Function = ast.FunctionDef | ast.AsyncFunctionDef

_NAMES: Final = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "list": {"type": "array"},
    "tuple": {"type": "array"},
    "dict": {"type": "object"},
    "List": {"type": "array"},
    "Dict": {"type": "object"},
    "Sequence": {"type": "array"},
    "Iterable": {"type": "array"},
    "Mapping": {"type": "object"},
    "None": {"type": "null"},
    "Any": {},
    "object": {},
}
_SECTION: Final = re.compile(r"^(Args|Arguments|Parameters):\s*$")
_ANY_SECTION: Final = re.compile(r"^[A-Z][A-Za-z ]*:\s*$")
_ARGUMENT: Final = re.compile(r"^\s+\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")
_FIELD: Final = re.compile(r"^\s*:param(?:\s+[^:]+?)?\s+(\w+)\s*:\s*(.*)$")


class PythonReader:
    """Reads tools in Python: every public function of a file that has a docstring is one.

    With ``__all__``, only functions that it names are.
    """

    language = "python"
    extensions = ("py",)

    async def read(self, source: str, name: str, config: DiscoveryConfig) -> Reading:
        """What a text is; see :class:`ccos.migration.reading.SourceReader`."""
        try:
            tree = parse(source, name)
        except CompilationError as error:
            return refused([_unparsable(error)])
        functions = [one for one in tree.body if isinstance(one, Function)]
        offered = list(_offered(tree, functions))
        if not offered:
            names = ", ".join(one.name for one in functions[:5])
            reason = f"Its functions have no docstring: {names}." if names else "It has no tools."
            return Reading(Verdict.LIBRARY, reason)
        described = [_described(one, tree, validate=config.validate_tools) for one in offered]
        problems = tuple(problem for one in described for problem in one.problems)
        tools = tuple(one for one in described if one.definition is not None)
        if not tools:
            return refused(problems)
        listed = ", ".join(one.definition.name for one in tools[:5] if one.definition)
        warnings = tuple(warning for one in described for warning in one.warnings)
        return Reading(Verdict.TOOL, f"It has {listed}.", tools, problems, warnings)


def _offered(tree: ast.Module, functions: list[Function]) -> Iterator[Function]:
    names = _constant(tree, "__all__")
    for one in functions:
        if isinstance(names, list | tuple):
            if one.name in names:
                yield one
        elif not one.name.startswith("_") and ast.get_docstring(one):
            yield one


def _constant(tree: ast.Module, name: str) -> Any:
    """The value of a constant at the top of a text; None if there is none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            target, value = node.target, node.value
        else:
            continue
        if isinstance(target, ast.Name) and target.id == name:
            try:
                return ast.literal_eval(value)
            except (ValueError, TypeError, SyntaxError, RecursionError):
                return None
    return None


def _described(function: Function, tree: ast.Module, *, validate: bool) -> Described:
    documentation = ast.get_docstring(function) or ""
    arguments = function.args
    problems = [
        invalid(message, tool=function.name, line=function.lineno, hint=hint)
        for message, hint in _refusals(function, documentation)
    ]
    if problems:
        return Described(None, tuple(problems))
    warnings: list[str] = []
    texts = dict(_argument_texts(documentation))
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter, default in _with_defaults(arguments):
        schema = _schema(parameter.annotation)
        if schema is None:
            place = f"line {parameter.lineno}: {parameter.arg}"
            warnings.append(f"{place} has a hint that is not understood; anything is accepted.")
        known: dict[str, Any] = dict(schema or {})
        if texts.get(parameter.arg):
            known["description"] = texts[parameter.arg]
        if default is None:
            required.append(parameter.arg)
        else:
            known |= _default_of(default)
        properties[parameter.arg] = known
    names = tuple(parameter.arg for parameter, _ in _with_defaults(arguments))
    try:
        definition = ToolDefinition(
            name=metadata.name(function.name),
            description=metadata.text(
                documentation.partition("\n\n")[0].replace("\n", " "), MAX_DESCRIPTION_CHARACTERS
            ),
            entry=ToolEntry(function.name, names, Binding.NAMED),
            form=Form.SIGNATURE,
            input_schema=metadata.input_schema(
                {
                    "type": "object",
                    "properties": properties,
                    "required": required,
                    "additionalProperties": False,
                },
                validate=validate,
            ),
            output_schema=_output(function),
            version=metadata.text(_constant(tree, "__version__") or "1.0.0"),
            author=_text_or_none(_constant(tree, "__author__")),
            permissions=metadata.texts(_constant(tree, "PERMISSIONS") or []),
            tags=metadata.texts(_constant(tree, "TAGS") or []),
        )
    except MetadataError as error:
        message = f"The tool {function.name} {error.message}."
        return Described(None, (invalid(message, tool=function.name, line=function.lineno),))
    return Described(definition, warnings=tuple(warnings), line=function.lineno)


def _refusals(function: Function, documentation: str) -> Iterator[tuple[str, str]]:
    arguments = function.args
    if not documentation:
        yield f"{function.name} has no docstring.", "Say in one what it does."
    if arguments.posonlyargs:
        yield (
            f"{function.name} has parameters that cannot be given by name.",
            "Take the / out of its parameters.",
        )
    for extra in filter(None, (arguments.vararg, arguments.kwarg)):
        yield (
            f"{function.name} takes any number of arguments as {extra.arg}.",
            "Name each parameter.",
        )


def _with_defaults(arguments: ast.arguments) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    missing = len(arguments.args) - len(arguments.defaults)
    defaults = [None] * missing + list(arguments.defaults)
    yield from zip(arguments.args, defaults, strict=True)
    yield from zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)


def _default_of(default: ast.expr) -> dict[str, Any]:
    try:
        value = ast.literal_eval(default)
    except (ValueError, TypeError, SyntaxError, RecursionError):
        return {}
    plain = value is None or isinstance(value, str | int | float | list | dict)
    return {"default": value} if plain else {}


def _output(function: Function) -> dict[str, Any] | None:
    if function.returns is None:
        return None
    schema = _schema(function.returns)
    return schema or None


def _schema(hint: ast.expr | None) -> dict[str, Any] | None:
    """The JSON Schema of a hint; None if it is not understood."""
    match hint:
        case None:
            return {}
        case ast.Constant(value=None):
            return {"type": "null"}
        case ast.Constant(value=str() as text):
            try:
                return _schema(ast.parse(text, mode="eval").body)
            except (SyntaxError, ValueError, RecursionError):
                return None
        case ast.Name(id=name) | ast.Attribute(attr=name):
            known = _NAMES.get(name)
            return None if known is None else dict(known)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _any_of([_schema(left), _schema(right)])
        case ast.Subscript(value=ast.Name(id=name) | ast.Attribute(attr=name), slice=inner):
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return _generic(name, parts)
    return None


def _generic(name: str, parts: list[ast.expr]) -> dict[str, Any] | None:
    match name:
        case "Optional":
            return _any_of([_schema(parts[0]), {"type": "null"}])
        case "Union":
            return _any_of([_schema(one) for one in parts])
        case "Annotated":
            return _schema(parts[0])
        case "Literal":
            try:
                return {"enum": [ast.literal_eval(one) for one in parts]}
            except (ValueError, TypeError, SyntaxError, RecursionError):
                return None
        case "list" | "List" | "Sequence" | "Iterable" if len(parts) == 1:
            items = _schema(parts[0])
            return None if items is None else {"type": "array", "items": items}
        case "tuple" | "Tuple":
            return {"type": "array"}
        case "dict" | "Dict" | "Mapping" if len(parts) == 2:
            values = _schema(parts[1])
            return None if values is None else {"type": "object", "additionalProperties": values}
    return None


def _any_of(options: list[dict[str, Any] | None]) -> dict[str, Any] | None:
    known = [one for one in options if one is not None]
    if len(known) != len(options):
        return None
    if any(not one for one in known):
        return {}
    flat: list[dict[str, Any]] = []
    for one in known:
        flat += one["anyOf"] if one.keys() == {"anyOf"} else [one]
    return {"anyOf": flat}


def _argument_texts(documentation: str) -> Iterator[tuple[str, str]]:
    """The arguments that a docstring describes, in the form of Google or of Sphinx."""
    inside = False
    name, text = "", ""
    for line in documentation.splitlines():
        field = _FIELD.match(line)
        if field is not None:
            yield field[1], field[2].strip()
        elif _SECTION.match(line):
            inside = True
        elif inside and (_ANY_SECTION.match(line) or (line and not line[0].isspace())):
            inside = False
        elif inside and (found := _ARGUMENT.match(line)) is not None:
            if name:
                yield name, text
            name, text = found[1], found[2].strip()
        elif inside and line.strip():
            text = f"{text} {line.strip()}".strip()
    if name:
        yield name, text


def _text_or_none(value: Any) -> str | None:
    return None if value is None else metadata.text(value)


def _unparsable(error: CompilationError) -> Problem:
    return Problem(
        type=MigrationErrorType.COMPILATION_FAILED,
        message=error.message,
        code=error.code,
        line=error.details.get("line", 0),
        column=error.details.get("column", 0),
    )
