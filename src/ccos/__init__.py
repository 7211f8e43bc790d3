"""CCOS: a capability runtime for AI agents.

The public names are imported when they are first used, so that ``import ccos`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ccos import errors
    from ccos.assembly import Ccos, open  # noqa: A004 - the public name is ccos.open
    from ccos.capabilities import ApprovalStatus, EffectType, Manifest, TrustTier, parse_manifest
    from ccos.config import (
        MissingCapabilityConfig,
        MissingCapabilityFeatureFlags,
        Settings,
        load_settings,
    )
    from ccos.errors import CcosError
    from ccos.events import Event, EventType
    from ccos.interfaces.blocking import BlockingCcos, open_sync
    from ccos.interfaces.migrating import (
        MigrationManager,
        Phase51MigrationManager,
        ToolMigrationBridge,
    )
    from ccos.migration import (
        MigratedTool,
        MigrationConfig,
        MigrationError,
        MigrationErrorType,
        MigrationManagerConfig,
        MigrationMode,
        MigrationReport,
        MigrationState,
        MigrationStats,
        MigrationValidation,
        RuneServiceConfig,
        SecurityLevel,
        ToolExecutionContext,
        ToolExecutionResult,
        ValidationMode,
    )
    from ccos.resolution.queue import RequestStatus
    from ccos.resolution.resolver import MissingCapabilityResolver
    from ccos.resolution.results import (
        AwaitingApproval,
        Blocked,
        NotResolved,
        PermanentlyFailed,
        Resolved,
    )
    from ccos.resolution.risk import RiskLevel
    from ccos.runtime import (
        CallPolicy,
        Completed,
        Failed,
        Outcome,
        OutcomeUnknown,
        Parked,
    )

__all__ = [
    "ApprovalStatus",
    "AwaitingApproval",
    "Blocked",
    "BlockingCcos",
    "CallPolicy",
    "Ccos",
    "CcosError",
    "Completed",
    "EffectType",
    "Event",
    "EventType",
    "Failed",
    "Manifest",
    "MigratedTool",
    "MigrationConfig",
    "MigrationError",
    "MigrationErrorType",
    "MigrationManager",
    "MigrationManagerConfig",
    "MigrationMode",
    "MigrationReport",
    "MigrationState",
    "MigrationStats",
    "MigrationValidation",
    "MissingCapabilityConfig",
    "MissingCapabilityFeatureFlags",
    "MissingCapabilityResolver",
    "NotResolved",
    "Outcome",
    "OutcomeUnknown",
    "Parked",
    "PermanentlyFailed",
    "Phase51MigrationManager",
    "RequestStatus",
    "Resolved",
    "RiskLevel",
    "RuneServiceConfig",
    "SecurityLevel",
    "Settings",
    "ToolExecutionContext",
    "ToolExecutionResult",
    "ToolMigrationBridge",
    "TrustTier",
    "ValidationMode",
    "errors",
    "load_settings",
    "open",
    "open_sync",
    "parse_manifest",
]

_HOMES: Final = {
    "ccos.assembly": ("Ccos", "open"),
    "ccos.capabilities": (
        "ApprovalStatus",
        "EffectType",
        "Manifest",
        "TrustTier",
        "parse_manifest",
    ),
    "ccos.config": (
        "MissingCapabilityConfig",
        "MissingCapabilityFeatureFlags",
        "Settings",
        "load_settings",
    ),
    "ccos.errors": ("CcosError",),
    "ccos.events": ("Event", "EventType"),
    "ccos.interfaces.blocking": ("BlockingCcos", "open_sync"),
    "ccos.interfaces.migrating": (
        "MigrationManager",
        "Phase51MigrationManager",
        "ToolMigrationBridge",
    ),
    "ccos.migration": (
        "MigratedTool",
        "MigrationConfig",
        "MigrationError",
        "MigrationErrorType",
        "MigrationManagerConfig",
        "MigrationMode",
        "MigrationReport",
        "MigrationState",
        "MigrationStats",
        "MigrationValidation",
        "RuneServiceConfig",
        "SecurityLevel",
        "ToolExecutionContext",
        "ToolExecutionResult",
        "ValidationMode",
    ),
    "ccos.resolution.queue": ("RequestStatus",),
    "ccos.resolution.resolver": ("MissingCapabilityResolver",),
    "ccos.resolution.results": (
        "AwaitingApproval",
        "Blocked",
        "NotResolved",
        "PermanentlyFailed",
        "Resolved",
    ),
    "ccos.resolution.risk": ("RiskLevel",),
    "ccos.runtime": (
        "CallPolicy",
        "Completed",
        "Failed",
        "Outcome",
        "OutcomeUnknown",
        "Parked",
    ),
}
_MODULES: Final = {name: module for module, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # so that type checkers find a misspelt name

    def __getattr__(name: str) -> Any:
        """Import a public name on first use (PEP 562)."""
        if name == "errors":
            return importlib.import_module("ccos.errors")
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_MODULES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
