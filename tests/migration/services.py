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
    RuneService,
    RuneServiceConfig,
    ToolExecutionContext,
    ToolExecutionRequest,
    ToolExecutionResult,
    rune_service,
)
from migration.inspecting import rune
from opening import opened


def parts(ccos: Ccos, language: RuneLanguage, modules: HostModules | None = None) -> dict[str, Any]:
    """What a service, or its sandbox, is made of."""
    return {
        "language": language,
        "modules": modules or host_modules(),
        "storage": ccos.script_engine._storage,
        "audit": ccos.audit,
        "events": ccos.events,
        "requests": ccos.script_engine._requests,
    }


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
        made = rune_service(chosen, **parts(ccos, language, modules))
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
