"""Legacy tools: finding them, reading their contracts, and running them where they came from."""

from ccos.migration.definitions import Binding, Form, RuneTool, ToolDefinition, ToolEntry
from ccos.migration.discovery import Discoverer, Discovery, FileReport
from ccos.migration.discovery_config import DiscoveryConfig, DiscoveryPatterns
from ccos.migration.inspection import Inspection, Inspector
from ccos.migration.problems import MigrationErrorType, Problem
from ccos.migration.reading import Verdict

__all__ = [
    "Binding",
    "Discoverer",
    "Discovery",
    "DiscoveryConfig",
    "DiscoveryPatterns",
    "FileReport",
    "Form",
    "Inspection",
    "Inspector",
    "MigrationErrorType",
    "Problem",
    "RuneTool",
    "ToolDefinition",
    "ToolEntry",
    "Verdict",
]
