"""Records of the MCP registry: ``server.json`` of 2025-12-11 within an answer of ``/v0.1``.

Everything in a record is written by strangers. A record that cannot be used as it stands, because
it needs values that only a person can give or takes away the choice of version, is not used.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import AliasPath, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ccos.capabilities import AuthReference, HttpServer, McpServer, StdioServer
from ccos.resolution.sources.trust import belongs_to_namespace, secure_host

_OFFICIAL: Final = "io.modelcontextprotocol.registry/official"
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_Text = Annotated[str, StringConstraints(max_length=10_000)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class RegistryInput(_Model):
    """A header, an argument or an environment variable that a server wants."""

    type: _Text = ""
    name: _Text = ""
    value: _Text | None = None
    default: _Text | None = None
    is_required: bool = Field(False, alias="isRequired")
    is_secret: bool = Field(False, alias="isSecret")

    @property
    def literal(self) -> str | None:
        """The value to use; None if there is none or it has gaps to be filled."""
        value = self.default if self.value is None else self.value
        return None if value is None or "{" in value else value


class RegistryPackage(_Model):
    """A package that runs as a server."""

    registry: _Text = Field(alias="registryType")
    identifier: _Text
    version: _Text = ""
    transport: _Text = Field("stdio", validation_alias=AliasPath("transport", "type"))
    runtime_arguments: tuple[RegistryInput, ...] = Field((), alias="runtimeArguments")
    package_arguments: tuple[RegistryInput, ...] = Field((), alias="packageArguments")
    environment: tuple[RegistryInput, ...] = Field((), alias="environmentVariables")

    def server(self) -> StdioServer | None:
        """How to start it, or None if it cannot be started without further knowledge."""
        if self.registry not in ("pypi", "npm") or self.transport != "stdio":
            return None
        if any(item.is_required for item in self.runtime_arguments):
            return None
        arguments = self._arguments()
        if arguments is None or not self.version:
            return None
        try:
            return StdioServer(
                registry="pypi" if self.registry == "pypi" else "npm",
                package=self.identifier,
                version=self.version,
                arguments=arguments,
                environment=tuple(
                    item.name for item in self.environment if _VARIABLE.fullmatch(item.name)
                ),
            )
        except ValidationError:
            return None

    def _arguments(self) -> tuple[str, ...] | None:
        found: list[str] = []
        for item in self.package_arguments:
            literal = item.literal
            if item.type == "named" and literal is not None:
                found += [item.name, literal]
            elif literal is not None:
                found.append(literal)
            elif item.is_required:
                return None
        return tuple(found)


class RegistryRemote(_Model):
    """A server that is reached over the network."""

    type: _Text
    url: _Text
    headers: tuple[RegistryInput, ...] = ()

    def server(self, server_name: str) -> HttpServer | None:
        """How to reach it, or None if that is not fully said.

        A secret header is taken from the variable named after the whole server name, so that no
        server gets the secret of another by taking a similar name.
        """
        if self.type != "streamable-http" or "{" in self.url or secure_host(self.url) is None:
            return None
        wanted = [header for header in self.headers if header.is_required or header.is_secret]
        if len(wanted) > 1:
            return None
        auth = None
        if wanted:
            header = wanted[0]
            bearer = header.name.lower() == "authorization"
            variable = re.sub(r"[^A-Z0-9]", "_", server_name.upper()) + "_MCP_TOKEN"
            if not _VARIABLE.fullmatch(variable) or not header.name:
                return None
            auth = AuthReference(
                scheme="bearer" if bearer else "api_key",
                name=header.name[:500],
                environment=(variable,),
            )
        try:
            return HttpServer(url=self.url, auth=auth)
        except ValidationError:
            return None


class RegistryServer(_Model):
    """One server of the registry, at its latest version."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]{1,150}/[A-Za-z0-9._-]{1,150}$")]
    description: _Text = ""
    version: _Text = ""
    packages: tuple[RegistryPackage, ...] = Field((), max_length=50)
    remotes: tuple[RegistryRemote, ...] = Field((), max_length=50)

    @property
    def short_name(self) -> str:
        """The name without its namespace."""
        return self.name.rpartition("/")[2]

    def servers(self) -> list[McpServer]:
        """The usable ways to it, best first: its own host, other hosts, packages."""
        remotes = [server for remote in self.remotes if (server := remote.server(self.name))]
        remotes.sort(key=lambda server: not self.vouches_for(server))
        packages = [program for package in self.packages if (program := package.server())]
        return [*remotes, *packages]

    def vouches_for(self, server: McpServer) -> bool:
        """Whether the address belongs to the domain that the name claims."""
        host = secure_host(server.url) if isinstance(server, HttpServer) else None
        return host is not None and belongs_to_namespace(host, self.name)


def read_record(item: Any) -> RegistryServer | None:
    """The server of one item of an answer; None if it is retired, superseded or malformed."""
    if not isinstance(item, dict) or not isinstance(item.get("server"), dict):
        return None
    meta = item.get("_meta")
    official = meta.get(_OFFICIAL) if isinstance(meta, dict) else None
    state = official if isinstance(official, dict) else {}
    if state.get("status", "active") != "active" or state.get("isLatest") is False:
        return None
    if item["server"].get("status", "active") != "active":
        return None
    try:
        return RegistryServer.model_validate(item["server"])
    except ValidationError:
        return None
