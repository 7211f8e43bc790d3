"""What the answer to a GraphQL operation means: data, data with errors, or a failure."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from ccos.egress import parse_json
from ccos.errors import CapabilityFailedError, EgressError, InvalidResultError
from ccos.providers.http_credentials import Credentials
from ccos.providers.http_results import HttpResponse, failure
from ccos.providers.mcp_text import plain_text

MAXIMUM_DEPTH: Final = 128
_MAXIMUM_ERRORS: Final = 20
_MAXIMUM_MESSAGE: Final = 1_000
_MAXIMUM_PATH: Final = 50


def read_answer(
    response: HttpResponse, *, field: str, capability: str, credentials: Credentials
) -> dict[str, Any]:
    """The answer to a query or mutation (GraphQL over HTTP, section 6).

    Args:
        response: The HTTP answer.
        field: The root field that was asked for.
        capability: The capability's id, for messages.
        credentials: What was sent, so that no message repeats it.

    Raises:
        CapabilityFailedError: There is no data, and errors or a status of 400 or above say why.
        InvalidResultError: It is no answer of GraphQL.
    """
    failed = response.status >= HTTPStatus.BAD_REQUEST
    payload = _payload(response)
    if payload is None:
        if failed:
            raise failure(response, credentials, capability=capability)
        raise InvalidResultError(
            f"{capability} answered {response.status} with what is no answer of GraphQL.",
            details={"status": response.status},
        )
    found = read_payload(payload, field=field, credentials=credentials)
    if found["data"] is not None:
        return found
    if failed:
        error = failure(response, credentials, capability=capability)
        error.details["errors"] = found.get("errors", [])
        raise error
    if "errors" in found:
        raise failed_call(found["errors"], capability=capability)
    if not isinstance(payload.get("data"), Mapping) or field not in payload["data"]:
        raise InvalidResultError(
            f"{capability} was answered without {field} and without a reason.",
            details={"status": response.status},
        )
    return found


def read_payload(
    payload: Mapping[str, Any], *, field: str, credentials: Credentials
) -> dict[str, Any]:
    """``data`` of the field, and ``errors`` if there are any, in the API's own words."""
    data = payload.get("data")
    found: dict[str, Any] = {"data": data.get(field) if isinstance(data, Mapping) else None}
    errors = read_errors(payload.get("errors"), credentials)
    if errors:
        found["errors"] = errors
    return found


def read_errors(errors: Any, credentials: Credentials) -> list[dict[str, Any]]:
    """The first errors of an answer (GraphQL September 2025, section 7.1.2), without secrets."""
    listed = errors if isinstance(errors, list) else []
    return [_error(one, credentials) for one in listed[:_MAXIMUM_ERRORS]]


def failed_call(errors: list[dict[str, Any]], *, capability: str) -> CapabilityFailedError:
    """The error for a call that was answered with errors alone."""
    said = "; ".join(dict.fromkeys(one["message"] for one in errors[:3])) or "no reason given"
    return CapabilityFailedError(f"{capability} failed: {said}", details={"errors": errors})


def _payload(response: HttpResponse) -> Mapping[str, Any] | None:
    try:
        value = parse_json(response.body, max_depth=MAXIMUM_DEPTH)
    except EgressError:
        return None
    return value if isinstance(value, dict) and not value.keys().isdisjoint(_KEYS) else None


_KEYS: Final = ("data", "errors")


def _error(error: Any, credentials: Credentials) -> dict[str, Any]:
    if not isinstance(error, Mapping):
        error = {"message": error}
    message = error.get("message")
    shown = message if isinstance(message, str) else "the API gives no reason"
    found: dict[str, Any] = {
        "message": plain_text(credentials.redact(shown), limit=_MAXIMUM_MESSAGE)
    }
    path = error.get("path")
    if isinstance(path, list) and all(isinstance(step, str | int) for step in path):
        found["path"] = path[:_MAXIMUM_PATH]
    extensions = error.get("extensions")
    code = extensions.get("code") if isinstance(extensions, Mapping) else None
    if isinstance(code, str):
        found["code"] = plain_text(credentials.redact(code), limit=100)
    return found
