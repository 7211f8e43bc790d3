"""Which network addresses belong to the public internet.

Python's own ``is_global`` changed its mind between patch releases, so the table is spelled
out here, from the IANA special-purpose address registries (RFC 6890) as of 2024.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

PUBLIC = "public"

PRIVATE_KINDS = frozenset({"loopback", "private", "shared", "unique-local"})
"""Kinds a host may resolve to once configuration names that host."""

_IPV4 = tuple(
    (IPv4Network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "reserved"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)

_IPV6 = tuple(
    (IPv6Network(network), kind)
    for network, kind in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("2001::/23", "reserved"),  # Teredo, ORCHID and other protocol assignments
        ("2001:db8::/32", "documentation"),
        ("3fff::/20", "documentation"),
        ("fc00::/7", "unique-local"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
        ("2000::/3", PUBLIC),
    )
)

_NAT64 = IPv6Network("64:ff9b::/96")


def address_kind(address: IPv4Address | IPv6Address) -> str:
    """``"public"``, or the kind of special-purpose block the address lies in.

    An IPv6 address that carries an IPv4 address (mapped, RFC 4291; NAT64, RFC 6052; 6to4,
    RFC 3056) has the kind of the address it carries. An address with a zone is link-local
    whatever it looks like, and IPv6 space that nobody may route yet is ``"reserved"``.
    """
    if isinstance(address, IPv4Address):
        return next((kind for network, kind in _IPV4 if address in network), PUBLIC)
    if address.scope_id is not None:
        return "link-local"
    embedded = address.ipv4_mapped or address.sixtofour
    if address in _NAT64:
        embedded = IPv4Address(int(address) & 0xFFFF_FFFF)
    if embedded is not None:
        return address_kind(embedded)
    return next((kind for network, kind in _IPV6 if address in network), "reserved")
