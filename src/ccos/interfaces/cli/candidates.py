"""A manifest as a person must see it before deciding: all that would run, nothing left out."""

from __future__ import annotations

import json
import shlex
from typing import Any

from ccos.capabilities import (
    HttpServer,
    Manifest,
    McpPromptProvider,
    McpProvider,
    McpResourceProvider,
    McpServer,
    OAuth2Reference,
    SecretReference,
    auth_references,
)


def manifest_fields(manifest: Manifest) -> list[tuple[str, object]]:
    """The parts of a manifest by name, for :meth:`Screen.fields`."""
    secrets = [_secret(one) for one in auth_references(manifest.provider)]
    return [
        ("capability", f"{manifest.id} {manifest.version}"),
        ("name", manifest.name),
        ("description", manifest.description or "-"),
        ("provider", manifest.provider.type),
        ("would run", would_run(manifest.provider)),
        ("secrets it gets", ", ".join(secrets) or "-"),
        ("acts", manifest.effect_type),
        ("effects", ", ".join(manifest.effects) or "-"),
        ("permissions", ", ".join(manifest.permissions) or "-"),
        ("trust tier", manifest.trust_tier),
        ("input", _schema(manifest.input_schema)),
        ("output", "-" if manifest.output_schema is None else _schema(manifest.output_schema)),
    ]


def _secret(reference: SecretReference) -> str:
    names = ", ".join(reference.variables)
    asked = isinstance(reference, OAuth2Reference) and (
        reference.token_url or reference.discovery_url
    )
    return f"{names} (tokens from {asked})" if asked else names


def would_run(provider: Any) -> str:
    """The program that a call starts, or the request that it sends."""
    match provider:
        case McpProvider(server=server, tool=tool):
            return f"{_server(server)}; tool {tool}"
        case McpResourceProvider(server=server, uri=uri):
            return f"{_server(server)}; resource {uri}"
        case McpPromptProvider(server=server, prompt=prompt):
            return f"{_server(server)}; prompt {prompt}"
        case _ if hasattr(provider, "base_url"):
            return f"{provider.method} {provider.base_url.rstrip('/')}{provider.path}"
        case _:
            return f"function {provider.handler} of the program that registers it"


def _server(server: McpServer) -> str:
    if isinstance(server, HttpServer):
        return f"MCP server {server.url}"
    words = [server.executable or server.package, *server.arguments]
    origin = f"{server.registry} package {server.package} {server.version}".rstrip()
    passed = f", which gets the variables {', '.join(server.environment)}"
    return f"program {shlex.join(words)}, from {origin}" + (passed if server.environment else "")


def _schema(schema: dict[str, Any] | bool) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False)
