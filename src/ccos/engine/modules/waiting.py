"""Waiting for work that has to end even if nobody wants its result any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")


async def to_its_end(
    work: Coroutine[Any, Any, _Result], stop: Callable[[], None] = lambda: None
) -> _Result:
    """Await ``work``. When this is cancelled, ``work`` is not, and has ended before this does.

    Args:
        work: What has to end by itself.
        stop: Called when this is cancelled, to make that happen soon.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
            stop()
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # it counts as seen now
    raise cancelled
