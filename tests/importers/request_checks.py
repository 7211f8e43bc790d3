"""Requests checked against the document by openapi-core, which shares no code with CCOS."""

from __future__ import annotations

import asyncio
import re
import warnings
from collections.abc import Mapping
from http.cookies import SimpleCookie
from importlib import import_module
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from werkzeug.datastructures import Headers, ImmutableMultiDict

from ccos.capabilities import Manifest, OpenApiProvider
from ccos.providers.http_credentials import Credentials
from ccos.providers.http_request import HttpRequest
from ccos.providers.http_tokens import AccessTokens
from ccos.providers.openapi import build_request

_NO_CLIENT: Any = None
openapi_core: Any = import_module("openapi_core")
datatypes: Any = import_module("openapi_core.datatypes")


class SameSecret:
    """Secrets of which every one is set."""

    def find(self, names: tuple[str, ...]) -> str | None:
        return "user:secret"


def built(manifest: Manifest, arguments: dict[str, Any]) -> HttpRequest:
    """The request of a call, with secrets in it."""
    provider = manifest.provider
    assert isinstance(provider, OpenApiProvider)
    return build_request(
        manifest,
        provider,
        arguments,
        credentials=_credentials(manifest, provider),
        idempotency_key="key",
    )


def _credentials(manifest: Manifest, provider: OpenApiProvider) -> Credentials:
    tokens = AccessTokens(_NO_CLIENT, SameSecret())  # every token is given, so none is asked for
    return asyncio.run(tokens.credentials(provider.auth, capability=manifest.id))


class Received:
    """A request as a server sees it, in the shape that openapi-core asks for."""

    def __init__(
        self, request: HttpRequest, path_parameters: Mapping[str, str], path_pattern: str
    ) -> None:
        self.path_pattern = path_pattern
        parts = urlsplit(request.url)
        self.host_url = f"{parts.scheme}://{parts.netloc}"
        self.path = unquote(parts.path)
        self.method = request.method.lower()
        self.body = request.content
        self.content_type = request.headers.get("content-type", "")
        cookies = SimpleCookie(request.headers.get("cookie", ""))
        self.parameters = datatypes.RequestParameters(
            path=dict(path_parameters),
            query=ImmutableMultiDict(parse_qsl(parts.query, keep_blank_values=True)),
            header=Headers(list(request.headers.items())),
            cookie=ImmutableMultiDict([(name, one.value) for name, one in cookies.items()]),
        )


class DocumentCheck:
    """Checks requests against one document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = _typed_parts(_closed(document))
        self._apps: dict[str, Any] = {}

    def faults(self, manifest: Manifest, request: HttpRequest, path: str) -> list[str]:
        """What openapi-core has to say against a request for an operation.

        Args:
            manifest: The operation.
            request: What was built for it.
            path: The path of the operation as the document has it.
        """
        provider = manifest.provider
        assert isinstance(provider, OpenApiProvider)
        if path not in self._apps:
            # Servers and other paths would only make openapi-core look for the path that is known.
            part = {**self._document, "paths": {path: self._document["paths"][path]}}
            part["servers"] = [{"url": provider.base_url}]
            config = openapi_core.Config(spec_validator_cls=None)
            self._apps = {path: openapi_core.OpenAPI.from_dict(part, config=config)}
        pattern = urlsplit(provider.base_url).path + path
        received = Received(request, _path_parameters(provider, request), pattern)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [described(one) for one in self._apps[path].iter_request_errors(received)]


def _closed(value: Any) -> Any:
    """The document without references to other documents, which openapi-core cannot do without."""
    if isinstance(value, dict):
        return {} if _is_external(value) else {key: _closed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [
            _closed(item)
            for item in value
            if not _is_external(item) or "#/components/parameters/" not in item["$ref"]
        ]
    return value


def _typed_parts(value: Any) -> Any:
    """The document with an encoding for each scalar part of a multipart form.

    openapi-core reads such parts as text whatever their schema says, and parts of several types as
    bytes, unless an encoding tells it what every reader of OpenAPI takes for granted.
    """
    if isinstance(value, list):
        return [_typed_parts(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: _typed_parts(item) for key, item in value.items()}
    form = found.get("multipart/form-data")
    schema = form.get("schema") if isinstance(form, dict) else None
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if isinstance(form, dict) and isinstance(properties, dict):
        encoding: dict[str, Any] = {}
        for name, described in properties.items():
            if isinstance(described, dict) and described.get("type") in (
                "integer",
                "number",
                "boolean",
            ):
                encoding[name] = {"contentType": "application/json"}
            elif isinstance(described, dict) and ("anyOf" in described or "oneOf" in described):
                encoding[name] = {"contentType": "text/plain"}
        found["multipart/form-data"] = {**form, "encoding": encoding | form.get("encoding", {})}
    return found


def _is_external(value: Any) -> bool:
    reference = value.get("$ref") if isinstance(value, dict) else None
    return isinstance(reference, str) and not reference.startswith("#")


def described(error: BaseException) -> str:
    """An error with its causes."""
    texts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(texts) < 6:
        texts.append(f"{type(seen).__name__}: {str(seen)[:300]}")
        inner = getattr(seen, "schema_errors", None)
        if inner:
            texts += [f"{one.json_path}: {one.message[:200]}" for one in list(inner)[:3]]
        seen = seen.__cause__ or seen.__context__
    return " <- ".join(texts)


def _path_parameters(provider: OpenApiProvider, request: HttpRequest) -> dict[str, str]:
    """The expansions in the path, under the names that openapi-core looks for."""
    template = urlsplit(provider.base_url).path + provider.path.partition("?")[0]
    names = re.findall(r"\{([^{}/]+)\}", template)
    pattern = "".join(
        "([^/]*?)" if number % 2 else re.escape(quote(part, safe="%/:@!$&'()*+,;=-._~"))
        for number, part in enumerate(re.split(r"\{([^{}/]+)\}", template))
    )
    path = urlsplit(request.url).path
    found = re.fullmatch(pattern, path) or re.fullmatch(pattern.replace("[^/]", "."), path)
    values = dict(zip(names, map(unquote, found.groups()), strict=True)) if found else {}
    keys = {}
    for parameter in provider.parameters:
        if parameter.location == "path" and parameter.name in values:
            mark = {"label": ".", "matrix": ";"}.get(parameter.style, "")
            star = "*" if parameter.explode and mark else ""
            keys[f"{mark}{parameter.name}{star}"] = values[parameter.name]
    return keys
