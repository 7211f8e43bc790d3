"""Request bodies: one argument for each property where that is possible, else one for all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from ccos.capabilities import JsonSchema, OpenApiBody, OpenApiEncoding
from ccos.importers.openapi.keywords import flag
from ccos.importers.openapi.naming import argument_name
from ccos.importers.openapi.parameters import Parameters, collection_style
from ccos.importers.openapi.references import ExternalError, Place, References, UnusableError
from ccos.importers.openapi.schemas import Schemas
from ccos.providers.media_types import BodyKind, body_kind, essence

FormStyle = Literal["form", "spaceDelimited", "pipeDelimited", "tabDelimited", "deepObject"]

_PREFERENCE: Final = (
    BodyKind.JSON,
    BodyKind.FORM,
    BodyKind.MULTIPART,
    BodyKind.XML,
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
_FORM_STYLES: Final = ("spaceDelimited", "pipeDelimited", "deepObject")
_MAXIMUM_DEPTH: Final = 8
_MAXIMUM_ARGUMENTS: Final = 500
_NAMED_SCHEMA: Final = ("/components/schemas/", "/definitions/")


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
    at: Place
    """Where the schema stands."""
    required: bool | None
    """None if the document does not say."""
    description: str = ""
    encoding: dict[str, OpenApiEncoding] = field(default_factory=dict)


def openapi_body(request_body: Any, at: Place, schemas: Schemas) -> RawBody | None:
    """The body of an OpenAPI 3 operation in its simplest media type; None if it has none.

    Args:
        request_body: The Request Body Object.
        at: Where it stands.
        schemas: Follows references, and notes what is malformed.

    Raises:
        ExternalError: It is in a document that is not at hand.
        UnusableError: A reference leads nowhere.
    """
    references = schemas.references
    described, at = references.follow(request_body, at)
    if described is None or described == {}:
        return None
    if not isinstance(described, dict):
        schemas.notes.add(at, "the request body is not an object, so any JSON is accepted")
        return RawBody("application/json", True, at, required=False)
    content = described.get("content")
    if isinstance(content, list):
        content = {name: {} for name in content if isinstance(name, str)}
    if not isinstance(content, dict):
        schemas.notes.add(at, "the request body has no content, so it is JSON")
        content = {"application/json": described if "schema" in described else {}}
    if not content:
        return None
    name = min(content, key=lambda name: _rank(name, content[name]))
    media, at = references.follow(content[name], at.child("content", name))
    if not isinstance(media, dict):
        schemas.notes.add(at, "the content is not described by an object, so anything is accepted")
        media = {}
    description = described.get("description")
    return RawBody(
        _concrete(name, media.get("schema")),
        media.get("schema", True),
        at.child("schema"),
        flag(described["required"]) if "required" in described else None,
        description if isinstance(description, str) else "",
        _encodings(media.get("encoding")),
    )


def swagger_body(parameters: Parameters, consumes: Any) -> RawBody | None:
    """The body of a Swagger 2.0 operation, from its ``body`` or ``formData`` parameters."""
    types = [name for name in _listed(consumes) if isinstance(name, str)]
    for (_, location), (parameter, place) in parameters.items():
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
                place.child("schema"),
                flag(parameter.get("required")),
                str(parameter.get("description") or ""),
            )
    fields = {
        name: described
        for (name, location), described in parameters.items()
        if location == "formData"
    }
    if not fields:
        return None
    files = any(entry.get("type") == "file" for entry, _ in fields.values())
    multipart = files or "multipart/form-data" in types
    encoding: dict[str, OpenApiEncoding] = {}
    for name, (entry, _) in fields.items():
        style, explode = collection_style(entry, "formData")
        if entry.get("type") == "array":
            encoding[name] = OpenApiEncoding(style=cast(FormStyle, style), explode=explode)
    required = [name for name, (entry, _) in fields.items() if flag(entry.get("required"))]
    schema = {
        "type": "object",
        "properties": {
            name: entry.get("schema", {})
            | {
                key: value
                for key, value in entry.items()
                if key not in ("required", "schema", "name", "in")
            }
            for name, (entry, _) in fields.items()
        },
        "required": required,
    }
    kind = "multipart/form-data" if multipart else "application/x-www-form-urlencoded"
    at = next(iter(fields.values())).place
    return RawBody(kind, schema, at, bool(required), encoding=encoding)


def read_body(
    raw: RawBody, schemas: Schemas, xml_schemas: Schemas, needs: set[Place], taken: set[str]
) -> tuple[Body, Schemas]:
    """The body as arguments: one for each property of an object, else one for the whole.

    A document that does not say whether its body is required means it if the body has required
    properties: leaving it out is the usual oversight, and then the service refuses the call.

    Args:
        raw: The body as the document has it.
        schemas: Translates schemas.
        xml_schemas: Translates schemas and keeps how XML is written.
        needs: Receives the places that the schemas refer to.
        taken: Names of arguments so far; the new ones are added.

    Returns:
        The body, and what translated its schemas.

    Raises:
        ExternalError: The schema is in a document that is not at hand.
    """
    kind = body_kind(raw.content_type)
    if kind is BodyKind.XML:
        root = _root_element(raw, schemas.references)
        if root:
            return _whole(raw, kind, xml_schemas, needs, taken, root), xml_schemas
        kind = BodyKind.TEXT
    if kind in _FORMS or kind is BodyKind.JSON:
        members = _members(raw.schema, raw.at, schemas, kind in _FORMS)
        flat = members and _flattened(raw, members, schemas, needs, taken)
        if flat:
            return flat, schemas
    return _whole(raw, kind, schemas, needs, taken), schemas


@dataclass(frozen=True, slots=True)
class _Members:
    properties: dict[str, tuple[Any, Place]]
    required: tuple[str, ...]


def _flattened(
    raw: RawBody, members: _Members, schemas: Schemas, needs: set[Place], taken: set[str]
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
        schema, place = members.properties[name]
        properties[argument] = (
            _file(schema, place, schemas.references)
            if multipart and _is_file(schema, place, schemas.references)
            else schemas.translate(schema, place, "request", needs)
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
    raw: RawBody,
    kind: BodyKind,
    schemas: Schemas,
    needs: set[Place],
    taken: set[str],
    root: dict[str, Any] | None = None,
) -> Body:
    argument = argument_name("body", taken)
    taken.add(argument)
    if kind is BodyKind.TEXT:
        schema: JsonSchema = {"type": "string", "contentMediaType": raw.content_type}
    elif kind is BodyKind.BINARY:
        # "format: byte" is base64 on the wire, too (OpenAPI 3.0, Data Types).
        sent_as_text = isinstance(raw.schema, dict) and raw.schema.get("format") == "byte"
        schema = {
            "type": "string",
            "format" if sent_as_text else "contentEncoding": "byte" if sent_as_text else "base64",
            "contentMediaType": raw.content_type,
        }
    else:
        schema = schemas.translate(raw.schema, raw.at, "request", needs)
    if isinstance(schema, dict) and raw.description:
        schema = {"description": raw.description} | schema
    if isinstance(schema, dict) and root:
        schema = schema | {"xml": root}
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


def _members(
    schema: Any, at: Place, schemas: Schemas, form: bool, depth: int = 0
) -> _Members | None:
    """The properties of an object that is nothing but its properties; None for any other schema."""
    schemas.effort.spend()
    try:
        described, place = schemas.references.follow(schema, at)
    except UnusableError:
        return None  # the translation of the whole tells what is wrong
    if not isinstance(described, dict) or depth > _MAXIMUM_DEPTH:
        return None
    open_ended = described.get("additionalProperties", False) is not False
    if _NOT_PLAIN & described.keys() or described.get("type", "object") != "object":
        return None
    if flag(described.get("nullable")) or (open_ended and not form):
        return None
    hidden = schemas.hidden(described, place, "request")
    own = described.get("properties", {})
    parts = described.get("allOf", [])
    if not isinstance(own, dict) or not isinstance(parts, list):
        return None
    properties = {
        name: (value, place.child("properties", name))
        for name, value in own.items()
        if name not in hidden
    }
    required = _names(described.get("required"))
    for number, part in enumerate(parts):
        members = _members(part, place.child("allOf", number), schemas, form, depth + 1)
        if members is None:
            return None
        for name, (value, where) in members.properties.items():
            if properties.setdefault(name, (value, where))[0] != value:
                return None
        required += members.required
    if max(len(properties), len(required)) > _MAXIMUM_ARGUMENTS:
        return None
    if depth == 0:
        for name in required:
            if name not in hidden:
                # Asked for, and forgotten among the properties.
                properties.setdefault(name, (True, place.child("required")))
    return _Members(properties, required) if properties else None


def _names(required: Any) -> tuple[str, ...]:
    return tuple(name for name in _listed(required) if isinstance(name, str))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if isinstance(value, str) else []


def _is_file(schema: Any, at: Place, references: References) -> bool:
    try:
        described, place = references.follow(schema, at)
    except ExternalError:
        return False
    if not isinstance(described, dict):
        return False
    only = _only_choice(described, place)
    if only is not None:
        return _is_file(*only, references)
    if described.get("type") == "array":
        return _is_file(described.get("items"), place.child("items"), references)
    return (
        described.get("type") == "file"
        or described.get("format") == "binary"
        or ("contentMediaType" in described and "contentEncoding" not in described)
    )


def _only_choice(described: dict[str, Any], at: Place) -> tuple[Any, Place] | None:
    """What a schema is if it is not null, where it offers one alternative to null."""
    for keyword in ("anyOf", "oneOf"):
        parts = described.get(keyword)
        kept = [
            (part, at.child(keyword, number))
            for number, part in enumerate(parts if isinstance(parts, list) else ())
            if not (isinstance(part, dict) and part.get("type") == "null")
        ]
        if len(kept) == 1:
            return kept[0]
    return None


def _file(schema: Any, at: Place, references: References) -> JsonSchema:
    described, place = references.follow(schema, at)
    kept = {
        key: described[key]
        for key in ("description", "title", "minItems", "maxItems")
        if key in described
    }
    only = _only_choice(described, place)
    if only is not None:
        found = _file(*only, references)
        return found | kept if isinstance(found, dict) else found
    if described.get("type") == "array":
        items = _file(described.get("items"), place.child("items"), references)
        return kept | {"type": "array", "items": items}
    return kept | {"type": "string", "contentEncoding": "base64"}


def _root_element(raw: RawBody, references: References) -> dict[str, Any] | None:
    """How the outermost element is written; None if the schema does not name it."""
    try:
        described, place = references.follow(raw.schema, raw.at)
    except UnusableError:
        return None
    if not isinstance(described, dict):
        return None
    xml = described.get("xml")
    said = dict(xml) if isinstance(xml, dict) else {}
    if not isinstance(said.get("name"), str):
        group = next((one for one in _NAMED_SCHEMA if place.pointer.startswith(one)), None)
        if group is None:
            return None
        said["name"] = place.pointer.removeprefix(group)
    return said


def _encodings(encoding: Any) -> dict[str, OpenApiEncoding]:
    found: dict[str, OpenApiEncoding] = {}
    for name, entry in encoding.items() if isinstance(encoding, dict) else ():
        if not isinstance(entry, dict):
            continue
        style, explode = entry.get("style", "form"), entry.get("explode")
        content_type = entry.get("contentType")
        if {"style", "explode"} & entry.keys() or not isinstance(content_type, str):
            content_type = ""  # style and explode take precedence (OpenAPI 3.1, Encoding Object)
        first = content_type.partition(",")[0].strip()
        found[name] = OpenApiEncoding(
            style=style if style in _FORM_STYLES else "form",
            explode=explode if isinstance(explode, bool) else style == "form",
            content_type=None if not first or "*" in first or len(first) > 200 else first,
        )
    return found


def _rank(media_type: str, media: Any) -> tuple[bool, int, bool]:
    """The simplest way to send something comes first, and bytes are not sent as JSON."""
    name = media_type.strip()
    schema = media.get("schema") if isinstance(media, dict) else None
    kind = body_kind(_concrete(name, schema))
    is_wrong = _is_raw(schema) and kind is not BodyKind.BINARY
    return is_wrong, _PREFERENCE.index(kind), essence(name) != "application/json"


def _is_raw(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("format") == "binary"


def _concrete(media_type: str, schema: Any = None) -> str:
    """A media range as a type that can be sent; JSON is what nearly every service takes."""
    name = media_type.strip()
    if "/" not in name or name.startswith("*/") or name.startswith("application/*"):
        if _is_raw(schema):
            return "application/octet-stream"
        is_text = isinstance(schema, dict) and schema.get("type") == "string"
        # Text of any type is bytes of any type; as JSON it would be put into quotes.
        return "application/octet-stream" if is_text and name == "*/*" else "application/json"
    return (
        name.replace("/*", "/plain")
        if name.startswith("text/*")
        else name.replace("/*", "/octet-stream")
    )
