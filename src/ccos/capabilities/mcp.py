"""Tools as an MCP server lists them, and the hash by which one is pinned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from ccos.canonical import content_hash

MAXIMUM_TOOLS: Final = 1000
"""Tools that one server may list."""
MAXIMUM_PAGES: Final = 100
"""Pages that one listing may have."""
MAXIMUM_LISTING_BYTES: Final = 20_000_000
"""Characters of schema and text that one listing may hold, all tools together."""


@dataclass(frozen=True, slots=True)
class McpTool:
    """One tool in the server's own words; nothing in it is trusted."""

    name: str
    input_schema: dict[str, Any]
    title: str | None = None
    description: str | None = None
    output_schema: dict[str, Any] | None = None
    annotations: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The tool as JSON data, spelled as on the wire."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": self.input_schema,
            "outputSchema": self.output_schema,
            "annotations": self.annotations,
        }


@dataclass(frozen=True, slots=True)
class ToolListing:
    """Everything a server offers at one moment."""

    tools: tuple[McpTool, ...]
    server_name: str = ""
    """What the server calls itself: for display only."""
    server_version: str = ""

    def find(self, name: str) -> McpTool | None:
        """The tool of this name; None if there is none or the name is ambiguous."""
        found = [tool for tool in self.tools if tool.name == name]
        return found[0] if len(found) == 1 else None


def tool_hash(tool: McpTool) -> str:
    """Hash over name, title, description, both schemas and annotations, as ``sha256:<hex>``.

    Raises:
        ValueError: if the tool holds text that has no canonical form, such as a lone surrogate.
    """
    return content_hash(tool.as_dict())
