"""Managers and bridges over an open CCOS, for tests."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ccos.assembly import Ccos
from ccos.migration import (
    MigrationConfig,
    MigrationManager,
    MigrationManagerConfig,
    RuneServiceConfig,
    ToolMigrationBridge,
)
from ccos.storage.schema import metadata
from opening import opened

Rows = dict[str, list[tuple[Any, ...]]]

PASSING = {
    *("compiled_scripts", "script_usage", "workers", "audit_entries", "counters"),
    *("executions", "journal", "migrations", "migration_steps"),
}
"""Tables of what is cached, counted or written down; all others say what is registered."""


@contextlib.asynccontextmanager
async def managed(
    home: Path, *folders: Path, kept: MigrationConfig | None = None, **config: Any
) -> AsyncIterator[tuple[MigrationManager, Ccos]]:
    """A manager for some folders."""
    async with opened(home) as ccos, manager_of(ccos, *folders, kept=kept, **config) as manager:
        yield manager, ccos


@contextlib.asynccontextmanager
async def manager_of(
    ccos: Ccos, *folders: Path, kept: MigrationConfig | None = None, **config: Any
) -> AsyncIterator[MigrationManager]:
    """A manager for some folders, over a CCOS that is open already."""
    chosen = MigrationManagerConfig(migration_directories=folders, **config)
    async with await MigrationManager.new(chosen, ccos.migration_parts(), kept) as manager:
        yield manager


@contextlib.asynccontextmanager
async def bridged(
    ccos: Ccos, rune_config: RuneServiceConfig | None = None, **config: Any
) -> AsyncIterator[ToolMigrationBridge]:
    """A bridge over an open CCOS."""
    config.setdefault("auto_migrate", False)
    made = await ToolMigrationBridge.new(
        rune_config or RuneServiceConfig(), MigrationConfig(**config), ccos.migration_parts()
    )
    async with made:
        yield made


async def registered(ccos: Ccos) -> Rows:
    """All rows of the tables that say what is registered."""
    return await everything(ccos, without=PASSING)


async def everything(ccos: Ccos, *, without: set[str]) -> Rows:
    """All rows of all tables but some."""

    def query(connection: sa.Connection) -> Rows:
        found: Rows = {}
        for table in metadata.sorted_tables:
            if table.name not in without:
                rows = connection.execute(sa.select(table)).all()
                found[table.name] = sorted((tuple(row) for row in rows), key=repr)
        return found

    return await ccos.marketplace.storage.read(query)


def files(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its content, and every folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }
