from __future__ import annotations

from typing import Any

import pytest

from ccos.egress import EgressPolicy
from ccos.egress.policy import matches, normalise_patterns
from ccos.egress.target import Target, parse_url
from ccos.errors import ConfigurationError, EgressRefusedError


def verdict(policy: EgressPolicy, url: str, extra: frozenset[str] = frozenset()) -> str:
    try:
        policy.check(Target.of(parse_url(url)), extra)
    except EgressRefusedError as error:
        return str(error.details["reason"])
    return "allowed"


def addresses_verdict(policy: EgressPolicy, host: str, *addresses: str, port: int = 80) -> str:
    try:
        policy.check_addresses(host, port, list(addresses))
    except EgressRefusedError as error:
        return str(error.details["reason"])
    return "allowed"


@pytest.mark.parametrize(
    ("pattern", "host", "expected"),
    [
        ("example.com", "example.com", True),
        ("EXAMPLE.com.", "example.com", True),
        ("bücher.example", "xn--bcher-kva.example", True),
        ("example.com", "www.example.com", False),
        ("example.com", "notexample.com", False),
        ("example.com", "example.com.evil.org", False),
        ("*.example.com", "www.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", True),
        ("*.example.com", "notexample.com", False),
        ("*.example.com", "example.com.evil.org", False),
        ("93.184.216.34", "93.184.216.34", True),
    ],
)
def test_domain_patterns(pattern: str, host: str, expected: bool) -> None:
    assert matches(host, normalise_patterns([pattern], "test")) is expected


def test_an_empty_allow_list_allows_every_public_name() -> None:
    assert verdict(EgressPolicy(), "https://anything.example/") == "allowed"


def test_an_allow_list_refuses_the_rest() -> None:
    policy = EgressPolicy(allowed_domains=frozenset({"api.example.com"}))
    assert verdict(policy, "https://api.example.com/") == "allowed"
    assert verdict(policy, "https://example.com/") == "not-allowed-domain"
    assert verdict(policy, "https://93.184.216.34/") == "not-allowed-domain"


def test_one_request_may_be_allowed_more() -> None:
    policy = EgressPolicy(allowed_domains=frozenset({"api.example.com"}))
    extra = frozenset({"Registry.Example.org."})
    assert verdict(policy, "https://registry.example.org/", extra) == "allowed"
    assert verdict(policy, "https://registry.example.org/") == "not-allowed-domain"
    assert verdict(policy, "https://other.example.org/", extra) == "not-allowed-domain"


def test_blocked_wins_over_every_permission() -> None:
    policy = EgressPolicy(
        allowed_domains=frozenset({"*.example.com", "ok.test"}),
        blocked_domains=frozenset({"*.bad.example.com", "127.0.0.1"}),
        private_hosts=frozenset({"127.0.0.1", "bad.example.com"}),
    )
    extra = frozenset({"bad.example.com"})
    assert verdict(policy, "https://bad.example.com/", extra) == "blocked-domain"
    assert verdict(policy, "https://very.bad.example.com/") == "blocked-domain"
    assert verdict(policy, "http://127.0.0.1/") == "blocked-domain"
    assert verdict(policy, "https://good.example.com/") == "allowed"


def test_extra_hosts_do_not_open_local_names() -> None:
    extra = frozenset({"localhost", "metadata.google.internal"})
    assert verdict(EgressPolicy(), "https://localhost/", extra) == "private-name"
    assert verdict(EgressPolicy(), "https://metadata.google.internal/", extra) == "private-name"


def test_plain_http_needs_permission() -> None:
    assert verdict(EgressPolicy(), "http://example.com/") == "scheme"
    assert verdict(EgressPolicy(require_https=False), "http://example.com/") == "allowed"
    assert verdict(EgressPolicy(), "https://example.com/") == "allowed"


def test_ports_outside_the_policy_are_refused() -> None:
    assert verdict(EgressPolicy(), "https://example.com:8443/") == "port"
    assert verdict(EgressPolicy(), "https://example.com:22/") == "port"
    policy = EgressPolicy(allowed_ports=frozenset({443, 8443}))
    assert verdict(policy, "https://example.com:8443/") == "allowed"


@pytest.mark.parametrize(
    ("entry", "url", "expected"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080/", "allowed"),
        ("127.0.0.1:8080", "http://127.0.0.1:8081/", "private-address"),
        ("127.0.0.1:8080", "https://127.0.0.1:443/", "private-address"),
        ("127.0.0.1", "http://127.0.0.1:8081/", "allowed"),
        ("localhost", "http://localhost:3000/", "allowed"),
        ("localhost:3000", "http://localhost:3000/", "allowed"),
        ("localhost:3000", "http://localhost:3001/", "private-name"),
        ("localhost", "http://app.localhost:3000/", "private-name"),
        ("LocalHost.:3000", "http://localhost:3000/", "allowed"),
        ("::1", "http://[::1]:9000/", "allowed"),
        ("[::1]", "http://[::1]:9000/", "allowed"),
        ("[::1]:9000", "http://[::1]:9000/", "allowed"),
        ("[::1]:9000", "http://[::1]:9001/", "private-address"),
        ("10.0.0.0/8", "http://10.200.3.4:8080/", "allowed"),
        ("10.0.0.0/8", "http://11.0.0.1/", "scheme"),
        ("10.0.0.0/8", "http://192.168.0.1/", "private-address"),
        ("fd00::/8", "http://[fd12::1]/", "allowed"),
        ("10.0.0.0/8", "http://intranet.example/", "scheme"),
    ],
)
def test_private_hosts_open_what_they_name(entry: str, url: str, expected: str) -> None:
    assert verdict(EgressPolicy(private_hosts=frozenset({entry})), url) == expected


def test_private_hosts_count_as_allowed() -> None:
    policy = EgressPolicy(
        allowed_domains=frozenset({"example.com"}), private_hosts=frozenset({"tools.corp:8080"})
    )
    assert verdict(policy, "http://tools.corp:8080/") == "allowed"
    assert verdict(policy, "http://tools.corp:8081/") == "not-allowed-domain"


def test_one_private_answer_among_public_ones_refuses_the_name() -> None:
    policy = EgressPolicy()
    assert addresses_verdict(policy, "mixed.test", "1.1.1.1", "10.0.0.1") == "private-address"
    assert addresses_verdict(policy, "mixed.test", "10.0.0.1", "1.1.1.1") == "private-address"
    assert addresses_verdict(policy, "mixed.test", "1.1.1.1", "fd00::1") == "private-address"
    assert addresses_verdict(policy, "mixed.test", "1.1.1.1", "nonsense") == "private-address"
    assert addresses_verdict(policy, "mixed.test", "1.1.1.1", "2606:2800::1") == "allowed"


@pytest.mark.parametrize("address", ["169.254.169.254", "0.0.0.0", "224.0.0.1", "fe80::1%lo"])
def test_a_private_name_leads_to_private_addresses_and_no_others(address: str) -> None:
    policy = EgressPolicy(private_hosts=frozenset({"tools.corp"}))
    for private in ("127.0.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "1.1.1.1"):
        assert addresses_verdict(policy, "tools.corp", private) == "allowed"
        assert addresses_verdict(policy, "tools.corp", private, address) == "private-address"


def test_naming_the_very_address_opens_it() -> None:
    literal = EgressPolicy(private_hosts=frozenset({"169.254.169.254"}))
    assert addresses_verdict(literal, "169.254.169.254", "169.254.169.254") == "allowed"
    network = EgressPolicy(private_hosts=frozenset({"10.1.0.0/16"}))
    assert addresses_verdict(network, "intranet.example", "10.1.2.3") == "allowed"
    assert addresses_verdict(network, "intranet.example", "10.2.2.3") == "private-address"


def test_a_host_named_on_one_port_stays_closed_on_the_others() -> None:
    policy = EgressPolicy(private_hosts=frozenset({"127.0.0.1:8080"}))
    assert addresses_verdict(policy, "127.0.0.1", "127.0.0.1", port=8080) == "allowed"
    assert addresses_verdict(policy, "127.0.0.1", "127.0.0.1", port=443) == "private-address"


@pytest.mark.parametrize(
    "setting",
    [
        {"allowed_domains": frozenset({"https://example.com"})},
        {"allowed_domains": frozenset({"*"})},
        {"allowed_domains": frozenset({""})},
        {"blocked_domains": frozenset({"exa mple.com"})},
        {"blocked_domains": "example.com"},
        {"private_hosts": "localhost"},
        {"private_hosts": frozenset({"10.0.0.1/8"})},
        {"private_hosts": frozenset({"localhost:http"})},
        {"private_hosts": frozenset({"localhost:0"})},
        {"private_hosts": frozenset({"localhost:"})},
        {"private_hosts": frozenset({"[::1]8080"})},
        {"private_hosts": frozenset({"http://localhost"})},
        {"private_hosts": frozenset({"127.1"})},
        {"allowed_ports": frozenset({0})},
        {"allowed_ports": frozenset({65536})},
        {"max_request_bytes": 0},
        {"max_response_bytes": -1},
        {"timeout_seconds": 0},
        {"timeout_seconds": float("nan")},
        {"max_redirects": -1},
    ],
)
def test_settings_that_make_no_sense_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        EgressPolicy(**setting)


def test_settings_are_stored_in_their_normal_spelling() -> None:
    policy = EgressPolicy(allowed_domains=frozenset({"*.BÜCHER.example."}))
    assert policy.allowed_domains == {"*.xn--bcher-kva.example"}
