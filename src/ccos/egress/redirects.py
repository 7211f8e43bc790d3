"""What the next request is when a server answers with a redirect (RFC 9110, section 15.4)."""

from __future__ import annotations

import httpx2

from ccos.egress.policy import EgressPolicy
from ccos.egress.refusal import refusal
from ccos.egress.target import Target, parse_url

CREDENTIAL_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token"}
)
"""Headers never carried to another origin."""

_BODY_HEADERS = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-type",
    "transfer-encoding",
)


def redirected(
    request: httpx2.Request,
    response: httpx2.Response,
    policy: EgressPolicy,
    secret_headers: frozenset[str],
) -> httpx2.Request:
    """The request that follows ``request`` to the ``Location`` of ``response``.

    The method becomes GET, without a body, for 303 and for a POST answered by 301 or 302; it
    is kept otherwise. Leaving the origin (RFC 6454) drops the credentials, and they stay
    dropped if a later hop returns.

    Args:
        request: What was sent, its body held in memory.
        response: A 301, 302, 303, 307 or 308 with a ``Location``.
        policy: Says which hosts are private.
        secret_headers: Lower-case names that count as credentials as well.

    Raises:
        EgressRefusedError: Reason ``url``, ``redirect-downgrade`` (https to http), or
            ``redirect-private`` (a public server points at a private host), or one of
            `Target.of`.
    """
    url = parse_url(_location(request, response))
    source, target = Target.of(request.url), Target.of(url)
    if source.scheme == "https" and target.scheme == "http":
        raise refusal("redirect-downgrade", "https led to plain http", target.host, target.port)
    if policy.names_private(target.host, target.port) and not policy.names_private(
        source.host, source.port
    ):
        raise refusal(
            "redirect-private", "a public host led to a private one", target.host, target.port
        )
    dropped = {"host"}
    if source != target:
        dropped |= CREDENTIAL_HEADERS | secret_headers
    method, content = request.method, request.content
    if (response.status_code == 303 and method != "HEAD") or (
        response.status_code in (301, 302) and method == "POST"
    ):
        method, content = "GET", b""
        dropped.update(_BODY_HEADERS)
    headers = [
        (name, value) for name, value in request.headers.multi_items() if name not in dropped
    ]
    return httpx2.Request(method, url, headers=headers, content=content or None)


def _location(request: httpx2.Request, response: httpx2.Response) -> httpx2.URL:
    try:
        return request.url.join(response.headers["location"])
    except (httpx2.InvalidURL, ValueError):
        raise refusal("url", "it was redirected to a malformed URL") from None
