"""What a document says about an operation beside its request and result.

Pages, rate limits and OAuth 2 are told to whoever approves or calls a capability, as metadata.
Callbacks and webhooks are requests that the service makes itself; they are listed, not called.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ccos.importers.openapi.references import ROOT, Place, References, UnusableError

METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
_PAGINATION_EXTENSIONS: Final = (
    "x-ms-pageable",
    "x-pagination",
    "x-paginated",
    "x-fern-pagination",
    "x-speakeasy-pagination",
    "x-stainless-pagination-property",
    "x-xdc-pagination",
)
_RATE_EXTENSIONS: Final = (
    "x-ratelimit",
    "x-rate-limit",
    "x-ratelimits",
    "x-rate-limits",
    "x-rate-limiting",
    "x-throttling",
    "x-klaviyo-ratelimit",
    "x-google-quota",
)
_RATE_HEADER: Final = re.compile(r"(x-)?(rate-?limit|quota)[a-z0-9-]*|retry-?after", re.IGNORECASE)
_CURSORS: Final = frozenset(
    {
        "after", "before", "continuation_token", "continuationtoken", "cursor", "next_cursor",
        "next_page_token", "nextpagetoken", "nexttoken", "page_token", "pagetoken",
        "starting_after",
    }
)  # fmt: skip
_PAGES: Final = frozenset({"page", "page_number", "pagenumber", "page[number]", "page_num"})
_OFFSETS: Final = frozenset({"offset", "skip", "$skip", "start", "startindex", "page[offset]"})
_MAXIMUM_TEXT: Final = 500
_MAXIMUM_INCOMING: Final = 1_000


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request that the service sends: a webhook, or a callback of an operation."""

    kind: str
    """``webhook`` or ``callback``."""
    name: str
    method: str
    url: str
    """The runtime expression of a callback's URL; empty for a webhook."""
    place: str
    """JSON Pointer (RFC 6901) into the document."""
    operation: str
    """The operation that asks for it, as ``POST /subscriptions``; empty for a webhook."""


def declared(
    described: Mapping[str, Any], at: Place, parameters: list[str], references: References
) -> dict[str, str]:
    """How an operation is paged and limited, as far as its document declares it.

    Args:
        described: The Operation Object.
        at: Where it stands.
        parameters: Names of its query parameters.
        references: Follows references.

    Returns:
        ``pagination`` and ``rate_limit`` where something is said: the value of the extension, the
        names of the headers, or ``cursor: NAME``, ``page: NAME``, ``offset: NAME``.
    """
    headers = list(_headers(described.get("responses"), at.child("responses"), references))
    found: dict[str, str] = {}
    pagination = _extension(described, _PAGINATION_EXTENSIONS)
    if not pagination and any(name.lower() == "link" for name in headers):
        pagination = "header: Link"
    if not pagination:
        for kind, names in (("cursor", _CURSORS), ("page", _PAGES), ("offset", _OFFSETS)):
            named = [name for name in parameters if name.lower() in names]
            if named:
                pagination = f"{kind}: {named[0]}"
                break
    if pagination:
        found["pagination"] = pagination[:_MAXIMUM_TEXT]
    limits = sorted({name for name in headers if _RATE_HEADER.fullmatch(name)}, key=str.lower)
    rate_limit = _extension(described, _RATE_EXTENSIONS)
    if not rate_limit and limits:
        rate_limit = f"headers: {', '.join(limits)}"
    if rate_limit:
        found["rate_limit"] = rate_limit[:_MAXIMUM_TEXT]
    return found


def webhooks(document: Mapping[str, Any], references: References) -> Iterator[Incoming]:
    """The webhooks of a document (OpenAPI 3.1 ``webhooks``, or ``x-webhooks``)."""
    for key in ("webhooks", "x-webhooks"):
        listed = document.get(key)
        for name, item in listed.items() if isinstance(listed, dict) else ():
            place = ROOT.child(key, name)
            for method in _methods(item, place, references):
                yield Incoming("webhook", name, method, "", str(place.child(method.lower())), "")


def callbacks(
    described: Mapping[str, Any], at: Place, operation: str, references: References
) -> Iterator[Incoming]:
    """The callbacks of an operation."""
    listed = described.get("callbacks")
    for name, value in listed.items() if isinstance(listed, dict) else ():
        try:
            urls, place = references.follow(value, at.child("callbacks", name))
        except UnusableError:
            continue
        for url, item in urls.items() if isinstance(urls, dict) else ():
            here = place.child(url)
            for method in _methods(item, here, references):
                where = str(here.child(method.lower()))
                yield Incoming("callback", name, method, url, where, operation)


def limited(found: Iterator[Incoming]) -> Iterator[Incoming]:
    """The first ones of them."""
    for _, one in zip(range(_MAXIMUM_INCOMING), found, strict=False):
        yield one


def _methods(item: Any, at: Place, references: References) -> list[str]:
    try:
        described = references.follow(item, at)[0]
    except UnusableError:
        return []
    if not isinstance(described, dict):
        return []
    return [method.upper() for method in METHODS if isinstance(described.get(method), dict)]


def _extension(described: Mapping[str, Any], names: tuple[str, ...]) -> str:
    for name in names:
        value = described.get(name)
        if value not in (None, False, {}, []):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            return f"{name}: {text}"
    return ""


def _headers(responses: Any, at: Place, references: References) -> Iterator[str]:
    for code, response in responses.items() if isinstance(responses, dict) else ():
        try:
            described = references.follow(response, at.child(code))[0]
        except UnusableError:
            continue
        headers = described.get("headers") if isinstance(described, dict) else None
        yield from headers if isinstance(headers, dict) else ()
