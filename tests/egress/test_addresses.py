from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccos.egress.addresses import PUBLIC, address_kind

from .internet import PUBLIC_V4, PUBLIC_V6, Internet, refused

NEVER_PUBLIC = {
    "0.0.0.0": "unspecified",
    "10.1.2.3": "private",
    "100.64.0.1": "shared",
    "100.127.255.255": "shared",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "169.254.169.254": "link-local",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.8": "reserved",
    "192.0.2.1": "documentation",
    "192.88.99.1": "reserved",
    "192.168.1.1": "private",
    "198.18.0.1": "reserved",
    "198.51.100.7": "documentation",
    "203.0.113.9": "documentation",
    "224.0.0.1": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
    "::": "unspecified",
    "::1": "loopback",
    "::ffff:127.0.0.1": "loopback",
    "::ffff:169.254.169.254": "link-local",
    "::127.0.0.1": "reserved",
    "64:ff9b::7f00:1": "loopback",
    "64:ff9b::a9fe:a9fe": "link-local",
    "64:ff9b:1::1": "reserved",
    "100::1": "reserved",
    "2001::1": "reserved",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2": "reserved",
    "2001:20::1": "reserved",
    "2001:db8::1": "documentation",
    "2002:7f00:1::": "loopback",
    "2002:a9fe:a9fe::": "link-local",
    "2002:c0a8:101::1": "private",
    "3fff::1": "documentation",
    "5f00::1": "reserved",
    "fc00::1": "unique-local",
    "fd00:ec2::254": "unique-local",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local",
    "2606:2800::1%eth0": "link-local",
    "fec0::1": "reserved",
    "ff02::1": "multicast",
}

ALWAYS_PUBLIC = [
    PUBLIC_V4,
    PUBLIC_V6,
    "1.1.1.1",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "223.255.255.255",
    "2001:200::1",
    "::ffff:93.184.216.34",
    "64:ff9b::5db8:d822",
    "2002:5db8:d822::1",
]


@pytest.mark.parametrize(("address", "kind"), NEVER_PUBLIC.items())
def test_special_purpose_addresses_have_their_kind(address: str, kind: str) -> None:
    assert address_kind(ip_address(address)) == kind


@pytest.mark.parametrize("address", ALWAYS_PUBLIC)
def test_public_addresses_are_public(address: str) -> None:
    assert address_kind(ip_address(address)) == PUBLIC


@given(st.ip_addresses())
@settings(max_examples=500)
def test_nothing_the_standard_library_calls_special_is_public(
    address: IPv4Address | IPv6Address,
) -> None:
    embedded = isinstance(address, IPv6Address) and (address.ipv4_mapped or address.sixtofour)
    if address_kind(address) == PUBLIC and not embedded:
        assert address.is_global
        assert not address.is_multicast


NETWORKS_V4 = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
    "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
]  # fmt: skip
NETWORKS_V6 = [
    "::/127", "::ffff:127.0.0.0/104", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:db8::/32",
    "2002:a00::/24", "fc00::/7", "fe80::/10", "ff00::/8",
]  # fmt: skip


def addresses_in(networks: list[str]) -> st.SearchStrategy[int]:
    ranges = [IPv4Network(n) if "." in n and ":" not in n else IPv6Network(n) for n in networks]
    return st.sampled_from(ranges).flatmap(
        lambda network: st.integers(int(network.network_address), int(network.broadcast_address))
    )


@st.composite
def spelled_v4(draw: st.DrawFn) -> str:
    """A non-public IPv4 address in one of the spellings some parser understands."""
    number = draw(addresses_in(NETWORKS_V4))
    octets = [number >> shift & 0xFF for shift in (24, 16, 8, 0)]
    dotted = ".".join(map(str, octets))
    part = st.sampled_from(["{}", "0x{:x}", "0X{:X}", "0{:o}", "000{:o}"])
    return draw(
        st.one_of(
            st.sampled_from(
                [
                    dotted,
                    f"{dotted}.",
                    f"{number}",
                    f"{number:#x}",
                    f"0{number:o}",
                    f"{octets[0]}.{number & 0xFFFFFF}",
                    f"{octets[0]}.{octets[1]}.{number & 0xFFFF}",
                    f"[::ffff:{dotted}]",
                    f"[::{dotted}]",
                    f"[64:ff9b::{dotted}]",
                    f"[2002:{number >> 16:x}:{number & 0xFFFF:x}::1]",
                    dotted.replace(".", "。"),
                    dotted.replace(".", "%2e"),
                    "".join(chr(ord(c) - 48 + 0xFF10) if c.isdigit() else c for c in dotted),
                    "".join(f"%{ord(c):02x}" for c in dotted),
                ]
            ),
            st.tuples(part, part, part, part).map(
                lambda parts: ".".join(
                    form.format(octet) for form, octet in zip(parts, octets, strict=True)
                )
            ),
        )
    )


@st.composite
def spelled_v6(draw: st.DrawFn) -> str:
    address = IPv6Address(draw(addresses_in(NETWORKS_V6)))
    spelling = draw(
        st.sampled_from([address.compressed, address.exploded, address.exploded.upper()])
    )
    return f"[{spelling}]"


@given(st.one_of(spelled_v4(), spelled_v6()))
@settings(max_examples=300, deadline=None)
def test_no_spelling_of_a_special_address_is_reached(host: str) -> None:
    # 2130706433 is a private address to a resolver that reads it as one; no resolver is asked.
    internet = Internet({host.rstrip("."): [[PUBLIC_V4]]})
    reason = asyncio.run(refused(f"http://{host}/", internet=internet))
    assert reason in {"private-address", "host", "url"}
    assert internet.lookups == []
