"""Units of writing: committed together, failing alone."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa

from ccos.errors import CcosError, StorageError
from ccos.storage import Storage, Transaction

from .tables import Recorder, insert, numbers

pytestmark = pytest.mark.anyio


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def observed(database_url: str, recorder: Recorder) -> AsyncIterator[Storage]:
    async with Storage(database_url, observer=recorder) as opened:
        yield opened
        recorder.go_on.set()


async def held(storage: Storage) -> asyncio.Task[Any]:
    """A write that keeps the writer busy until the recorder lets it go on."""
    thread = asyncio.ensure_future(asyncio.to_thread(storage.write_blocking, "hold", insert(0)))
    await asyncio.sleep(0.1)
    return thread


def bad_name(_: Transaction) -> int:
    raise CcosError("not like this")


def bad_python(_: Transaction) -> int:
    return 1 // 0


def bad_statement(transaction: Transaction) -> int:
    transaction.execute(sa.text("SELECT * FROM nothing_of_this_name"))
    return 0


def bad_value(transaction: Transaction) -> int:
    transaction.execute(sa.text("INSERT INTO counters (name, value) VALUES ('n9', NULL)"))
    return 0


def too_large_for_an_index(transaction: Transaction) -> int:
    """Psycopg calls what this raises operational, as it does a lost connection."""
    if transaction.dialect == "sqlite":
        return bad_statement(transaction)
    words = "".join(f"{number:x}" for number in range(40_000))
    transaction.execute(
        sa.text("INSERT INTO counters (name, value) VALUES (:name, 1)"), {"name": words}
    )
    return 0


async def test_value_comes_back_and_is_stored(storage: Storage) -> None:
    assert await storage.write("one", insert(1)) == 2
    assert await asyncio.to_thread(storage.write_blocking, "two", insert(2)) == 4
    assert numbers(storage) == [1, 2]


async def test_units_that_wait_share_one_commit(observed: Storage, recorder: Recorder) -> None:
    holding = await held(observed)
    waiting = [
        asyncio.ensure_future(observed.write(f"w{number}", insert(number)))
        for number in range(1, 21)
    ]
    await asyncio.sleep(0.1)
    recorder.go_on.set()
    assert await asyncio.gather(*waiting) == [2 * number for number in range(1, 21)]
    await holding
    names = [f"w{number}" for number in range(1, 21)]
    assert recorder.seen == [
        "before hold",
        "after hold",
        *(f"before {name}" for name in names),
        *(f"after {name}" for name in names),
    ]


async def test_more_units_than_one_commit_holds_are_all_written(storage: Storage) -> None:
    writes = [storage.write(f"w{number}", insert(number)) for number in range(600)]
    assert await asyncio.gather(*writes) == [2 * number for number in range(600)]
    assert numbers(storage) == list(range(600))


@pytest.mark.parametrize(
    ("unit", "kind"),
    [
        (bad_name, CcosError),
        (bad_python, ZeroDivisionError),
        (bad_statement, StorageError),
        (bad_value, StorageError),
        (too_large_for_an_index, StorageError),
    ],
)
async def test_failing_unit_takes_nothing_of_the_others_with_it(
    observed: Storage, recorder: Recorder, unit: Any, kind: type[Exception]
) -> None:
    def partly(transaction: Transaction) -> int:
        insert(50)(transaction)
        value: int = unit(transaction)
        return value

    holding = await held(observed)
    writes = [
        observed.write("w1", insert(1)),
        observed.write("bad", partly),
        observed.write("w2", insert(2)),
        observed.write("bad", partly),
    ]
    waiting = [asyncio.ensure_future(write) for write in writes]
    await asyncio.sleep(0.1)
    recorder.go_on.set()
    first, bad, second, worse = await asyncio.gather(*waiting, return_exceptions=True)
    await holding
    assert (first, second) == (2, 4)
    assert isinstance(bad, kind)
    assert isinstance(worse, kind)
    assert numbers(observed) == [0, 1, 2]
    assert await observed.write("w3", insert(3)) == 6


async def test_failing_unit_that_is_alone_leaves_nothing(storage: Storage) -> None:
    for unit in (bad_name, bad_python, bad_statement, bad_value):

        def partly(transaction: Transaction, unit: Any = unit) -> int:
            insert(50)(transaction)
            value: int = unit(transaction)
            return value

        with pytest.raises((CcosError, ZeroDivisionError)):
            await storage.write("bad", partly)
    assert numbers(storage) == []
    assert await storage.write("good", insert(1)) == 2


async def test_cancelled_caller_does_not_undo_its_write(
    observed: Storage, recorder: Recorder
) -> None:
    holding = await held(observed)
    writing = asyncio.ensure_future(observed.write("w1", insert(1)))
    await asyncio.sleep(0.05)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    recorder.go_on.set()
    await holding
    assert await observed.write("w2", insert(2)) == 4
    assert numbers(observed) == [0, 1, 2]


async def test_caller_that_is_cancelled_before_its_write_began_changes_nothing_either(
    storage: Storage,
) -> None:
    writing = asyncio.ensure_future(storage.write("w1", insert(1)))
    await asyncio.sleep(0)
    writing.cancel()
    await storage.write("w2", insert(2))
    assert numbers(storage) == [1, 2]


async def test_actions_run_after_the_commit_once_for_each_key(storage: Storage) -> None:
    done: list[tuple[str, list[int]]] = []

    def unit(transaction: Transaction) -> None:
        insert(1)(transaction)
        transaction.after_commit("a", lambda: done.append(("replaced", [])))
        transaction.after_commit("b", lambda: done.append(("b", numbers(storage))))
        transaction.after_commit("a", lambda: done.append(("a", numbers(storage))))

    await storage.write("one", unit)
    assert done == [("b", [1]), ("a", [1])]


async def test_no_action_runs_for_a_unit_that_failed(storage: Storage) -> None:
    done: list[str] = []

    def unit(transaction: Transaction) -> None:
        transaction.after_commit("a", lambda: done.append("a"))
        raise CcosError("no")

    with pytest.raises(CcosError):
        await storage.write("one", unit)
    await storage.write("two", insert(1))
    assert done == []


async def test_action_that_fails_is_told_to_the_log_and_to_nobody_else(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []

    def unit(transaction: Transaction) -> int:
        transaction.after_commit("bad", lambda: done.append(str(1 // 0)))
        transaction.after_commit("good", lambda: done.append("good"))
        return 7

    with caplog.at_level(logging.ERROR):
        assert await storage.write("one", unit) == 7
    assert done == ["good"]
    assert "'bad' after a commit failed" in caplog.text


async def test_what_is_gathered_is_written_once_at_the_end_of_the_unit(storage: Storage) -> None:
    written: list[list[int]] = []

    def write(transaction: Transaction, items: list[int]) -> None:
        written.append(list(items))
        for item in items:
            insert(item)(transaction)

    def unit(transaction: Transaction) -> None:
        transaction.gather(write, [1])
        insert(2)(transaction)
        transaction.gather(write, [3, 4])

    await storage.write("one", unit)
    assert written == [[1, 3, 4]]
    assert numbers(storage) == [1, 2, 3, 4]


async def test_many_threads_and_one_loop_write_at_once(storage: Storage) -> None:
    def write(start: int) -> None:
        for number in range(start, start + 25):
            storage.write_blocking("thread", insert(number))

    threads = [threading.Thread(target=write, args=(start,)) for start in (0, 25, 50)]
    for thread in threads:
        thread.start()
    for number in range(75, 100):
        await storage.write("loop", insert(number))
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert numbers(storage) == list(range(100))


async def test_writer_that_is_busy_does_not_hold_up_the_loop(
    observed: Storage, recorder: Recorder
) -> None:
    holding = await held(observed)
    writing = asyncio.ensure_future(observed.write("w1", insert(1)))
    started = time.perf_counter()
    for _ in range(10):
        await asyncio.sleep(0.01)
        assert numbers(observed) == []
    assert time.perf_counter() - started < 1
    recorder.go_on.set()
    await asyncio.gather(holding, writing)
    assert numbers(observed) == [0, 1]


async def test_slow_commits_move_to_the_writer(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ccos.storage.database._SLOW_COMMIT_SECONDS", -1.0)
    threads: set[str] = set()

    def unit(transaction: Transaction) -> None:
        threads.add(threading.current_thread().name)

    await storage.write("first", unit)
    for _ in range(3):
        await storage.write("later", unit)
    assert "ccos-writer" in threads


async def test_observer_that_fails_fails_the_unit_and_not_the_writer(
    database_url: str, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        if name == "bad":
            raise RuntimeError("stopped here")

    monkeypatch.setattr(recorder, "before_commit", fail)
    async with Storage(database_url, observer=recorder) as storage:
        with pytest.raises(RuntimeError, match="stopped here"):
            await storage.write("bad", insert(1))
        assert await storage.write("good", insert(2)) == 4
        assert numbers(storage) == [2]
