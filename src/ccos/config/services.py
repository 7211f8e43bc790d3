"""The configuration of the services of a process; so far there is one, the script engine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field

from ccos.config.fields import (
    LOWER_CASE,
    FilePaths,
    Number,
    PositiveCount,
    PositiveNumber,
    Setting,
    SettingsModel,
    Switch,
    shown,
)

_LEVELS: Final = ("safe", "development", "production")
_SHORT_LEVELS: Final = {"dev": "development", "prod": "production"}
_FEWEST_WORKERS: Final = 2
_MOST_WORKERS: Final = 8


def read_level(value: object) -> object:
    """Read the name of a security level, in any case; ``dev`` and ``prod`` are understood."""
    name = value.strip().lower() if isinstance(value, str) else value
    level = _SHORT_LEVELS.get(name, name) if isinstance(name, str) else name
    if level not in _LEVELS:
        raise ValueError(f"expected safe, development or production, got {shown(value)}")
    return level


def _default_workers() -> int:
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return min(_MOST_WORKERS, max(_FEWEST_WORKERS, (processors or os.cpu_count() or 1) * 2))


class ScriptEngineConfig(SettingsModel):
    """How scripts are run, and what they may use at most."""

    enabled: Annotated[
        Switch,
        Setting(
            "CCOS_SCRIPT_ENGINE_ENABLED",
            "Run scripts at all.",
            other_variable="CCOS_SCRIPT_ENGINE",
        ),
    ] = True
    security_level: Annotated[
        Literal["safe", "development", "production"],
        BeforeValidator(read_level),
        Setting(
            "CCOS_SCRIPT_ENGINE_SECURITY_LEVEL",
            "Level of a script that names none: safe, development (dev) or production (prod).",
        ),
    ] = "safe"
    max_source_size: Annotated[
        PositiveCount,
        Setting("CCOS_SCRIPT_ENGINE_MAX_SOURCE_SIZE", "Largest source text of a script, in bytes."),
    ] = 1024 * 1024
    default_timeout_secs: Annotated[
        PositiveNumber,
        Setting(
            "CCOS_SCRIPT_ENGINE_DEFAULT_TIMEOUT_SECS",
            "Longest run of a script whose caller and level say nothing, in seconds.",
        ),
    ] = 30
    enable_caching: Annotated[
        Switch, Setting("CCOS_SCRIPT_ENGINE_ENABLE_CACHING", "Keep compiled scripts for reuse.")
    ] = True
    max_cache_size: Annotated[
        PositiveCount, Setting("CCOS_SCRIPT_ENGINE_MAX_CACHE_SIZE", "Most compiled scripts kept.")
    ] = 1000
    max_cache_bytes: Annotated[
        PositiveCount,
        Setting("CCOS_SCRIPT_ENGINE_MAX_CACHE_BYTES", "Most bytes of compiled scripts kept."),
    ] = 64 * 1024 * 1024
    max_memory_mb: Annotated[
        PositiveCount,
        Setting("CCOS_SCRIPT_ENGINE_MAX_MEMORY_MB", "Most memory of a script, in MiB."),
    ] = 100
    max_cpu_percentage: Annotated[
        Number,
        Field(gt=0, le=100),
        Setting(
            "CCOS_SCRIPT_ENGINE_MAX_CPU_PERCENTAGE",
            "Share of one processor, counted over the time a script may take; at most 100.",
        ),
    ] = 80.0
    max_concurrent_operations: Annotated[
        PositiveCount,
        Setting("CCOS_SCRIPT_ENGINE_MAX_CONCURRENT_OPERATIONS", "Most scripts at work at once."),
    ] = 50
    max_queue_size: Annotated[
        PositiveCount,
        Setting("CCOS_SCRIPT_ENGINE_MAX_QUEUE_SIZE", "Most scripts that wait for their turn."),
    ] = 1000
    max_output_bytes: Annotated[
        PositiveCount,
        Setting("CCOS_SCRIPT_ENGINE_MAX_OUTPUT_BYTES", "Most printed text kept of one run."),
    ] = 1024 * 1024
    workers: Annotated[
        PositiveCount,
        Setting(
            "CCOS_SCRIPT_ENGINE_WORKERS",
            "Worker processes that run scripts.",
            default_text="twice the processors, at least 2 and at most 8",
        ),
    ] = Field(default_factory=_default_workers)
    isolation: Annotated[
        Literal["jail", "interpreter"],
        LOWER_CASE,
        Setting(
            "CCOS_SCRIPT_ENGINE_ISOLATION",
            "What holds a script: jail, by the operating system around the interpreter, without "
            "which nothing runs; or interpreter, its own sandbox alone.",
        ),
    ] = "jail"
    file_roots: Annotated[
        FilePaths,
        Setting(
            "CCOS_SCRIPT_ENGINE_FILE_ROOTS",
            "Folders that the file module may use at the level development.",
            default_text="`/`",
        ),
    ] = (Path("/"),)


class ServicesConfig(SettingsModel):
    """One group of settings for each service."""

    script_engine: ScriptEngineConfig = ScriptEngineConfig()
