"""What a media type means for a body: JSON, a form, XML, text, or plain bytes."""

from __future__ import annotations

from email.message import Message
from enum import Enum
from typing import Final


class BodyKind(Enum):
    """The way a body of some media type is written and read."""

    JSON = "json"
    FORM = "form"
    MULTIPART = "multipart"
    XML = "xml"
    TEXT = "text"
    BINARY = "binary"


_TEXT_TYPES: Final = frozenset(
    {
        "application/ecmascript",
        "application/graphql",
        "application/jose",
        "application/jose+jwe",
        "application/jose+jws",
        "application/javascript",
        "application/jwt",
        "application/ndjson",
        "application/sql",
        "application/toml",
        "application/x-ndjson",
        "application/x-yaml",
        "application/yaml",
    }
)


def essence(media_type: str) -> str:
    """The type without parameters, in lower case (RFC 9110, section 8.3.1)."""
    return media_type.partition(";")[0].strip().lower()


def charset(media_type: str) -> str:
    """The declared charset, or ``utf-8``."""
    message = Message()
    message["content-type"] = media_type
    return message.get_content_charset("utf-8")


def body_kind(media_type: str) -> BodyKind:
    """How a body of this media type is written and read; what is unknown is bytes."""
    plain = essence(media_type)
    subtype = plain.partition("/")[2]
    if subtype == "json" or subtype.endswith("+json"):
        return BodyKind.JSON
    if plain == "application/x-www-form-urlencoded":
        return BodyKind.FORM
    if plain == "multipart/form-data":
        return BodyKind.MULTIPART
    if subtype == "xml" or subtype.endswith("+xml"):
        return BodyKind.XML
    if plain.startswith("text/") or plain in _TEXT_TYPES or subtype.endswith("+yaml"):
        return BodyKind.TEXT
    return BodyKind.BINARY
