"""What an operation answers when it goes well."""

from __future__ import annotations

import re
from typing import Any, Final

from ccos.capabilities import JsonSchema
from ccos.importers.openapi.references import Place, References
from ccos.importers.openapi.schemas import Schemas
from ccos.providers.media_types import BodyKind, body_kind

_SUCCESS: Final = re.compile(r"2([0-9]{2}|XX)", re.IGNORECASE)
_EMPTY: Final = ("204", "205")


def output_schema(
    responses: Any, at: Place, schemas: Schemas, needs: set[Place], *, swagger: bool, produces: Any
) -> JsonSchema | None:
    """The schema of the result, or None when the document does not say what every success holds.

    Several successes with JSON bodies make an ``anyOf``; ``default`` counts only when no success
    is listed (OpenAPI 3.0, Responses Object).

    Args:
        responses: The Responses Object.
        at: Where it stands.
        schemas: Translates schemas.
        needs: Receives the places that the schemas refer to.
        swagger: Whether it is a Swagger 2.0 response, which has its schema in itself.
        produces: The media types of a Swagger 2.0 operation.

    Raises:
        UnusableError: A reference leads nowhere, or to a document that is not at hand.
    """
    if not isinstance(responses, dict):
        return None
    successes = [code for code in responses if _SUCCESS.fullmatch(str(code))]
    if not successes and "default" in responses:
        successes = ["default"]
    found: list[JsonSchema] = []
    for code in successes:
        response, place = schemas.references.follow(responses[code], at.child(code))
        raw, place = (
            _swagger_schema(response, place, produces)
            if swagger
            else _openapi_schema(response, place, schemas.references)
        )
        if raw is not None:
            schema = schemas.translate(raw, place, "response", needs)
        elif code in _EMPTY:
            schema = {"type": "null"}
        else:
            return None
        if schema not in found:
            found.append(schema)
    if not found or all(schema == {"type": "null"} for schema in found):
        return None
    return found[0] if len(found) == 1 else {"anyOf": found}


def _swagger_schema(response: Any, at: Place, produces: Any) -> tuple[Any, Place]:
    """The schema, unless the operation produces something else than JSON only."""
    types = produces if isinstance(produces, list) else []
    json_offered = not types or any(_is_json(name) for name in types)
    schema = response.get("schema") if isinstance(response, dict) and json_offered else None
    is_file = isinstance(schema, dict) and schema.get("type") == "file"
    return None if is_file else schema, at.child("schema")


def _openapi_schema(response: Any, at: Place, references: References) -> tuple[Any, Place]:
    content = response.get("content") if isinstance(response, dict) else None
    for name, media in content.items() if isinstance(content, dict) else ():
        if _is_json(name):
            described, place = references.follow(media, at.child("content", name))
            schema = described.get("schema") if isinstance(described, dict) else None
            return schema, place.child("schema")
    return None, at


def _is_json(name: Any) -> bool:
    return isinstance(name, str) and (
        name.strip() in ("*/*", "application/*", "") or body_kind(name) is BodyKind.JSON
    )
