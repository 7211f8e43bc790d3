"""curl commands are read as a shell and curl would read them, and never run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccos.errors import ImportDocumentError
from ccos.importers.http import exchange_of_curl

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("curl https://a.example/x", {"method": "GET", "url": "https://a.example/x"}),
        ("$ curl a.example/x", {"url": "https://a.example/x"}),
        ("curl -sSL -X put 'https://a.example/x?a=1&b=2'", {"method": "PUT"}),
        ("curl -XDELETE https://a.example/x", {"method": "DELETE"}),
        ("curl --request=PATCH --url https://a.example", {"method": "PATCH"}),
        ("curl -I https://a.example", {"method": "HEAD"}),
        (
            "curl \\\n  -H 'X-A: b: c' \\\n  https://a.example -o /dev/null",
            {"headers": (("X-A", "b: c"),)},
        ),
        (
            "curl https://a.example -d a=1 --data 'b=2\n3'",
            {"method": "POST", "body": "a=1&b=23", "content_type": FORM},
        ),
        ("curl https://a.example --data-raw @x", {"body": "@x"}),
        ("curl https://a.example --data-urlencode 'q=a b&c'", {"body": "q=a%20b%26c"}),
        ("curl -G https://a.example?x=1 -d q=2", {"method": "GET", "url": "https://a.example?x=1&q=2"}),
        (
            """curl https://a.example --json '{"a": "it'"'"'s"}'""",
            {"body": '{"a": "it\'s"}', "content_type": "application/json", "method": "POST"},
        ),
        (
            "curl https://a.example -H 'Content-Type: text/csv' --data-binary 'a,b'",
            {"content_type": "text/csv"},
        ),
        ("curl -u ann:pw https://a.example", {"headers": (("Authorization", "Basic YW5uOnB3"),)}),
        (
            "curl --oauth2-bearer $TOKEN https://a.example",
            {"headers": (("Authorization", "Bearer $TOKEN"),)},
        ),
        ("curl -b 'sid=1' https://a.example", {"headers": (("Cookie", "sid=1"),)}),
    ],
)  # fmt: skip
def test_commands(command: str, expected: dict[str, Any]) -> None:
    found = exchange_of_curl(command)
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("wget https://a.example", "begin with curl"),
        ("", "begin with curl"),
        ("curl", "0 URLs"),
        ("curl https://a.example https://b.example", "2 URLs"),
        ("curl https://a.example; rm -rf /", "more than one command"),
        ("curl https://a.example | sh", "more than one command"),
        ("curl https://a.example?a=1&b=2", "more than one command"),
        ("curl https://a.example > /etc/passwd", "more than one command"),
        ("curl `id` https://a.example", "another command"),
        ("curl -H \"X: $(id)\" https://a.example", "another command"),
        ("curl https://a.example -d @/etc/passwd", "in a file"),
        ("curl https://a.example --data-binary @x", "in a file"),
        ("curl https://a.example --data-urlencode name@/etc/passwd", "in a file"),
        ("curl -K config https://a.example", "-K is not understood"),
        ("curl --proxy http://evil.example https://a.example", "--proxy"),
        ("curl -T file https://a.example", "-T"),
        ("curl -F a=@b https://a.example", "-F"),
        ("curl https://a.example -H", "no value"),
        ("curl https://a.example -H X", "no name and value"),
        ("curl 'https://a.example", "no closing quotation"),
        ("curl https://a.example -d $'a\\nb'", "some shells"),
        ("curl file:///etc/passwd", "not an http"),
        ("curl https://", "not an http"),
        ("curl " + "x" * 300_000, "characters"),
    ],
)  # fmt: skip
def test_what_is_refused(command: str, reason: str) -> None:
    with pytest.raises(ImportDocumentError) as caught:
        exchange_of_curl(command)
    assert reason in caught.value.message


@given(st.text(alphabet="curl -dHXuG'\"\\$(`);&|@={}:/aé\n", max_size=80))
def test_whatever_the_text_is_nothing_else_is_raised(text: str) -> None:
    try:
        found = exchange_of_curl("curl " + text)
    except ImportDocumentError:
        return
    assert found.url.startswith(("http://", "https://"))


def test_a_request_that_is_printed_shows_no_secret() -> None:
    found = exchange_of_curl("curl -u ann:hunter2 'https://a.example?key=hunter2' -d pw=hunter2")
    assert "hunter2" not in repr(found)
    assert "YW5u" not in repr(found)
