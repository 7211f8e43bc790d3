from __future__ import annotations

import asyncio

import pytest

from ccos.egress.target import Target, normalise_host, parse_url
from ccos.errors import EgressRefusedError

from .internet import PUBLIC_V4, Internet, egress_in, refused, reply, serving


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://2130706433/", "host"),
        ("http://0x7f000001/", "host"),
        ("http://0x7f.0.0.1/", "host"),
        ("http://0177.0.0.1/", "url"),
        ("http://127.1/", "host"),
        ("http://127.0.1/", "host"),
        ("http://127.0.0.1./", "private-address"),
        ("http://127.0.0.1", "private-address"),
        ("http://127.0.0.0x1/", "host"),
        ("http://1.2.3.4.5/", "host"),
        ("http://example.0x/", "host"),
        ("http://①②⑦.⓪.⓪.①/", "url"),
        ("http://１２７.0.0.1/", "url"),
        ("http://127。0。0。1/", "private-address"),
        ("http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/", "url"),
        ("http://%31%32%37.0.0.1/", "host"),
        ("http://127.0.0.1%00.example.com/", "host"),
        ("http://loc%61lhost/", "host"),
        ("http://LOCALHOST/", "private-name"),
        ("http://LocalHost./", "private-name"),
        ("http://app.localhost/", "private-name"),
        ("http://metadata.google.internal/", "private-name"),
        ("http://metadata.google.internal./", "private-name"),
        ("http://METADATA.google.internal/", "private-name"),
        ("http://printer.local/", "private-name"),
        ("http://user@example.com/", "userinfo"),
        ("http://user:password@example.com/", "userinfo"),
        ("http://example.com@127.0.0.1/", "userinfo"),
        ("http://127.0.0.1#@example.com/", "private-address"),
        ("http://127.0.0.1?@example.com/", "private-address"),
        ("http://example.com\\@127.0.0.1/", "userinfo"),
        ("http://127.0.0.1\\.example.com/", "host"),
        ("http:\\\\127.0.0.1/", "host"),
        ("http://127.0.0.1\t/", "url"),
        ("http://exam\nple.com/", "url"),
        ("http://exam\rple.com/", "url"),
        ("http://example.com\x00/", "url"),
        ("http://exa mple.com/", "host"),
        ("http://exa\u200bmple.com/", "url"),
        ("http://example..com/", "host"),
        ("http://.example.com/", "host"),
        ("http://example.com../", "host"),
        (f"http://{'a' * 64}.com/", "host"),
        (f"http://{'a.' * 127}com/", "host"),
        ("http://[fe80::1%25eth0]/", "host"),
        ("http://[::1/", "url"),
        ("http://[127.0.0.1]/", "url"),
        ("http:///path", "host"),
        ("http:127.0.0.1", "host"),
        ("http://example.com:0/", "port"),
        ("http://example.com:65536/", "port"),
        ("http://example.com:-1/", "port"),
        ("http://example.com:1:2/", "url"),
        ("http://example.com:99999999999999999999/", "port"),
        ("http://" + "a" * 70_000, "url"),
        ("//example.com/", "scheme"),
        ("example.com", "scheme"),
        ("", "scheme"),
    ],
)
def test_misleading_urls_are_refused(url: str, reason: str) -> None:
    assert asyncio.run(refused(url)) == reason


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://example.com/",
        "dict://example.com/",
        "ftp://example.com/",
        "jar:http://example.com!/",
        "unix:/run/docker.sock",
        "data:text/plain,hello",
        "ws://example.com/",
        "javascript:alert(1)",
    ],
)
def test_only_http_is_spoken(url: str) -> None:
    assert asyncio.run(refused(url)) == "scheme"


@pytest.mark.parametrize(
    ("url", "host", "authority"),
    [
        ("http://example.com/", "example.com", "example.com"),
        ("HTTP://EXAMPLE.com./", "example.com", "example.com"),
        ("http://bücher.example/", "xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("http://example。com/", "example.com", "example.com"),
        ("http://example.com#@127.0.0.1/", "example.com", "example.com"),
        ("http://my_host.example.com:8080/", "my_host.example.com", "my_host.example.com:8080"),
        (f"http://{PUBLIC_V4}./", PUBLIC_V4, PUBLIC_V4),
        ("http://[2606:2800:0:0::1]:81/", "2606:2800::1", "[2606:2800::1]:81"),
        ("http://0x7f.example.com/", "0x7f.example.com", "0x7f.example.com"),
    ],
)
def test_hosts_are_brought_into_one_spelling(url: str, host: str, authority: str) -> None:
    target = Target.of(parse_url(url))
    assert (target.host, target.authority) == (host, authority)


def test_the_normalised_host_is_the_one_that_is_asked() -> None:
    async def main() -> None:
        async with serving(reply()) as server:
            internet = Internet({"example.com": [[PUBLIC_V4]]}, {(PUBLIC_V4, 80): server.port})
            async with egress_in(internet) as egress:
                response = await egress.request("GET", "http://EXAMPLE.com./a?b=c", purpose="test")
            assert response.status == 200
            assert internet.lookups == ["example.com"]
            assert server.seen[0].headers["host"] == "example.com"
            assert server.seen[0].target == "/a?b=c"

    asyncio.run(main())


@pytest.mark.parametrize("host", ["", "a b", "exa/mple", "1", "::1%lo", "[::1]"])
def test_what_is_no_host_raises(host: str) -> None:
    with pytest.raises(ValueError):
        normalise_host(host)


def test_a_secret_in_a_malformed_url_is_not_repeated() -> None:
    with pytest.raises(EgressRefusedError) as caught:
        parse_url("https://user:hunter2")
    assert "hunter2" not in repr(caught.value.as_dict())
