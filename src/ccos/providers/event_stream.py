"""Reads server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import codecs
import re
from collections.abc import AsyncGenerator, AsyncIterable
from typing import Final, NamedTuple

_LINE_END: Final = re.compile(r"\r\n|\n|\r")


class ServerSentEvent(NamedTuple):
    """One event."""

    event: str
    """Its type; ``message`` if the server names none."""
    data: str


async def read_events(chunks: AsyncIterable[bytes]) -> AsyncGenerator[ServerSentEvent, None]:
    """The events of a stream; one that has neither data nor a type is passed over.

    An event without a blank line after it is not complete, and so it is dropped.

    Args:
        chunks: The body as it arrives, cut anywhere.
    """
    event = ""
    data: list[str] = []
    async for line in _lines(chunks):
        if not line:
            if data or event:
                yield ServerSentEvent(event or "message", "\n".join(data))
            event, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            event = value
        elif name == "data":
            data.append(value)


async def _lines(chunks: AsyncIterable[bytes]) -> AsyncGenerator[str, None]:
    """The complete lines; only CR and LF end one, unlike in ``str.splitlines``."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    begun: list[str] = []
    after_return = False
    async for chunk in chunks:
        text = decoder.decode(chunk)
        if not text:
            continue
        if after_return:
            text = text.removeprefix("\n")
        after_return = text.endswith("\r")
        first, *rest = _LINE_END.split(text)
        begun.append(first)
        if rest:
            yield "".join(begun)
            for line in rest[:-1]:
                yield line
            begun = [rest[-1]]
