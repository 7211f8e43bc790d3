"""Parameters of an operation: from a document's three dialects to one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from ccos.capabilities import JsonSchema, OpenApiParameter
from ccos.importers.openapi.naming import argument_name
from ccos.importers.openapi.references import References, UnusableError
from ccos.importers.openapi.schemas import Schemas
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


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a capability and how it travels."""

    parameter: OpenApiParameter
    schema: JsonSchema
    required: bool


def effective_parameters(
    references: References, *lists: Any
) -> dict[tuple[str, str], dict[str, Any]]:
    """The parameters of an operation by name and location; later lists win over earlier ones.

    Raises:
        UnusableError: A parameter is malformed.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for listed in lists:
        if listed is None:
            continue
        if not isinstance(listed, list):
            raise UnusableError("the parameters are not a list")
        for entry in listed:
            parameter = references.follow(entry)
            name = parameter.get("name") if isinstance(parameter, dict) else None
            location = parameter.get("in") if isinstance(parameter, dict) else None
            if not isinstance(name, str) or not name or not isinstance(location, str):
                raise UnusableError("a parameter has no name or no location")
            key = (name.lower() if location == "header" else name), location
            found[key] = parameter
    return found


def read_argument(
    parameter: dict[str, Any], schemas: Schemas, needs: set[str], taken: set[str]
) -> Argument | None:
    """One parameter as an argument, or None for a header that the request itself decides.

    Args:
        parameter: The Parameter Object.
        schemas: Translates its schema.
        needs: Receives the places that the schema refers to.
        taken: Names of arguments so far; the new one is added.

    Raises:
        UnusableError: Location, style, name or schema cannot be used.
    """
    name, location = parameter["name"], parameter["in"]
    if location not in _STYLES:
        raise UnusableError(f"the parameter {name[:100]!r} has the location {location[:100]!r}")
    if location in ("header", "cookie") and not is_token(name):
        raise UnusableError(f"{name[:100]!r} cannot be the name of a {location}")
    if location == "header" and name.lower() in _OWN_HEADERS:
        return None
    content_type, raw_schema = _content(parameter)
    style, explode = _style(parameter, location)
    schema = schemas.translate(raw_schema, "request", needs)
    description = parameter.get("description")
    if isinstance(description, str) and description and isinstance(schema, dict):
        schema = schema | {"description": description}
    if parameter.get("deprecated") is True and isinstance(schema, dict):
        schema = schema | {"deprecated": True}
    argument = argument_name(name, taken)
    taken.add(argument)
    return Argument(
        OpenApiParameter(
            argument=argument,
            name=name,
            location=cast(Location, location),
            style=cast(Style, style),
            explode=explode,
            allow_reserved=parameter.get("allowReserved") is True,
            content_type=content_type,
        ),
        schema,
        required=location == "path" or parameter.get("required") is True,
    )


def collection_style(parameter: dict[str, Any], location: str) -> tuple[str, bool]:
    """The style and explode that a Swagger 2.0 ``collectionFormat`` stands for."""
    usual = "form" if location in ("query", "formData", "cookie") else "simple"
    collection = parameter.get("collectionFormat", "csv")
    if collection == "multi":
        return "form", True
    if location in ("query", "formData"):
        return _COLLECTION_STYLES.get(str(collection), usual), False
    return usual, False


def _content(parameter: dict[str, Any]) -> tuple[str | None, Any]:
    """The media type of a parameter described by ``content``, and the parameter's schema."""
    content = parameter.get("content")
    if isinstance(content, dict) and content and "schema" not in parameter:
        media_type, described = next(iter(content.items()))
        return media_type, described.get("schema", True) if isinstance(described, dict) else True
    if "schema" in parameter:
        return None, parameter["schema"]
    # Swagger 2.0 writes the schema's keywords into the parameter itself.
    return None, {
        key: value for key, value in parameter.items() if key not in ("required", "description")
    }


def _style(parameter: dict[str, Any], location: str) -> tuple[str, bool]:
    if "schema" not in parameter and "content" not in parameter:
        return collection_style(parameter, location)
    allowed = _STYLES[location]
    style = parameter.get("style", allowed[0])
    if style not in allowed:
        raise UnusableError(
            f"the {location} parameter {parameter['name'][:100]!r} "
            f"has the style {str(style)[:50]!r}"
        )
    style = "form" if style == "cookie" else style
    explode = parameter.get("explode")
    return style, explode if isinstance(explode, bool) else style == "form"
