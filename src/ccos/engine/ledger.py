"""What executions leave behind: audit entries and counts, written together and not one by one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Final

from ccos.audit import AuditTrail
from ccos.engine.scripts import Run
from ccos.engine.store import ScriptStore
from ccos.errors import StorageError
from ccos.events import Event
from ccos.storage import Storage, Transaction

_PAUSE_SECONDS: Final = 0.05
_BATCH: Final = 500


class Ledger:
    """Writes what executions leave behind, a batch at a time.

    What an execution only computed is on disk within a twentieth of a second of its end, and at
    the latest when the engine stops. What acts on the world is written first: see :meth:`write`.
    """

    def __init__(self, storage: Storage, audit: AuditTrail, store: ScriptStore) -> None:
        self._storage = storage
        self._audit = audit
        self._store = store
        self._events: list[Event] = []
        self._runs: list[Run] = []
        self._timer: asyncio.TimerHandle | None = None
        self._writing = asyncio.Lock()
        self._background: asyncio.Task[None] | None = None

    def add(self, events: Iterable[Event], run: Run | None = None) -> None:
        """Take events, and a run, to be written soon. Called on the event loop."""
        self._events += events
        if run is not None:
            self._runs.append(run)
        if self._timer is None:
            pause = 0.0 if len(self._events) >= _BATCH else _PAUSE_SECONDS
            self._timer = asyncio.get_running_loop().call_later(pause, self._begin)

    async def write(self, *events: Event) -> None:
        """Write events now; returns when they are on disk."""
        await self._audit.append(*events)

    async def flush(self) -> None:
        """Write all that was taken before. What is taken meanwhile is written in its own time.

        Raises:
            StorageError: if it cannot be written; it is kept for the next time.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        async with self._writing:
            most = max(len(self._events), len(self._runs))
            for _ in range(0, most, _BATCH):
                await self._write_batch()

    def _begin(self) -> None:
        self._timer = None
        self._background = asyncio.create_task(self._flush_soon(), name="ccos-script-ledger")

    async def _flush_soon(self) -> None:
        # What could not be written is kept, and health tells that the store cannot be used.
        with contextlib.suppress(StorageError):
            await self.flush()

    async def _write_batch(self) -> None:
        events, runs = self._events[:_BATCH], self._runs[:_BATCH]

        def unit(transaction: Transaction) -> None:
            self._audit.record(transaction, *events)
            if runs:
                self._store.count_in(transaction, runs)

        await self._storage.write("scripts", unit, in_background=True)
        del self._events[: len(events)]
        del self._runs[: len(runs)]
