"""How tools are looked for: one configuration for service, manager and command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ccos.engine.policy import MIB
from ccos.errors import ConfigurationError

MANAGER_DIRECTORIES: Final = (Path("tools"), Path("rune_tools"))
SERVICE_DIRECTORIES: Final = (Path("tools"), Path("rune-tools"), Path("scripts"))


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryPatterns:
    """Which contracts are looked for, and what is made of the names of files and modules.

    Attributes:
        direct_tools: Whether the contract of the file itself is read.
        module_tools: Whether each ``pub mod`` that has the contract is a tool too.
        semantic_naming: Whether the names of folder, file and module tell for whom a tool may
            be; that is metadata and nothing else.
        topic_module_function: Whether a tool of a module is called ``file.module.name``.
        custom_patterns: Globs on the path below the folder, by label. The labels of those that
            match are metadata of the tool.
    """

    direct_tools: bool = True
    module_tools: bool = True
    semantic_naming: bool = False
    topic_module_function: bool = False
    custom_patterns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryConfig:
    """Where and how tools are looked for.

    Attributes:
        directories: Searched when none are named; a missing one is a warning.
        recursive: Whether folders in them are searched too.
        extensions: Of files that may have tools, without the dot.
        exclude_dirs: Names of folders that are not entered.
        exclude_files: Names of files that are not looked at.
        ignore_patterns: Globs on names of files that are passed over as if they were not there.
        max_file_size: In bytes; a larger file is a failure.
        follow_symlinks: Whether links are followed, as long as they stay in the folder.
        validate_tools: Whether schemas are checked to be valid schemas.
        hot_reload: Whether a service notices changes by itself.
        debounce_seconds: How long files have to be left alone before a change counts.
        interval_seconds: How often a service looks for changes.
        concurrency: Files that are read at once.

    Raises:
        ConfigurationError: for values that make no sense.
    """

    directories: tuple[Path, ...] = MANAGER_DIRECTORIES
    recursive: bool = True
    extensions: tuple[str, ...] = ("rn", "rune")
    exclude_dirs: frozenset[str] = frozenset({".git", "node_modules", "target", ".crucible"})
    exclude_files: frozenset[str] = frozenset({".DS_Store", "Thumbs.db"})
    ignore_patterns: tuple[str, ...] = ("*.tmp", "*.bak", ".*")
    max_file_size: int = 10 * MIB
    follow_symlinks: bool = False
    validate_tools: bool = True
    hot_reload: bool = True
    debounce_seconds: float = 0.5
    interval_seconds: float = 30.0
    concurrency: int = 4
    patterns: DiscoveryPatterns = field(default_factory=DiscoveryPatterns)

    def __post_init__(self) -> None:
        for extension in self.extensions:
            if not extension.isalnum():
                raise ConfigurationError(
                    f"{extension!r} is no file extension.", next_step="Write it as in 'rn'."
                )
        if not self.extensions:
            raise ConfigurationError("Discovery needs at least one file extension.")
        for name in ("max_file_size", "interval_seconds", "concurrency"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"{name} has to be above 0.")
        if not self.debounce_seconds >= 0:
            raise ConfigurationError("debounce_seconds cannot be below 0.")
