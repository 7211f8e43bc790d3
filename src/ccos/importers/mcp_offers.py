"""The resources, resource templates and prompts of an MCP server become capabilities."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from ccos.capabilities import (
    EffectType,
    Manifest,
    McpPromptProvider,
    McpResourceProvider,
    McpServer,
    StdioServer,
    canonical_id,
    parse_manifest,
)
from ccos.capabilities.mcp import McpOffers, McpPrompt, McpResource, offer_hash
from ccos.errors import InvalidIdentifierError, InvalidManifestError
from ccos.importers.mcp import (
    MAXIMUM_NAME,
    ImportedServer,
    QuarantinedTool,
    fault_of,
    metadata_of,
    plain_id,
    strings_in,
    version_of,
)
from ccos.providers.mcp_text import plain_text
from ccos.providers.uri_templates import template_variables

_MAXIMUM_ID: Final = 180


def import_offers(
    server_name: str,
    server: McpServer,
    offers: McpOffers,
    *,
    effects: Sequence[str] | None = None,
    documentation: str = "",
) -> ImportedServer:
    """Make a capability of each resource, template and prompt.

    Ids are ``mcp.<server name>.resource.<name>`` and ``mcp.<server name>.prompt.<name>``; where two
    would share one, a part of a hash tells each apart. The variables of a template and the
    arguments of a prompt are text. To read a resource or fetch a prompt changes nothing by the
    protocol; what the server says of itself in annotations is kept as its claim.

    Args:
        server_name: Name under which the server is known.
        server: How it is reached.
        offers: What it offers.
        effects: Effects that each has; by default those of `import_tools`.
        documentation: URL that a person can read, kept in the metadata.
    """
    if effects is None:
        effects = ("network", "process") if isinstance(server, StdioServer) else ("network",)
    listed: list[tuple[McpResource | McpPrompt, str]] = [
        *((one, f"{server_name}.resource") for one in offers.resources),
        *((one, f"{server_name}.prompt") for one in offers.prompts),
    ]
    keys = Counter(_key(offer) for offer, _ in listed)
    shared = Counter(plain_id(prefix, offer.name) for offer, prefix in listed)
    imported: list[Manifest] = []
    quarantined: list[QuarantinedTool] = []
    for offer, prefix in listed:
        twice = keys[_key(offer)] > 1
        reason = "The server lists this more than once." if twice else _suspicion(offer)
        if reason is None:
            identifier = plain_id(prefix, offer.name)
            if shared[identifier] > 1 or len(identifier) > _MAXIMUM_ID:
                mark = hashlib.sha256(_key(offer)[1].encode()).hexdigest()[:8]
                identifier = f"{identifier[:_MAXIMUM_ID].rstrip('.-')}_{mark}"
            try:
                imported.append(
                    parse_manifest(
                        {
                            "id": canonical_id(identifier),
                            "name": offer.title or offer.name,
                            "description": offer.description or "",
                            "version": version_of(server),
                            "provider": _provider(server, offer),
                            "input_schema": _input_schema(offer),
                            "output_schema": _output_schema(offer),
                            "effect_type": EffectType.READ_ONLY,
                            "effects": tuple(effects),
                            "metadata": metadata_of(
                                server_name,
                                documentation,
                                offer.annotations if isinstance(offer, McpResource) else {},
                            ),
                        }
                    )
                )
            except (InvalidManifestError, InvalidIdentifierError) as error:
                reason = error.message
            except ValueError as error:
                reason = f"It cannot be used: {error}."
        if reason is not None:
            shown = plain_text(offer.name, limit=MAXIMUM_NAME)
            quarantined.append(QuarantinedTool(shown, plain_text(reason)))
    return ImportedServer(tuple(imported), tuple(quarantined))


def _key(offer: McpResource | McpPrompt) -> tuple[str, str]:
    return ("resource", offer.uri) if isinstance(offer, McpResource) else ("prompt", offer.name)


def _suspicion(offer: McpResource | McpPrompt) -> str | None:
    if not offer.name.strip():
        return "It has no name."
    for text in strings_in(offer.as_dict()):
        if reason := fault_of(text):
            return f"Its definition {reason}."
    return None


def _provider(
    server: McpServer, offer: McpResource | McpPrompt
) -> McpResourceProvider | McpPromptProvider:
    digest = offer_hash(offer)
    if isinstance(offer, McpPrompt):
        return McpPromptProvider(server=server, prompt=offer.name, definition_hash=digest)
    return McpResourceProvider(
        server=server, uri=offer.uri, is_template=offer.is_template, definition_hash=digest
    )


def _input_schema(offer: McpResource | McpPrompt) -> dict[str, Any]:
    properties: dict[str, dict[str, Any]] = {}
    required: list[str] = []
    if isinstance(offer, McpPrompt):
        for argument in offer.arguments:
            properties[argument.name] = {"type": "string"}
            if argument.description:
                properties[argument.name]["description"] = argument.description
            if argument.required:
                required.append(argument.name)
    elif offer.is_template:
        for name, is_needed in template_variables(offer.uri).items():
            properties[name] = {"type": "string"}
            if is_needed:
                required.append(name)
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return schema | {"additionalProperties": False}


def _output_schema(offer: McpResource | McpPrompt) -> dict[str, Any] | None:
    if isinstance(offer, McpResource):
        return None  # whatever its media type is
    message = {
        "type": "object",
        "required": ["role", "content"],
        "properties": {"role": {"enum": ["user", "assistant"]}, "content": {"type": "object"}},
    }
    return {
        "type": "object",
        "required": ["messages"],
        "properties": {
            "description": {"type": "string"},
            "messages": {"type": "array", "items": message},
        },
    }
