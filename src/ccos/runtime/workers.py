"""Which processes are at work, and which of them died."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from ccos.errors import StorageError
from ccos.storage import Storage, Transaction
from ccos.storage.schema import workers

_logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS: Final = 5.0
_LOST_AFTER_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Worker:
    """One process that runs executions, as the others know it."""

    id: str
    host: str
    process_id: int
    process_started: str
    """When the system started the process; tells it from a later one with the same number."""


def this_worker() -> Worker:
    """A new identity for this process."""
    process_id = os.getpid()
    return Worker(
        f"w-{secrets.token_hex(8)}", socket.gethostname(), process_id, _started(process_id)
    )


class Workers:
    """The register of processes."""

    def __init__(self, storage: Storage, me: Worker) -> None:
        self._storage = storage
        self.me = me

    def enter_in(self, transaction: Transaction) -> None:
        """Add this process."""
        now = time.time()
        transaction.execute(
            sa.insert(workers),
            {
                "id": self.me.id,
                "host": self.me.host,
                "process_id": self.me.process_id,
                "process_started": self.me.process_started,
                "started_at": now,
                "heartbeat_at": now,
            },
        )

    async def beat(self) -> None:
        """Tell the others that this process lives, even if they had given it up."""

        def unit(transaction: Transaction) -> None:
            updated = transaction.execute(
                sa.update(workers)
                .where(workers.c.id == self.me.id)
                .values(heartbeat_at=time.time())
            )
            if not updated.rowcount:
                self.enter_in(transaction)

        await self._storage.write("heartbeat", unit)

    async def keep_beating(self) -> None:
        """Beat until cancelled, whatever else this process is busy with."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            try:
                await self.beat()
            except StorageError as error:
                _logger.warning("No heartbeat was written: %s", error.message)

    async def leave(self) -> None:
        """Take this process off the register."""
        await self._storage.write(
            "leave",
            lambda transaction: transaction.execute(
                sa.delete(workers).where(workers.c.id == self.me.id)
            ),
        )

    async def forget_dead(self) -> None:
        """Take every process that died off the register."""
        dead = [row.id for row in await self._rows() if not self._lives(row)]
        if dead:
            await self._storage.write(
                "forget",
                lambda transaction: transaction.execute(
                    sa.delete(workers).where(workers.c.id.in_(dead))
                ),
            )

    async def alive(self) -> frozenset[str]:
        """Ids of the registered processes that live, this one included.

        A process of this machine is looked at; one of another machine counts as dead when it has
        not been heard of for half a minute.
        """
        rows = await self._rows()
        return frozenset({self.me.id, *(row.id for row in rows if self._lives(row))})

    async def _rows(self) -> Sequence[Any]:
        return await self._storage.read(
            lambda connection: connection.execute(sa.select(workers)).all()
        )

    def _lives(self, row: Any) -> bool:
        if row.host == self.me.host:
            return bool(_started(row.process_id) == row.process_started)
        return bool(time.time() - row.heartbeat_at < _LOST_AFTER_SECONDS)


def _started(process_id: int) -> str:
    """The start time of a process in clock ticks since boot, with the boot it belongs to."""
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in ("Z", "X") else f"{boot}:{fields[19]}"
