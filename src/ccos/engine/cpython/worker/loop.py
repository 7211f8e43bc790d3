"""Event loops that tell the host when all tasks of a script wait."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any

from .channel import Channel


class _Selector(selectors.DefaultSelector):
    """Tells the host before it blocks: then every task waits for something."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As in the base class; see there."""
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        self._channel.idle()
        return super().select(timeout)


class _HostLoop(asyncio.SelectorEventLoop):
    tells_when_idle = True


class _Policy(asyncio.DefaultEventLoopPolicy):
    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    def new_event_loop(self) -> Any:
        return _HostLoop(_Selector(self._channel))


def use_host_loop(channel: Channel) -> None:
    """Give such a loop to everybody who asks asyncio for one, ``asyncio.run`` included."""
    asyncio.set_event_loop_policy(_Policy(channel))
