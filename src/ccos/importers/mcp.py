"""The tools, resources and prompts of an MCP server become capabilities."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ccos.capabilities import (
    EffectType,
    Manifest,
    McpProvider,
    McpServer,
    StdioServer,
    canonical_id,
    parse_manifest,
    parse_version,
)
from ccos.capabilities.mcp import McpTool, ToolListing, tool_hash
from ccos.errors import InvalidIdentifierError, InvalidManifestError
from ccos.providers.mcp_text import hidden_character, plain_text

MAXIMUM_DESCRIPTION: Final = 10_000
"""Characters of one description, of the tool or within its schemas."""
MAXIMUM_NAME: Final = 128

_NAME: Final = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*")
_NOT_IN_A_SEGMENT: Final = re.compile(r"[^A-Za-z0-9_.-]")
_LONG_GAP: Final = re.compile(r"[^\S\n]{40}")
_BLOB: Final = re.compile(r"[A-Za-z0-9+/_=-]{300}")


@dataclass(frozen=True, slots=True)
class QuarantinedTool:
    """A tool, resource or prompt that became no capability, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class ImportedServer:
    """What became of what a server offers."""

    capabilities: tuple[Manifest, ...]
    quarantined: tuple[QuarantinedTool, ...]


def import_tools(
    server_name: str,
    server: McpServer,
    listing: ToolListing,
    *,
    effects: Sequence[str] | None = None,
    read_only_tools: Collection[str] = (),
    documentation: str = "",
) -> ImportedServer:
    """Make a capability of each tool, and quarantine the tools that cannot be trusted to be read.

    Ids are ``mcp.<server name>.<tool>`` with ``/`` as ``.`` and ``_`` for what an id cannot hold;
    where two tools would get one id, a part of the hash of its name tells each apart. Schemas are
    kept as they are. What a server says about the harmlessness of its tools is not believed: a
    tool acts on the world unless ``read_only_tools`` names it.

    Args:
        server_name: Name under which the server is known, such as ``io.github.user/weather``.
        server: How it is reached.
        listing: What it offers.
        effects: Effects that every tool has; by default ``network`` for a remote server, and
            ``network`` and ``process`` for one that runs here.
        read_only_tools: Names of tools that somebody reviewed and found to change nothing.
        documentation: URL that a person can read, kept in the metadata.
    """
    if effects is None:
        effects = ("network", "process") if isinstance(server, StdioServer) else ("network",)
    repeated = {name for name, count in Counter(t.name for t in listing.tools).items() if count > 1}
    shared = Counter(plain_id(server_name, tool.name) for tool in listing.tools)
    imported: list[Manifest] = []
    quarantined: list[QuarantinedTool] = []
    for tool in listing.tools:
        reason = "The server lists this name more than once." if tool.name in repeated else None
        reason = reason or _suspicion(tool)
        if reason is None:
            identifier = plain_id(server_name, tool.name)
            if shared[identifier] > 1:
                identifier += "_" + hashlib.sha256(tool.name.encode()).hexdigest()[:8]
            try:
                imported.append(
                    parse_manifest(
                        {
                            "id": canonical_id(identifier),
                            "name": tool.title or tool.name,
                            "description": tool.description or "",
                            "version": version_of(server),
                            "provider": McpProvider(
                                server=server, tool=tool.name, tool_hash=tool_hash(tool)
                            ),
                            "input_schema": tool.input_schema,
                            "output_schema": tool.output_schema,
                            "effect_type": (
                                EffectType.READ_ONLY
                                if tool.name in read_only_tools
                                else EffectType.EFFECTFUL
                            ),
                            "effects": tuple(effects),
                            "metadata": metadata_of(server_name, documentation, tool.annotations),
                        }
                    )
                )
            except (InvalidManifestError, InvalidIdentifierError) as error:
                reason = error.message
            except ValueError as error:
                reason = f"The tool has no canonical form: {error}"
        if reason is not None:
            quarantined.append(
                QuarantinedTool(plain_text(tool.name, limit=MAXIMUM_NAME), plain_text(reason))
            )
    return ImportedServer(tuple(imported), tuple(quarantined))


def plain_id(server_name: str, tool_name: str) -> str:
    """The id of a tool, which another may share; see `import_tools`."""
    text = f"mcp.{server_name}.{tool_name}".replace("/", ".")
    segments = (part.strip("-") for part in _NOT_IN_A_SEGMENT.sub("_", text).split("."))
    return ".".join(part for part in segments if part)


def version_of(server: McpServer) -> str:
    """The version of the server's package, or 1.0.0 for one that has none."""
    if isinstance(server, StdioServer) and server.version:
        try:
            return str(parse_version(server.version))
        except InvalidManifestError:
            pass
    return "1.0.0"


def metadata_of(server_name: str, documentation: str, claims: Mapping[str, Any]) -> dict[str, str]:
    """What is kept beside a definition; annotations are what the server claims, and no more."""
    metadata = {"mcp_server": server_name}
    if documentation:
        metadata["documentation"] = documentation
    if claims:
        metadata["claims"] = json.dumps(claims, ensure_ascii=False, sort_keys=True)
    return metadata


def _suspicion(tool: McpTool) -> str | None:
    """Why the tool is not to be shown to anybody, or None."""
    if len(tool.name) > MAXIMUM_NAME or not _NAME.fullmatch(tool.name):
        return f"The name is not 1 to {MAXIMUM_NAME} visible ASCII characters."
    try:
        for place, text in _texts(tool):
            if reason := fault_of(text):
                return f"The {place} {reason}."
    except RecursionError:
        return "The definition is nested too deeply."
    return None


def fault_of(text: str) -> str | None:
    """Why a text is not to be shown to anybody, or None."""
    if len(text) > MAXIMUM_DESCRIPTION:
        return f"has a text of {len(text)} characters; at most {MAXIMUM_DESCRIPTION} are allowed"
    if character := hidden_character(text):
        return f"hides the character {character}"
    if _LONG_GAP.search(text):
        return "hides text behind a gap of 40 or more blanks"
    if "<!--" in text:
        return "hides text in an HTML comment"
    if _BLOB.search(text):
        return "holds a long run of encoded text"
    return None


def _texts(tool: McpTool) -> Iterator[tuple[str, str]]:
    yield "title", tool.title or ""
    yield "description", tool.description or ""
    for place, value in (
        ("input schema", tool.input_schema),
        ("output schema", tool.output_schema),
        ("annotations", tool.annotations),
    ):
        for text in strings_in(value):
            yield place, text


def strings_in(value: Any) -> Iterator[str]:
    """Every text in JSON data, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from strings_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings_in(item)
