"""``crucible.http``: requests over HTTP, through the one way out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from ccos.engine.budget import Dimension
from ccos.engine.hosts import (
    Effect,
    HostContext,
    HostFunction,
    HostFunctionError,
    HttpAnswer,
    Parameter,
    bound_values,
)
from ccos.engine.modules.json_text import parsed, stringified
from ccos.engine.modules.limits import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    MAX_URL_CHARACTERS,
    sized,
)
from ccos.errors import EgressError, EgressRefusedError, SecurityViolationError

MODULE: Final = "crucible.http"

_LOOKING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS: Final = _LOOKING | {"POST", "PUT", "PATCH", "DELETE"}
_MALFORMED: Final = frozenset(
    {"url", "userinfo", "host", "method", "request", "request-too-large", "too-many-redirects"}
)
"""Refusals that say how a request is written; every other one says where it may not go."""

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_OPTIONS: Final = (
    Parameter("headers", "object", required=False),
    Parameter("body", "string", required=False),
    Parameter("json", "any", required=False),
    Parameter("timeout_ms", "number", required=False),
)
_JSON: Final = "application/json"
_PLAIN_TEXT: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class _Content:
    """What goes with a request."""

    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    timeout: float | None = None

    @classmethod
    def of(cls, value: Any) -> Self:
        """A string as plain text, any other JSON data as JSON."""
        if isinstance(value, str):
            return cls._typed(_PLAIN_TEXT, sized(value, "The body"), {})
        return cls._typed(_JSON, stringified(value).encode(), {})

    @classmethod
    def read(cls, options: Mapping[str, Any]) -> Self:
        """The ``options`` of :func:`http_request`."""
        given = bound_values("http_request", _OPTIONS, (), options)
        timeout_ms = given.get("timeout_ms")
        if timeout_ms is not None and not timeout_ms > 0:
            raise HostFunctionError("The option 'timeout_ms' has to be above 0.")
        timeout = None if timeout_ms is None else timeout_ms / 1000
        headers = _checked_headers(given.get("headers", {}))
        if "body" in given and "json" in given:
            raise HostFunctionError("Give the option 'body' or 'json', not both.")
        if "json" in given:
            content = cls._typed(_JSON, stringified(given["json"]).encode(), headers)
        elif "body" in given:
            content = cls._typed(_PLAIN_TEXT, sized(given["body"], "The body"), headers)
        else:
            content = cls(headers)
        return replace(content, timeout=timeout)

    @classmethod
    def _typed(cls, media_type: str, body: bytes, headers: Mapping[str, str]) -> Self:
        if any(name.lower() == "content-type" for name in headers):
            return cls(headers, body)
        return cls({**headers, "content-type": media_type}, body)


async def http_get(context: HostContext, url: str) -> str:
    """The text at ``url``.

    Raises:
        HostFunctionError: if there is no answer, or its status is 400 or above.
        SecurityViolationError: if the policy of the script, or that of all requests, forbids it.
        BudgetExhaustedError: if the network bytes used are more than the budget has.
    """
    return _successful(await _request(context, "GET", url, _Content())).text


async def http_post(context: HostContext, url: str, body: Any) -> str:
    """The text answered to ``body``: a string goes as plain text, other data as JSON.

    Raises:
        HostFunctionError: as :func:`http_get`.
        SecurityViolationError: as :func:`http_get`.
        BudgetExhaustedError: as :func:`http_get`.
    """
    return _successful(await _request(context, "POST", url, _Content.of(body))).text


async def http_json_get(context: HostContext, url: str) -> Any:
    """The value of the JSON text at ``url``.

    Raises:
        HostFunctionError: as :func:`http_get`, and if the text is not JSON with one meaning.
        SecurityViolationError: as :func:`http_get`.
        BudgetExhaustedError: as :func:`http_get`.
    """
    content = _Content({"accept": _JSON})
    return parsed(_successful(await _request(context, "GET", url, content)).text, "The answer")


async def http_request(
    context: HostContext, method: str, url: str, options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The whole answer to a request: ``status``, ``headers`` and ``body`` (text).

    Args:
        context: The script's.
        method: GET, HEAD, OPTIONS, POST, PUT, PATCH or DELETE.
        url: Absolute, http or https.
        options: ``headers`` (an object of strings), ``body`` (a string) or ``json`` (any value),
            and ``timeout_ms``.

    Raises:
        HostFunctionError: if there is no answer; whatever its status, an answer is none.
        SecurityViolationError: as :func:`http_get`.
        BudgetExhaustedError: as :func:`http_get`.
    """
    if method.upper() not in _METHODS:
        raise HostFunctionError(f"The method is one of {', '.join(sorted(_METHODS))}.")
    answer = await _request(context, method.upper(), url, _Content.read(options or {}))
    return {"status": answer.status, "headers": dict(answer.headers), "body": answer.text}


async def _request(context: HostContext, method: str, url: str, content: _Content) -> HttpAnswer:
    if len(url) > MAX_URL_CHARACTERS:
        raise HostFunctionError(f"The URL is longer than {MAX_URL_CHARACTERS} characters.")
    leaving = _leaving(method, url, content)
    await context.charge(Dimension.NETWORK_BYTES, leaving)
    try:
        answer = await context.requests.request(
            method,
            url,
            headers=content.headers,
            body=content.body,
            timeout=content.timeout,
            allowed_hosts=context.policy.allowed_hosts,
        )
    except EgressError as error:
        await _charge_rest(context, error.details.get("network_bytes", 0) - leaving)
        reason = error.details.get("reason")
        if isinstance(error, EgressRefusedError) and reason not in _MALFORMED:
            raise SecurityViolationError(error.message, details=error.details) from error
        raise HostFunctionError(error.message) from error
    await _charge_rest(context, answer.network_bytes - leaving)
    sized(answer.text, "The answer")
    return answer


def _leaving(method: str, url: str, content: _Content) -> int:
    """The bytes that a request surely sends."""
    headers = sum(len(name) + len(value) + 4 for name, value in content.headers.items())
    return len(method) + len(url) + headers + len(content.body or b"")


async def _charge_rest(context: HostContext, amount: int) -> None:
    if amount > 0:
        await context.charge(Dimension.NETWORK_BYTES, amount)


def _successful(answer: HttpAnswer) -> HttpAnswer:
    if answer.status >= 400:
        raise HostFunctionError(f"The server answered with status {answer.status}.")
    return answer


def _checked_headers(headers: Mapping[str, Any]) -> Mapping[str, str]:
    """Headers that mean the same to every reader.

    Raises:
        HostFunctionError: if one is no header, or they are too many.
    """
    seen = set()
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in seen:
            raise HostFunctionError(f"{name[:100]!a} is no name of a header, or there twice.")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise HostFunctionError(f"The value of the header {name[:100]!r} is not plain ASCII.")
        seen.add(name.lower())
    size = sum(len(name) + len(value) for name, value in headers.items())
    if len(headers) > MAX_HEADERS or size > MAX_HEADER_BYTES:
        raise HostFunctionError(
            f"There are more than {MAX_HEADERS} headers, or {MAX_HEADER_BYTES} bytes of them."
        )
    return headers


def _effect(arguments: Mapping[str, Any]) -> Effect:
    return Effect.READ if arguments["method"].upper() in _LOOKING else Effect.ACT


_URL: Final = Parameter("url", "string")

FUNCTIONS: Final = (
    HostFunction(
        module=MODULE,
        name="http_get",
        parameters=(_URL,),
        returns="string",
        effect=Effect.READ,
        summary="Get the text at a URL; a status of 400 or above is an error.",
        handler=http_get,
    ),
    HostFunction(
        module=MODULE,
        name="http_post",
        parameters=(_URL, Parameter("body", "any")),
        returns="string",
        effect=Effect.ACT,
        summary="Post a string as plain text, or other data as JSON, and return the text "
        "answered; a status of 400 or above is an error.",
        handler=http_post,
    ),
    HostFunction(
        module=MODULE,
        name="http_json_get",
        parameters=(_URL,),
        returns="any",
        effect=Effect.READ,
        summary="Get the value of the JSON text at a URL; a status of 400 or above is an error.",
        handler=http_json_get,
    ),
    HostFunction(
        module=MODULE,
        name="http_request",
        parameters=(
            Parameter("method", "string"),
            _URL,
            Parameter("options", "object", required=False),
        ),
        returns="object",
        effect=Effect.ACT,
        summary="Send any request, with the options headers, body or json, and timeout_ms; "
        "returns status, headers and body, whatever the status.",
        handler=http_request,
        effect_by_arguments=_effect,
    ),
)
