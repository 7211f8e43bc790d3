"""Secrets in examples are taken out before anything else looks at them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ccos.capabilities import AuthReference
from ccos.importers.http.exchange import Exchange
from ccos.importers.openapi.naming import environment_prefix

_SECRET_NAME: Final = re.compile(
    r"(?i)(^|[-_.])(api[-_]?key|apikey|access[-_]?token|auth[-_]?token|token|secret|passw(or)?d|"
    r"client[-_]?secret|signature|sig|subscription-key|session(id)?|sid|jwt|csrf(token)?)$"
)
_VARIABLE: Final = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")


@dataclass(frozen=True, slots=True)
class Stripped:
    """An exchange without its secrets, and references to them."""

    exchange: Exchange
    auth: tuple[AuthReference, ...]


def is_secret_name(name: str) -> bool:
    """Whether a parameter, header or member is named like a secret."""
    return _SECRET_NAME.search(name) is not None


def without_secrets(exchange: Exchange, name: str) -> Stripped:
    """Take the secrets out of an exchange; their values are not kept.

    Secrets are ``Authorization``, cookies, user and password in the URL, and headers and query
    parameters whose names say so. Where the example has ``$NAME`` in place of a secret, that
    variable holds it; else it is ``<NAME>_TOKEN`` or ``CCOS_AUTH_<NAME>``.

    Args:
        exchange: The exchange.
        name: Short name of the API, for the variables.
    """
    auth: dict[tuple[str, str], AuthReference] = {}
    headers: list[tuple[str, str]] = []
    prefix = environment_prefix(name)

    def refer(
        scheme: Literal["bearer", "basic", "api_key"],
        location: Literal["header", "query", "cookie"],
        wire_name: str,
        text: str,
    ) -> None:
        variable = _VARIABLE.search(text)
        if variable:
            environment: tuple[str, ...] = (variable[1] or variable[2],)
        else:
            kind = wire_name if location != "header" or scheme == "api_key" else ""
            mark = re.sub(r"[^A-Z0-9]+", "_", kind.upper()).strip("_")
            own = f"{prefix}_{mark}" if mark else f"{prefix}_TOKEN"
            environment = (own[:200], f"CCOS_AUTH_{own.lstrip('_')}"[:200])
        reference = AuthReference(
            scheme=scheme, location=location, name=wire_name, environment=environment
        )
        auth.setdefault((location, wire_name.lower()), reference)

    for header, text in exchange.headers:
        lowered = header.lower()
        if lowered in ("authorization", "proxy-authorization"):
            kind = text.partition(" ")[0].lower()
            if lowered == "authorization":
                scheme: Literal["bearer", "basic", "api_key"] = (
                    "bearer" if kind == "bearer" else "basic" if kind == "basic" else "api_key"
                )
                refer(scheme, "header", "Authorization", text)
        elif lowered == "cookie":
            for cookie in text.split(";"):
                key, equals, value = cookie.strip().partition("=")
                if equals and _SECRET_NAME.search(key):
                    refer("api_key", "cookie", key, value)
        elif _SECRET_NAME.search(header):
            refer("api_key", "header", header, text)
        else:
            headers.append((header, text))
    parts = urlsplit(exchange.url)
    kept: list[tuple[str, str]] = []
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if _SECRET_NAME.search(key):
            refer("api_key", "query", key, value)
        else:
            kept.append((key, value))
    if parts.username is not None:
        refer("basic", "header", "Authorization", parts.username)
    host = parts.netloc.rpartition("@")[2]
    url = urlunsplit((parts.scheme, host, parts.path, urlencode(kept), ""))
    return Stripped(replace(exchange, url=url, headers=tuple(headers)), tuple(auth.values()))
