"""What an HTTP answer means: a result, or a failure in the API's own words."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final, Protocol

from ccos.egress import parse_json
from ccos.errors import CapabilityFailedError, EgressError, InvalidResultError
from ccos.providers.http_credentials import Credentials
from ccos.providers.media_types import BodyKind, body_kind, charset, essence

_EXCERPT: Final = 2_000
_MESSAGE: Final = 500
_READ: Final = 100_000
"""How much of a failure's body is looked at; an API's own message is short."""
_DEPTH: Final = 128
_MESSAGE_KEYS: Final = ("detail", "message", "error_description", "error", "title", "errors", "msg")
_RETRYABLE: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


class HttpResponse(Protocol):
    """A complete answer."""

    @property
    def status(self) -> int:
        """The HTTP status; 4xx and 5xx are answers too."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers; looking one up ignores its case."""
        ...

    @property
    def body(self) -> bytes:
        """The body, decompressed."""
        ...


def read_result(response: HttpResponse, *, method: str, capability: str) -> Any:
    """The answer as JSON data.

    JSON is itself and text is a string. Other content is ``{"content_type", "base64"}``, no
    content is None. HEAD is asked for its headers alone: ``{"status", "headers"}``.

    Raises:
        InvalidResultError: The answer claims to be JSON and is not.
    """
    if method == "HEAD":
        return {"status": response.status, "headers": dict(response.headers)}
    if not response.body:
        return None
    media_type = response.headers.get("content-type", "")
    kind = body_kind(media_type)
    if kind is BodyKind.JSON:
        try:
            return parse_json(response.body, max_depth=_DEPTH)
        except EgressError as error:
            raise InvalidResultError(
                f"{capability} answered {response.status}, and its body is not JSON although it "
                f"says so. {error.message}",
                details={"status": response.status},
            ) from error
    if kind in (BodyKind.TEXT, BodyKind.XML) or not media_type:
        text = _text(response.body, media_type, strict=not media_type)
        if text is not None:
            return text
    return {
        "content_type": essence(media_type) or "application/octet-stream",
        "base64": base64.b64encode(response.body).decode(),
    }


def failure(
    response: HttpResponse, credentials: Credentials, *, capability: str
) -> CapabilityFailedError:
    """The error for an answer with a status of 400 or above, in the API's own words.

    ``details`` holds ``status``, the start of the ``body`` without secrets, and for 429 and 503
    ``retry_after`` in seconds where the answer names it (RFC 9110, section 10.2.3).
    """
    media_type = response.headers.get("content-type", "")
    body = credentials.redact(_text(response.body[:_READ], media_type, strict=False) or "")
    message = credentials.redact(_own_message(response.body) or "") or body
    try:
        phrase = " " + HTTPStatus(response.status).phrase
    except ValueError:
        phrase = ""
    details: dict[str, Any] = {"status": response.status, "body": body[:_EXCERPT]}
    if response.status in _RETRYABLE:
        seconds = _retry_after(response.headers.get("retry-after", ""))
        if seconds is not None:
            details["retry_after"] = seconds
    said = _one_line(message)
    return CapabilityFailedError(
        f"{capability} answered {response.status}{phrase}" + (f": {said}" if said else "."),
        details=details,
    )


def _own_message(body: bytes) -> str | None:
    """The message of a problem document (RFC 9457), or of the shapes APIs commonly use."""
    if len(body) > _READ:
        return None
    try:
        value = parse_json(body)
    except EgressError:
        return None
    for _ in range(4):
        if isinstance(value, list) and value:
            value = value[0]
        if not isinstance(value, dict):
            break
        value = next((value[key] for key in _MESSAGE_KEYS if value.get(key)), None)
    return value if isinstance(value, str) else None


def _text(body: bytes, media_type: str, *, strict: bool) -> str | None:
    try:
        return body.decode(charset(media_type), "strict" if strict else "replace")
    except UnicodeDecodeError:
        return None
    except LookupError:
        return body.decode("utf-8", "replace")


def _one_line(text: str) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * _MESSAGE]).split())
    return line if len(line) <= _MESSAGE else line[: _MESSAGE - 1] + "…"


def _retry_after(text: str) -> float | None:
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
