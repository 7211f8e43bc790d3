"""Server-sent events, however the network cuts them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ccos.providers.event_stream import ServerSentEvent, read_events


def events(*chunks: bytes) -> list[ServerSentEvent]:
    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def main() -> list[ServerSentEvent]:
        return [event async for event in read_events(body())]

    return asyncio.run(main())


def test_events_have_a_type_and_data() -> None:
    assert events(b"\xef\xbb\xbf: hello\n\nevent: next\ndata: {\ndata: }\n\ndata:x\nid: 1\n\n") == [
        ServerSentEvent("next", "{\n}"),
        ServerSentEvent("message", "x"),
    ]


def test_an_event_without_its_end_is_dropped_and_one_without_data_is_not() -> None:
    assert events(b"event: complete\n\ndata: lost\n") == [ServerSentEvent("complete", "")]


def test_only_line_feed_and_carriage_return_end_a_line() -> None:
    data = "a\u2028b\u0085c\x0bd"
    assert events(f"data: {data}\r\n\r\n".encode()) == [ServerSentEvent("message", data)]


@given(
    st.lists(st.text(alphabet="aü€\u2028", max_size=5), min_size=1, max_size=4),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.integers(0, 80), max_size=8),
)
def test_the_cuts_of_the_network_change_nothing(
    texts: list[str], end: str, cuts: list[int]
) -> None:
    body = "".join(f"event: next{end}data: {text}{end}{end}" for text in texts).encode()
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    chunks = [body[start:stop] for start, stop in pairwise(places)]
    assert events(*chunks) == [ServerSentEvent("next", text) for text in texts]
