"""A Rune service of its own for a test, over what an open CCOS consists of."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from ccos.assembly import Ccos
from ccos.engine.hosts import HostModules
from ccos.engine.modules import host_modules
from ccos.engine.policy import SecurityLevel, level_policy
from ccos.engine.rune import RuneLanguage
from ccos.migration import (
    DiscoveryConfig,
    RuneInspector,
    RuneService,
    RuneServiceConfig,
    ToolExecutionContext,
    ToolExecutionRequest,
    ToolExecutionResult,
    ToolSandbox,
)
from migration.inspecting import rune
from opening import opened


def sandbox(
    ccos: Ccos, language: RuneLanguage, modules: HostModules | None = None, **changes: Any
) -> ToolSandbox:
    engine = ccos.script_engine
    policy = changes.pop("policy", level_policy(SecurityLevel.SAFE))
    return ToolSandbox(
        policy,
        language=language,
        modules=modules or host_modules(),
        storage=engine._storage,
        audit=ccos.audit,
        events=ccos.events,
        requests=engine._requests,
        **changes,
    )


@contextlib.asynccontextmanager
async def service(
    home: Path, folder: Path, **config: Any
) -> AsyncIterator[tuple[RuneService, Ccos]]:
    """A running service that knows the tools of a folder."""
    level = config.pop("level", SecurityLevel.SAFE)
    modules = config.pop("modules", None)
    config.setdefault("discovery", DiscoveryConfig(directories=(folder,)))
    chosen = RuneServiceConfig(security=level_policy(level), **config)
    async with opened(home) as ccos, rune() as language:
        made = RuneService(
            chosen,
            inspector=RuneInspector(language, host_modules()),
            sandbox=sandbox(
                ccos,
                language,
                modules,
                policy=chosen.security,
                max_memory_bytes=chosen.execution.max_memory,
            ),
        )
        async with made:
            await made.discover_tools_from_directories()
            yield made, ccos


async def call(
    where: RuneService, name: str, parameters: Any = None, **context: Any
) -> ToolExecutionResult:
    """Call a tool of a service."""
    request = ToolExecutionRequest(
        tool_name=name,
        parameters={} if parameters is None else parameters,
        context=ToolExecutionContext(**context),
    )
    return await where.execute_tool(request)


def code(result: ToolExecutionResult) -> str:
    """The code of the error that a result has."""
    assert result.error is not None, result
    return result.error.code
