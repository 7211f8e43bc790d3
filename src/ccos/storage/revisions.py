"""Bringing a database to the schema of this version."""

from __future__ import annotations

from importlib import resources
from typing import Final

import sqlalchemy as sa

from ccos.errors import SchemaTooNewError

HEAD: Final = "0005"
"""The newest revision; a test holds it against the revision files."""

_LOCK_KEY: Final = 0x43434F53


def bring_up_to_date(engine: sa.Engine) -> None:
    """Create or upgrade the tables. Safe when several processes start at once.

    Raises:
        SchemaTooNewError: if the database has a revision that this version does not know.
    """
    if _revision(engine) == HEAD:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(resources.files("ccos.storage") / "migrations"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK_KEY})")
        current = _revision_of(connection)
        if current is not None and current not in known:
            connection.rollback()
            raise SchemaTooNewError(
                f"The database has schema revision {current}; this version knows up to {HEAD}."
            )
        if current != HEAD:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("COMMIT")
        else:
            connection.commit()


def _revision(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        return _revision_of(connection)


def _revision_of(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").first()
    return str(found[0]) if found else None
