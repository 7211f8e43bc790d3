"""A full disk, a read-only one, a lock held elsewhere, a lost connection, a killed process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from ccos.errors import StorageError, StorageFullError
from ccos.storage import Storage, Transaction

from .tables import insert, numbers, opened

WRITING = """
import asyncio, sys
import sqlalchemy as sa
from ccos.storage import Storage

async def writer(storage, start):
    for number in range(start, 1_000_000, 4):
        await storage.write("one", lambda transaction: transaction.execute(
            sa.text("INSERT INTO counters (name, value) VALUES (:name, :value)"),
            {"name": f"n{number}", "value": number},
        ))
        print(number, flush=True)

async def main():
    async with Storage(sys.argv[1]) as storage:
        await asyncio.gather(*(writer(storage, start) for start in range(4)))

asyncio.run(main())
"""


@contextmanager
def volume(folder: Path, size: str) -> Iterator[None]:
    """A small volume of its own at ``folder``."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a volume can only be mounted by root with that capability: {error}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path) -> None:
    """Make a file that takes all the space there is."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def write_large_rows(storage: Storage) -> None:
    for number in range(100, 200):
        storage.write_blocking("large", insert(number, "x" * 20_000))


def test_full_disk_loses_nothing_and_is_over_when_there_is_space(tmp_path: Path) -> None:
    folder = tmp_path / "volume"
    with volume(folder, "3m"), opened(f"sqlite:///{folder}/ccos.db") as storage:
        storage.write_blocking("one", insert(1))
        ballast = folder / "ballast"
        fill(ballast)
        with pytest.raises(StorageFullError) as caught:
            write_large_rows(storage)
        assert "Free space" in caught.value.next_step
        before = numbers(storage)
        assert before[0] == 1
        with pytest.raises(StorageFullError):
            storage.write_blocking("again", insert(500, "x" * 20_000))
        assert numbers(storage) == before
        ballast.unlink()
        assert storage.write_blocking("later", insert(600)) == 1200
        assert numbers(storage) == [*before, 600]
    assert len(set(before)) == len(before)


def test_database_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "volume"
    with volume(folder, "3m"):
        with opened(f"sqlite:///{folder}/ccos.db") as storage:
            storage.write_blocking("one", insert(1))
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        with (
            pytest.raises(StorageError, match=r"read.?only|unable to open"),
            opened(f"sqlite:///{folder}/ccos.db") as storage,
        ):
            storage.write_blocking("two", insert(2))
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
        with opened(f"sqlite:///{folder}/ccos.db") as storage:
            assert numbers(storage) == [1]


def test_lock_that_another_process_holds_is_waited_for_and_then_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ccos.storage.database._LOCK_WAIT_SECONDS", 0.3)
    url = f"sqlite:///{tmp_path}/ccos.db"
    with opened(url) as storage:
        other = sqlite3.connect(tmp_path / "ccos.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        with pytest.raises(StorageError, match="locked"):
            storage.write_blocking("one", insert(1))
        assert 0.2 < time.monotonic() - started < 5
        assert numbers(storage) == []
        other.execute("COMMIT")
        other.close()
        assert storage.write_blocking("two", insert(2)) == 4
        assert numbers(storage) == [2]


@pytest.mark.anyio
async def test_lock_that_is_released_in_time_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Storage(f"sqlite:///{tmp_path}/ccos.db") as storage:
        other = sqlite3.connect(tmp_path / "ccos.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.ensure_future(storage.write("one", insert(1)))
        await asyncio.sleep(0.1)
        assert not writing.done()
        other.execute("COMMIT")
        other.close()
        assert await writing == 2


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_lost_connection_is_made_again(database_url: str) -> None:
    with opened(database_url) as storage:
        storage.write_blocking("one", insert(1))
        engine = sa.create_engine(database_url)
        with engine.begin() as connection:
            connection.execute(
                sa.text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        engine.dispose()
        assert storage.write_blocking("two", insert(2)) == 4
        assert numbers(storage) == [1, 2]


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_connection_lost_in_the_middle_of_a_unit_runs_it_again(database_url: str) -> None:
    runs = []

    def unit(transaction: Transaction) -> int:
        runs.append(1)
        insert(1)(transaction)
        if len(runs) == 1:
            transaction.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return 7

    with opened(database_url) as storage:
        assert storage.write_blocking("one", unit) == 7
        assert len(runs) == 2
        assert numbers(storage) == [1]


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_connection_that_is_lost_every_time_is_an_error(database_url: str) -> None:
    def unit(transaction: Transaction) -> None:
        transaction.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with opened(database_url) as storage:
        with pytest.raises(StorageError, match="write one"):
            storage.write_blocking("one", unit)
        assert storage.write_blocking("two", insert(2)) == 4


@pytest.mark.parametrize("moment", [0.0, 0.1, 0.25])
def test_every_write_that_was_acknowledged_survives_a_kill(
    database_url: str, moment: float
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITING, database_url], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    acknowledged = [int(process.stdout.readline()) for _ in range(5)]
    time.sleep(moment)
    os.kill(process.pid, signal.SIGKILL)
    rest = process.stdout.readlines()
    process.stdout.close()
    process.wait(10)
    acknowledged += [int(line) for line in rest if line.endswith("\n")]
    with opened(database_url) as storage:
        stored = numbers(storage)
        assert set(acknowledged) <= set(stored)
        assert len(stored) <= len(acknowledged) + 4
        assert storage.write_blocking("next", insert(2_000_000)) == 4_000_000
