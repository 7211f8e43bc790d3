"""One operation becomes one capability."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from pydantic import ValidationError

from ccos.capabilities import (
    AuthReference,
    EffectType,
    JsonSchema,
    Manifest,
    OpenApiProvider,
    parse_version,
)
from ccos.errors import InvalidManifestError
from ccos.importers.openapi.bodies import Body, openapi_body, read_body, swagger_body
from ccos.importers.openapi.parameters import Argument, effective_parameters, read_argument
from ccos.importers.openapi.references import References, UnusableError
from ccos.importers.openapi.responses import output_schema
from ccos.importers.openapi.schemas import Schemas
from ccos.importers.openapi.security import bearer, read_auth
from ccos.importers.openapi.servers import openapi_base_url, swagger_base_url
from ccos.providers.http_request import SAFE_METHODS
from ccos.providers.parameter_styles import placeholders

Method = Literal["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "QUERY"]

_IDEMPOTENT: Final = frozenset({"PUT", "DELETE"})
_VERSION: Final = re.compile(r"v?[0-9]+(\.[0-9]+){0,2}|v?[0-9]+\.[0-9]+\.[0-9]+[-+].{1,100}")
_MAXIMUM_NAME: Final = 120
_MAXIMUM_DESCRIPTION: Final = 4_000


@dataclass(frozen=True, slots=True)
class Api:
    """What all operations of one document share."""

    document: Mapping[str, Any]
    location: str
    slug: str
    title: str
    version: str
    swagger: bool
    dialect: str
    """The document's own version, such as ``3.0.3``."""
    base_url: str | None
    """The base URL the caller chose instead of the document's servers."""
    references: References
    schemas: Schemas


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as the document has it."""

    path: str
    method: str
    item: Mapping[str, Any]
    described: Mapping[str, Any]


def to_manifest(api: Api, operation: Operation, capability_id: str) -> Manifest:
    """The capability that an operation is.

    Raises:
        UnusableError: Something about the operation cannot be used.
    """
    described = operation.described
    needs: set[str] = set()
    taken: set[str] = set()
    parameters = effective_parameters(
        api.references, operation.item.get("parameters"), described.get("parameters")
    )
    arguments = _arguments(api, operation, parameters, needs, taken)
    body = _body(api, described, parameters, needs, taken)
    output = _output(api, operation)
    try:
        return Manifest(
            id=capability_id,
            name=_name(operation),
            description=_description(described),
            version=_semantic(api.version),
            provider=OpenApiProvider(
                document=api.location,
                base_url=_base_url(api, operation),
                method=cast(Method, operation.method),
                path=operation.path.replace("{+", "{"),
                parameters=tuple(argument.parameter for argument in arguments),
                body=body.body if body else None,
                auth=_auth(api, described, parameters),
            ),
            input_schema=api.schemas.with_definitions(
                _input_schema(arguments, body), "request", needs
            ),
            output_schema=output,
            effect_type=_effect_type(operation.method),
            effects=("network",),
            domains=(api.slug,),
            metadata=_metadata(api, described),
        )
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = "/".join(map(str, fault["loc"]))
        raise UnusableError(f"{place}: {fault['msg']}" if place else fault["msg"]) from error


def _arguments(
    api: Api,
    operation: Operation,
    parameters: Mapping[tuple[str, str], dict[str, Any]],
    needs: set[str],
    taken: set[str],
) -> list[Argument]:
    in_path = {
        name.removeprefix("+"): name.startswith("+")
        for name in placeholders(operation.path.partition("?")[0])
    }
    described = dict(parameters)
    for name in in_path:
        # A placeholder that the document forgot to describe is text all the same.
        described.setdefault(
            (name, "path"), {"name": name, "in": "path", "schema": {"type": "string"}}
        )
    found = []
    for (name, location), parameter in described.items():
        if location in ("body", "formData") and api.swagger:
            continue
        if location == "path" and name not in in_path:
            continue
        if location == "path" and in_path[name]:
            # RFC 6570 writes {+name} for a value that may hold several segments.
            parameter = parameter | {"allowReserved": True}
        argument = read_argument(parameter, api.schemas, needs, taken)
        if argument is not None:
            found.append(argument)
    return found


def _body(
    api: Api,
    described: Mapping[str, Any],
    parameters: Mapping[tuple[str, str], dict[str, Any]],
    needs: set[str],
    taken: set[str],
) -> Body | None:
    if api.swagger:
        raw = swagger_body(parameters, described.get("consumes", api.document.get("consumes")))
    else:
        raw = openapi_body(described.get("requestBody"), api.references)
    return None if raw is None else read_body(raw, api.schemas, needs, taken)


def _input_schema(arguments: list[Argument], body: Body | None) -> dict[str, Any]:
    properties: dict[str, JsonSchema] = {
        argument.parameter.argument: argument.schema for argument in arguments
    }
    required = [argument.parameter.argument for argument in arguments if argument.required]
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if body is not None:
        properties |= body.properties
        required += body.required
    if required:
        schema["required"] = required
    schema["additionalProperties"] = False
    if body is not None and body.required_together:
        together = list(body.required_together)
        schema["dependentRequired"] = dict.fromkeys(body.properties, together)
    return schema


def _output(api: Api, operation: Operation) -> JsonSchema | None:
    if operation.method == "HEAD":
        return None
    needs: set[str] = set()
    schema = output_schema(
        operation.described.get("responses"),
        api.schemas,
        needs,
        swagger=api.swagger,
        produces=operation.described.get("produces", api.document.get("produces")),
    )
    if not isinstance(schema, dict):
        return schema
    return api.schemas.with_definitions(schema, "response", needs)


def _base_url(api: Api, operation: Operation) -> str:
    if api.base_url is not None:
        return api.base_url
    if api.swagger:
        schemes = operation.described.get("schemes", api.document.get("schemes"))
        return swagger_base_url(api.document, schemes, api.location)
    places = (part.get("servers") for part in (operation.described, operation.item, api.document))
    return openapi_base_url(places, api.location)


def _auth(
    api: Api,
    described: Mapping[str, Any],
    parameters: Mapping[tuple[str, str], dict[str, Any]],
) -> tuple[AuthReference, ...]:
    components = api.document if api.swagger else api.document.get("components")
    schemes = (
        components.get("securityDefinitions" if api.swagger else "securitySchemes")
        if isinstance(components, Mapping)
        else None
    )
    found = read_auth(
        described.get("security", api.document.get("security")),
        schemes if isinstance(schemes, Mapping) else {},
        api.references,
        api=api.slug,
    )
    authorization = parameters.get(("authorization", "header"))
    if not found and authorization is not None and authorization.get("required") is True:
        # Described as an argument, it is a secret nonetheless.
        return (bearer(api.slug),)
    return found


def _effect_type(method: str) -> EffectType:
    """What a method promises (RFC 9110, section 9.2)."""
    if method in SAFE_METHODS:
        return EffectType.READ_ONLY
    return EffectType.IDEMPOTENT if method in _IDEMPOTENT else EffectType.EFFECTFUL


def _name(operation: Operation) -> str:
    for key in ("summary", "operationId"):
        value = operation.described.get(key)
        if isinstance(value, str) and value.strip():
            return _capped(" ".join(value.split()), _MAXIMUM_NAME)
    return _capped(f"{operation.method} {operation.path}", _MAXIMUM_NAME)


def _description(described: Mapping[str, Any]) -> str:
    for key in ("description", "summary"):
        value = described.get(key)
        if isinstance(value, str) and value.strip():
            return _capped(value.strip(), _MAXIMUM_DESCRIPTION)
    return ""


def _metadata(api: Api, described: Mapping[str, Any]) -> dict[str, str]:
    metadata = {"api_title": _capped(api.title, 200), "description_format": api.dialect}
    if isinstance(described.get("operationId"), str):
        metadata["operation_id"] = _capped(described["operationId"], 200)
    if described.get("deprecated") is True:
        metadata["deprecated"] = "true"
    return metadata


def _semantic(version: str) -> str:
    """The version if it is a semantic one; dates and code names are not."""
    if _VERSION.fullmatch(version):
        with suppress(InvalidManifestError):
            return str(parse_version(version.removeprefix("v")))
    return "1.0.0"


def _capped(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
