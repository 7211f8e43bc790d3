"""The registry of the original runtime: the tools it serves, and how they came there."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from ccos.errors import (
    ConfigurationError,
    ScriptConflictError,
    ScriptError,
    ScriptToolNotFoundError,
)
from ccos.migration import metadata
from ccos.migration.definitions import ALIAS_PREFIX, Form, RuneTool, shown_path
from ccos.migration.metadata import MetadataError


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryConfig:
    """How a registry works.

    Attributes:
        max_cached_tools: Most tools; a full registry refuses more and gives none up.
        enable_hot_reload: Whether a tool whose text changed counts as one to be loaded anew.
        validate_on_load: Whether the schemas of a tool are checked when it is registered.
        cache_ttl_secs: After how many seconds the text of a tool is looked at again before use.
        track_loading_history: Whether it is remembered what was loaded when.
        max_loading_history: How much of that; the oldest goes first.

    Raises:
        ConfigurationError: for a limit that is not above 0.
    """

    max_cached_tools: int = 1000
    enable_hot_reload: bool = True
    validate_on_load: bool = True
    cache_ttl_secs: float = 3600.0
    track_loading_history: bool = True
    max_loading_history: int = 1000

    def __post_init__(self) -> None:
        for name in ("max_cached_tools", "cache_ttl_secs", "max_loading_history"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"{name} has to be above 0.")


class LoadingAction(StrEnum):
    """What was done with a tool."""

    LOADED = "loaded"
    RELOADED = "reloaded"
    UNLOADED = "unloaded"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class LoadingEvent:
    """Something that was done with a tool; ``reason`` says why it was refused."""

    tool_name: str
    action: LoadingAction
    at: float
    path: Path | None
    source_hash: str
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return {
            "tool_name": self.tool_name,
            "action": self.action.value,
            "at": self.at,
            "path": None if self.path is None else shown_path(self.path),
            "source_hash": self.source_hash,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryStats:
    """What a registry has; ``categories`` counts tools by category."""

    total_tools: int
    enabled_tools: int
    categories: dict[str, int]
    total_tags: int
    tools_with_files: int
    loading_history_size: int


class ToolRegistry:
    """Tools by name. It reads no file: whoever loads a tool gives it here.

    Args:
        config: How it works.
        clock: Gives the time, in seconds since the Unix epoch.
    """

    def __init__(
        self, config: RegistryConfig | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.config = config or RegistryConfig()
        self._clock = clock
        self._tools: dict[str, RuneTool] = {}
        self._loaded_at: dict[str, float] = {}
        self._history: deque[LoadingEvent] = deque(maxlen=self.config.max_loading_history)

    def register_tool(self, tool: RuneTool) -> None:
        """Take a tool.

        Raises:
            ScriptConflictError: if its name is taken, or the registry is full.
            ScriptError: if its name, description or text is empty, or a schema is none.
        """
        try:
            self._check(tool)
            if tool.name in self._tools:
                raise ScriptConflictError(
                    f"A tool {tool.name!r} is registered already.",
                    next_step="Unregister it first, reload it, or choose another name.",
                )
            if len(self._tools) >= self.config.max_cached_tools:
                raise ScriptConflictError(
                    f"The registry is full: it has {len(self._tools)} tools.",
                    next_step="Unregister a tool, or raise max_cached_tools.",
                )
        except ScriptError as error:
            self._note(tool, LoadingAction.REFUSED, error.message)
            raise
        self._put(tool, LoadingAction.LOADED)

    def unregister_tool(self, name: str) -> bool:
        """Give a tool up; False if there is none of this name."""
        tool = self._tools.pop(name, None)
        if tool is None:
            return False
        self._loaded_at.pop(name, None)
        self._note(tool, LoadingAction.UNLOADED)
        return True

    def reload_tool(self, tool: RuneTool) -> None:
        """Put a tool in the place of the one of its name, or leave that one as it is.

        Whether it may be called stays as it was.

        Raises:
            ScriptToolNotFoundError: if there is none of this name.
            ScriptError: if the new one cannot be used; the old one stays.
        """
        before = self._tools.get(tool.name)
        if before is None:
            raise _unknown(tool.name)
        try:
            self._check(tool)
        except ScriptError as error:
            self._note(tool, LoadingAction.REFUSED, error.message)
            raise
        enabled = before.enabled and tool.enabled
        self._put(tool.with_enabled(enabled), LoadingAction.RELOADED)

    def reload_tools(self, tools: Iterable[RuneTool]) -> int:
        """Reload those of these tools that are registered and changed; returns how many did."""
        count = 0
        for tool in tools:
            if tool.name in self._tools and self.needs_reload(tool.name, tool.source_hash):
                self.reload_tool(tool)
                count += 1
        return count

    def needs_reload(self, name: str, source_hash: str) -> bool:
        """Whether a tool should be loaded anew, now that its text has this hash.

        Raises:
            ScriptToolNotFoundError: if there is none of this name.
        """
        tool = self._tools.get(name)
        if tool is None:
            raise _unknown(name)
        return self.config.enable_hot_reload and tool.source_hash != source_hash

    def looked_at(self, name: str) -> None:
        """Note that the text of a tool was looked at and has not changed."""
        if name in self._tools:
            self._loaded_at[name] = self._clock()

    def is_stale(self, name: str) -> bool:
        """Whether the text of a tool was looked at too long ago to be relied on."""
        loaded = self._loaded_at.get(name)
        return loaded is not None and self._clock() - loaded > self.config.cache_ttl_secs

    def set_enabled(self, name: str, enabled: bool) -> None:
        """Let a tool be called, or not.

        Raises:
            ScriptToolNotFoundError: if there is none of this name.
        """
        tool = self.find(name)
        self._tools[tool.name] = tool.with_enabled(enabled)

    def get_tool(self, name: str) -> RuneTool | None:
        """The tool of a name or of an alias; None if there is none."""
        tool = self._tools.get(name)
        if tool is None and name.startswith(ALIAS_PREFIX):
            meant = self._tools.get(name.removeprefix(ALIAS_PREFIX))
            if meant is not None and meant.definition.form is Form.ATTRIBUTES:
                return meant
        return tool

    def find(self, name: str) -> RuneTool:
        """Equivalent to :meth:`get_tool` for a tool that has to be there.

        Raises:
            ScriptToolNotFoundError: if it is not.
        """
        tool = self.get_tool(name)
        if tool is None:
            raise _unknown(name)
        return tool

    def list_tools(self) -> list[RuneTool]:
        """All tools, by name."""
        return sorted(self._tools.values(), key=lambda tool: tool.name)

    def list_by_category(self, category: str) -> list[RuneTool]:
        """The tools of a category, by name."""
        return [tool for tool in self.list_tools() if tool.definition.category == category]

    def list_by_tag(self, tag: str) -> list[RuneTool]:
        """The tools that have a tag, by name."""
        return [tool for tool in self.list_tools() if tag in tool.definition.tags]

    def search_tools(self, text: str) -> list[RuneTool]:
        """The tools whose name or description has this text, in any case, by name."""
        wanted = text.casefold()
        return [
            tool
            for tool in self.list_tools()
            if wanted in tool.name.casefold() or wanted in tool.definition.description.casefold()
        ]

    def get_stats(self) -> RegistryStats:
        """What it has."""
        tools = self._tools.values()
        categories: dict[str, int] = {}
        for tool in self.list_tools():
            category = tool.definition.category
            categories[category] = categories.get(category, 0) + 1
        return RegistryStats(
            total_tools=len(tools),
            enabled_tools=sum(tool.enabled for tool in tools),
            categories=categories,
            total_tags=len({tag for tool in tools for tag in tool.definition.tags}),
            tools_with_files=sum(tool.file_path is not None for tool in tools),
            loading_history_size=len(self._history),
        )

    def get_loading_history(self) -> list[LoadingEvent]:
        """What was done with tools, oldest first."""
        return list(self._history)

    def clear_loading_history(self) -> None:
        """Forget that."""
        self._history.clear()

    def _check(self, tool: RuneTool) -> None:
        definition = tool.definition
        for what, text in (
            ("name", tool.name),
            ("description", definition.description),
            ("text", tool.source_code),
        ):
            if not text.strip():
                raise ScriptError(
                    f"The {what} of tool {tool.name!r} is empty.", next_step="Give it one."
                )
        if not self.config.validate_on_load:
            return
        try:
            metadata.input_schema(dict(definition.input_schema))
            if definition.output_schema is not None:
                metadata.schema(dict(definition.output_schema))
        except MetadataError as error:
            raise ScriptError(
                f"A schema of tool {tool.name!r} {error.message}.",
                next_step=error.hint or "Correct the schema.",
            ) from None

    def _put(self, tool: RuneTool, action: LoadingAction) -> None:
        self._tools[tool.name] = tool
        self._loaded_at[tool.name] = self._clock()
        self._note(tool, action)

    def _note(self, tool: RuneTool, action: LoadingAction, reason: str = "") -> None:
        if self.config.track_loading_history:
            at = self._clock()
            event = LoadingEvent(tool.name, action, at, tool.file_path, tool.source_hash, reason)
            self._history.append(event)


_LONGEST_SHOWN: Final = 100


def _unknown(name: str) -> ScriptToolNotFoundError:
    return ScriptToolNotFoundError(
        f"Tool not found: {name[:_LONGEST_SHOWN]!r}.",
        next_step="List the tools of the service and use one of those names.",
        details={"tool": name[:_LONGEST_SHOWN]},
    )
