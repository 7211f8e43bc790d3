"""One HTTP request, put together."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from ccos.providers.http_bodies import RequestBody
from ccos.providers.http_credentials import Credentials
from ccos.providers.parameter_styles import Pairs, escape

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "QUERY"})
"""Methods that ask for no change (RFC 9110, section 9.2.1; QUERY by its own definition)."""

_UNKNOWN: Final = ".base-url-unknown.invalid"
_ACCEPT: Final = "application/json, */*;q=0.5"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request ready to be sent. It holds secrets, so its text shows the method alone."""

    method: str
    url: str = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    """Names in lower case."""
    content: bytes | None = field(default=None, repr=False)


def unknown_host(api: str) -> str:
    """The host of an API of which nobody said where it is.

    Names under ``invalid`` never exist (RFC 6761, section 6.4), so no request can go astray.
    """
    label = re.sub(r"[^a-z0-9]+", "-", api.lower()).strip("-")[:63].strip("-") or "api"
    return label + _UNKNOWN


def is_unknown_host(base_url: str) -> bool:
    """Whether a base URL stands for one that nobody gave."""
    try:
        return (urlsplit(base_url).hostname or "").endswith(_UNKNOWN)
    except ValueError:
        return False


def assemble(
    method: str,
    base_url: str,
    path: str,
    *,
    query: Pairs,
    headers: dict[str, str],
    cookies: Pairs,
    body: RequestBody | None,
    credentials: Credentials,
    idempotency_key: str,
) -> HttpRequest:
    """The request made of its parts.

    Credentials win over a header of the same name. A method that may change something carries
    ``Idempotency-Key``, a quoted string (draft-ietf-httpapi-idempotency-key-header, section 2.1).

    Args:
        method: The HTTP method.
        base_url: Where the API starts; a query or fragment of it is not used.
        path: Escaped path, with a query of its own after ``?`` if the API fixes one.
        query: Escaped pairs.
        headers: Headers made from arguments.
        cookies: Escaped pairs.
        body: The body, if there is one.
        credentials: What the secrets add.
        idempotency_key: The same for every attempt at one call.
    """
    path, _, fixed_query = path.partition("?")
    asked = "&".join(f"{name}={value}" for name, value in query + credentials.query)
    full_query = "&".join(filter(None, (fixed_query, asked)))
    base = base_url.partition("#")[0].partition("?")[0].rstrip("/")
    all_headers = {"accept": _ACCEPT} | {name.lower(): text for name, text in headers.items()}
    if body is not None:
        all_headers["content-type"] = body.content_type
    if method not in SAFE_METHODS:
        all_headers["idempotency-key"] = f'"{escape(idempotency_key, safe=":/+=@")}"'
    all_headers |= {name.lower(): text for name, text in credentials.headers.items()}
    pairs = [f"{name}={value}" for name, value in cookies + credentials.cookies]
    if pairs:
        all_headers["cookie"] = "; ".join(filter(None, (all_headers.get("cookie"), *pairs)))
    return HttpRequest(
        method,
        base + path + (f"?{full_query}" if full_query else ""),
        all_headers,
        body.content if body else None,
    )
