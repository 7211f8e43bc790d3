"""One operation becomes one capability."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, cast

from pydantic import ValidationError

from ccos.capabilities import (
    CANONICAL,
    EffectType,
    JsonSchema,
    Manifest,
    OpenApiProvider,
    SecretReference,
    parse_version,
)
from ccos.errors import InvalidManifestError
from ccos.importers.openapi.bodies import Body, RawBody, openapi_body, read_body, swagger_body
from ccos.importers.openapi.declarations import declared
from ccos.importers.openapi.findings import Notes
from ccos.importers.openapi.keywords import flag
from ccos.importers.openapi.parameters import (
    Argument,
    Described,
    ParameterLists,
    Parameters,
    is_choice,
    query_string,
    read_argument,
)
from ccos.importers.openapi.paths import path_template
from ccos.importers.openapi.references import ROOT, ExternalError, Place, References, UnusableError
from ccos.importers.openapi.responses import output_schema
from ccos.importers.openapi.schemas import Schemas
from ccos.importers.openapi.security import Security
from ccos.importers.openapi.servers import openapi_base_url, swagger_base_url, unknown_base_url
from ccos.providers.http_request import SAFE_METHODS
from ccos.providers.media_types import BodyKind, body_kind

Method = Literal["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "QUERY"]

_IDEMPOTENT: Final = frozenset({"PUT", "DELETE"})
_UNSAFE: Final = {
    "x-destructive": True,
    "x-idempotent": False,
    "x-openai-isConsequential": True,
    "x-read-only": False,
    "x-readonly": False,
    "destructiveHint": True,
    "idempotentHint": False,
    "readOnlyHint": False,
}
"""Extensions, with the values by which an operation is not to be repeated or acts on the world."""
_DESTROYS: Final = {"x-destructive": True, "destructiveHint": True}
_VERSION: Final = re.compile(r"v?[0-9]+(\.[0-9]+){0,2}|v?[0-9]+\.[0-9]+\.[0-9]+[-+].{1,100}")
_MAXIMUM_NAME: Final = 120
_MAXIMUM_DESCRIPTION: Final = 4_000
_MAXIMUM_METADATA: Final = 500


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
    variables: Mapping[str, str]
    """Values for server variables."""
    allow_unknown_server: bool
    canonical: bool
    """Whether every text and number of the document has a canonical form."""
    references: References
    notes: Notes
    schemas: Schemas
    xml_schemas: Schemas
    lists: ParameterLists
    security: Security


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as the document has it."""

    path: str
    method: str
    item: Mapping[str, Any]
    item_at: Place
    described: Mapping[str, Any]
    at: Place

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(slots=True)
class _Draft:
    """What is collected for one capability."""

    needs: set[Place] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    omitted: list[str] = field(default_factory=list)
    """Places of parameters that are left out."""


def to_manifest(api: Api, operation: Operation, capability_id: str) -> Manifest:
    """The capability that an operation is.

    Raises:
        UnusableError: Something about the operation cannot be used.
    """
    described = operation.described
    draft = _Draft()
    parameters = _parameters(api, operation, draft)
    in_path = [name for name, location in parameters if location == "path"]
    template = path_template(operation.path, in_path)
    for name in template.query:
        entry = {"name": name, "in": "query", "schema": {"type": "string"}}
        parameters.setdefault((name, "query"), Described(entry, operation.at))
    parameters = _placed(api, operation, parameters, template.names)
    arguments = _arguments(api, parameters, template.several_segments, draft)
    body, used = _body(api, operation, parameters, draft)
    input_schema = used.with_definitions(_input_schema(arguments, body), "request", draft.needs)
    try:
        return Manifest.model_validate(
            {
                "id": capability_id,
                "name": _name(operation),
                "description": _description(described),
                "version": _semantic(api.version),
                "provider": OpenApiProvider(
                    document=api.location,
                    base_url=_base_url(api, operation),
                    method=cast(Method, operation.method),
                    path=template.text,
                    parameters=tuple(argument.parameter for argument in arguments),
                    body=body.body if body else None,
                    auth=_auth(api, operation, parameters),
                ),
                "input_schema": input_schema,
                "output_schema": _output(api, operation),
                "effect_type": _effect_type(operation),
                "effects": ("destructive", "network")
                if _is_destructive(operation)
                else ("network",),
                "domains": (api.slug,),
                "metadata": _metadata(api, operation, parameters, draft),
            },
            context={CANONICAL: api.canonical},
        )
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = "/".join(map(str, fault["loc"]))
        said = fault["msg"].removeprefix("Value error, ")
        raise UnusableError(f"{place}: {said}" if place else said, operation.at) from error


def _parameters(api: Api, operation: Operation, draft: _Draft) -> Parameters:
    """The parameters by name and location; those of the operation win over those of the path."""
    found: Parameters = {}
    for owner, at in ((operation.item, operation.item_at), (operation.described, operation.at)):
        listed, omitted = api.lists.read(owner.get("parameters"), at.child("parameters"))
        found |= listed
        draft.omitted += omitted
    for key in [key for key in found if key[1] == "querystring"]:
        for one in query_string(found.pop(key), api.schemas):
            found.setdefault((one.value["name"], "query"), one)
    return found


def _placed(
    api: Api, operation: Operation, parameters: Parameters, names: tuple[str, ...]
) -> Parameters:
    """The parameters with exactly one for each placeholder of the path."""
    unplaced = {name: one for (name, location), one in parameters.items() if location == "path"}
    meant: dict[str, str] = {}
    for name in names:
        alike = (
            [name] if name in unplaced else [one for one in unplaced if _bare(one) == _bare(name)]
        )
        if len(alike) == 1 and (alike[0] == name or alike[0] not in names):
            meant[alike[0]] = name
    found: Parameters = {}
    for (name, location), one in parameters.items():
        if location != "path":
            found[name, location] = one
        elif name not in meant:
            reason = f"the path has no place for the parameter {name[:100]!r}, so it is left out"
            api.notes.add(one.place, reason)
        elif meant[name] == name:
            found[name, location] = one
        else:
            found[meant[name], location] = Described({**one.value, "name": meant[name]}, one.place)
    for name in names:
        # A placeholder that the document forgot to describe is text all the same.
        entry = {"name": name, "in": "path", "schema": {"type": "string"}}
        found.setdefault((name, "path"), Described(entry, operation.at))
    return found


def _bare(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


def _arguments(
    api: Api, parameters: Parameters, several_segments: frozenset[str], draft: _Draft
) -> list[Argument]:
    found = []
    for (name, location), one in parameters.items():
        if location in ("body", "formData"):
            continue
        if location == "path" and name in several_segments:
            one = Described({**one.value, "allowReserved": True}, one.place)
        try:
            argument = read_argument(one, api.schemas, draft.needs, draft.taken)
        except UnusableError as error:
            needed = location == "path" or flag(one.value.get("required"))
            if needed or isinstance(error, ExternalError):
                raise
            api.notes.add(error.place or one.place, f"{error}, so the parameter is left out")
            continue
        if argument is not None:
            found.append(argument)
    return found


def _body(
    api: Api, operation: Operation, parameters: Parameters, draft: _Draft
) -> tuple[Body | None, Schemas]:
    described = operation.described
    at = operation.at.child("requestBody")
    raw: RawBody | None = None
    try:
        if not api.swagger:
            raw = openapi_body(described.get("requestBody"), at, api.schemas)
    except UnusableError as error:
        if isinstance(error, ExternalError) and not api.schemas.open_external:
            raise ExternalError(str(error), at) from None
        api.notes.add(at, f"{error}, so any JSON is accepted as the body")
        raw = RawBody("application/json", True, at, required=False)
    if raw is None:
        raw = swagger_body(parameters, described.get("consumes", api.document.get("consumes")))
    if raw is None:
        return None, api.schemas
    said = parameters.get(("content-type", "header"))
    if said and is_choice(said, "content-type") and body_kind(raw.content_type) is BodyKind.BINARY:
        (*others, only) = said.value.get("schema", said.value)["enum"]
        if not others and isinstance(only, str) and body_kind(only) is BodyKind.BINARY:
            raw = replace(raw, content_type=only)
    return read_body(raw, api.schemas, api.xml_schemas, draft.needs, draft.taken)


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
    needs: set[Place] = set()
    at = operation.at.child("responses")
    try:
        schema = output_schema(
            operation.described.get("responses"),
            at,
            api.schemas,
            needs,
            swagger=api.swagger,
            produces=operation.described.get("produces", api.document.get("produces")),
        )
    except UnusableError as error:
        if isinstance(error, ExternalError) and not api.schemas.open_external:
            raise
        api.notes.add(error.place or at, f"{error}, so any result is accepted")
        return None
    if not isinstance(schema, dict):
        return schema
    return api.schemas.with_definitions(schema, "response", needs)


def _base_url(api: Api, operation: Operation) -> str:
    if api.base_url is not None:
        return api.base_url
    document = api.document
    owners = ((operation.described, operation.at), (operation.item, operation.item_at))
    places = [part.get("servers") for part in (operation.described, operation.item, document)]
    try:
        if not api.swagger:
            return openapi_base_url(places, api.location, api.variables)
        schemes = operation.described.get("schemes", document.get("schemes"))
        return swagger_base_url(document, schemes, api.location)
    except UnusableError as error:
        if not api.allow_unknown_server:
            at = next((at for part, at in owners if part.get("servers")), ROOT)
            at = at.child("servers") if not api.swagger else ROOT
            raise UnusableError(str(error), at) from None
        if api.swagger:
            places = [[{"url": document.get("basePath")}]]
        return unknown_base_url(api.slug, places)


def _auth(api: Api, operation: Operation, parameters: Parameters) -> tuple[SecretReference, ...]:
    owner, at = (
        (operation.described, operation.at)
        if "security" in operation.described
        else (api.document, ROOT)
    )
    found = api.security.read(owner.get("security"), at.child("security"))
    authorization = parameters.get(("authorization", "header"))
    if not found and authorization and flag(authorization.value.get("required")):
        # Described as an argument, it is a secret nonetheless.
        return (api.security.bearer(),)
    return found


def _effect_type(operation: Operation) -> EffectType:
    """What a method promises (RFC 9110, section 9.2), unless the document admits to more."""
    if _admits(operation, _UNSAFE):
        return EffectType.EFFECTFUL
    if operation.method in SAFE_METHODS:
        return EffectType.READ_ONLY
    return EffectType.IDEMPOTENT if operation.method in _IDEMPOTENT else EffectType.EFFECTFUL


def _is_destructive(operation: Operation) -> bool:
    return operation.method == "DELETE" or _admits(operation, _DESTROYS)


def _admits(operation: Operation, claims: Mapping[str, bool]) -> bool:
    """Whether an extension says that an operation does more than its method tells.

    That it does less would be praise, which counts nothing.
    """
    described = operation.described
    annotations = [described.get(key) for key in ("x-mcp-annotations", "x-mcp")]
    places = [described, *(one for one in annotations if isinstance(one, dict))]
    places += [one["annotations"] for one in places if isinstance(one.get("annotations"), dict)]
    return any(place.get(name) is value for place in places for name, value in claims.items())


def _name(operation: Operation) -> str:
    for key in ("summary", "operationId"):
        value = operation.described.get(key)
        if isinstance(value, str) and value.strip():
            return _capped(" ".join(value.split()), _MAXIMUM_NAME)
    return _capped(str(operation), _MAXIMUM_NAME)


def _description(described: Mapping[str, Any]) -> str:
    for key in ("description", "summary"):
        value = described.get(key)
        if isinstance(value, str) and value.strip():
            return _capped(value.strip(), _MAXIMUM_DESCRIPTION)
    return ""


def _metadata(
    api: Api, operation: Operation, parameters: Parameters, draft: _Draft
) -> dict[str, str]:
    described = operation.described
    metadata = {"api_title": _capped(api.title, 200), "description_format": api.dialect}
    if isinstance(described.get("operationId"), str):
        metadata["operation_id"] = _capped(described["operationId"], 200)
    if flag(described.get("deprecated")):
        metadata["deprecated"] = "true"
    query = [one.value["name"] for (_, location), one in parameters.items() if location == "query"]
    metadata |= declared(described, operation.at, query, api.references)
    if draft.omitted:
        text = f"parameters that could not be read: {', '.join(draft.omitted)}"
        metadata["incomplete"] = _capped(text, _MAXIMUM_METADATA)
    return metadata


def _semantic(version: str) -> str:
    """The version if it is a semantic one; dates and code names are not."""
    if _VERSION.fullmatch(version):
        with suppress(InvalidManifestError):
            return str(parse_version(version.removeprefix("v")))
    return "1.0.0"


def _capped(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
