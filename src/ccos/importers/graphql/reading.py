"""Reads a schema in whichever form it comes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ccos.errors import ImportDocumentError
from ccos.importers.graphql.introspection import read_introspection
from ccos.importers.graphql.schema import Report, Schema
from ccos.importers.graphql.sdl import read_sdl
from ccos.importers.openapi import read_document

MAXIMUM_SDL_BYTES: Final = 10_000_000


def read_schema(
    document: Mapping[str, Any] | str | bytes, *, location: str, report: Report
) -> Schema:
    """Read an introspection result, as data or JSON text, or a text of type definitions.

    Args:
        document: The schema.
        location: The URL or file name it came from, for messages.
        report: Told about each part that is read differently from how it stands, or left out.

    Raises:
        ImportDocumentError: It is neither, or it is too large, or has no operations.
    """
    if isinstance(document, Mapping):
        schema = read_introspection(document, location=location, report=report)
    else:
        content = document.encode() if isinstance(document, str) else document
        if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
            answer = read_document(content, location=location)
            schema = read_introspection(answer, location=location, report=report)
        else:
            schema = read_sdl(_text(content, location), location=location, report=report)
    if not schema.roots:
        raise ImportDocumentError(
            f"{location} defines no type for queries, mutations or subscriptions.",
            details={"location": location},
        )
    return schema


def _text(content: bytes, location: str) -> str:
    if len(content) > MAXIMUM_SDL_BYTES:
        reason = f"it has {len(content)} bytes; at most {MAXIMUM_SDL_BYTES} are read"
    else:
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            reason = f"byte {error.start} is not text in UTF-8"
    raise ImportDocumentError(
        f"{location} cannot be read: {reason}.", details={"location": location}
    )
