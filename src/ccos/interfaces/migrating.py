"""Migration for programs that have no CCOS open: each of these opens one of its own.

They are what the migration guide shows; within an open CCOS, ``ccos.migration`` has the same with
its parts named.
"""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Self

from ccos import assembly
from ccos.config import Settings
from ccos.migration import (
    MigrationConfig,
    MigrationManagerConfig,
    RuneServiceConfig,
)
from ccos.migration import MigrationManager as ManagerWithin
from ccos.migration import ToolMigrationBridge as BridgeWithin


class MigrationManager(ManagerWithin):
    """Migrates the tools of some folders, in a CCOS that it opens and closes itself."""

    _exits: contextlib.AsyncExitStack

    @classmethod
    async def new(  # type: ignore[override]
        cls,
        config: MigrationManagerConfig,
        *,
        settings: Settings | None = None,
        migration_config: MigrationConfig | None = None,
    ) -> Self:
        """A manager that has migrated nothing yet.

        Args:
            config: What it is to do.
            settings: Of the CCOS to open; by default from configuration file and environment.
            migration_config: How tools are kept; by default as the settings say.

        Raises:
            ConfigurationError, StorageError: if CCOS cannot be opened.
            FeatureDisabledError: if migrating is switched off.
        """
        async with contextlib.AsyncExitStack() as exits:
            ccos = await exits.enter_async_context(assembly.open(settings, work=False))
            made = await super().new(config, ccos.migration_parts(), migration_config)
            made._exits = exits.pop_all()
        return made

    async def aclose(self) -> None:
        """Stop what runs, and close its CCOS; harmless twice."""
        await super().aclose()
        await self._exits.aclose()


class ToolMigrationBridge(BridgeWithin):
    """Keeps and calls migrated tools, in a CCOS that it opens and closes itself."""

    _exits: contextlib.AsyncExitStack

    @classmethod
    async def new(  # type: ignore[override]
        cls,
        rune_config: RuneServiceConfig,
        migration_config: MigrationConfig,
        *,
        settings: Settings | None = None,
    ) -> Self:
        """A bridge that runs; with ``auto_migrate`` it has migrated the tools of its folders.

        Args:
            rune_config: Where tools are looked for, and how.
            migration_config: How they are kept.
            settings: Of the CCOS to open; by default from configuration file and environment.

        Raises:
            ConfigurationError, StorageError: if CCOS cannot be opened.
            FeatureDisabledError: if migrating is switched off, or scripts are.
        """
        async with contextlib.AsyncExitStack() as exits:
            ccos = await exits.enter_async_context(assembly.open(settings, work=False))
            made = await super().new(rune_config, migration_config, ccos.migration_parts())
            made._exits = exits.pop_all()
        return made

    async def stop(self) -> None:
        """Stop what runs, and close its CCOS; harmless twice."""
        await super().stop()
        await self._exits.aclose()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()


Phase51MigrationManager = MigrationManager
