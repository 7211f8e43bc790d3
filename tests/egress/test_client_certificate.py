"""A client certificate is shown to the one host that it is meant for."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from ccos.egress import EgressPolicy
from ccos.errors import EgressError, EgressRefusedError

from .conftest import Authority
from .internet import OTHER_V4, PUBLIC_V4, Internet, egress_in, reply, serving


def asking(authority: Authority, *names: str) -> ssl.SSLContext:
    """A server that answers only who shows a certificate of the authority."""
    context = authority.server_context(*names)
    for certificate in authority.client_context().get_ca_certs(binary_form=True):
        context.load_verify_locations(cadata=certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_a_client_certificate_is_shown_only_where_it_is_asked_for(
    authority: Authority, tmp_path: Path
) -> None:
    shown = authority.identity("client")
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")

    async def main() -> None:
        async with serving(reply(body=b"secure"), asking(authority, "good.test")) as server:
            internet = Internet({"good.test": [[PUBLIC_V4]]}, {(PUBLIC_V4, 443): server.port})
            policy = EgressPolicy(timeout_seconds=5)
            context = authority.client_context()
            async with egress_in(internet, policy, ssl_context=context) as egress:

                async def ask(certificate: Path | None) -> bytes:
                    answer = await egress.request(
                        "GET",
                        "https://good.test/",
                        purpose="test",
                        client_certificate=certificate,
                    )
                    return answer.body

                assert await ask(shown) == b"secure"
                with pytest.raises(EgressError):
                    await ask(None)
                for unusable in (broken, tmp_path / "absent.pem"):
                    with pytest.raises(EgressRefusedError) as caught:
                        await ask(unusable)
                    assert caught.value.details["reason"] == "client-certificate"
                    assert caught.value.details["sent"] is False

    asyncio.run(main())


def test_a_redirect_does_not_take_a_client_certificate_elsewhere(authority: Authority) -> None:
    shown = authority.identity("client")

    async def main() -> None:
        away = reply(307, location="https://evil.test/")
        async with (
            serving(away, asking(authority, "good.test")) as server,
            serving(reply(body=b"evil"), authority.server_context("evil.test")) as evil,
        ):
            internet = Internet(
                {"good.test": [[PUBLIC_V4]], "evil.test": [[OTHER_V4]]},
                {(PUBLIC_V4, 443): server.port, (OTHER_V4, 443): evil.port},
            )
            context = authority.client_context()
            async with egress_in(internet, EgressPolicy(), ssl_context=context) as egress:
                with pytest.raises(EgressRefusedError):
                    await egress.request(
                        "GET", "https://good.test/", purpose="test", client_certificate=shown
                    )
            assert len(server.seen) == 1
            assert evil.seen == []

    asyncio.run(main())
