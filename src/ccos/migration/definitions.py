"""What a legacy tool is: its definition, its entry, and the text that it comes from."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

RUNE: Final = "rune"
DEFAULT_VERSION: Final = "1.0.0"
DEFAULT_CATEGORY: Final = "general"
ALIAS_PREFIX: Final = "rune_"
"""Tools of the attribute form can also be called by their name with this before it."""

_ANY: Final = "any"


class Form(StrEnum):
    """How a file says that it has a tool."""

    FUNCTIONS = "functions"
    """``NAME()``, ``DESCRIPTION()``, ``INPUT_SCHEMA()`` and ``call(args)``."""
    ATTRIBUTES = "attributes"
    """``#[tool(…)]`` and ``#[param(…)]`` before functions."""
    HEADER = "header"
    """Lines ``//! @entry``, ``//! @param`` at the top of the file."""
    SIGNATURE = "signature"
    """The type hints and docstrings of functions."""


class Binding(StrEnum):
    """How arguments reach the function of a tool."""

    OBJECT = "object"
    """Its one parameter is the object of all arguments."""
    NAMED = "named"
    """Each argument is the parameter of its name."""


@dataclass(frozen=True, slots=True)
class ToolEntry:
    """The function behind a tool: its path, such as ``call`` or ``inner::call``, and parameters."""

    function: str
    parameters: tuple[str, ...]
    binding: Binding

    def bound(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call by parameter of the function.

        One that is left out stays so; for Rune it is unit then.
        """
        if self.binding is Binding.OBJECT:
            return {self.parameters[0]: dict(arguments)}
        return {name: arguments[name] for name in self.parameters if name in arguments}

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return {
            "function": self.function,
            "parameters": list(self.parameters),
            "binding": self.binding.value,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ToolEntry:
        """The entry that :meth:`as_dict` described."""
        return cls(data["function"], tuple(data["parameters"]), Binding(data["binding"]))


@dataclass(frozen=True, slots=True)
class ToolParameter:
    """An argument of a tool; ``param_type`` is a type of JSON Schema, or ``any``."""

    name: str
    param_type: str
    description: str = ""
    required: bool = True
    default_value: Any = None

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class ToolDependency:
    """Something that a tool says it needs."""

    name: str
    version: str | None = None
    optional: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDefinition:
    """What a tool says about itself.

    Attributes:
        input_schema: JSON Schema of the object of all arguments.
        output_schema: JSON Schema of its result; None if it promises nothing.
        permissions: What it says it needs; granting that is for the security level.
        enabled: Whether it may be called.
    """

    name: str
    description: str
    entry: ToolEntry
    form: Form
    input_schema: Mapping[str, Any]
    output_schema: Mapping[str, Any] | None = None
    version: str = DEFAULT_VERSION
    category: str = DEFAULT_CATEGORY
    tags: tuple[str, ...] = ()
    author: str | None = None
    permissions: tuple[str, ...] = ()
    dependencies: tuple[ToolDependency, ...] = ()
    enabled: bool = True

    @property
    def parameters(self) -> tuple[ToolParameter, ...]:
        """The arguments that the input schema names at its top, in its order."""
        properties = self.input_schema.get("properties")
        required = self.input_schema.get("required")
        if not isinstance(properties, Mapping):
            return ()
        needed = required if isinstance(required, list) else []
        return tuple(
            _parameter(name, schema if isinstance(schema, Mapping) else {}, name in needed)
            for name, schema in properties.items()
        )

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data, the parameters among them."""
        return {
            "name": self.name,
            "description": self.description,
            "entry": self.entry.as_dict(),
            "form": self.form.value,
            "input_schema": dict(self.input_schema),
            "output_schema": None if self.output_schema is None else dict(self.output_schema),
            "version": self.version,
            "category": self.category,
            "tags": list(self.tags),
            "author": self.author,
            "permissions": list(self.permissions),
            "dependencies": [one.as_dict() for one in self.dependencies],
            "enabled": self.enabled,
            "parameters": [one.as_dict() for one in self.parameters],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ToolDefinition:
        """The definition that :meth:`as_dict` described."""
        fields = {name: value for name, value in data.items() if name != "parameters"}
        return cls(
            **{
                **fields,
                "entry": ToolEntry.from_dict(data["entry"]),
                "form": Form(data["form"]),
                "tags": tuple(data["tags"]),
                "permissions": tuple(data["permissions"]),
                "dependencies": tuple(ToolDependency(**one) for one in data["dependencies"]),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RuneTool:
    """A tool with the text that it comes from; most are in Rune.

    Attributes:
        source_hash: Of the bytes of its file, ``sha256:<hex>``.
        file_path: Where it was found; None for one that came from memory.
        metadata: Text that was found out about it, such as for whom it may be.
        created_at: When it was found first, in seconds since the Unix epoch.
        modified_at: When its file was changed last, in the same.
        language: What it is written in, by the name that the engine has for it.
    """

    definition: ToolDefinition
    source_code: str
    source_hash: str
    file_path: Path | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    created_at: float
    modified_at: float
    language: str = RUNE

    @property
    def id(self) -> str:
        """An id that stays the same when the text changes; it is made of the name."""
        return tool_id(self.name)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.definition.name

    @property
    def enabled(self) -> bool:
        """Whether it may be called."""
        return self.definition.enabled

    def with_enabled(self, enabled: bool) -> RuneTool:
        """The same tool, to be called or not."""
        return dataclasses.replace(
            self, definition=dataclasses.replace(self.definition, enabled=enabled)
        )

    def as_dict(self) -> dict[str, Any]:
        """All that is known of it but its text, as JSON data."""
        return {
            "id": self.id,
            **self.definition.as_dict(),
            "file_path": None if self.file_path is None else shown_path(self.file_path),
            "source_hash": self.source_hash,
            "language": self.language,
            "metadata": dict(self.metadata),
            "created_at": self.created_at,
            "modified_at": self.modified_at,
        }


def file_name(tool: RuneTool) -> str:
    """What people call the text of a tool, for messages."""
    if tool.file_path is None:
        return f"{tool.name}.{_ENDINGS.get(tool.language, tool.language)}"
    return shown_path(Path(tool.file_path.name))


_ENDINGS: Final = {"rune": "rn", "python": "py", "rtfs": "rtfs"}


def tool_id(name: str) -> str:
    """The stable id of the tool of a name."""
    return "rune_tool_" + hashlib.sha256(name.encode()).hexdigest()[:32]


def content_hash(content: bytes) -> str:
    """The hash of a file's bytes, as ``sha256:<hex>``."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def shown_path(path: Path) -> str:
    """A path as text that every reader of JSON accepts; odd bytes are written out."""
    return str(path).encode(errors="backslashreplace").decode()


def _parameter(name: str, schema: Mapping[str, Any], required: bool) -> ToolParameter:
    kind, description = schema.get("type"), schema.get("description")
    return ToolParameter(
        name,
        kind if isinstance(kind, str) else _ANY,
        description if isinstance(description, str) else "",
        required,
        schema.get("default"),
    )
