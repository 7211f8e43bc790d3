"""What an operation answers when it goes well."""

from __future__ import annotations

import re
from typing import Any, Final

from ccos.capabilities import JsonSchema
from ccos.importers.openapi.references import References
from ccos.importers.openapi.schemas import Schemas
from ccos.providers.media_types import BodyKind, body_kind

_SUCCESS: Final = re.compile(r"2([0-9]{2}|XX)", re.IGNORECASE)
_EMPTY: Final = ("204", "205")


def output_schema(
    responses: Any, schemas: Schemas, needs: set[str], *, swagger: bool, produces: Any
) -> JsonSchema | None:
    """The schema of the result, or None when the document does not say what every success holds.

    Several successes with JSON bodies make an ``anyOf``; ``default`` counts only when no success
    is listed (OpenAPI 3.0, Responses Object).

    Args:
        responses: The Responses Object.
        schemas: Translates schemas.
        needs: Receives the places that the schemas refer to.
        swagger: Whether it is a Swagger 2.0 response, which has its schema in itself.
        produces: The media types of a Swagger 2.0 operation.

    Raises:
        UnusableError: A schema or reference cannot be used.
    """
    if not isinstance(responses, dict):
        return None
    successes = [code for code in responses if _SUCCESS.fullmatch(str(code))]
    if not successes and "default" in responses:
        successes = ["default"]
    found: list[JsonSchema] = []
    for code in successes:
        response = schemas.references.follow(responses[code])
        raw = (
            _swagger_schema(response, produces)
            if swagger
            else _openapi_schema(response, schemas.references)
        )
        if raw is not None:
            schema = schemas.translate(raw, "response", needs)
        elif code in _EMPTY:
            schema = {"type": "null"}
        else:
            return None
        if schema not in found:
            found.append(schema)
    if not found or all(schema == {"type": "null"} for schema in found):
        return None
    return found[0] if len(found) == 1 else {"anyOf": found}


def _swagger_schema(response: Any, produces: Any) -> Any:
    """The schema, unless the operation produces something else than JSON only."""
    types = produces if isinstance(produces, list) else []
    json_offered = not types or any(_is_json(name) for name in types)
    schema = response.get("schema") if isinstance(response, dict) and json_offered else None
    return None if isinstance(schema, dict) and schema.get("type") == "file" else schema


def _openapi_schema(response: Any, references: References) -> Any:
    content = response.get("content") if isinstance(response, dict) else None
    for name, media in content.items() if isinstance(content, dict) else ():
        if _is_json(name):
            described = references.follow(media)
            return described.get("schema") if isinstance(described, dict) else None
    return None


def _is_json(name: Any) -> bool:
    return isinstance(name, str) and (
        name.strip() in ("*/*", "application/*", "") or body_kind(name) is BodyKind.JSON
    )
