"""How the original Rune service works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ccos.engine.policy import MIB, SecurityLevel, SecurityPolicy, level_policy
from ccos.errors import ConfigurationError
from ccos.migration.discovery_config import SERVICE_DIRECTORIES, DiscoveryConfig
from ccos.migration.registry import RegistryConfig

SERVICE_NAME: Final = "crucible-rune"
VERSION: Final = "1.0.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionConfig:
    """How tools are called.

    Attributes:
        default_timeout: Seconds, for a call that names none.
        max_timeout: Seconds; no call gets more.
        max_memory: Bytes of one call.
        capture_output: Whether what a tool prints is in the metadata of the result.
        default_environment: Variables that every tool may see.

    Raises:
        ConfigurationError: for a limit that is not above 0.
    """

    default_timeout: float = 30.0
    max_timeout: float = 300.0
    max_memory: int = 100 * MIB
    capture_output: bool = True
    default_environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("default_timeout", "max_timeout", "max_memory"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"{name} has to be above 0.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuneServiceConfig:
    """How the service works.

    Attributes:
        hot_reload: Whether it notices by itself that a file changed.
        security: What tools may use; whoever makes the sandbox reads it.
    """

    service_name: str = SERVICE_NAME
    version: str = VERSION
    discovery: DiscoveryConfig = field(
        default_factory=lambda: DiscoveryConfig(directories=SERVICE_DIRECTORIES)
    )
    hot_reload: bool = True
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    cache: RegistryConfig = field(default_factory=RegistryConfig)
    security: SecurityPolicy = field(default_factory=lambda: level_policy(SecurityLevel.SAFE))
