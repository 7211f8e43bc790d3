from __future__ import annotations

import asyncio

import pytest

from ccos.egress import Egress, EgressPolicy, EgressRecord
from ccos.errors import EgressRefusedError

from .conftest import Authority
from .internet import OTHER_V4, PUBLIC_V4, Internet, Seen, egress_in, reply, serving

STATUSES = [301, 302, 303, 307, 308]

FORBIDDEN = {
    "http://127.0.0.1/": "private-address",
    "http://0.0.0.0/": "private-address",
    "http://169.254.169.254/latest/meta-data/": "private-address",
    "http://100.64.0.1/": "private-address",
    "http://10.0.0.1/": "private-address",
    "http://[::1]/": "private-address",
    "http://[fd00:ec2::254]/": "private-address",
    "http://[::ffff:127.0.0.1]/": "private-address",
    "http://[64:ff9b::7f00:1]/": "private-address",
    "http://[2002:7f00:1::]/": "private-address",
    "http://inside.test/": "private-address",
    "http://localhost/": "private-name",
    "http://metadata.google.internal/": "private-name",
    "http://2130706433/": "host",
    "http://0x7f.1/": "host",
    "http://user:password@other.test/": "userinfo",
    "http://other.test:22/": "port",
    "http://blocked.test/": "blocked-domain",
    "//localhost/": "private-name",
    "http://private.test:9000/": "redirect-private",
    "file:///etc/passwd": "scheme",
    "gopher://other.test/": "scheme",
    "data:text/plain,hello": "scheme",
    "http://other.test:1:2/": "url",
    "http://[::1/": "url",
}

POLICY = EgressPolicy(
    require_https=False,
    blocked_domains=frozenset({"blocked.test"}),
    private_hosts=frozenset({"private.test:9000"}),
    timeout_seconds=5,
    max_redirects=3,
)


def internet_with(start: int, other: int = 0) -> Internet:
    return Internet(
        {
            "start.test": [[PUBLIC_V4]],
            "other.test": [[OTHER_V4]],
            "inside.test": [["192.168.0.1"]],
            "private.test": [["127.0.0.1"]],
        },
        {
            (PUBLIC_V4, 80): start,
            (PUBLIC_V4, 443): start,
            (OTHER_V4, 80): other,
            (OTHER_V4, 443): other,
        },
    )


@pytest.mark.parametrize("status", STATUSES)
def test_redirects_to_forbidden_places_are_refused(status: int) -> None:
    async def main() -> None:
        location = ""

        async def redirect(_: Seen, writer: asyncio.StreamWriter) -> None:
            writer.write(reply(status, Location=location))

        async with serving(redirect) as server:
            internet = internet_with(server.port)
            async with egress_in(internet, POLICY) as egress:
                for location, reason in FORBIDDEN.items():
                    with pytest.raises(EgressRefusedError) as caught:
                        await egress.request("GET", "http://start.test/", purpose="test")
                    assert caught.value.details["reason"] == reason, location
                    assert caught.value.details["sent"] is True
            assert {address for address, _ in internet.connections} == {PUBLIC_V4}

    asyncio.run(main())


@pytest.mark.parametrize("status", STATUSES)
def test_a_redirect_to_an_allowed_place_is_followed(status: int) -> None:
    async def main() -> None:
        async with (
            serving(reply(status, Location="http://other.test/there?x=1")) as start,
            serving(reply(body=b"arrived")) as other,
        ):
            records: list[EgressRecord] = []
            internet = internet_with(start.port, other.port)
            async with egress_in(internet, POLICY, observer=records.append) as egress:
                response = await egress.request("GET", "http://start.test/", purpose="test")
            assert response.body == b"arrived"
            assert response.url == "http://other.test/there?x=1"
            assert [(r.host, r.status, r.failure) for r in records] == [
                ("start.test", status, None),
                ("other.test", 200, None),
            ]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "sent", "received", "body"),
    [
        (301, "POST", "GET", b""),
        (302, "POST", "GET", b""),
        (303, "POST", "GET", b""),
        (303, "PUT", "GET", b""),
        (307, "POST", "POST", b'{"a":1}'),
        (308, "POST", "POST", b'{"a":1}'),
        (301, "PUT", "PUT", b'{"a":1}'),
        (302, "DELETE", "DELETE", b'{"a":1}'),
    ],
)
def test_methods_and_bodies_change_as_the_standard_says(
    status: int, sent: str, received: str, body: bytes
) -> None:
    async def main() -> None:
        async def handler(seen: Seen, writer: asyncio.StreamWriter) -> None:
            writer.write(reply(status, Location="/b") if seen.target == "/a" else reply())

        async with serving(handler) as server:
            async with egress_in(internet_with(server.port), POLICY) as egress:
                await egress.request(sent, "http://start.test/a", json={"a": 1}, purpose="test")
            last = server.seen[-1]
            assert (last.method, last.target, last.body) == (received, "/b", body)
            assert ("content-type" in last.headers) is bool(body)

    asyncio.run(main())


def test_head_stays_head() -> None:
    async def main() -> None:
        async def handler(seen: Seen, writer: asyncio.StreamWriter) -> None:
            writer.write(reply(303, Location="/b") if seen.target == "/a" else reply())

        async with serving(handler) as server:
            async with egress_in(internet_with(server.port), POLICY) as egress:
                await egress.request("HEAD", "http://start.test/a", purpose="test")
            assert [seen.method for seen in server.seen] == ["HEAD", "HEAD"]

    asyncio.run(main())


SECRETS = {
    "Authorization": "Bearer secret",
    "Cookie": "secret",
    "Proxy-Authorization": "secret",
    "X-API-Key": "secret",
    "X-Ours": "secret",
}


def test_credentials_do_not_leave_their_origin_and_do_not_come_back() -> None:
    async def main() -> None:
        async def away(seen: Seen, writer: asyncio.StreamWriter) -> None:
            same = seen.target == "/"
            location = "/same" if same else "http://other.test/"
            writer.write(reply(307, Location=location) if seen.target != "/end" else reply())

        async with (
            serving(away) as start,
            serving(reply(307, Location="http://start.test/end")) as other,
        ):
            async with egress_in(internet_with(start.port, other.port), POLICY) as egress:
                await egress.request(
                    "POST",
                    "http://start.test/",
                    headers={**SECRETS, "X-Plain": "kept"},
                    content=b"body",
                    secret_headers=frozenset({"X-OURS"}),
                    purpose="test",
                )
            first, same, end = start.seen
            [elsewhere] = other.seen
            for name in SECRETS:
                assert "secret" in first.headers[name.lower()]
                assert "secret" in same.headers[name.lower()]
                assert name.lower() not in elsewhere.headers
                assert name.lower() not in end.headers
            assert elsewhere.headers["x-plain"] == "kept"
            assert elsewhere.headers["host"] == "other.test"
            assert elsewhere.body == end.body == b"body"

    asyncio.run(main())


def test_a_change_of_port_is_another_origin() -> None:
    async def main() -> None:
        policy = EgressPolicy(private_hosts=frozenset({"127.0.0.1"}))
        async with (
            serving(reply()) as end,
            serving(reply(307, Location=f"http://127.0.0.1:{end.port}/")) as start,
            Egress(policy) as egress,
        ):
            await egress.request(
                "GET", f"http://127.0.0.1:{start.port}/", headers=SECRETS, purpose="test"
            )
            assert "authorization" in start.seen[0].headers
            assert "authorization" not in end.seen[0].headers

    asyncio.run(main())


@pytest.mark.parametrize("status", STATUSES)
def test_https_never_leads_to_http(authority: Authority, status: int) -> None:
    async def main() -> None:
        tls = authority.server_context("start.test")
        async with (
            serving(reply(status, Location="http://start.test/"), tls) as start,
            serving(reply()) as other,
        ):
            internet = internet_with(start.port, other.port)
            context = authority.client_context()
            async with egress_in(internet, POLICY, ssl_context=context) as egress:
                with pytest.raises(EgressRefusedError) as caught:
                    await egress.request("GET", "https://start.test/", purpose="test")
            assert caught.value.details["reason"] == "redirect-downgrade"
            assert len(start.seen) == 1

    asyncio.run(main())


def test_https_may_lead_to_https(authority: Authority) -> None:
    async def main() -> None:
        async with (
            serving(
                reply(302, Location="https://other.test/"), authority.server_context("start.test")
            ) as start,
            serving(reply(body=b"ok"), authority.server_context("other.test")) as other,
        ):
            internet = internet_with(start.port, other.port)
            context = authority.client_context()
            async with egress_in(internet, EgressPolicy(), ssl_context=context) as egress:
                response = await egress.request("GET", "https://start.test/", purpose="test")
            assert response.body == b"ok"

    asyncio.run(main())


def test_a_loop_ends() -> None:
    async def main() -> None:
        async with serving(reply(307, Location="/again")) as server:
            async with egress_in(internet_with(server.port), POLICY) as egress:
                with pytest.raises(EgressRefusedError) as caught:
                    await egress.request("POST", "http://start.test/", purpose="test")
            assert caught.value.details["reason"] == "too-many-redirects"
            assert caught.value.details["sent"] is True
            assert len(server.seen) == POLICY.max_redirects + 1

    asyncio.run(main())


def test_as_many_redirects_as_allowed_are_followed() -> None:
    async def main() -> None:
        async def handler(seen: Seen, writer: asyncio.StreamWriter) -> None:
            step = len(seen.target)
            writer.write(reply(302, Location="/" + "x" * step) if step < 4 else reply(body=b"end"))

        async with serving(handler) as server:
            async with egress_in(internet_with(server.port), POLICY) as egress:
                response = await egress.request("GET", "http://start.test/", purpose="test")
            assert response.body == b"end"
            assert len(server.seen) == POLICY.max_redirects + 1

    asyncio.run(main())


def test_redirects_without_a_location_and_304_are_answers() -> None:
    async def main() -> None:
        for status in (301, 304, 300):
            async with serving(reply(status)) as server:
                async with egress_in(internet_with(server.port), POLICY) as egress:
                    response = await egress.request("GET", "http://start.test/", purpose="test")
                assert response.status == status

    asyncio.run(main())


def test_a_refused_hop_is_observed_by_its_own_name() -> None:
    async def main() -> None:
        async with serving(reply(302, Location="http://inside.test/")) as server:
            records: list[EgressRecord] = []
            internet = internet_with(server.port)
            async with egress_in(internet, POLICY, observer=records.append) as egress:
                with pytest.raises(EgressRefusedError):
                    await egress.request("GET", "http://start.test/", purpose="test")
            first, second = records
            assert (first.host, first.sent, first.failure) == ("start.test", True, None)
            assert (second.host, second.sent, second.address, second.failure) == (
                "inside.test",
                False,
                "192.168.0.1",
                "private-address",
            )

    asyncio.run(main())
