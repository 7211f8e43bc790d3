"""Parameters of an operation: from a document's three dialects to one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, cast

from ccos.capabilities import JsonSchema, OpenApiParameter
from ccos.importers.openapi.findings import Notes
from ccos.importers.openapi.keywords import examples, flag
from ccos.importers.openapi.naming import argument_name
from ccos.importers.openapi.references import ExternalError, Place, References, UnusableError
from ccos.importers.openapi.schemas import Schemas
from ccos.providers.media_types import BodyKind, body_kind
from ccos.providers.parameter_styles import is_token

Location = Literal["path", "query", "header", "cookie"]
Style = Literal[
    "simple", "label", "matrix", "form", "spaceDelimited", "pipeDelimited", "tabDelimited",
    "deepObject",
]  # fmt: skip

_STYLES: Final[dict[str, tuple[str, ...]]] = {
    "path": ("simple", "label", "matrix"),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
    "cookie": ("form", "cookie"),
}
_COLLECTION_STYLES: Final = {
    "ssv": "spaceDelimited",
    "tsv": "tabDelimited",
    "pipes": "pipeDelimited",
}
_LOCATIONS: Final = {
    "body": "body",
    "cookie": "cookie",
    "cookies": "cookie",
    "form": "formData",
    "formdata": "formData",
    "header": "header",
    "headers": "header",
    "path": "path",
    "query": "query",
    "querystring": "querystring",
    "uri": "path",
    "url": "path",
}
_OWN_HEADERS: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "expect",
        "host",
        "idempotency-key",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that the request itself decides; OpenAPI asks to ignore the first ones as parameters."""
_SERIALISED: Final = (BodyKind.JSON, BodyKind.TEXT)


class Described(NamedTuple):
    """A Parameter Object, its name and location cleared of misspellings, and where it stands."""

    value: dict[str, Any]
    place: Place


Parameters = dict[tuple[str, str], Described]


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a capability and how it travels."""

    parameter: OpenApiParameter
    schema: JsonSchema
    required: bool


class ParameterLists:
    """Reads the parameter lists of a document, and remembers those that operations share.

    Args:
        references: Follows references.
        notes: Receives what was left out.
        omit_external: Whether a parameter in a document that is not at hand is left out; otherwise
            the operation cannot be used.
    """

    def __init__(self, references: References, notes: Notes, *, omit_external: bool = True) -> None:
        self._references = references
        self._notes = notes
        self._omit_external = omit_external
        self._known: dict[Place, tuple[Parameters, tuple[str, ...]]] = {}

    def read(self, listed: Any, at: Place) -> tuple[Parameters, tuple[str, ...]]:
        """The parameters of one list by name and location, and the places of those left out.

        Raises:
            UnusableError: It is no list of parameters, or one of them is external.
        """
        if at not in self._known:
            self._known[at] = self._read(listed, at)
        return self._known[at]

    def _read(self, listed: Any, at: Place) -> tuple[Parameters, tuple[str, ...]]:
        found: Parameters = {}
        omitted: list[str] = []
        if isinstance(listed, dict):
            entries = [(value, at.child(name)) for name, value in listed.items()]
        elif isinstance(listed, list):
            entries = [(value, at.child(number)) for number, value in enumerate(listed)]
        elif listed is None:
            entries = []
        else:
            raise UnusableError("the parameters are not a list", at)
        for entry, place in entries:
            if entry is None:
                continue
            try:
                value, target = self._references.follow(entry, place)
                parameter = _cleared(value, place)
            except UnusableError as error:
                if isinstance(error, ExternalError) and not self._omit_external:
                    raise ExternalError(str(error), place) from None
                self._notes.add(place, f"{error}, so the parameter is left out")
                omitted.append(str(place))
                continue
            name, location = parameter["name"], parameter["in"]
            key = (name.lower() if location == "header" else name), location
            found[key] = Described(parameter, target)
        return found, tuple(omitted)


def read_argument(
    described: Described, schemas: Schemas, needs: set[Place], taken: set[str]
) -> Argument | None:
    """One parameter as an argument, or None for a header that the request itself decides.

    Args:
        described: The Parameter Object.
        schemas: Translates its schema.
        needs: Receives the places that the schema refers to.
        taken: Names of arguments so far; the new one is added.

    Raises:
        UnusableError: Its location, style or name cannot be used.
    """
    parameter, at = described
    name, location = parameter["name"], parameter["in"]
    schemas.effort.spend(3)
    if location not in _STYLES:
        raise UnusableError(f"the parameter {name[:100]!r} has the location {location[:100]!r}", at)
    if location in ("header", "cookie") and not is_token(name):
        raise UnusableError(f"{name[:100]!r} cannot be the name of a {location}", at)
    if location == "header" and name.lower() in _OWN_HEADERS and not is_choice(described, "accept"):
        return None
    content_type, raw_schema, place = _content(parameter, at)
    style, explode = _style(parameter, location, at, schemas.notes)
    schema = schemas.translate(raw_schema, place, "request", needs)
    if isinstance(schema, dict):
        schema = schema | _explained(parameter, schema)
    argument = argument_name(name, taken)
    taken.add(argument)
    return Argument(
        OpenApiParameter(
            argument=argument,
            name=name,
            location=cast(Location, location),
            style=cast(Style, style),
            explode=explode,
            allow_reserved=flag(parameter.get("allowReserved"))
            or flag(parameter.get("x-ms-skip-url-encoding"))
            or flag(parameter.get("x-multi-segment")),
            content_type=content_type,
        ),
        schema,
        required=location == "path" or flag(parameter.get("required")),
    )


def is_choice(described: Described, header: str) -> bool:
    """Whether a parameter is this header with a choice of values.

    OpenAPI ignores such a parameter, since content types are described elsewhere. Services whose
    document lists values refuse others all the same.
    """
    parameter = described.value
    schema = parameter.get("schema", parameter)
    is_listed = isinstance(schema, dict) and bool(schema.get("enum"))
    return parameter["name"].lower() == header and is_listed


def query_string(described: Described, schemas: Schemas) -> list[Described]:
    """The query parameters that one parameter for the whole query string stands for.

    OpenAPI 3.2, ``in: querystring``: its content is a form, whose fields are these parameters.

    Raises:
        UnusableError: It is no form with named fields.
    """
    parameter, at = described
    content = parameter.get("content")
    for media_type, media in content.items() if isinstance(content, dict) else ():
        place = at.child("content", media_type)
        if body_kind(media_type) is not BodyKind.FORM or not isinstance(media, dict):
            continue
        schema, place = schemas.references.follow(media.get("schema"), place.child("schema"))
        properties = schema.get("properties") if isinstance(schema, dict) else None
        if not isinstance(properties, dict):
            continue
        required = schema.get("required")
        return [
            Described(
                {
                    "name": name,
                    "in": "query",
                    "schema": {"$ref": "#" + place.child("properties", name).pointer}
                    if not place.document
                    else described_property,
                    "required": isinstance(required, list) and name in required,
                },
                place.child("properties", name),
            )
            for name, described_property in properties.items()
        ]
    raise UnusableError("the parameter for the whole query string is no form with named fields", at)


def collection_style(parameter: dict[str, Any], location: str) -> tuple[str, bool]:
    """The style and explode that a Swagger 2.0 ``collectionFormat`` stands for."""
    usual = "form" if location in ("query", "formData", "cookie") else "simple"
    collection = parameter.get("collectionFormat", "csv")
    if collection == "multi":
        return "form", True
    if location in ("query", "formData"):
        return _COLLECTION_STYLES.get(str(collection), usual), False
    return usual, False


def _cleared(value: Any, place: Place) -> dict[str, Any]:
    """The parameter with a usable name and a location in its one spelling."""
    if not isinstance(value, dict):
        raise UnusableError("a parameter is not an object", place)
    name, location = value.get("name"), value.get("in")
    if isinstance(name, int | float) and not isinstance(name, bool):
        name = str(name)
    if not isinstance(name, str) or not name or not isinstance(location, str):
        raise UnusableError("a parameter has no name or no location", place)
    known = _LOCATIONS.get(location.strip().lower())
    if known is None:
        raise UnusableError(
            f"the parameter {name[:100]!r} has the location {location[:100]!r}", place
        )
    return (
        value
        if (name, known) == (value["name"], location)
        else {**value, "name": name, "in": known}
    )


def _content(parameter: dict[str, Any], at: Place) -> tuple[str | None, Any, Place]:
    """The media type of a parameter described by ``content``, and the parameter's schema."""
    content = parameter.get("content")
    if isinstance(content, dict) and content and "schema" not in parameter:
        media_type, described = next(iter(content.items()))
        schema = described.get("schema", True) if isinstance(described, dict) else True
        if body_kind(media_type) not in _SERIALISED:
            raise UnusableError(
                f"the parameter {parameter['name'][:100]!r} is sent as {media_type[:100]!r}, "
                "which is not supported",
                at,
            )
        return media_type, schema, at.child("content", media_type, "schema")
    if "schema" in parameter:
        return None, parameter["schema"], at.child("schema")
    # Swagger 2.0 writes the schema's keywords into the parameter itself.
    return (
        None,
        {key: value for key, value in parameter.items() if key not in ("required", "description")},
        at,
    )


def _explained(parameter: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    description = parameter.get("description")
    if isinstance(description, str) and description:
        said["description"] = description
    if flag(parameter.get("deprecated")):
        said["deprecated"] = True
    if "examples" not in schema and "schema" in parameter:
        shown = examples(parameter)
        if shown:
            said["examples"] = shown
    return said


def _style(parameter: dict[str, Any], location: str, at: Place, notes: Notes) -> tuple[str, bool]:
    if "schema" not in parameter and "content" not in parameter:
        return collection_style(parameter, location)
    allowed = _STYLES[location]
    style = parameter.get("style", allowed[0])
    if style not in allowed:
        notes.add(at.child("style"), f"{str(style)[:50]!r} is no style for a {location} parameter")
        style = allowed[0]
    style = "form" if style == "cookie" else style
    explode = parameter.get("explode")
    return style, explode if isinstance(explode, bool) else style == "form"
