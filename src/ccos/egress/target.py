"""Where a URL leads: one spelling for every host, and a refusal for every other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

import httpx2
import idna

from ccos.egress.refusal import refusal

DEFAULT_PORTS = {"http": 80, "https": 443}

_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_MAX_NAME_LENGTH = 253


def normalise_host(host: str) -> str:
    """The one spelling of a host: lower case, IDNA, no trailing dot, canonical address.

    A name whose last label is a number is an IPv4 address to most resolvers (WHATWG URL,
    section 3.5), in decimal, octal, hexadecimal or short form. Only the dotted decimal form
    is accepted, so that no two readers can disagree about it.

    Args:
        host: A name, an IPv4 address, or an IPv6 address without brackets.

    Raises:
        ValueError: It is none of these.
    """
    if ":" in host:
        if "%" in host:
            raise ValueError("addresses with a zone are not supported")
        return IPv6Address(host).compressed
    name = host.lower()
    if not name.isascii():
        name = idna.encode(name).decode("ascii")
    name = name.removesuffix(".")
    labels = name.split(".")
    if len(name) > _MAX_NAME_LENGTH or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("not a host name")
    if _NUMBER.fullmatch(labels[-1]):
        return str(IPv4Address(name))
    return name


def is_address(host: str) -> bool:
    """Whether a normalised host is an IP address rather than a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def parse_url(url: httpx2.URL | str) -> httpx2.URL:
    """Read a URL, refusing one that is malformed.

    Raises:
        EgressRefusedError: Reason ``url``. The text is not repeated: it may hold a secret.
    """
    try:
        return httpx2.URL(url)
    except (httpx2.InvalidURL, UnicodeError):
        raise refusal("url", "the URL is malformed") from None


@dataclass(frozen=True, slots=True)
class Target:
    """The origin a request goes to: ``scheme``, normalised ``host``, ``port``."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: httpx2.URL) -> Target:
        """The origin of a URL.

        Raises:
            EgressRefusedError: Reason ``scheme`` (neither http nor https), ``userinfo``,
                ``host`` (not a plain name or address) or ``port`` (out of range).
        """
        if url.scheme not in DEFAULT_PORTS:
            raise refusal("scheme", "only http and https are spoken")
        if url.userinfo:
            raise refusal("userinfo", "the URL carries a user name or password")
        # The encoded form, because decoding a broken punycode label would raise.
        written = url.raw_host.decode("ascii")
        try:
            host = normalise_host(written)
        except ValueError:
            raise refusal("host", "the host is not a plain name or address", written) from None
        port = DEFAULT_PORTS[url.scheme] if url.port is None else url.port
        if not 0 < port < 65536:
            raise refusal("port", "the port is out of range", host, port)
        return cls(url.scheme, host, port)

    @property
    def authority(self) -> str:
        """The value of the Host header (RFC 9110, section 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"
