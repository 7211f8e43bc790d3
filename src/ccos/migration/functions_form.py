"""The contract of functions: ``NAME()``, ``DESCRIPTION()``, ``INPUT_SCHEMA()``, ``call(args)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ccos.migration import metadata
from ccos.migration.definitions import (
    DEFAULT_CATEGORY,
    DEFAULT_VERSION,
    Binding,
    Form,
    ToolDefinition,
    ToolEntry,
)
from ccos.migration.inspection import Outline
from ccos.migration.metadata import MAX_DESCRIPTION_CHARACTERS, MetadataError
from ccos.migration.problems import Problem, invalid
from ccos.migration.reading import Described

REQUIRED: Final = ("NAME", "DESCRIPTION", "INPUT_SCHEMA")
ENTRY: Final = "call"
_RETURN_A_LITERAL: Final = (
    "Metadata is read where nothing but the language exists: return a literal."
)


def declares_contract(outline: Outline, module: str = "") -> bool:
    """Whether a module, or the file itself, has any function that the contract requires."""
    paths = {_path(module, name) for name in REQUIRED}
    return not paths.isdisjoint(outline.functions.keys() | outline.constants.keys())


def read_functions(outline: Outline, module: str = "", *, validate: bool = True) -> Described:
    """The tool that a file, or a module in it, describes by functions.

    Args:
        outline: Of the file.
        module: Path of the module; empty for the file itself.
        validate: Whether to make sure that schemas are valid schemas.
    """
    reader = _Reader(outline, module)
    values: dict[str, Any] = {
        "name": reader.required("NAME", metadata.name),
        "description": reader.required("DESCRIPTION", _description),
        "input_schema": reader.required(
            "INPUT_SCHEMA", lambda value: metadata.input_schema(value, validate=validate)
        ),
        "output_schema": reader.optional(
            "OUTPUT_SCHEMA", lambda value: metadata.schema(value, validate=validate), None
        ),
        "version": reader.optional("VERSION", metadata.text, DEFAULT_VERSION),
        "category": reader.optional("CATEGORY", metadata.text, DEFAULT_CATEGORY),
        "tags": reader.optional("TAGS", metadata.texts, ()),
        "author": reader.optional("AUTHOR", metadata.text, None),
        "permissions": reader.optional("PERMISSIONS", metadata.texts, ()),
        "dependencies": reader.optional("DEPENDENCIES", metadata.dependencies, ()),
    }
    entry = reader.entry()
    problems = reader.all_problems(values["name"] or "")
    if entry is None or problems:
        return Described(None, problems)
    definition = ToolDefinition(entry=entry, form=Form.FUNCTIONS, **values)
    return Described(definition, line=outline.functions[entry.function].line)


class _Reader:
    """Reads the values of one contract, and collects what is wrong and what is missing."""

    def __init__(self, outline: Outline, module: str) -> None:
        self._outline = outline
        self._module = module
        self._missing: list[str] = []
        self._problems: list[Problem] = []

    def required(self, name: str, read: Callable[[Any], Any]) -> Any:
        """A value that has to be there; None, and a problem, if it is not."""
        if not self._there(name):
            self._missing.append(f"{name}()")
            return None
        return self._read(name, read, None)

    def optional(self, name: str, read: Callable[[Any], Any], default: Any) -> Any:
        """A value that may be missing."""
        return self._read(name, read, default) if self._there(name) else default

    def entry(self) -> ToolEntry | None:
        """The function that does the work."""
        path = _path(self._module, ENTRY)
        function = self._outline.functions.get(path)
        if function is None:
            self._missing.append("call(args)")
            return None
        if not function.public:
            self._refuse(f"{path} is not public.", function.line, f"Write pub fn {ENTRY}(args).")
        if len(function.parameters) != 1:
            count = len(function.parameters)
            self._refuse(
                f"{path} has {count} parameters; it gets one, the object of all arguments.",
                function.line,
                f"Write pub fn {ENTRY}(args).",
            )
            return None
        return ToolEntry(path, function.parameters, Binding.OBJECT)

    def all_problems(self, tool: str) -> tuple[Problem, ...]:
        """What stands against the tool, what is missing first."""
        where = f" of module {self._module}" if self._module else ""
        missing = " and ".join(filter(None, [", ".join(self._missing[:-1]), *self._missing[-1:]]))
        verb = "is" if len(self._missing) == 1 else "are"
        incomplete = [
            invalid(
                f"The contract{where} is incomplete: {missing} {verb} missing.",
                tool=tool,
                hint="A tool has NAME(), DESCRIPTION(), INPUT_SCHEMA() and call(args), all pub.",
            )
        ]
        named = [
            invalid(one.message, tool=tool, line=one.line, hint=one.hint) for one in self._problems
        ]
        return (*(incomplete if self._missing else ()), *named)

    def _there(self, name: str) -> bool:
        path = _path(self._module, name)
        return path in self._outline.constants or path in self._outline.functions

    def _read(self, name: str, read: Callable[[Any], Any], default: Any) -> Any:
        path = _path(self._module, name)
        found = self._outline.constants.get(path)
        if found is None:
            return self._unreadable(path, name, default)
        line = found.line or self._line(path)
        if found.error is not None:
            self._refuse(f"{path} has no value: {found.error}", line, _RETURN_A_LITERAL)
            return default
        try:
            return read(found.value)
        except MetadataError as error:
            self._refuse(f"{path} {error.message}.", line, error.hint)
            return default

    def _unreadable(self, path: str, name: str, default: Any) -> Any:
        function = self._outline.functions[path]
        reason = "is not public" if not function.public else "has parameters; it gets none"
        self._refuse(f"{path} {reason}.", function.line, f"Write pub fn {name}().")
        return default

    def _line(self, path: str) -> int:
        function = self._outline.functions.get(path)
        return 0 if function is None else function.line

    def _refuse(self, message: str, line: int, hint: str = "") -> None:
        self._problems.append(invalid(message, line=line, hint=hint))


def _path(module: str, name: str) -> str:
    return f"{module}::{name}" if module else name


def _description(value: Any) -> str:
    return metadata.text(value, MAX_DESCRIPTION_CHARACTERS)
