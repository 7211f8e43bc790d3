"""What an MCP server lists, and the hash by which each offer is pinned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from ccos.canonical import content_hash

MAXIMUM_TOOLS: Final = 1000
"""Tools that one server may list; and as many resources, templates and prompts."""
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


@dataclass(frozen=True, slots=True)
class McpResource:
    """A resource, or a template of resources, in the server's own words."""

    uri: str
    """For a template a URI Template (RFC 6570)."""
    name: str
    is_template: bool = False
    title: str | None = None
    description: str | None = None
    mime_type: str | None = None
    annotations: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """What defines it, as JSON data; its size is not a part of that."""
        return {
            "uriTemplate" if self.is_template else "uri": self.uri,
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "mimeType": self.mime_type,
            "annotations": self.annotations,
        }


@dataclass(frozen=True, slots=True)
class McpPromptArgument:
    """One argument of a prompt, which is always text."""

    name: str
    title: str | None = None
    description: str | None = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class McpPrompt:
    """A prompt in the server's own words."""

    name: str
    title: str | None = None
    description: str | None = None
    arguments: tuple[McpPromptArgument, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The prompt as JSON data, spelled as on the wire."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "arguments": [
                {
                    "name": one.name,
                    "title": one.title,
                    "description": one.description,
                    "required": one.required,
                }
                for one in self.arguments
            ],
        }


@dataclass(frozen=True, slots=True)
class McpOffers:
    """The resources, templates and prompts that a server offers at one moment."""

    resources: tuple[McpResource, ...] = ()
    prompts: tuple[McpPrompt, ...] = ()

    def resource(self, uri: str, *, is_template: bool) -> McpResource | None:
        """The resource or template of this URI; None if there is none or it is ambiguous."""
        found = [one for one in self.resources if (one.uri, one.is_template) == (uri, is_template)]
        return found[0] if len(found) == 1 else None

    def prompt(self, name: str) -> McpPrompt | None:
        """The prompt of this name; None if there is none or the name is ambiguous."""
        found = [one for one in self.prompts if one.name == name]
        return found[0] if len(found) == 1 else None


def offer_hash(offer: McpResource | McpPrompt) -> str:
    """Hash over everything that defines a resource or prompt, as ``sha256:<hex>``.

    Raises:
        ValueError: if it holds text that has no canonical form, such as a lone surrogate.
    """
    return content_hash(offer.as_dict())
