"""Where a capability's work is done: one model a kind, told apart by ``type``.

These models say how to reach a provider. They never hold a secret, only the name under which the
secret is found (``AuthReference``).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints


def _shortest(number: float) -> int | float:
    """30 for 30.0: the same number, and the form that canonical JSON has for it."""
    return int(number) if number.is_integer() else number


Seconds = Annotated[
    float, Field(gt=0, le=3600), PlainSerializer(_shortest, int | float, when_used="json")
]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Url = Annotated[str, StringConstraints(min_length=8, max_length=4000, pattern=r"^https?://")]
EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,199}$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AuthReference(_Model):
    """Which secret a provider needs, and where in a request it goes; never the secret itself."""

    scheme: Literal["bearer", "basic", "api_key"]
    location: Literal["header", "query", "cookie"] = "header"
    name: ShortText = "Authorization"
    """Header, query parameter or cookie that carries the secret."""
    environment: tuple[EnvironmentName, ...] = Field(min_length=1)
    """Environment variables to look in, in this order."""

    @property
    def variables(self) -> tuple[str, ...]:
        """Every environment variable that is looked at."""
        return self.environment


class OAuth2Reference(_Model):
    """An OAuth 2 access token (RFC 6749), given or else asked for when a call needs it.

    A token in ``environment`` is sent as it is. Without one, a refresh token (section 6) or else
    the client's own credentials (section 4.4) are exchanged for one.
    """

    scheme: Literal["oauth2"] = "oauth2"
    environment: tuple[EnvironmentName, ...] = Field(min_length=1)
    """Environment variables that may hold an access token."""
    token_url: Url | None = None
    discovery_url: Url | None = None
    """OpenID Connect Discovery 1.0: the issuer's document that names the token endpoint."""
    scopes: Annotated[tuple[ShortText, ...], Field(max_length=100)] = ()
    client_id: tuple[EnvironmentName, ...] = ()
    client_secret: tuple[EnvironmentName, ...] = ()
    refresh_token: tuple[EnvironmentName, ...] = ()

    @property
    def variables(self) -> tuple[str, ...]:
        """Every environment variable that is looked at."""
        return (*self.environment, *self.refresh_token, *self.client_id, *self.client_secret)


class CertificateReference(_Model):
    """A client certificate (mutual TLS, RFC 8446 section 4.4.2)."""

    scheme: Literal["mutual_tls"] = "mutual_tls"
    environment: tuple[EnvironmentName, ...] = Field(min_length=1)
    """Environment variables that may hold the path of a PEM file with certificate and key."""

    @property
    def variables(self) -> tuple[str, ...]:
        """Every environment variable that is looked at."""
        return self.environment


SecretReference = Annotated[
    AuthReference | OAuth2Reference | CertificateReference, Field(discriminator="scheme")
]


class LocalProvider(_Model):
    """A Python callable that the embedding program registers; it exists in that program only."""

    type: Literal["local"] = "local"
    handler: ShortText
    """The name under which the program registered the callable."""


class StdioServer(_Model):
    """An MCP server that CCOS starts as a process and speaks to over its standard streams."""

    transport: Literal["stdio"] = "stdio"
    registry: Literal["pypi", "npm", "command"]
    """Where the program comes from; ``command`` is a program already on this machine."""
    package: ShortText
    """Package name, or for ``command`` the program to start."""
    version: Annotated[str, StringConstraints(max_length=100)] = ""
    """Exact version of the package; empty only for ``command``."""
    executable: Annotated[str, StringConstraints(max_length=200)] = ""
    """Program inside the package when it is not named like the package."""
    arguments: tuple[Annotated[str, StringConstraints(max_length=4000)], ...] = ()
    environment: tuple[EnvironmentName, ...] = ()
    """Variables that are passed on from CCOS's environment; all others are withheld."""


class HttpServer(_Model):
    """An MCP server reached over streamable HTTP."""

    transport: Literal["http"] = "http"
    url: Url
    auth: AuthReference | None = None


McpServer = Annotated[StdioServer | HttpServer, Field(discriminator="transport")]


class McpProvider(_Model):
    """A tool of an MCP server."""

    type: Literal["mcp"] = "mcp"
    server: McpServer
    tool: ShortText
    tool_hash: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
    """Hash of the tool's name, description, schemas and annotations when it was found."""
    timeout_seconds: Seconds = 30.0


class McpResourceProvider(_Model):
    """A resource of an MCP server, or a template of resources whose variables are arguments."""

    type: Literal["mcp_resource"] = "mcp_resource"
    server: McpServer
    uri: Annotated[str, StringConstraints(min_length=1, max_length=4000)]
    is_template: bool = False
    """Whether ``uri`` is a URI Template (RFC 6570)."""
    definition_hash: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
    """Hash of what the server said of the resource when it was found."""
    timeout_seconds: Seconds = 30.0


class McpPromptProvider(_Model):
    """A prompt of an MCP server."""

    type: Literal["mcp_prompt"] = "mcp_prompt"
    server: McpServer
    prompt: ShortText
    definition_hash: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
    """Hash of the prompt's name, description and arguments when it was found."""
    timeout_seconds: Seconds = 30.0


class OpenApiParameter(_Model):
    """How one argument travels in a request, by the OpenAPI parameter rules."""

    argument: ShortText
    """Name of the argument in the capability's input schema."""
    name: ShortText
    """Name on the wire."""
    location: Literal["path", "query", "header", "cookie"]
    style: Literal[
        "simple",
        "label",
        "matrix",
        "form",
        "spaceDelimited",
        "pipeDelimited",
        "tabDelimited",
        "deepObject",
    ] = "simple"
    explode: bool = False
    allow_reserved: bool = False
    content_type: Annotated[str, StringConstraints(max_length=200)] | None = None
    """Set for a parameter that is described by ``content`` and so sent as a serialised value."""


class OpenApiEncoding(_Model):
    """How one property of a form body is written, by the OpenAPI encoding rules."""

    style: Literal["form", "spaceDelimited", "pipeDelimited", "tabDelimited", "deepObject"] = "form"
    explode: bool = True
    content_type: Annotated[str, StringConstraints(max_length=200)] | None = None
    """Media type of the property where it is not the default for its value."""


class OpenApiBody(_Model):
    """How the request body is made from the arguments."""

    content_type: ShortText
    argument: ShortText | None = None
    """The one argument that is the whole body; None if the properties are arguments themselves."""
    properties: dict[str, str] = Field(default_factory=dict)
    """Argument name to body property name, when the body's properties are arguments."""
    encoding: dict[str, OpenApiEncoding] = Field(default_factory=dict)
    """By body property name, for the properties of a form that are not written as usual."""
    required: bool = False


class OpenApiProvider(_Model):
    """One operation of an HTTP API that a document describes."""

    type: Literal["openapi"] = "openapi"
    document: Annotated[str, StringConstraints(max_length=4000)]
    """Where the description was found: a URL or a file name."""
    base_url: Url
    method: Literal["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "QUERY"]
    path: Annotated[str, StringConstraints(min_length=1, max_length=4000, pattern=r"^/")]
    parameters: tuple[OpenApiParameter, ...] = ()
    body: OpenApiBody | None = None
    auth: tuple[SecretReference, ...] = ()
    """Secrets that are all sent; empty for a public operation."""
    timeout_seconds: Seconds = 30.0


class HttpProvider(_Model):
    """A plain HTTP endpoint: path parameters are filled in, the rest is query or JSON body."""

    type: Literal["http"] = "http"
    base_url: Url
    method: Literal["GET", "PUT", "POST", "DELETE", "PATCH"] = "GET"
    path: Annotated[str, StringConstraints(max_length=4000, pattern=r"^(/.*)?$")] = ""
    """Template with ``{name}`` for each argument that is part of the path."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Fixed headers without secrets, such as ``Accept``."""
    auth: SecretReference | None = None
    timeout_seconds: Seconds = 30.0


class HttpField(_Model):
    """One query parameter, header or form field of a template: an argument, or always the same."""

    location: Literal["query", "header", "form"]
    name: ShortText
    """Name on the wire."""
    argument: ShortText | None = None
    value: Annotated[str, StringConstraints(max_length=10_000)] = ""
    """What is sent where no argument is named."""


class HttpTemplateProvider(_Model):
    """An HTTP request with places for arguments, and the part of the answer that is the result."""

    type: Literal["http_template"] = "http_template"
    base_url: Url
    method: Literal["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH"]
    path: Annotated[str, StringConstraints(max_length=4000, pattern=r"^/")]
    """Template with ``{argument}`` in the place of an argument."""
    fields: Annotated[tuple[HttpField, ...], Field(max_length=500)] = ()
    body: Any = None
    """A JSON or text body, as it is sent without arguments."""
    body_places: dict[str, str] = Field(default_factory=dict, max_length=500)
    """Argument to its place in ``body``, a JSON Pointer (RFC 6901)."""
    content_type: Annotated[str, StringConstraints(max_length=200)] | None = None
    """Media type of the body; None for a request without one."""
    response_path: Annotated[str, StringConstraints(max_length=1000)] = ""
    """JSON Pointer to the result in the answer; empty for all of it."""
    auth: tuple[SecretReference, ...] = ()
    timeout_seconds: Seconds = 30.0


class GraphQlProvider(_Model):
    """A root field of a GraphQL API; the arguments of a call are the variables of the document."""

    type: Literal["graphql"] = "graphql"
    schema_location: Annotated[str, StringConstraints(max_length=4000)]
    """Where the schema was found: a URL or a file name."""
    endpoint: Url
    subscriptions_endpoint: Url | None = None
    """Where subscriptions are sent, if not to ``endpoint``; ``https`` also stands for ``wss``."""
    operation: Literal["query", "mutation", "subscription"]
    field: ShortText
    """The one root field of the document, under which its result is answered."""
    document: Annotated[str, StringConstraints(min_length=1, max_length=500_000)]
    auth: tuple[SecretReference, ...] = ()
    """Secrets that are all sent; empty for a public API."""
    timeout_seconds: Seconds = 30.0
    """How long a call may take; for a subscription, how long a call listens."""
    maximum_events: Annotated[int, Field(gt=0, le=10_000)] = 10
    """After how many events a call of a subscription is answered."""


class ScriptProvider(_Model):
    """A function of a script that the script engine keeps."""

    type: Literal["script"] = "script"
    script_id: ShortText
    content_id: ShortText
    """Identity of text, language and policy: what was registered, and nothing else, is run."""
    function: ShortText
    argument: ShortText | None = None
    """The one parameter that is the object of all arguments; None if each has its own."""


Provider = Annotated[
    LocalProvider
    | McpProvider
    | McpResourceProvider
    | McpPromptProvider
    | OpenApiProvider
    | HttpProvider
    | HttpTemplateProvider
    | GraphQlProvider
    | ScriptProvider,
    Field(discriminator="type"),
]


def provider_url(provider: Any) -> str | None:
    """The URL a provider is reached at; None for one that runs on this machine."""
    match provider:
        case (
            McpProvider(server=HttpServer(url=url))
            | McpResourceProvider(server=HttpServer(url=url))
            | McpPromptProvider(server=HttpServer(url=url))
        ):
            return url
        case OpenApiProvider(base_url=url) | HttpProvider(base_url=url):
            return url
        case HttpTemplateProvider(base_url=url):
            return url
        case GraphQlProvider(endpoint=url):
            return url
        case _:
            return None


def auth_references(provider: Any) -> tuple[SecretReference, ...]:
    """The secrets that a provider is given with every call."""
    match provider:
        case (
            McpProvider(server=HttpServer(auth=auth))
            | McpResourceProvider(server=HttpServer(auth=auth))
            | McpPromptProvider(server=HttpServer(auth=auth))
            | HttpProvider(auth=auth)
        ):
            return () if auth is None else (auth,)
        case (
            OpenApiProvider(auth=auth)
            | GraphQlProvider(auth=auth)
            | HttpTemplateProvider(auth=auth)
        ):
            return auth
        case _:
            return ()
