"""Request bodies: JSON, forms, XML, text and bytes."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ccos.capabilities import JsonSchema, OpenApiBody, OpenApiEncoding
from ccos.errors import InvalidArgumentsError
from ccos.providers.http_xml import xml_text
from ccos.providers.media_types import BodyKind, body_kind
from ccos.providers.parameter_styles import escape, plain_text, query_pairs

_USUAL = OpenApiEncoding()


@dataclass(frozen=True, slots=True)
class RequestBody:
    """A body and the ``Content-Type`` that tells how to read it."""

    content_type: str
    content: bytes = field(repr=False)


def json_body(value: Any, content_type: str = "application/json") -> RequestBody:
    """The value as JSON in UTF-8.

    Raises:
        InvalidArgumentsError: The value is not JSON data.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return RequestBody(content_type, text.encode())
    except (TypeError, ValueError) as error:
        raise InvalidArgumentsError(f"The arguments are not JSON data: {error}.") from None


def build_body(
    body: OpenApiBody, arguments: Mapping[str, Any], input_schema: JsonSchema
) -> RequestBody | None:
    """The request body of an operation, or None when no argument belongs to it.

    Args:
        body: How the body is made from the arguments.
        arguments: All arguments of the call; only the body's own are taken.
        input_schema: Says by ``contentEncoding: base64`` which arguments of a form are files.

    Raises:
        InvalidArgumentsError: An argument cannot be written in the body's media type.
    """
    if body.argument is not None:
        if body.argument not in arguments:
            return None
        value, kind = arguments[body.argument], body_kind(body.content_type)
        if kind is BodyKind.XML and not isinstance(value, str):
            text = xml_text(value, input_schema, body.argument)
            return RequestBody(body.content_type, text.encode())
        if kind is BodyKind.BINARY and _is_byte_text(input_schema, body.argument):
            return RequestBody(body.content_type, _encoded(plain_text(value)))
        return _written(body, value, files=frozenset())
    value = {
        name: arguments[argument]
        for argument, name in body.properties.items()
        if argument in arguments
    }
    if not value and not body.required:
        return None
    files = frozenset(
        name for argument, name in body.properties.items() if _is_file(input_schema, argument)
    )
    return _written(body, value, files)


def _written(body: OpenApiBody, value: Any, files: frozenset[str]) -> RequestBody:
    match body_kind(body.content_type):
        case BodyKind.JSON:
            return json_body(value, body.content_type)
        case BodyKind.FORM if isinstance(value, str):
            return RequestBody(body.content_type, _encoded(value))
        case BodyKind.FORM:
            return _form(body, _object(value, body.content_type))
        case BodyKind.MULTIPART:
            return _multipart(body, _object(value, body.content_type), files)
        case BodyKind.TEXT | BodyKind.XML:
            return RequestBody(body.content_type, _encoded(plain_text(value)))
        case BodyKind.BINARY:
            return RequestBody(body.content_type, _bytes(body.argument or "body", value))


def _form(body: OpenApiBody, fields: dict[str, Any]) -> RequestBody:
    pairs = [pair for name, value in fields.items() for pair in _form_pairs(body, name, value)]
    return RequestBody(body.content_type, "&".join(f"{key}={text}" for key, text in pairs).encode())


def _form_pairs(body: OpenApiBody, name: str, value: Any) -> list[tuple[str, str]]:
    encoding = body.encoding.get(name)
    if encoding is not None and encoding.content_type:
        return [(escape(name), escape(plain_text(value)))]
    if encoding is None and isinstance(value, dict):
        return query_pairs(name, value, "deepObject")
    chosen = encoding or _USUAL
    return query_pairs(name, value, chosen.style, chosen.explode)


def _multipart(body: OpenApiBody, fields: dict[str, Any], files: frozenset[str]) -> RequestBody:
    """A form by RFC 7578; the items of a list become parts of the same name."""
    boundary = secrets.token_hex(16)
    parts: list[bytes] = []
    for name, value in fields.items():
        encoding = body.encoding.get(name)
        declared = encoding.content_type if encoding else None
        for item in value if isinstance(value, list) else [value]:
            if item is None:
                continue
            if name in files:
                head = f'; filename="{_quoted(name)}"', declared or "application/octet-stream"
                content = _bytes(name, item)
            elif isinstance(item, dict | list):
                head = "", declared or "application/json"
                content = json_body(item).content
            else:
                head = "", declared or ""
                content = _encoded(plain_text(item))
            kind = f"Content-Type: {_header_safe(head[1])}\r\n" if head[1] else ""
            parts.append(
                f"--{boundary}\r\n"
                f'Content-Disposition: form-data; name="{_quoted(name)}"{head[0]}\r\n'
                f"{kind}\r\n".encode()
                + content
                + b"\r\n"
            )
    parts.append(f"--{boundary}--\r\n".encode())
    return RequestBody(f"multipart/form-data; boundary={boundary}", b"".join(parts))


def _is_file(schema: JsonSchema, argument: str) -> bool:
    described = _property(schema, argument)
    if isinstance(described, dict) and isinstance(described.get("items"), dict):
        described = described["items"]
    return isinstance(described, dict) and described.get("contentEncoding") == "base64"


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidArgumentsError("A text argument holds half of a surrogate pair.") from None


def _is_byte_text(schema: JsonSchema, argument: str) -> bool:
    """Whether base64 is what the service itself takes (OpenAPI 3.0, ``format: byte``)."""
    described = _property(schema, argument)
    return isinstance(described, dict) and described.get("format") == "byte"


def _property(schema: JsonSchema, argument: str) -> Any:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return properties.get(argument) if isinstance(properties, dict) else None


def _object(value: Any, content_type: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidArgumentsError(f"A body of type {content_type} is made from an object.")
    return value


def _bytes(name: str, value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise InvalidArgumentsError(
            f"The argument for {name!r} holds bytes and must be base64 text (RFC 4648).",
            details={"parameter": name},
        ) from None


def _quoted(name: str) -> str:
    """A name inside a quoted string, escaped as browsers do (WHATWG HTML, multipart/form-data)."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _header_safe(text: str) -> str:
    return "".join(character for character in text if " " <= character <= "~")
