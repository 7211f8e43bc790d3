from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ccos.egress import EgressPolicy, EgressRecord, EgressResponse, parse_json
from ccos.errors import EgressError, EgressRefusedError

from .internet import PUBLIC_V4, Internet, Seen, egress_in, refused, reply, serving


def test_a_request_arrives_as_it_was_meant() -> None:
    async def main() -> None:
        async with serving(reply(201, b'{"id": 7}', Content_Type="application/json")) as server:
            internet = Internet({"api.test": [[PUBLIC_V4]]}, {(PUBLIC_V4, 80): server.port})
            async with egress_in(internet) as egress:
                response = await egress.request(
                    "post",
                    "http://api.test/items?a=1",
                    headers={"X-Trace": "t", "Host": "evil.test", "Content-Length": "3"},
                    params={"q": "ü&b"},
                    json={"name": "x"},
                    purpose="test",
                )
            assert (response.status, response.json()) == (201, {"id": 7})
            [seen] = server.seen
            assert seen.method == "POST"
            assert seen.target == "/items?a=1&q=%C3%BC%26b"
            assert seen.body == b'{"name":"x"}'
            assert seen.headers["host"] == "api.test"
            assert seen.headers["x-trace"] == "t"
            assert seen.headers["content-type"] == "application/json"
            assert seen.headers["accept-encoding"] == "gzip, deflate"

    asyncio.run(main())


def test_no_cookie_outlives_its_request() -> None:
    async def main() -> None:
        async with serving(reply(Set_Cookie="session=1")) as server:
            internet = Internet({"api.test": [[PUBLIC_V4]]}, {(PUBLIC_V4, 80): server.port})
            async with egress_in(internet) as egress:
                for _ in range(2):
                    await egress.request("GET", "http://api.test/", purpose="test")
            assert all("cookie" not in seen.headers for seen in server.seen)

    asyncio.run(main())


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def main() -> None:
        async with serving(reply(body=b"direct")) as server:
            internet = Internet({"api.test": [[PUBLIC_V4]]}, {(PUBLIC_V4, 80): server.port})
            async with egress_in(internet) as egress:
                response = await egress.request("GET", "http://api.test/", purpose="test")
            assert response.body == b"direct"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"headers": {"X-Key": "é" * 3 + "\udc80"}}, "request"),
        ({"json": object()}, "request"),
        ({"json": float("nan")}, "request"),
        ({"method": "CONNECT"}, "method"),
    ],
)
def test_requests_that_cannot_be_written_are_refused(request_: dict[str, Any], reason: str) -> None:
    async def main() -> None:
        internet = Internet({"api.test": [[PUBLIC_V4]]})
        method = request_.pop("method", "POST")
        async with egress_in(internet) as egress:
            with pytest.raises(EgressRefusedError) as caught:
                await egress.request(method, "http://api.test/", purpose="test", **request_)
        assert caught.value.details["reason"] == reason
        assert caught.value.details["sent"] is False
        assert internet.connections == []

    asyncio.run(main())


@pytest.mark.parametrize("value", ["hunter2\r\nX-Injected: 1", "hunter2\0", "hunter2\n"])
def test_a_header_cannot_smuggle_another(value: str) -> None:
    async def main() -> None:
        async with serving(reply()) as server:
            internet = Internet({"api.test": [[PUBLIC_V4]]}, {(PUBLIC_V4, 80): server.port})
            async with egress_in(internet) as egress:
                with pytest.raises(EgressError) as caught:
                    await egress.request(
                        "GET", "http://api.test/", headers={"X-Key": value}, purpose="test"
                    )
            assert caught.value.details["reason"] == "request"
            assert caught.value.details["sent"] is False
            assert caught.value.__cause__ is None
            assert "hunter2" not in repr(caught.value.as_dict())
            assert server.seen == []

    asyncio.run(main())


def test_errors_and_responses_show_no_secret() -> None:
    response = EgressResponse(200, {"set-cookie": "hunter2"}, b"hunter2", "http://a/?k=hunter2")  # type: ignore[arg-type]
    assert "hunter2" not in repr(response)

    async def main() -> None:
        async with egress_in(Internet({"api.test": [[PUBLIC_V4]]})) as egress:
            for url in ("http://api.test/?key=hunter2", "http://127.0.0.1/?key=hunter2"):
                with pytest.raises(EgressError) as caught:
                    await egress.request(
                        "GET", url, headers={"Authorization": "hunter2"}, purpose="test"
                    )
                assert "hunter2" not in repr(caught.value.as_dict())

    asyncio.run(main())


def test_a_refusal_of_untrusted_text_is_printable() -> None:
    with pytest.raises(EgressRefusedError) as caught:
        asyncio.run(_get("http://exa%1b[31m.test/"))
    assert str(caught.value).isprintable()


async def _get(url: str) -> None:
    async with egress_in(Internet()) as egress:
        await egress.request("GET", url, purpose="test")


def test_every_refusal_is_observed() -> None:
    async def main() -> None:
        records: list[EgressRecord] = []
        async with egress_in(Internet(), observer=records.append) as egress:
            for url in ("ftp://a.test/", "http://127.0.0.1/", "http://a.test:22/", "http://a:b:c"):
                with pytest.raises(EgressRefusedError):
                    await egress.request("GET", url, purpose="audit")
        assert [(r.host, r.port, r.failure, r.address) for r in records] == [
            ("", None, "scheme", None),
            ("127.0.0.1", 80, "private-address", "127.0.0.1"),
            ("a.test", 22, "port", None),
            ("", None, "url", None),
        ]
        assert all(r.purpose == "audit" and not r.sent for r in records)

    asyncio.run(main())


def test_a_cancelled_request_is_observed_as_such() -> None:
    async def main() -> None:
        reached = asyncio.Event()

        async def handler(_: Seen, __: asyncio.StreamWriter) -> None:
            reached.set()
            await asyncio.sleep(10)

        async with serving(handler) as server:
            records: list[EgressRecord] = []
            internet = Internet({"api.test": [[PUBLIC_V4]]}, {(PUBLIC_V4, 80): server.port})
            async with egress_in(internet, observer=records.append) as egress:
                task = asyncio.create_task(
                    egress.request("GET", "http://api.test/", purpose="test")
                )
                await reached.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert [(r.failure, r.sent) for r in records] == [("cancelled", True)]

    asyncio.run(main())


def test_a_closed_way_out_stays_closed() -> None:
    async def main() -> None:
        egress = egress_in(Internet())
        await egress.aclose()
        await egress.aclose()
        with pytest.raises(EgressError) as caught:
            await egress.request("GET", "http://api.test/", purpose="test")
        assert caught.value.details["sent"] is False

    asyncio.run(main())


def test_requests_run_side_by_side() -> None:
    async def main() -> None:
        async def handler(seen: Seen, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.1)
            writer.write(reply(body=seen.target.encode()))

        async with serving(handler) as server:
            internet = Internet({"api.test": [[PUBLIC_V4]]}, {(PUBLIC_V4, 80): server.port})
            async with egress_in(internet) as egress:
                answers = await asyncio.gather(
                    *(
                        egress.request("GET", f"http://api.test/{n}", purpose="test")
                        for n in range(20)
                    )
                )
            assert [answer.body for answer in answers] == [f"/{n}".encode() for n in range(20)]

    asyncio.run(main())


def test_text_follows_the_declared_charset() -> None:
    async def main() -> None:
        answer = reply(body="é".encode("latin-1"), Content_Type="text/plain; charset=latin-1")
        async with serving(answer) as server:
            internet = Internet({"api.test": [[PUBLIC_V4]]}, {(PUBLIC_V4, 80): server.port})
            async with egress_in(internet) as egress:
                response = await egress.request("GET", "http://api.test/", purpose="test")
        assert response.text == "é"

    asyncio.run(main())


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b"NaN",
        b"[Infinity]",
        b"[-Infinity]",
        b"1e999",
        b"-1e999",
        b"9" * 5000,
        b"[" * 65 + b"]" * 65,
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b"[" * 100_000,
        b'"\\ud800"',
        b'{"\\udfff": 1}',
        b"\xff\xfe\xff",
        b'"\x00"',
        b"{} {}",
    ],
)
def test_json_with_more_than_one_meaning_is_refused(text: bytes) -> None:
    with pytest.raises(EgressError) as caught:
        parse_json(text)
    assert caught.value.details["reason"] == "json"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"null", None),
        (b'\xef\xbb\xbf{"a": [1, 2.5, "\xc3\xa9"]}', {"a": [1, 2.5, "é"]}),
        ('"é"'.encode("utf-16"), "é"),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b"[" * 64 + b"]" * 64, None),
    ],
)
def test_json_with_one_meaning_is_read(text: bytes, value: object) -> None:
    parsed = parse_json(text)
    assert parsed == value or text.startswith(b"[[")


def test_the_depth_of_json_is_the_callers_choice() -> None:
    assert parse_json(b"[[1]]", max_depth=2) == [[1]]
    with pytest.raises(EgressError, match="deeply"):
        parse_json(b"[[1]]", max_depth=1)


def test_https_is_required_by_default() -> None:
    assert asyncio.run(refused("http://example.com/", EgressPolicy())) == "scheme"
