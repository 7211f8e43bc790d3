"""Reading a database without changing anything in it or beside it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from ccos.config.settings import masked_url
from ccos.storage.database import translated_errors
from ccos.storage.revisions import HEAD

SECONDS: Final = 5.0


class NothingStoredError(Exception):
    """There is no database yet, or nothing in it."""


class OtherSchemaError(Exception):
    """The tables are those of another version."""


def sqlite_path(url: str) -> Path | None:
    """The file of a SQLite database; None for another kind of database."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database is None:
        return None
    return Path(parsed.database)


def open_sqlite(path: Path) -> sqlite3.Connection:
    """A connection that cannot write.

    A file without a write-ahead log is in use by nobody, so it is opened as one that does not
    change; anything else would make files beside it.
    """
    mode = "mode=ro" if has_log(path) else "immutable=1"
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=SECONDS, check_same_thread=False
    )


def has_log(path: Path) -> bool:
    """Whether a SQLite file has a write-ahead log beside it: some process has it open, or died."""
    return path.with_name(f"{path.name}-wal").exists()


@contextlib.contextmanager
def any_schema(url: str) -> Iterator[sa.Connection]:
    """A connection that cannot write.

    Raises:
        NothingStoredError: if there is no database.
        StorageError: if it cannot be opened or read.
    """
    engine = _engine(url)
    try:
        with translated_errors(f"read {masked_url(url)}"), engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SET TRANSACTION READ ONLY")
                milliseconds = int(SECONDS * 1000)
                connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")
            yield connection
    finally:
        engine.dispose()


def _engine(url: str) -> sa.Engine:
    path = sqlite_path(url)
    if path is None:
        return sa.create_engine(
            url, poolclass=sa.NullPool, connect_args={"connect_timeout": int(SECONDS)}
        )
    if not path.exists() or path.stat().st_size == 0:
        raise NothingStoredError
    return sa.create_engine("sqlite://", poolclass=sa.NullPool, creator=lambda: open_sqlite(path))


def revision(connection: sa.Connection) -> str | None:
    """The revision of the tables; None if there are none."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(
        sa.select(sa.column("version_num")).select_from(sa.table("alembic_version"))
    )
    return found


@contextlib.contextmanager
def own_schema(url: str) -> Iterator[sa.Connection]:
    """A connection that cannot write, to the tables of this version.

    Raises:
        NothingStoredError: if there is no database, or there are no tables.
        OtherSchemaError: if the tables are those of another version.
        StorageError: if it cannot be opened or read.
    """
    with any_schema(url) as connection:
        found = revision(connection)
        if found is None:
            raise NothingStoredError
        if found != HEAD:
            raise OtherSchemaError
        yield connection
