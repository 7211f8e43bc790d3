"""How far a provider is trusted, judged by its address and never by its name or its words."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from ccos.capabilities import TrustTier
from ccos.egress import normalise_host

OFFICIAL_HOSTS: Final = frozenset(
    {
        "api.github.com",
        "api.githubcopilot.com",
        "api.openweathermap.org",
        "api.stripe.com",
        "api.slack.com",
        "api.anthropic.com",
        "api.openai.com",
    }
)


def trust_tier(
    url: str,
    *,
    operator_official: Collection[str] = (),
    operator_approved: Collection[str] = (),
    curated: bool = False,
    registry_name: str | None = None,
) -> TrustTier:
    """The tier of the server at ``url``.

    Hosts are compared whole, after lower-casing and IDNA, without port or trailing dot. Plain
    http and addresses in place of names are unknown, whoever vouches for them.

    Args:
        url: Where the server is reached.
        operator_official: Hosts that an operator declared official.
        operator_approved: Hosts that an operator approved.
        curated: Whether the curated catalogue names this address.
        registry_name: Name of the server in the MCP registry, which checked its namespace.
    """
    host = secure_host(url)
    if host is None:
        return TrustTier.UNKNOWN
    if host in OFFICIAL_HOSTS or host in _normalised(operator_official):
        return TrustTier.OFFICIAL
    if curated or host in _normalised(operator_approved):
        return TrustTier.APPROVED
    if registry_name is not None:
        verified = belongs_to_namespace(host, registry_name)
        return TrustTier.VERIFIED if verified else TrustTier.COMMUNITY
    return TrustTier.UNKNOWN


def belongs_to_namespace(host: str, registry_name: str) -> bool:
    """Whether ``host`` lies in the domain that a registry name claims.

    >>> belongs_to_namespace("mcp.example.com", "com.example/weather")
    True
    """
    labels = registry_name.split("/")[0].lower().split(".")
    if len(labels) < 2 or not all(labels):
        return False
    domain = ".".join(reversed(labels))
    return host == domain or host.endswith("." + domain)


def secure_host(url: str) -> str | None:
    """The normalised host name of an https URL; None for anything else, such as an IP address."""
    if "\\" in url or any(character.isspace() or not character.isprintable() for character in url):
        return None
    try:
        parts = urlsplit(url)
        host = normalise_host(parts.hostname or "")
    except ValueError:
        return None
    return host if parts.scheme == "https" and not _is_address(host) else None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _normalised(hosts: Collection[str]) -> set[str]:
    found = set()
    for host in hosts:
        with suppress(ValueError):
            found.add(normalise_host(host))
    return found
