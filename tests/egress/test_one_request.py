"""What one request may ask for by itself: a narrower list of hosts, and an observer."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from ccos.egress import EgressPolicy, EgressRecord, EgressResponse
from ccos.errors import ConfigurationError, EgressRefusedError

from .internet import OPEN, OTHER_V4, PUBLIC_V4, Internet, egress_in, refused, reply, serving

PRIVATE = dataclasses.replace(OPEN, private_hosts=frozenset({"127.0.0.1"}))


async def redirected(only_hosts: frozenset[str], policy: EgressPolicy = OPEN) -> EgressResponse:
    """Ask first.test, which redirects to deep.other.test."""
    moved = reply(302, location="http://deep.other.test/")
    async with serving(moved) as first, serving(reply(body=b"here")) as other:
        internet = Internet(
            {"first.test": [[PUBLIC_V4]], "deep.other.test": [[OTHER_V4]]},
            {(PUBLIC_V4, 80): first.port, (OTHER_V4, 80): other.port},
        )
        async with egress_in(internet, policy) as egress:
            return await egress.request(
                "GET", "http://first.test/", purpose="test", only_hosts=only_hosts
            )


@pytest.mark.parametrize(
    "only_hosts",
    [frozenset(), {"first.test", "deep.other.test"}, {"First.test.", "*.other.test"}],
)
def test_hosts_of_the_narrower_list_are_reached(only_hosts: set[str]) -> None:
    assert asyncio.run(redirected(frozenset(only_hosts))).text == "here"


def test_a_redirect_out_of_the_narrower_list_is_refused() -> None:
    with pytest.raises(EgressRefusedError) as caught:
        asyncio.run(redirected(frozenset({"first.test"})))
    assert caught.value.details["reason"] == "not-allowed-domain"
    assert caught.value.details["host"] == "deep.other.test"


@pytest.mark.parametrize("policy", [OPEN, PRIVATE])
def test_nothing_else_is_contacted_not_even_a_private_host(policy: EgressPolicy) -> None:
    for url in ("http://127.0.0.1/", "http://elsewhere.test/"):
        only_hosts = frozenset({"first.test"})
        assert asyncio.run(refused(url, policy, only_hosts=only_hosts)) == "not-allowed-domain"


def test_the_narrower_list_never_widens_the_policy() -> None:
    blocked = dataclasses.replace(OPEN, blocked_domains=frozenset({"first.test"}))
    listed = dataclasses.replace(OPEN, allowed_domains=frozenset({"other.test"}))
    only_hosts = frozenset({"first.test"})
    for policy, reason in ((blocked, "blocked-domain"), (listed, "not-allowed-domain")):
        found = asyncio.run(refused("http://first.test/", policy, only_hosts=only_hosts))
        assert found == reason


def test_a_list_that_cannot_be_read_reaches_nothing() -> None:
    with pytest.raises(ConfigurationError, match="only_hosts"):
        asyncio.run(redirected(frozenset({"not a host"})))


def test_the_observer_of_a_request_hears_of_its_hops_and_of_no_other() -> None:
    of_all: list[EgressRecord] = []
    of_one: list[EgressRecord] = []

    async def main() -> None:
        async with serving(reply(body=b"four")) as server:
            internet = Internet({"first.test": [[PUBLIC_V4]]}, {(PUBLIC_V4, 80): server.port})
            async with egress_in(internet, observer=of_all.append) as egress:
                await egress.request("GET", "http://first.test/a", purpose="before")
                await egress.request(
                    "POST",
                    "http://first.test/b",
                    content=b"seven",
                    headers={"x-long": "h" * 1000},
                    purpose="this",
                    observer=of_one.append,
                )

    asyncio.run(main())
    assert [record.purpose for record in of_all] == ["before", "this"]
    assert of_one == of_all[1:]
    [record] = of_one
    assert 1000 < record.head_bytes < 1300
    assert record.network_bytes == record.head_bytes + len(b"four") + len(b"seven")


def test_a_request_that_was_refused_used_no_network() -> None:
    records: list[EgressRecord] = []

    async def main() -> None:
        async with egress_in(Internet()) as egress:
            with pytest.raises(EgressRefusedError):
                await egress.request(
                    "GET", "http://127.0.0.1/", purpose="test", observer=records.append
                )

    asyncio.run(main())
    assert [record.network_bytes for record in records] == [0]
