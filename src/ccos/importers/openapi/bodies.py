"""Request bodies: one argument for each property where that is possible, else one for all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from ccos.capabilities import JsonSchema, OpenApiBody, OpenApiEncoding
from ccos.importers.openapi.naming import argument_name
from ccos.importers.openapi.parameters import collection_style
from ccos.importers.openapi.references import References, UnusableError
from ccos.importers.openapi.schemas import Schemas
from ccos.providers.media_types import BodyKind, body_kind

FormStyle = Literal["form", "spaceDelimited", "pipeDelimited", "tabDelimited", "deepObject"]

_PREFERENCE: Final = (
    BodyKind.JSON,
    BodyKind.FORM,
    BodyKind.MULTIPART,
    BodyKind.TEXT,
    BodyKind.BINARY,
)
_FORMS: Final = (BodyKind.FORM, BodyKind.MULTIPART)
_NOT_PLAIN: Final = frozenset(
    {
        "anyOf", "const", "dependentRequired", "dependentSchemas", "else", "enum", "if",
        "maxProperties", "minProperties", "not", "oneOf", "patternProperties", "propertyNames",
        "then", "unevaluatedProperties",
    }
)  # fmt: skip
_MAXIMUM_DEPTH: Final = 8


@dataclass(frozen=True, slots=True)
class Body:
    """A request body, and the arguments it is made from."""

    body: OpenApiBody
    properties: dict[str, JsonSchema]
    required: tuple[str, ...] = ()
    required_together: tuple[str, ...] = ()
    """Arguments that must be given if any of the body's is."""


@dataclass(frozen=True, slots=True)
class RawBody:
    """A request body as a document has it, whatever its dialect."""

    content_type: str
    schema: Any
    required: bool | None
    """None if the document does not say."""
    description: str = ""
    encoding: dict[str, OpenApiEncoding] = field(default_factory=dict)


def openapi_body(request_body: Any, references: References) -> RawBody | None:
    """The body of an OpenAPI 3 operation in its simplest media type; None if it has none.

    Raises:
        UnusableError: It is malformed.
    """
    described = references.follow(request_body)
    if described is None:
        return None
    content = described.get("content") if isinstance(described, dict) else None
    if not isinstance(content, dict):
        raise UnusableError("the request body has no content")
    if not content:
        return None
    offers = [(name, value) for name, value in content.items() if name.strip()] or [
        ("application/json", next(iter(content.values())))
    ]
    name, media = min(offers, key=lambda offer: _PREFERENCE.index(body_kind(_concrete(offer[0]))))
    media = references.follow(media)
    if not isinstance(media, dict):
        raise UnusableError("the content of the request body is not described by an object")
    required = described.get("required")
    description = described.get("description")
    return RawBody(
        _concrete(name),
        media.get("schema", True),
        required if isinstance(required, bool) else None,
        description if isinstance(description, str) else "",
        _encodings(media.get("encoding")),
    )


def swagger_body(
    parameters: Mapping[tuple[str, str], dict[str, Any]], consumes: Any
) -> RawBody | None:
    """The body of a Swagger 2.0 operation, from its ``body`` or ``formData`` parameters."""
    types = (
        [name for name in consumes if isinstance(name, str)] if isinstance(consumes, list) else []
    )
    for (_, location), parameter in parameters.items():
        if location == "body":
            name = min(
                map(_concrete, types or ["application/json"]),
                key=lambda name: _PREFERENCE.index(body_kind(name)),
            )
            if body_kind(name) in _FORMS:
                name = "application/json"
            return RawBody(
                name,
                parameter.get("schema", True),
                parameter.get("required") is True,
                str(parameter.get("description") or ""),
            )
    fields = {
        name: entry for (name, location), entry in parameters.items() if location == "formData"
    }
    if not fields:
        return None
    files = any(entry.get("type") == "file" for entry in fields.values())
    multipart = files or "multipart/form-data" in types
    encoding: dict[str, OpenApiEncoding] = {}
    for name, entry in fields.items():
        style, explode = collection_style(entry, "formData")
        if entry.get("type") == "array":
            encoding[name] = OpenApiEncoding(style=cast(FormStyle, style), explode=explode)
    required = [name for name, entry in fields.items() if entry.get("required") is True]
    schema = {
        "type": "object",
        "properties": {
            name: {key: value for key, value in entry.items() if key != "required"}
            for name, entry in fields.items()
        },
        "required": required,
    }
    kind = "multipart/form-data" if multipart else "application/x-www-form-urlencoded"
    return RawBody(kind, schema, bool(required), encoding=encoding)


def read_body(raw: RawBody, schemas: Schemas, needs: set[str], taken: set[str]) -> Body:
    """The body as arguments: one for each property of an object, else one for the whole.

    A document that does not say whether its body is required means it if the body has required
    properties: leaving it out is the usual oversight, and then the service refuses the call.

    Raises:
        UnusableError: The schema cannot be used.
    """
    kind = body_kind(raw.content_type)
    if kind in _FORMS or kind is BodyKind.JSON:
        members = _members(raw.schema, schemas, kind in _FORMS)
        flat = members and _flattened(raw, members, schemas, needs, taken)
        if flat:
            return flat
    return _whole(raw, kind, schemas, needs, taken)


@dataclass(frozen=True, slots=True)
class _Members:
    properties: dict[str, Any]
    required: tuple[str, ...]


def _flattened(
    raw: RawBody, members: _Members, schemas: Schemas, needs: set[str], taken: set[str]
) -> Body | None:
    names: dict[str, str] = {}
    for name in members.properties:
        argument = argument_name(name, ())
        if argument in taken or argument in names:
            return None
        names[argument] = name
    multipart = body_kind(raw.content_type) is BodyKind.MULTIPART
    properties: dict[str, JsonSchema] = {}
    for argument, name in names.items():
        schema = members.properties[name]
        properties[argument] = (
            _file(schema, schemas.references)
            if multipart and _is_file(schema, schemas.references)
            else schemas.translate(schema, "request", needs)
        )
    must = tuple(argument for argument, name in names.items() if name in members.required)
    required = bool(must) if raw.required is None else raw.required
    taken |= names.keys()
    return Body(
        OpenApiBody(
            content_type=raw.content_type,
            properties=names,
            encoding={key: value for key, value in raw.encoding.items() if key in names.values()},
            required=required,
        ),
        properties,
        required=must if required else (),
        required_together=() if required else must,
    )


def _whole(
    raw: RawBody, kind: BodyKind, schemas: Schemas, needs: set[str], taken: set[str]
) -> Body:
    argument = argument_name("body", taken)
    taken.add(argument)
    if kind is BodyKind.TEXT:
        schema: JsonSchema = {"type": "string", "contentMediaType": raw.content_type}
    elif kind is BodyKind.BINARY:
        schema = {
            "type": "string",
            "contentEncoding": "base64",
            "contentMediaType": raw.content_type,
        }
    else:
        schema = schemas.translate(raw.schema, "request", needs)
    if isinstance(schema, dict) and raw.description:
        schema = {"description": raw.description} | schema
    return Body(
        OpenApiBody(
            content_type=raw.content_type,
            argument=argument,
            encoding=raw.encoding,
            required=raw.required is True,
        ),
        {argument: schema},
        required=(argument,) if raw.required else (),
    )


def _members(schema: Any, schemas: Schemas, form: bool, depth: int = 0) -> _Members | None:
    """The properties of an object that is nothing but its properties; None for any other schema."""
    described = schemas.references.follow(schema)
    if not isinstance(described, dict) or depth > _MAXIMUM_DEPTH:
        return None
    open_ended = described.get("additionalProperties", False) is not False
    if _NOT_PLAIN & described.keys() or described.get("type", "object") != "object":
        return None
    if open_ended and not form:
        return None
    hidden = schemas.hidden(described, "request")
    own = described.get("properties", {})
    parts = described.get("allOf", [])
    if not isinstance(own, dict) or not isinstance(parts, list):
        return None
    properties = {name: value for name, value in own.items() if name not in hidden}
    required = _names(described.get("required"))
    for part in parts:
        members = _members(part, schemas, form, depth + 1)
        if members is None:
            return None
        for name, value in members.properties.items():
            if properties.setdefault(name, value) != value:
                return None
        required += members.required
    return _Members(properties, required) if properties else None


def _names(required: Any) -> tuple[str, ...]:
    listed = required if isinstance(required, list) else []
    return tuple(name for name in listed if isinstance(name, str))


def _is_file(schema: Any, references: References) -> bool:
    described = references.follow(schema)
    if not isinstance(described, dict):
        return False
    if described.get("type") == "array":
        return _is_file(described.get("items"), references)
    return (
        described.get("type") == "file"
        or described.get("format") == "binary"
        or ("contentMediaType" in described and "contentEncoding" not in described)
    )


def _file(schema: Any, references: References) -> JsonSchema:
    described = references.follow(schema)
    kept = {
        key: described[key]
        for key in ("description", "title", "minItems", "maxItems")
        if key in described
    }
    if described.get("type") == "array":
        return kept | {"type": "array", "items": _file(described.get("items"), references)}
    return kept | {"type": "string", "contentEncoding": "base64"}


def _encodings(encoding: Any) -> dict[str, OpenApiEncoding]:
    found: dict[str, OpenApiEncoding] = {}
    for name, entry in encoding.items() if isinstance(encoding, dict) else ():
        if not isinstance(entry, dict):
            continue
        style, explode = entry.get("style", "form"), entry.get("explode")
        content_type = entry.get("contentType")
        if {"style", "explode"} & entry.keys() or not isinstance(content_type, str):
            content_type = ""  # style and explode take precedence (OpenAPI 3.1, Encoding Object)
        found[name] = OpenApiEncoding(
            style=style if style in ("spaceDelimited", "pipeDelimited", "deepObject") else "form",
            explode=explode if isinstance(explode, bool) else style == "form",
            content_type=content_type.partition(",")[0].strip() or None,
        )
    return found


def _concrete(media_type: str) -> str:
    """A media range as a type that can be sent; JSON is what nearly every service takes."""
    name = media_type.strip()
    if "/" not in name or name.startswith("*/") or name.startswith("application/*"):
        return "application/json"
    return (
        name.replace("/*", "/plain")
        if name.startswith("text/*")
        else name.replace("/*", "/octet-stream")
    )
