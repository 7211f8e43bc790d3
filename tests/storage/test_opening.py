"""Opening a database: creating, upgrading, refusing, and closing it again."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from ccos.errors import SchemaTooNewError, StorageError
from ccos.storage import Storage
from ccos.storage.revisions import HEAD, bring_up_to_date
from ccos.storage.schema import metadata

from .tables import insert, numbers, opened

OPENING = """
import asyncio, sys
from ccos.storage import Storage

async def main():
    print("ready", flush=True)
    sys.stdin.readline()
    async with Storage(sys.argv[1]):
        pass

asyncio.run(main())
"""

# The full-text index belongs to the migrations alone, since the two databases spell it apart.
SEARCH = "capability_search"


def engine_of(url: str) -> sa.Engine:
    isolation = "AUTOCOMMIT" if url.startswith("sqlite") else "READ COMMITTED"
    return sa.create_engine(url, isolation_level=isolation)


def config_for(connection: sa.Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(resources.files("ccos.storage") / "migrations"))
    config.attributes["connection"] = connection
    return config


def tables(url: str) -> set[str]:
    engine = engine_of(url)
    found = set(sa.inspect(engine).get_table_names())
    engine.dispose()
    return {name for name in found if not name.startswith(f"{SEARCH}_")}


def test_new_database_gets_its_tables_and_is_opened_again(empty_database_url: str) -> None:
    with opened(empty_database_url) as storage:
        storage.write_blocking("one", insert(1))
    assert tables(empty_database_url) == {*metadata.tables, SEARCH, "alembic_version"}
    with opened(empty_database_url) as storage:
        assert numbers(storage) == [1]
        storage.write_blocking("two", insert(2))
        assert numbers(storage) == [1, 2]


def test_folder_of_the_database_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path}/a/b/ccos.db"):
        assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_processes_that_start_at_once_agree_on_a_new_database(empty_database_url: str) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", OPENING, empty_database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in started:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    with opened(empty_database_url) as storage:
        storage.write_blocking("one", insert(1))
        assert numbers(storage) == [1]


def test_threads_that_open_at_once_agree_on_a_new_database(empty_database_url: str) -> None:
    async def main() -> None:
        storages = [Storage(empty_database_url) for _ in range(5)]
        await asyncio.gather(*(storage.__aenter__() for storage in storages))
        await asyncio.gather(
            *(storage.write("one", insert(n)) for n, storage in enumerate(storages))
        )
        assert numbers(storages[0]) == list(range(5))
        for storage in storages:
            storage.close()

    asyncio.run(main())


def test_schema_of_the_migrations_is_the_schema_of_the_program(database_url: str) -> None:
    def include(_: Any, name: str | None, kind: str, *__: Any) -> bool:
        return not (kind in ("table", "index") and name and name.startswith(SEARCH))

    engine = engine_of(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                # Alembic sees a difference between SQLite's '' and the empty text.
                "compare_server_default": engine.dialect.name != "sqlite",
                "include_object": include,
            },
        )
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_newest_revision_file_is_the_one_that_is_wanted() -> None:
    scripts = ScriptDirectory.from_config(config_for())
    assert scripts.get_heads() == [HEAD]
    files = resources.files("ccos.storage.migrations.versions").iterdir()
    newest = max(file.name for file in files if file.name.startswith("r"))
    assert newest.startswith(f"r{HEAD}_")


def test_downgrade_and_upgrade_lead_to_the_same_tables(database_url: str) -> None:
    before = tables(database_url)
    engine = engine_of(database_url)
    with engine.connect() as connection:
        command.downgrade(config_for(connection), "base")
        if engine.dialect.name != "sqlite":
            connection.commit()
    assert tables(database_url) == {"alembic_version"}
    bring_up_to_date(engine)
    engine.dispose()
    assert tables(database_url) == before
    with opened(database_url) as storage:
        assert storage.write_blocking("one", insert(1)) == 2


def test_database_of_an_older_version_is_upgraded_with_what_is_in_it(database_url: str) -> None:
    with opened(database_url) as storage:
        storage.write_blocking("one", insert(1))
    before = tables(database_url)
    engine = engine_of(database_url)
    with engine.connect() as connection:
        command.downgrade(config_for(connection), "0001")
        if engine.dialect.name != "sqlite":
            connection.commit()
    engine.dispose()
    assert tables(database_url) < before
    with opened(database_url) as storage:
        assert numbers(storage) == [1]
    assert tables(database_url) == before


def test_database_of_a_newer_version_is_refused_and_left_alone(database_url: str) -> None:
    with opened(database_url) as storage:
        storage.write_blocking("one", insert(1))
        storage.write_blocking(
            "newer",
            lambda transaction: transaction.execute(
                sa.text("UPDATE alembic_version SET version_num = '9999'")
            ),
        )
    before = tables(database_url)
    for _ in range(2):
        with pytest.raises(SchemaTooNewError, match="9999"), opened(database_url):
            pass
    assert tables(database_url) == before
    engine = engine_of(database_url)
    with engine.connect() as connection:
        query = "SELECT version_num FROM alembic_version UNION SELECT name FROM counters"
        assert {row[0] for row in connection.execute(sa.text(query))} >= {"9999", "n1"}
    engine.dispose()


def test_nothing_stays_connected_where_opening_failed(database_url: str) -> None:
    storage = Storage(database_url)
    engine = engine_of(database_url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaTooNewError):
        asyncio.run(storage.__aenter__())
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE alembic_version SET version_num = '{HEAD}'"))
    engine.dispose()
    asyncio.run(storage.__aenter__())
    assert storage.write_blocking("one", insert(1)) == 2
    storage.close()


@pytest.mark.parametrize(
    "content", [b"not a database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 2000]
)
def test_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ccos.db"
    path.write_bytes(content)
    with pytest.raises(StorageError, match="Could not open"), opened(f"sqlite:///{path}"):
        pass
    assert path.read_bytes() == content


def test_folder_in_place_of_a_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError), opened(f"sqlite:///{tmp_path}"):
        pass


def test_parent_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError), opened(f"sqlite:///{tmp_path}/file/ccos.db"):
        pass


def test_server_that_is_not_there_is_named_without_the_password() -> None:
    url = "postgresql+psycopg://me:hunter2@127.0.0.1:1/ccos?connect_timeout=2"
    with pytest.raises(StorageError, match=r"127\.0\.0\.1") as caught, opened(url):
        pass
    assert "hunter2" not in caught.value.message


def test_closed_storage_says_so(database_url: str) -> None:
    storage = Storage(database_url)
    asyncio.run(storage.__aenter__())
    storage.close()
    storage.close()
    with pytest.raises(StorageError, match="not open"):
        storage.write_blocking("one", insert(1))
    with pytest.raises(StorageError, match="not open"):
        asyncio.run(storage.write("one", insert(1)))
    with pytest.raises(StorageError, match="not open"):
        numbers(storage)


def test_writes_that_wait_when_it_is_closed_are_finished(database_url: str) -> None:
    async def main() -> list[int]:
        async with Storage(database_url) as storage:
            writes = [asyncio.ensure_future(storage.write("w", insert(n))) for n in range(50)]
            await asyncio.sleep(0)
        return await asyncio.gather(*writes)

    assert asyncio.run(main()) == [2 * number for number in range(50)]
    with opened(database_url) as storage:
        assert numbers(storage) == list(range(50))
