from __future__ import annotations

import asyncio

import pytest

from ccos.egress import Egress, EgressPolicy, SystemResolver
from ccos.errors import EgressError, EgressRefusedError, EgressTimeoutError

from .conftest import Authority
from .internet import OTHER_V4, PUBLIC_V4, PUBLIC_V6, Internet, egress_in, refused, reply, serving


def test_an_answer_that_changes_after_the_check_changes_nothing() -> None:
    async def main() -> None:
        async with serving(reply(body=b"checked")) as checked, serving(reply()) as inside:
            internet = Internet(
                {"rebind.test": [[PUBLIC_V4], ["127.0.0.1"]]},
                {(PUBLIC_V4, 80): checked.port, ("127.0.0.1", 80): inside.port},
            )
            async with egress_in(internet) as egress:
                response = await egress.request("GET", "http://rebind.test/", purpose="test")
                assert response.body == b"checked"
            assert internet.lookups == ["rebind.test"]
            assert internet.connections == [(PUBLIC_V4, 80)]
            assert inside.connections == 0

    asyncio.run(main())


def test_the_changed_answer_is_refused_at_the_next_request() -> None:
    async def main() -> None:
        async with serving(reply()) as server:
            internet = Internet(
                {"rebind.test": [[PUBLIC_V4], ["127.0.0.1"]]},
                {(PUBLIC_V4, 80): server.port, ("127.0.0.1", 80): server.port},
            )
            async with egress_in(internet) as egress:
                await egress.request("GET", "http://rebind.test/", purpose="test")
                with pytest.raises(EgressRefusedError) as caught:
                    await egress.request("GET", "http://rebind.test/", purpose="test")
            assert caught.value.details["reason"] == "private-address"
            assert caught.value.details["address"] == "127.0.0.1"
            assert len(server.seen) == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    "answers",
    [
        [PUBLIC_V4, "127.0.0.1"],
        ["10.0.0.1", PUBLIC_V4],
        [PUBLIC_V4, "::1"],
        [PUBLIC_V6, "169.254.169.254"],
        ["64:ff9b::7f00:1"],
        ["::ffff:127.0.0.1"],
    ],
)
def test_one_bad_answer_refuses_the_name(answers: list[str]) -> None:
    internet = Internet({"mixed.test": [answers]})
    assert asyncio.run(refused("http://mixed.test/", internet=internet)) == "private-address"


def test_both_families_are_tried_in_turn() -> None:
    async def main() -> None:
        async with serving(reply(body=b"ok")) as server:
            internet = Internet(
                {"both.test": [[PUBLIC_V6, PUBLIC_V4]]}, {(PUBLIC_V4, 80): server.port}
            )
            async with egress_in(internet) as egress:
                response = await egress.request("GET", "http://both.test/", purpose="test")
            assert response.body == b"ok"
            assert internet.connections == [(PUBLIC_V6, 80), (PUBLIC_V4, 80)]

    asyncio.run(main())


def test_an_address_in_the_url_is_not_looked_up() -> None:
    async def main() -> None:
        async with serving(reply(body=b"ok")) as server:
            internet = Internet({}, {(PUBLIC_V6, 80): server.port})
            async with egress_in(internet) as egress:
                response = await egress.request("GET", f"http://[{PUBLIC_V6}]/", purpose="test")
            assert response.body == b"ok"
            assert internet.lookups == []

    asyncio.run(main())


def test_no_connection_is_used_twice() -> None:
    async def main() -> None:
        async with serving(reply()) as server:
            internet = Internet(
                {"a.test": [[PUBLIC_V4]], "b.test": [[PUBLIC_V4]]}, {(PUBLIC_V4, 80): server.port}
            )
            async with egress_in(internet) as egress:
                for host in ("a.test", "a.test", "b.test"):
                    await egress.request("GET", f"http://{host}/", purpose="test")
            assert server.connections == 3
            assert internet.lookups == ["a.test", "a.test", "b.test"]
            assert [seen.headers["host"] for seen in server.seen] == ["a.test", "a.test", "b.test"]

    asyncio.run(main())


def test_hosts_allowed_for_one_request_are_not_for_the_next() -> None:
    async def main() -> None:
        async with serving(reply()) as server:
            internet = Internet({"a.test": [[PUBLIC_V4]]}, {(PUBLIC_V4, 80): server.port})
            policy = EgressPolicy(require_https=False, allowed_domains=frozenset({"other.test"}))
            async with egress_in(internet, policy) as egress:
                allowed = frozenset({"a.test"})
                await egress.request(
                    "GET", "http://a.test/", purpose="one", extra_allowed_hosts=allowed
                )
                with pytest.raises(EgressRefusedError) as caught:
                    await egress.request("GET", "http://a.test/", purpose="two")
            assert caught.value.details["reason"] == "not-allowed-domain"
            assert len(server.seen) == 1

    asyncio.run(main())


def test_a_name_without_address_was_certainly_not_asked() -> None:
    async def main() -> None:
        for internet in (Internet(), Internet({"nowhere.test": [[]]})):
            async with egress_in(internet) as egress:
                with pytest.raises(EgressError) as caught:
                    await egress.request("POST", "http://nowhere.test/", purpose="test")
                assert caught.value.details["reason"] == "dns"
                assert caught.value.details["sent"] is False

    asyncio.run(main())


def test_a_resolver_that_hangs_is_timed() -> None:
    class Hanging(Internet):
        async def resolve(self, host: str, port: int) -> list[str]:
            await asyncio.sleep(60)
            return [PUBLIC_V4]

    async def main() -> None:
        async with egress_in(Hanging()) as egress:
            with pytest.raises(EgressTimeoutError) as caught:
                await egress.request(
                    "GET", "http://slow.test/", purpose="test", timeout_seconds=0.1
                )
        assert caught.value.details["sent"] is False

    asyncio.run(main())


def test_a_resolver_that_gives_up_is_a_timeout() -> None:
    class GivingUp(Internet):
        async def resolve(self, host: str, port: int) -> list[str]:
            raise TimeoutError

    async def main() -> None:
        async with egress_in(GivingUp()) as egress:
            with pytest.raises(EgressTimeoutError) as caught:
                await egress.request("GET", "http://slow.test/", purpose="test")
        assert caught.value.details["sent"] is False

    asyncio.run(main())


def test_the_system_resolver_knows_loopback() -> None:
    assert "127.0.0.1" in asyncio.run(SystemResolver().resolve("127.0.0.1", 80))


def test_loopback_by_name_needs_to_be_named() -> None:
    async def main() -> None:
        async with serving(reply(body=b"ok")) as server:
            url = f"http://localhost:{server.port}/"
            entry = f"localhost:{server.port}"
            async with Egress(EgressPolicy(private_hosts=frozenset({entry}))) as egress:
                assert (await egress.request("GET", url, purpose="test")).body == b"ok"
            async with Egress(EgressPolicy()) as egress:
                with pytest.raises(EgressRefusedError):
                    await egress.request("GET", url, purpose="test")
            assert len(server.seen) == 1

    asyncio.run(main())


def test_the_certificate_is_verified_against_the_name(authority: Authority) -> None:
    async def main() -> None:
        tls = authority.server_context("good.test")
        async with serving(reply(body=b"secure"), tls) as server:
            internet = Internet(
                {"good.test": [[PUBLIC_V4]], "evil.test": [[PUBLIC_V4]]},
                {(PUBLIC_V4, 443): server.port},
            )
            policy = EgressPolicy(timeout_seconds=5)
            context = authority.client_context()
            async with egress_in(internet, policy, ssl_context=context) as egress:
                response = await egress.request("GET", "https://good.test/", purpose="test")
                assert response.body == b"secure"
                for url in ("https://evil.test/", f"https://{PUBLIC_V4}/"):
                    with pytest.raises(EgressError) as caught:
                        await egress.request("POST", url, purpose="test")
                    assert caught.value.details["reason"] == "connect"
                    assert caught.value.details["sent"] is False
            assert internet.connections == [(PUBLIC_V4, 443)] * 3
            assert [seen.headers["host"] for seen in server.seen] == ["good.test"]

    asyncio.run(main())


def test_an_unknown_authority_is_refused(authority: Authority) -> None:
    async def main() -> None:
        async with serving(reply(), authority.server_context("good.test")) as server:
            internet = Internet({"good.test": [[PUBLIC_V4]]}, {(PUBLIC_V4, 443): server.port})
            async with egress_in(internet, EgressPolicy()) as egress:
                with pytest.raises(EgressError, match="CERTIFICATE_VERIFY_FAILED"):
                    await egress.request("GET", "https://good.test/", purpose="test")
            assert server.seen == []

    asyncio.run(main())


def test_one_silent_address_leaves_time_for_the_next() -> None:
    async def main() -> None:
        async with serving(reply(body=b"ok")) as server:
            internet = Internet(
                {"two.test": [[OTHER_V4, PUBLIC_V4]]},
                {(PUBLIC_V4, 80): server.port},
                silent={OTHER_V4},
            )
            policy = EgressPolicy(require_https=False, timeout_seconds=0.6)
            async with egress_in(internet, policy) as egress:
                response = await egress.request("GET", "http://two.test/", purpose="test")
            assert response.body == b"ok"
            assert internet.connections == [(OTHER_V4, 80), (PUBLIC_V4, 80)]

    asyncio.run(main())
