"""What every test may use."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ccos.storage import Storage
from ccos.storage.revisions import bring_up_to_date
from databases import PostgresServer


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running server; where it cannot run, the tests that need it fail."""
    server = PostgresServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the tables of this version and nothing in them, for copying."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    engine = sa.create_engine(f"sqlite:///{path}", isolation_level="AUTOCOMMIT")
    bring_up_to_date(engine)
    engine.dispose()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """The test runs once on each kind of database."""
    kind: str = request.param
    return kind


@pytest.fixture
def database_url(
    database_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[str]:
    """A database of the test's own, with the tables of this version and nothing in them."""
    if database_kind == "sqlite":
        path = tmp_path / "database" / "ccos.db"
        path.parent.mkdir()
        shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
        yield f"sqlite:///{path}"
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create_database()
        yield url
        server.drop_database(url)


@pytest.fixture
def empty_database_url(
    database_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[str]:
    """A database of the test's own in which nothing was ever written, not even tables."""
    if database_kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty' / 'ccos.db'}"
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create_database(migrated=False)
        yield url
        server.drop_database(url)


@pytest.fixture
async def storage(database_url: str, anyio_backend: str) -> AsyncIterator[Storage]:
    """The opened storage of :func:`database_url`, for tests marked ``anyio``."""
    async with Storage(database_url) as opened:
        yield opened
