"""Statements that go straight to the driver behave as those that do not."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from ccos.errors import StorageError
from ccos.storage import Storage, Transaction
from ccos.storage.schema import counters
from ccos.storage.statements import Statement

from .tables import numbers, opened

INSERT = Statement(sa.insert(counters))
SELECT = Statement(
    sa.select(counters.c.name, counters.c.value).where(counters.c.value >= sa.bindparam("least"))
)
UPDATE = Statement(
    sa.update(counters).where(counters.c.name == sa.bindparam("which")).values(value=9)
)
DELETE = Statement(sa.delete(counters).where(counters.c.name == sa.bindparam("which")))
NOT_THERE = Statement(sa.select(sa.column("x")).select_from(sa.table("not_there")))


def add(number: int) -> dict[str, object]:
    return {"name": f"n{number}", "value": number}


def test_unit_of_such_statements_alone_is_committed(database_url: str) -> None:
    with opened(database_url) as storage:
        storage.write_blocking("one", lambda t: INSERT.change(t.connection, add(1)))
        storage.write_blocking("two", lambda t: INSERT.change_each(t.connection, [add(2), add(3)]))
        with opened(database_url) as other:
            assert numbers(other) == [1, 2, 3]
    with opened(database_url) as storage:
        assert numbers(storage) == [1, 2, 3]


def test_unit_that_fails_takes_them_back(database_url: str) -> None:
    def unit(transaction: Transaction) -> None:
        INSERT.change(transaction.connection, add(1))
        raise ValueError("no")

    with opened(database_url) as storage:
        with pytest.raises(ValueError, match="no"):
            storage.write_blocking("one", unit)
        storage.write_blocking("two", lambda t: INSERT.change(t.connection, add(2)))
        assert numbers(storage) == [2]


@pytest.mark.anyio
async def test_one_that_fails_among_others_fails_alone(storage: Storage) -> None:
    def bad(transaction: Transaction) -> int:
        INSERT.change(transaction.connection, add(5))
        return INSERT.change(transaction.connection, add(5))

    def missing(transaction: Transaction) -> int:
        INSERT.change(transaction.connection, add(6))
        return len(NOT_THERE.rows(transaction.connection))

    results = await asyncio.gather(
        storage.write("w1", lambda t: INSERT.change(t.connection, add(1))),
        storage.write("bad", bad),
        storage.write("w2", lambda t: INSERT.change(t.connection, add(2))),
        storage.write("missing", missing),
        storage.write("w3", lambda t: INSERT.change(t.connection, add(3))),
        return_exceptions=True,
    )
    assert [isinstance(result, StorageError) for result in results] == [
        False,
        True,
        False,
        True,
        False,
    ]
    assert numbers(storage) == [1, 2, 3]


def test_rows_and_counts(database_url: str) -> None:
    def unit(transaction: Transaction) -> list[int]:
        connection = transaction.connection
        INSERT.change_each(connection, [])
        INSERT.change_each(connection, [add(number) for number in range(1, 5)])
        return [
            UPDATE.change(connection, {"which": "n1"}),
            UPDATE.change(connection, {"which": "none"}),
            DELETE.change(connection, {"which": "n2"}),
        ]

    with opened(database_url) as storage:
        assert storage.write_blocking("one", unit) == [1, 0, 1]

        def query(connection: sa.Connection) -> tuple[object, ...]:
            rows = SELECT.rows(connection, {"least": 3})
            return (
                sorted((row.name, row.value) for row in rows),
                SELECT.first(connection, {"least": 9}).name,
                SELECT.first(connection, {"least": 10}),
                SELECT.scalar(connection, {"least": 9}),
                SELECT.scalar(connection, {"least": 10}),
            )

        assert storage.read_blocking(query) == (
            [("n1", 9), ("n3", 3), ("n4", 4)],
            "n1",
            None,
            "n1",
            None,
        )


def test_reader_sees_what_was_committed_since(database_url: str) -> None:
    with opened(database_url) as storage, opened(database_url) as other:

        def seen(connection: sa.Connection) -> int:
            return len(SELECT.rows(connection, {"least": 1}))

        assert storage.read_blocking(seen) == 0
        other.write_blocking("one", lambda t: INSERT.change(t.connection, add(1)))
        assert storage.read_blocking(seen) == 1


@pytest.mark.parametrize("text", ["'; DROP TABLE counters; --", "%s %(x)s :x ?", "é\U0001f600"])
def test_any_text_is_a_parameter(database_url: str, text: str) -> None:
    with opened(database_url) as storage:
        storage.write_blocking(
            "one", lambda t: INSERT.change(t.connection, {"name": f"n{text}", "value": 7})
        )
        assert storage.read_blocking(lambda c: SELECT.scalar(c, {"least": 7})) == f"n{text}"
        storage.write_blocking("two", lambda t: DELETE.change(t.connection, {"which": f"n{text}"}))
        assert numbers(storage) == []


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_connection_lost_on_the_way_runs_the_unit_again(database_url: str) -> None:
    runs = []

    def unit(transaction: Transaction) -> int:
        runs.append(1)
        if len(runs) == 1:
            driver = transaction.connection.connection.driver_connection
            assert driver is not None
            process = driver.info.backend_pid
            engine = sa.create_engine(database_url)
            with engine.begin() as connection:
                connection.execute(sa.select(sa.func.pg_terminate_backend(process)))
            engine.dispose()
        return INSERT.change(transaction.connection, add(1))

    with opened(database_url) as storage:
        assert storage.write_blocking("one", unit) == 1
        assert len(runs) == 2
        assert numbers(storage) == [1]
