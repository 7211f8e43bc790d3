"""Legacy tools: finding them, reading their contracts, and running them where they came from."""

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
    "MigrationErrorType",
    "Problem",
    "RegistryConfig",
    "RegistryStats",
    "RuneInspector",
    "RuneService",
    "RuneServiceConfig",
    "RuneTool",
    "ServiceMetrics",
    "ToolDefinition",
    "ToolDependency",
    "ToolEntry",
    "ToolExecutionContext",
    "ToolExecutionRequest",
    "ToolExecutionResult",
    "ToolParameter",
    "ToolRegistry",
    "ToolSandbox",
    "ToolService",
    "ToolValidation",
    "Verdict",
    "call_in_engine",
    "definition_of",
    "registered_tool",
    "rune_service",
    "script_tool",
]
