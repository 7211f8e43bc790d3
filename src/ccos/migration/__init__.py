"""Legacy tools: finding them, reading their contracts, and running them where they came from."""

from ccos.engine.policy import SecurityLevel
from ccos.migration.bridge import ToolMigrationBridge
from ccos.migration.definitions import (
    Binding,
    Form,
    RuneTool,
    ToolDefinition,
    ToolDependency,
    ToolEntry,
    ToolParameter,
)
from ccos.migration.discovery import Discoverer, Discovery, FileReport
from ccos.migration.discovery_config import DiscoveryConfig, DiscoveryPatterns
from ccos.migration.engine_tools import (
    call_in_engine,
    definition_of,
    registered_tool,
    script_tool,
)
from ccos.migration.inspection import Inspector, RuneInspector
from ccos.migration.manager import MigrationManager, Phase51MigrationManager
from ccos.migration.migration_config import (
    MigrationConfig,
    MigrationManagerConfig,
    MigrationMode,
    ValidationConfig,
    ValidationMode,
)
from ccos.migration.outcomes import (
    MigratedTool,
    MigrationError,
    MigrationPhase,
    MigrationReport,
    MigrationState,
    MigrationStats,
    MigrationValidation,
    PlannedTool,
)
from ccos.migration.parts import MigrationParts
from ccos.migration.problems import MigrationErrorType, Problem
from ccos.migration.reading import Verdict
from ccos.migration.registry import (
    LoadingAction,
    LoadingEvent,
    RegistryConfig,
    RegistryStats,
    ToolRegistry,
)
from ccos.migration.rune_service import RuneService, rune_service
from ccos.migration.rune_service_config import ExecutionConfig, RuneServiceConfig
from ccos.migration.sandbox import ToolSandbox
from ccos.migration.tool_service import (
    ContextRef,
    ServiceMetrics,
    ToolExecutionContext,
    ToolExecutionRequest,
    ToolExecutionResult,
    ToolService,
    ToolValidation,
)

__all__ = [
    "Binding",
    "ContextRef",
    "Discoverer",
    "Discovery",
    "DiscoveryConfig",
    "DiscoveryPatterns",
    "ExecutionConfig",
    "FileReport",
    "Form",
    "Inspector",
    "LoadingAction",
    "LoadingEvent",
    "MigratedTool",
    "MigrationConfig",
    "MigrationError",
    "MigrationErrorType",
    "MigrationManager",
    "MigrationManagerConfig",
    "MigrationMode",
    "MigrationParts",
    "MigrationPhase",
    "MigrationReport",
    "MigrationState",
    "MigrationStats",
    "MigrationValidation",
    "Phase51MigrationManager",
    "PlannedTool",
    "Problem",
    "RegistryConfig",
    "RegistryStats",
    "RuneInspector",
    "RuneService",
    "RuneServiceConfig",
    "RuneTool",
    "SecurityLevel",
    "ServiceMetrics",
    "ToolDefinition",
    "ToolDependency",
    "ToolEntry",
    "ToolExecutionContext",
    "ToolExecutionRequest",
    "ToolExecutionResult",
    "ToolMigrationBridge",
    "ToolParameter",
    "ToolRegistry",
    "ToolSandbox",
    "ToolService",
    "ToolValidation",
    "ValidationConfig",
    "ValidationMode",
    "Verdict",
    "call_in_engine",
    "definition_of",
    "registered_tool",
    "rune_service",
    "script_tool",
]
