"""Runs revisions on the connection that the caller holds, inside its transaction."""

from __future__ import annotations

from alembic import context

from ccos.storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,
)
context.run_migrations()
