"""Scripts and tools as rows of the database, and what can be kept of them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ccos.engine.policy import MIB, SecurityLevel
from ccos.engine.scripts import (
    MAX_SOURCE_BYTES,
    Script,
    ScriptInfo,
    ScriptTool,
    check_source,
    unstorable_character,
)
from ccos.errors import IntegrityError, ScriptError

MAX_METADATA_BYTES: Final = MIB
MAX_NAME_LENGTH: Final = 512
_SHOWN_LENGTH: Final = 80


@dataclass(frozen=True, slots=True)
class RowWriter:
    """Makes rows of scripts and tools that can be kept.

    Attributes:
        max_source_bytes: Most bytes of one script's text.
        max_metadata_bytes: Most bytes of all else that is kept of one script or tool.
    """

    max_source_bytes: int = MAX_SOURCE_BYTES
    max_metadata_bytes: int = MAX_METADATA_BYTES

    def script_row(self, script: Script) -> dict[str, Any]:
        """A row of the table of scripts.

        Raises:
            CompilationError: if the text is too long or cannot be stored.
            ScriptError: if anything else is too long or cannot be stored.
        """
        check_source(script.source, script.name, max_bytes=self.max_source_bytes)
        names = {
            "id": script.script_id,
            "language": script.language,
            "name": script.name,
            "author": script.author,
            "version": script.version,
        }
        texts = {
            "options": _json_text("options", script.options),
            "description": script.description,
            "tags": _json_text("tags", script.tags),
            "metadata": _json_text("metadata", script.metadata),
        }
        self._check(names, texts)
        return {
            **names,
            **texts,
            "level": script.level.value,
            "size_bytes": script.size_bytes,
            "created_at": script.created_at,
            "updated_at": script.updated_at,
            "source": script.source,
        }

    def tool_row(self, tool: ScriptTool) -> dict[str, Any]:
        """A row of the table of tools.

        Raises:
            ScriptError: if anything of it is too long or cannot be stored.
        """
        names = {"name": tool.name, "script_id": tool.script_id}
        definition = _json_text("definition", tool.as_dict())
        self._check(
            {**names, "function_name": tool.function_name},
            {"definition": definition},
        )
        return {**names, "definition": definition, "registered_at": time.time()}

    def _check(self, names: Mapping[str, str], texts: Mapping[str, str]) -> None:
        """Make sure that all of it can be kept; names have to be short besides."""
        for what, text in {**names, **texts}.items():
            place = unstorable_character(text)
            if place is not None:
                raise ScriptError(
                    f"The {what} has the character U+{ord(text[place]):04X}, which cannot be kept.",
                    next_step="Remove that character.",
                    details={"field": what, "index": place},
                )
        for what, text in names.items():
            if len(text) > MAX_NAME_LENGTH:
                raise ScriptError(
                    f"The {what} is longer than {MAX_NAME_LENGTH} characters.",
                    next_step="Choose a shorter one.",
                    details={"field": what, "length": len(text)},
                )
        size = sum(len(text.encode()) for text in texts.values())
        if size > self.max_metadata_bytes:
            raise ScriptError(
                f"The description and metadata have {size} bytes; "
                f"{self.max_metadata_bytes} are allowed.",
                next_step="Keep long texts elsewhere and refer to them.",
                details={"bytes": size},
            )


def script_of(row: Any) -> Script:
    """The script of a row.

    Raises:
        IntegrityError: if the row is damaged.
    """
    try:
        return Script(
            script_id=row.id,
            language=row.language,
            name=row.name,
            source=row.source,
            level=SecurityLevel(row.level),
            options=json.loads(row.options),
            description=row.description,
            author=row.author,
            version=row.version,
            tags=tuple(json.loads(row.tags)),
            created_at=row.created_at,
            updated_at=row.updated_at,
            metadata=json.loads(row.metadata),
        )
    except (ValueError, TypeError) as error:
        raise IntegrityError(f"The stored script {shown(row.id)} is damaged: {error}.") from error


def info_of(row: Any) -> ScriptInfo:
    """The script of a row that has its counters besides, without its text.

    Raises:
        IntegrityError: if the row is damaged.
    """
    try:
        return ScriptInfo(
            script_id=row.id,
            name=row.name,
            description=row.description,
            author=row.author,
            version=row.version,
            language=row.language,
            created_at=row.created_at,
            updated_at=row.updated_at,
            size_bytes=row.size_bytes,
            execution_count=row.execution_count,
            last_executed=row.last_executed,
            security_level=SecurityLevel(row.level),
            tags=tuple(json.loads(row.tags)),
        )
    except (ValueError, TypeError) as error:
        raise IntegrityError(f"The stored script {shown(row.id)} is damaged: {error}.") from error


def tool_of(name: str, definition: str) -> ScriptTool:
    """The tool of a row.

    Raises:
        IntegrityError: if the row is damaged.
    """
    try:
        return ScriptTool.from_dict(json.loads(definition))
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(f"The stored tool {shown(name)} is damaged: {error}.") from error


def _json_text(what: str, value: Any) -> str:
    """One text for equal data."""
    data = dict(value) if isinstance(value, Mapping) else value
    try:
        return json.dumps(data, sort_keys=True, allow_nan=False, ensure_ascii=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise ScriptError(
            f"The {what} is not JSON data: {error}.",
            next_step="Use only objects with text keys, lists, texts, numbers, true, false, null.",
            details={"field": what},
        ) from error


def shown(text: str) -> str:
    """A text of unknown origin for a message: quoted, escaped, and not long."""
    return repr(text if len(text) <= _SHOWN_LENGTH else text[:_SHOWN_LENGTH] + "...")
