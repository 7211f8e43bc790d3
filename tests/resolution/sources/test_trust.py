"""Trust comes from the address alone."""

from __future__ import annotations

import pytest

from ccos.capabilities import TrustTier
from ccos.resolution.sources import trust_tier
from ccos.resolution.sources.trust import belongs_to_namespace


@pytest.mark.parametrize(
    "url",
    [
        "https://api.github.com/repos",
        "https://API.GitHub.com:443/",
        "https://api.github.com./",
        "https://user@api.github.com/",
    ],
)
def test_official_hosts(url: str) -> None:
    assert trust_tier(url) is TrustTier.OFFICIAL


@pytest.mark.parametrize(
    "url",
    [
        "http://api.github.com/",
        "https://api.github.com.evil.example/",
        "https://xapi.github.com/",
        "https://api.github.com@evil.example/",
        "https://evil.example/api.github.com",
        "https://evil.example\\@api.github.com/",
        "https://api.github.com\t.evil.example/",
        "https://аpi.github.com/",
        "https://127.0.0.1/",
        "https://0x7f.1/",
        "https://2130706433/",
        "https://[::1]/",
        "https:///path",
        "ftp://api.github.com/",
        "",
    ],
)
def test_all_else_is_unknown_whoever_vouches(url: str) -> None:
    assert trust_tier(url) is TrustTier.UNKNOWN


@pytest.mark.parametrize("url", ["http://a.example/", "https://127.0.0.1/", "https://[::1]/"])
def test_no_approval_raises_plain_http_or_an_address(url: str) -> None:
    hosts = {"a.example", "127.0.0.1", "::1"}
    tier = trust_tier(
        url,
        operator_official=hosts,
        operator_approved=hosts,
        curated=True,
        registry_name="example.a/x",
    )
    assert tier is TrustTier.UNKNOWN


def test_operators_approve_and_declare_official() -> None:
    url = "https://api.example.org/v1"
    assert trust_tier(url) is TrustTier.UNKNOWN
    assert trust_tier(url, operator_approved={"API.example.org."}) is TrustTier.APPROVED
    assert trust_tier(url, operator_official={"api.example.org"}) is TrustTier.OFFICIAL
    assert trust_tier(url, operator_approved={"example.org"}) is TrustTier.UNKNOWN
    assert trust_tier(url, curated=True) is TrustTier.APPROVED


def test_registry_verifies_only_the_domain_of_the_name() -> None:
    url = "https://mcp.example.org/mcp"
    assert trust_tier(url, registry_name="org.example/weather") is TrustTier.VERIFIED
    assert trust_tier(url, registry_name="io.github.example/weather") is TrustTier.COMMUNITY
    assert trust_tier(url, registry_name="org/weather") is TrustTier.COMMUNITY


@pytest.mark.parametrize(
    ("host", "name", "belongs"),
    [
        ("example.org", "org.example/x", True),
        ("a.b.example.org", "org.example/x", True),
        ("notexample.org", "org.example/x", False),
        ("example.org.evil.net", "org.example/x", False),
        ("user.github.io", "io.github.user/x", True),
        ("other.github.io", "io.github.user/x", False),
        ("example.org", "org.example.sub/x", False),
        ("example.org", "org./x", False),
        ("example.org", "/x", False),
    ],
)
def test_namespaces(host: str, name: str, belongs: bool) -> None:
    assert belongs_to_namespace(host, name) is belongs
