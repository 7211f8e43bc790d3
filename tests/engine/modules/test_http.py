from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ccos.egress import EgressPolicy
from ccos.engine.budget import Dimension
from ccos.engine.hosts import HostFunctionError
from ccos.engine.modules import EgressRequests
from ccos.engine.modules.limits import MAX_HEADER_BYTES, MAX_HEADERS, MAX_TEXT_BYTES
from ccos.errors import BudgetExhaustedError, ConfigurationError, SecurityViolationError
from egress.internet import (
    OPEN,
    OTHER_V4,
    PUBLIC_V4,
    Handler,
    Internet,
    Seen,
    Server,
    egress_in,
    reply,
    serving,
)

from .script import DEVELOPMENT, Script

pytestmark = pytest.mark.anyio

URL = "http://first.test/a?b=c"
NETWORK = Dimension.NETWORK_BYTES


@asynccontextmanager
async def script_before(
    answer: Handler | bytes,
    other: Handler | bytes = b"",
    *,
    egress: EgressPolicy = OPEN,
    allowed_hosts: frozenset[str] = frozenset(),
    **options: Any,
) -> AsyncIterator[tuple[Script, Server, Server]]:
    """A script in an internet of two servers: first.test and, with all below it, other.test."""
    async with serving(answer) as one, serving(other) as two:
        internet = Internet(
            {
                "first.test": [[PUBLIC_V4]],
                "other.test": [[OTHER_V4]],
                "deep.other.test": [[OTHER_V4]],
                "inside.test": [["10.0.0.1"]],
            },
            {(PUBLIC_V4, 80): one.port, (OTHER_V4, 80): two.port},
        )
        policy = dataclasses.replace(DEVELOPMENT, allowed_hosts=allowed_hosts)
        async with egress_in(internet, egress) as way_out:
            yield Script(policy=policy, requests=EgressRequests(way_out), **options), one, two


async def test_get_returns_the_text() -> None:
    async with script_before(reply(body="é".encode())) as (script, server, _):
        assert await script.await_call("http_get", URL) == "é"
    [seen] = server.seen
    assert (seen.method, seen.target, seen.body) == ("GET", "/a?b=c", b"")


@pytest.mark.parametrize(
    ("body", "sent", "media_type"),
    [
        ("é", "é".encode(), "text/plain; charset=utf-8"),
        ("", b"", "text/plain; charset=utf-8"),
        ({"a": [1, "é"]}, '{"a":[1,"é"]}'.encode(), "application/json"),
        ([1], b"[1]", "application/json"),
        (None, b"null", "application/json"),
    ],
)
async def test_post_sends_text_as_text_and_data_as_json(
    body: Any, sent: bytes, media_type: str
) -> None:
    async with script_before(reply(201, b"done")) as (script, server, _):
        assert await script.await_call("http_post", URL, body) == "done"
    [seen] = server.seen
    assert (seen.method, seen.body, seen.headers["content-type"]) == ("POST", sent, media_type)


async def test_json_get_returns_the_value() -> None:
    async with script_before(reply(body=b'{"a": [1, 2.0]}')) as (script, server, _):
        value = await script.await_call("http_json_get", URL)
    assert repr(value) == "{'a': [1, 2.0]}"
    assert server.seen[0].headers["accept"] == "application/json"


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"a":1,"a":2}', b"NaN", b"9223372036854775808"])
async def test_json_get_refuses_what_is_no_strict_json(body: bytes) -> None:
    async with script_before(reply(body=body)) as (script, _, _):
        with pytest.raises(HostFunctionError, match="The answer"):
            await script.await_call("http_json_get", URL)


@pytest.mark.parametrize(
    ("name", "arguments"), [("http_get", ()), ("http_post", ("x",)), ("http_json_get", ())]
)
async def test_a_status_of_400_or_above_is_an_error_in_the_short_forms(
    name: str, arguments: tuple[Any, ...]
) -> None:
    for status in (400, 404, 500):
        async with script_before(reply(status, b"1")) as (script, _, _):
            with pytest.raises(HostFunctionError, match=f"with status {status}"):
                await script.await_call(name, URL, *arguments)
    async with script_before(reply(399, b"1")) as (script, _, _):
        assert str(await script.await_call(name, URL, *arguments)) == "1"


async def test_a_request_says_everything_of_the_answer() -> None:
    async with script_before(reply(404, b"no", X_Kind="odd")) as (script, server, _):
        answer = await script.await_call(
            "http_request",
            "put",
            URL,
            {"headers": {"X-Mine": "1"}, "json": {"a": 1}, "timeout_ms": 2000},
        )
    assert answer == {
        "status": 404,
        "headers": {"content-length": "2", "x-kind": "odd"},
        "body": "no",
    }
    [seen] = server.seen
    assert (seen.method, seen.body) == ("PUT", b'{"a":1}')
    assert (seen.headers["x-mine"], seen.headers["content-type"]) == ("1", "application/json")


async def test_a_script_may_say_what_its_body_is() -> None:
    async with script_before(reply()) as (script, server, _):
        options = {"headers": {"Content-Type": "text/csv"}, "body": "a,b"}
        await script.await_call("http_request", "POST", URL, options)
        await script.await_call("http_request", "POST", URL, {"json": None})
        await script.await_call("http_request", "DELETE", URL)
    csv, null, none = server.seen
    assert (csv.headers["content-type"], csv.body) == ("text/csv", b"a,b")
    assert (null.headers["content-type"], null.body) == ("application/json", b"null")
    assert "content-type" not in none.headers


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("CONNECT", {}, "The method is one of"),
        ("TRACE", {}, "The method is one of"),
        ("GET /x HTTP/1.1\r\n", {}, "The method is one of"),
        ("GET", {"verify": False}, "has no parameter 'verify'"),
        ("GET", {"headers": "a: b"}, "takes an object as 'headers'"),
        ("GET", {"body": {}}, "takes a string as 'body'"),
        ("GET", {"timeout_ms": "1"}, "takes a number as 'timeout_ms'"),
        ("GET", {"timeout_ms": 0}, "above 0"),
        ("GET", {"timeout_ms": float("nan")}, "above 0"),
        ("POST", {"body": "a", "json": 1}, "not both"),
        ("POST", {"json": float("nan")}, "which JSON has not"),
        ("POST", {"body": "x" * (MAX_TEXT_BYTES + 1)}, "longer than"),
        ("GET", {"headers": {"a b": "c"}}, "is no name of a header"),
        ("GET", {"headers": {"": "c"}}, "is no name of a header"),
        ("GET", {"headers": {"a": "1", "A": "2"}}, "there twice"),
        ("GET", {"headers": {"a": "b\r\nc: d"}}, "not plain ASCII"),
        ("GET", {"headers": {"a": "é"}}, "not plain ASCII"),
        ("GET", {"headers": {"a": 1}}, "not plain ASCII"),
        ("GET", {"headers": {f"a{n}": "" for n in range(MAX_HEADERS + 1)}}, "headers"),
        ("GET", {"headers": {"a": "x" * MAX_HEADER_BYTES}}, "headers"),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused_and_not_sent(
    method: str, options: dict[str, Any], message: str
) -> None:
    async with script_before(reply()) as (script, server, _):
        with pytest.raises(HostFunctionError, match=message):
            await script.await_call("http_request", method, URL, options)
        assert (server.seen, script.used) == ([], {})


@pytest.mark.parametrize(
    "url",
    ["", "first.test", "http://[", "http://a:b@first.test/", "http://first.test/" + "a" * 9000],
)
async def test_a_url_that_cannot_be_read_is_an_error(url: str) -> None:
    async with script_before(reply()) as (script, server, _):
        with pytest.raises((HostFunctionError, SecurityViolationError)):
            await script.await_call("http_get", url)
        assert server.seen == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://inside.test/",
        "http://169.254.169.254/latest/meta-data",
        "http://first.test:22/",
        "file:///etc/passwd",
        "ftp://first.test/",
    ],
)
async def test_what_egress_forbids_is_a_violation(url: str) -> None:
    async with script_before(reply()) as (script, server, _):
        with pytest.raises(SecurityViolationError):
            await script.await_call("http_get", url)
        assert server.seen == []


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ({"first.test"}, URL),
        ({"FIRST.test"}, URL),
        ({".other.test"}, "http://other.test/"),
        ({".other.test"}, "http://deep.other.test/"),
        (set(), URL),
    ],
)
async def test_allowed_hosts_are_reached(allowed: set[str], url: str) -> None:
    hosts = frozenset(allowed)
    async with script_before(reply(), reply(), allowed_hosts=hosts) as (script, *_):
        assert await script.await_call("http_get", url) == ""


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ({"first.test"}, "http://other.test/"),
        ({"other.test"}, "http://deep.other.test/"),
        ({".deep.other.test"}, "http://other.test/"),
        ({".est"}, "http://first.test/"),
        ({"first.test"}, "http://first.test.other.test/"),
    ],
)
async def test_other_hosts_are_a_violation(allowed: set[str], url: str) -> None:
    hosts = frozenset(allowed)
    async with script_before(reply(), reply(), allowed_hosts=hosts) as (script, one, two):
        with pytest.raises(SecurityViolationError, match="allow list"):
            await script.await_call("http_get", url)
        assert (one.seen, two.seen) == ([], [])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_allowed_hosts_hold_on_redirects(status: int) -> None:
    moved = reply(status, location="http://deep.other.test/")
    hosts = frozenset({"first.test"})
    async with script_before(moved, reply(), allowed_hosts=hosts) as (script, _, other):
        with pytest.raises(SecurityViolationError, match=r"deep\.other\.test"):
            await script.await_call("http_post", URL, "secret")
        assert other.seen == []
    hosts |= {".other.test"}
    async with script_before(moved, reply(body=b"there"), allowed_hosts=hosts) as (script, *_):
        assert await script.await_call("http_post", URL, "secret") == "there"


async def test_an_allow_list_that_cannot_be_read_lets_nothing_out() -> None:
    hosts = frozenset({"first.test", "not a host"})
    async with script_before(reply(), allowed_hosts=hosts) as (script, server, _):
        with pytest.raises(ConfigurationError):
            await script.await_call("http_get", URL)
        assert server.seen == []


async def test_headers_that_may_be_secret_do_not_follow_to_another_origin() -> None:
    moved = reply(307, location="http://other.test/")
    async with script_before(moved, reply()) as (script, first, other):
        options = {"headers": {"X-Key": "k", "Authorization": "a", "Accept": "text/csv"}}
        await script.await_call("http_request", "GET", URL, options)
    assert first.seen[0].headers["x-key"] == "k"
    carried = other.seen[0].headers
    assert carried["accept"] == "text/csv"
    assert carried.keys() & {"x-key", "authorization"} == set()


async def test_what_is_sent_and_received_is_charged() -> None:
    async with script_before(reply(body=b"x" * 5000)) as (script, *_):
        await script.await_call("http_post", URL, "y" * 3000)
    assert 8000 < script.used[NETWORK] < 8600


async def test_redirects_are_charged_too() -> None:
    moved = reply(307, location="http://other.test/")
    async with script_before(moved, reply(body=b"x" * 1000)) as (script, *_):
        await script.await_call("http_post", URL, "y" * 3000)
    assert 7000 < script.used[NETWORK] < 7800


async def test_a_request_that_the_budget_does_not_cover_is_not_sent() -> None:
    async with script_before(reply(), budget={NETWORK: 1000}) as (script, server, _):
        with pytest.raises(BudgetExhaustedError):
            await script.await_call("http_post", URL, "y" * 1000)
        assert (server.seen, script.used) == ([], {})
        assert await script.await_call("http_post", URL, "y" * 100) == ""


async def test_an_answer_beyond_the_budget_ends_the_script() -> None:
    budget: dict[Dimension, float] = {NETWORK: 3000}
    async with script_before(reply(body=b"x" * 3000), budget=budget) as (script, *_):
        with pytest.raises(BudgetExhaustedError):
            await script.await_call("http_get", URL)
    async with script_before(reply(body=b"x" * 2000), budget=budget) as (script, *_):
        assert await script.await_call("http_get", URL) == "x" * 2000


async def test_an_answer_that_is_cut_off_is_charged_all_the_same() -> None:
    small = dataclasses.replace(OPEN, max_response_bytes=4000)

    async def flood(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            await writer.drain()

    async with script_before(flood, egress=small) as (script, *_):
        with pytest.raises(HostFunctionError, match="more than 4000 bytes"):
            await script.await_call("http_get", URL)
    assert script.used[NETWORK] > 4000
    async with script_before(flood, egress=small, budget={NETWORK: 4000}) as (script, *_):
        with pytest.raises(BudgetExhaustedError):
            await script.await_call("http_get", URL)


async def test_a_server_that_does_not_answer_is_an_error_after_the_time_given() -> None:
    async def silent(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3)

    async with script_before(silent) as (script, *_):
        with pytest.raises(HostFunctionError, match="took too long"):
            await script.await_call("http_request", "GET", URL, {"timeout_ms": 50})


async def test_a_server_that_is_not_there_is_an_error() -> None:
    async with script_before(reply()) as (script, *_):
        with pytest.raises(HostFunctionError, match="has no address"):
            await script.await_call("http_get", "http://nobody.test/")
