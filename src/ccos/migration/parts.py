"""What migrating works with: the parts of an open CCOS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ccos.audit import AuditTrail
from ccos.config.migration import MigrationSettings
from ccos.engine.budget import ExtensionApprover
from ccos.engine.hosts import HostModules, HttpRequests
from ccos.engine.languages import Language
from ccos.engine.limits import ScriptEngineConfig
from ccos.engine.policy import SecurityLevel, SecurityPolicy, level_policy
from ccos.engine.rune import RuneLanguage
from ccos.engine.service import ScriptEngine
from ccos.engine.snapshots import SnapshotSeal
from ccos.errors import ConfigurationError
from ccos.events import EventBus
from ccos.marketplace import Marketplace
from ccos.migration.definitions import RUNE
from ccos.migration.python_form import PythonReader
from ccos.migration.reading import SourceReader
from ccos.migration.rtfs_form import RtfsReader
from ccos.migration.rune_service import RuneService, rune_service
from ccos.migration.rune_service_config import RuneServiceConfig
from ccos.runtime import Workers
from ccos.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationParts:
    """The parts of an open CCOS that migrating needs.

    Attributes:
        settings: The group ``migration`` of the configuration.
        engine_config: Of the script engine; the bridge has its own cache.
        languages: The adapters of the engine.
        readers: How tools in other languages than Rune are found.
        policy_at: The policy of a level, within what the configuration grants.
        backups: The folder for copies of originals.
        switched_on: Whether scripts run at all.
    """

    settings: MigrationSettings
    storage: Storage
    audit: AuditTrail
    events: EventBus
    marketplace: Marketplace
    workers: Workers
    engine_config: ScriptEngineConfig
    languages: tuple[Language, ...]
    modules: HostModules
    requests: HttpRequests
    seal: SnapshotSeal
    approver: ExtensionApprover | None
    backups: Path
    switched_on: bool = True
    policy_at: Callable[[SecurityLevel], SecurityPolicy] = level_policy
    readers: tuple[SourceReader, ...] = field(
        default_factory=lambda: (PythonReader(), RtfsReader())
    )

    def language(self, name: str) -> Language:
        """The adapter of a language.

        Raises:
            ConfigurationError: if there is none.
        """
        for one in self.languages:
            if one.name == name:
                return one
        raise ConfigurationError(f"There is no language {name!r}.")

    def engine(self, config: ScriptEngineConfig) -> ScriptEngine:
        """A script engine of its own over the same store; it is not started yet."""
        return ScriptEngine(
            config,
            storage=self.storage,
            audit=self.audit,
            events=self.events,
            languages=self.languages,
            modules=self.modules,
            requests=self.requests,
            seal=self.seal,
            approver=self.approver,
        )

    def rune(self) -> RuneLanguage:
        """The adapter of Rune.

        Raises:
            ConfigurationError: if there is none.
        """
        found = self.language(RUNE)
        if not isinstance(found, RuneLanguage):
            raise ConfigurationError("The language called rune is another one.")
        return found

    def original(self, config: RuneServiceConfig) -> RuneService:
        """The original runtime; it is not started yet."""
        return rune_service(
            config,
            language=self.rune(),
            modules=self.modules,
            storage=self.storage,
            audit=self.audit,
            events=self.events,
            requests=self.requests,
            approver=self.approver,
        )
