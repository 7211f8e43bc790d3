"""A table that tests write numbers to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from ccos.storage import Storage, Transaction

Unit = Callable[[Transaction], int]


def insert(number: int, text: str = "") -> Unit:
    """Store ``number``, and return its double."""

    def unit(transaction: Transaction) -> int:
        transaction.execute(
            sa.text("INSERT INTO counters (name, value) VALUES (:name, :value)"),
            {"name": f"n{number}{text}", "value": number},
        )
        return 2 * number

    return unit


_NUMBERS = sa.text("SELECT value FROM counters WHERE name LIKE 'n%' ORDER BY value")


def numbers(storage: Storage) -> list[int]:
    """What is stored."""
    return list(storage.read_blocking(lambda connection: connection.execute(_NUMBERS).scalars()))


@contextmanager
def opened(url: str) -> Iterator[Storage]:
    """A storage for tests without an event loop."""
    storage = Storage(url)
    asyncio.run(storage.__aenter__())
    try:
        yield storage
    finally:
        storage.close()


class Recorder:
    """Remembers what was committed, and can hold the writer at a named unit."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.go_on = threading.Event()

    def before_commit(self, name: str) -> None:
        self.seen.append(f"before {name}")
        if name == "hold":
            self.go_on.wait(10)

    def after_commit(self, name: str) -> None:
        self.seen.append(f"after {name}")
