"""A script engine of its own for a test, and short words for what tests do with it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from ccos.assembly import Ccos
from ccos.engine.executions import CompilationContext, ExecutionContext, ExecutionResult
from ccos.engine.policy import SecurityLevel, SecurityPolicy, level_policy
from ccos.engine.service import ScriptEngine
from opening import opened

SAFE = level_policy(SecurityLevel.SAFE)
PRODUCTION = level_policy(SecurityLevel.PRODUCTION)
DEVELOPMENT = level_policy(SecurityLevel.DEVELOPMENT)

FILES = DEVELOPMENT.derive("files", blocked_modules=frozenset({"crucible.json"}))
"""Development, as far as these tests need it."""

SPIN = "while True:\n    pass"
SLEEP = "import asyncio\nawait asyncio.sleep(30)"


@contextlib.asynccontextmanager
async def engine(home: Path, **options: Any) -> AsyncIterator[ScriptEngine]:
    """The engine of an open CCOS; options as for :func:`opening.opened`."""
    async with opened(home, **options) as ccos:
        yield ccos.script_engine


def another(ccos: Ccos, **changes: Any) -> ScriptEngine:
    """A further engine over what ``ccos`` consists of, with other parts where named."""
    base = ccos.script_engine
    parts: dict[str, Any] = {
        "storage": base._storage,
        "audit": ccos.audit,
        "events": ccos.events,
        "languages": base._languages,
        "modules": base._modules,
        "requests": base._requests,
        "seal": base._units._seal,
    }
    return ScriptEngine(changes.pop("config", base.get_config()), **(parts | changes))


async def run(
    where: ScriptEngine | Ccos, source: str, policy: SecurityPolicy = SAFE, **context: Any
) -> ExecutionResult:
    """Compile and run a text."""
    service = where.script_engine if isinstance(where, Ccos) else where
    return await service.execute_script_source(
        source, ExecutionContext(**context), CompilationContext(policy=policy)
    )


def code(result: ExecutionResult) -> str:
    """The code of the error that a result has."""
    assert result.error is not None, result
    return result.error.code
