"""The base URL of an operation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urljoin, urlsplit, urlunsplit

from ccos.importers.openapi.references import UnusableError
from ccos.providers.http_request import unknown_host

_MAXIMUM_URL: Final = 2_000
_HOST_FIRST: Final = re.compile(
    r"(?:[a-z0-9-]+\.)+(?!html\b|json\b|php\b|ya?ml\b)[a-z]{2,}(?::[0-9]+)?(?:/|$)", re.IGNORECASE
)
"""``api.example.com/v1``: a server without its scheme, which is not meant as a relative path."""


def openapi_base_url(
    places: Iterable[Any], location: str, variables: Mapping[str, str] | None = None
) -> str:
    """The first https server, or else the first http one, of the nearest list of servers.

    Variables take the value that the caller gave or their default, and a relative URL counts from
    where the document was found (OpenAPI 3.0, Server Object). No list at all means ``/``.

    Args:
        places: The ``servers`` of the operation, the path and the document, nearest first.
        location: Where the document was found.
        variables: Values for server variables.

    Raises:
        UnusableError: No server has an absolute http or https URL.
    """
    listed = next((servers for servers in places if isinstance(servers, list) and servers), None)
    found: list[str] = []
    reasons: list[str] = []
    for server in listed or [{"url": "/"}]:
        try:
            url = _expanded(server, variables or {})
            found.append(_absolute(f"https://{url}" if _HOST_FIRST.match(url) else url, location))
        except UnusableError as error:
            reasons.append(str(error))
    if not found:
        raise UnusableError(reasons[0])
    return next((url for url in found if url.startswith("https:")), found[0])


def swagger_base_url(document: Mapping[str, Any], schemes: Any, location: str) -> str:
    """The base URL of a Swagger 2.0 document; what it leaves out comes from where it was found.

    Args:
        document: Its ``host`` and ``basePath`` count.
        schemes: The ``schemes`` of the operation or the document; https is preferred.
        location: Where the document was found.

    Raises:
        UnusableError: Neither the document nor its location names a host, or no scheme is http.
    """
    host = document.get("host")
    base_path = document.get("basePath")
    path = "/" + base_path.strip("/") if isinstance(base_path, str) else "/"
    origin = urlsplit(location)
    if isinstance(schemes, str):
        schemes = [schemes]
    if isinstance(schemes, list) and schemes:
        scheme = next((name for name in ("https", "http") if name in schemes), None)
        if scheme is None:
            raise UnusableError("it is offered over neither http nor https")
    else:
        scheme = origin.scheme if origin.scheme in ("http", "https") else "https"
    if isinstance(host, str) and host:
        host = re.sub(r"^https?://", "", host.strip(), flags=re.IGNORECASE).rstrip("/")
        return _absolute(f"{scheme}://{host}{path}", location)
    return _absolute(path, location)


def unknown_base_url(api: str, places: Iterable[Any]) -> str:
    """A base URL that keeps the path of the first server and has a host that never exists.

    Args:
        api: Short name of the API.
        places: The ``servers`` of the operation, the path and the document, nearest first; or a
            list with the base path alone.
    """
    listed = next((servers for servers in places if isinstance(servers, list) and servers), None)
    first = listed[0] if listed else None
    url = first.get("url") if isinstance(first, dict) else first
    path = (
        re.sub(r"^[a-z{][a-z{}+.-]*://[^/]*|^\{[^{}]*\}", "", url) if isinstance(url, str) else ""
    )
    kept = [step for step in path.split("/") if re.fullmatch(r"[A-Za-z0-9._~-]+", step)]
    kept = [step for step in kept if step not in (".", "..")]
    return f"https://{unknown_host(api)}" + "".join(f"/{step}" for step in kept)


def checked_base_url(url: str) -> str:
    """A base URL that the caller chose.

    Raises:
        UnusableError: It is not an absolute http or https URL without credentials.
    """
    return _absolute(url, "")


def _expanded(server: Any, given: Mapping[str, str]) -> str:
    url = server.get("url") if isinstance(server, dict) else server
    if not isinstance(url, str):
        raise UnusableError("a server has no URL")
    variables = server.get("variables") if isinstance(server, dict) else None

    def value_of(match: re.Match[str]) -> str:
        variable = variables.get(match[1]) if isinstance(variables, dict) else None
        value: Any = given.get(match[1])
        if value is None and isinstance(variable, dict):
            value = variable.get("default")
            choices = variable.get("enum")
            if value is None and isinstance(choices, list) and choices:
                value = choices[0]
        if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
            raise UnusableError(f"the server variable {match[1][:100]!r} has no default")
        return str(value)[:_MAXIMUM_URL]

    if len(url) > _MAXIMUM_URL:
        raise UnusableError(f"a server URL has more than {_MAXIMUM_URL} characters")
    return re.sub(r"\{([^{}]*)\}", value_of, url).strip()


def _absolute(url: str, location: str) -> str:
    try:
        joined = urljoin(location, url) if location.startswith(("http://", "https://")) else url
        joined = f"https:{joined}" if joined.startswith("//") else joined
        parts = urlsplit(joined)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        usable = False
    if not usable:
        raise UnusableError(
            f"the server {url[:200]!r} is not an absolute http or https URL, and the document's "
            "own location does not make it one"
        )
    if "@" in parts.netloc:
        raise UnusableError("the server URL holds credentials")
    if re.search(r"[{}\s\\]", joined):
        raise UnusableError(f"the server {url[:200]!r} is not a URL")
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
