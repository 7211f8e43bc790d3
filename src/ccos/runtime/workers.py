"""Which processes are at work, and which of them died.

A process tells every few seconds that it lives. The others give one up, and take its executions
over, when it is gone from this machine, or when it has been silent for long on another machine. A
process that is stopped, or cut off from the database, cannot know at once that it was given up; but
it knows when it was last heard, by a clock of its own that a pause does not stop. So it counts
itself as given up well before the others do, and asks before it acts.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from ccos.errors import ExecutionStateError, StorageError
from ccos.storage import Storage, Transaction
from ccos.storage.schema import workers

_logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS: Final = 5.0
_LOST_AFTER_SECONDS: Final = 30.0
_DOUBTFUL_AFTER_SECONDS: Final = _LOST_AFTER_SECONDS / 2
"""How long a process relies on its last heartbeat; far less than the others do, since their clocks
may run faster and their reading takes time."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One process that runs executions, as the others know it."""

    id: str
    host: str
    process_id: int
    process_started: str
    """When the system started the process; tells it from a later one with the same number.

    Begins with where its number means something: the boot and the namespace of process numbers.
    Empty where the system does not say.
    """

    @property
    def place(self) -> str:
        """Within this place a process can be looked up by its number; empty if nowhere."""
        return _place(self.process_started)


def this_worker() -> Worker:
    """A new identity for this process."""
    process_id = os.getpid()
    return Worker(
        f"w-{secrets.token_hex(8)}", socket.gethostname(), process_id, _started(process_id)
    )


class Workers:
    """The register of processes.

    Args:
        storage: Where it is kept.
        me: This process.
        now: A clock in seconds that goes on while the process, or the machine, is stopped.
    """

    def __init__(
        self, storage: Storage, me: Worker, *, now: Callable[[], float] | None = None
    ) -> None:
        self._storage = storage
        self.me = me
        self.now = now or _seconds_since_boot
        self._beaten_at = float("-inf")
        self._heard_since = float("inf")

    def enter_in(self, transaction: Transaction) -> None:
        """Add this process."""
        now = _database_time(transaction.dialect)
        transaction.execute(
            sa.insert(workers).values(
                id=self.me.id,
                host=self.me.host,
                process_id=self.me.process_id,
                process_started=self.me.process_started,
                started_at=now,
                heartbeat_at=now,
            )
        )

    async def enter(self) -> None:
        """Add this process, and be heard."""
        await self._be_heard("enter", self.enter_in)

    async def beat(self, also: Callable[[Transaction], None] | None = None) -> float:
        """Tell the others that this process lives, even if they had given it up.

        Args:
            also: Further statements, before the others of the transaction. What they raise is
                raised, and the others hear nothing.

        Returns:
            The time by the own clock when that was on disk.
        """

        def unit(transaction: Transaction) -> None:
            if also is not None:
                also(transaction)
            updated = transaction.execute(
                sa.update(workers)
                .where(workers.c.id == self.me.id)
                .values(heartbeat_at=_database_time(transaction.dialect))
            )
            if not updated.rowcount:
                self.enter_in(transaction)

        return await self._be_heard("heartbeat", unit)

    async def _be_heard(self, name: str, unit: Callable[[Transaction], None]) -> float:
        began = self.now()
        await self._storage.write(name, unit)
        done = self.now()
        if done >= self._beaten_at + _DOUBTFUL_AFTER_SECONDS:
            self._heard_since = done
        self._beaten_at = max(self._beaten_at, began)
        return done

    def was_heard_since(self, moment: float) -> bool:
        """Whether no other worker can have given this one up from ``moment``, by its clock, on."""
        reliable = self.now() < self._beaten_at + _DOUBTFUL_AFTER_SECONDS
        return reliable and self._heard_since <= moment

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
        dead = [
            sa.and_(workers.c.id == row.id, workers.c.heartbeat_at == row.heartbeat_at)
            for row in await self._rows()
            if not self._lives(row)
        ]
        if dead:
            await self._storage.write(
                "forget",
                lambda transaction: transaction.execute(sa.delete(workers).where(sa.or_(*dead))),
            )

    def check_lost_in(self, transaction: Transaction, worker_id: str) -> None:
        """Make sure, in the transaction that takes something over, that a worker is lost.

        Raises:
            ExecutionStateError: if it lives after all.
        """
        row = transaction.execute(
            sa.select(workers, _database_time(transaction.dialect).label("now")).where(
                workers.c.id == worker_id
            )
        ).first()
        if row is not None and self._lives(row):
            raise ExecutionStateError(
                f"The worker {worker_id} lives after all, and keeps its executions."
            )

    async def alive(self) -> frozenset[str]:
        """Ids of the registered processes that live, this one included.

        A process of this machine is looked at; one of another machine, or of a container with its
        own process numbers, counts as dead when it has not been heard of for half a minute.
        """
        rows = await self._rows()
        return frozenset({self.me.id, *(row.id for row in rows if self._lives(row))})

    async def _rows(self) -> Sequence[Any]:
        return await self._storage.read(
            lambda connection: connection.execute(
                sa.select(workers, _database_time(connection.dialect.name).label("now"))
            ).all()
        )

    def _lives(self, row: Any) -> bool:
        place = self.me.place
        if place and row.host == self.me.host and _place(row.process_started) == place:
            return bool(_started(row.process_id) == row.process_started)
        return bool(row.now - row.heartbeat_at < _LOST_AFTER_SECONDS)


def _started(process_id: int) -> str:
    """The start of a process in clock ticks since boot, after the place of its number."""
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        numbers = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in ("Z", "X") else f"{boot}/{numbers}:{fields[19]}"


def _place(started: str) -> str:
    return started.rpartition(":")[0]


def _seconds_since_boot() -> float:
    """`time.monotonic` stops on Linux while the machine is suspended; this clock does not."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _database_time(dialect: str) -> sa.ColumnElement[float]:
    """Seconds since the epoch by the one clock that all who share the database have in common."""
    if dialect == "postgresql":
        return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Double)
    return sa.literal(time.time(), sa.Double)
