"""``ccos engine``: how the script engine is, what it did, and its cache."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cyclopts import App

from ccos.interfaces.cli.exits import ExitCode
from ccos.interfaces.cli.options import COMMON, Common
from ccos.interfaces.cli.screen import duration
from ccos.interfaces.cli.session import Session, opened

if TYPE_CHECKING:
    from ccos.engine.jail import Isolation
    from ccos.engine.policy import SecurityLevel

app = App(name="engine", help="See how the script engine is and what it did.")
cache = App(name="cache", help="See to what is kept of compiled scripts.")
app.command(cache)


@app.command
async def health(*, common: Common = COMMON) -> ExitCode:
    """Show how the engine of this process is, and how each level is isolated on this machine.

    Exit code 1 if the engine is unhealthy.
    """
    async with opened(common) as session:
        from ccos.engine.health import ServiceStatus
        from ccos.engine.jail import probe
        from ccos.engine.policy import SecurityLevel

        found = await session.ccos.script_engine.health_check()
        machine = await asyncio.to_thread(probe)
        levels = {level.value: _isolation(session, level, machine) for level in SecurityLevel}
        session.screen.document(
            {**found.as_dict(), "isolation": levels, "machine": machine.as_dict()}
        )
        session.screen.text(f"{found.status.value}: {found.message}")
        session.screen.fields(
            [
                *((name.replace("_", " "), _shown(value)) for name, value in found.details.items()),
                *((f"level {name}", one["detail"]) for name, one in levels.items()),
            ]
        )
        unhealthy = found.status is ServiceStatus.UNHEALTHY
        return ExitCode.FAILED if unhealthy else ExitCode.DONE


@app.command
async def stats(*, common: Common = COMMON) -> None:
    """Show how often the kept scripts ran, from the first day on, in every process."""
    async with opened(common) as session:
        engine = session.ccos.script_engine
        ran = await engine.get_execution_stats()
        entries, size = await engine.get_stored_cache()
        session.screen.document({**ran.as_dict(), "cache": {"entries": entries, "bytes": size}})
        session.screen.fields(
            [
                ("executions", ran.total_executions),
                ("succeeded", ran.successful_executions),
                ("failed", ran.failed_executions),
                ("average time", _time(ran.average_execution_time)),
                ("memory used, in all", _shown(ran.total_memory_used)),
                ("compiled scripts", entries),
                ("bytes of them", size),
            ]
        )
        if ran.popular_scripts:
            session.screen.text("")
        session.screen.table(
            ("script", "runs", "failed"),
            (
                (
                    one,
                    ran.executions_by_script[one],
                    f"{ran.error_rates_by_script[one]:.0%}",
                )
                for one in ran.popular_scripts
            ),
        )


@cache.command
async def clear(*, common: Common = COMMON) -> None:
    """Remove what was compiled from the database; scripts are compiled again when needed.

    Other processes that run keep what they hold in memory.
    """
    async with opened(common) as session:
        removed = await session.ccos.script_engine.clear_cache()
        session.screen.document({"entries": removed.entries, "bytes": removed.bytes})
        session.screen.text(
            f"Removed from the database: compiled scripts {removed.entries}, "
            f"bytes {removed.bytes}. Other processes keep what they hold in memory."
        )


def _isolation(session: Session, level: SecurityLevel, machine: Isolation) -> dict[str, Any]:
    """What holds the scripts of a level here, and whether it runs any."""
    from ccos.engine.policy import SecurityLevel

    if session.settings.services.script_engine.isolation == "interpreter":
        return {
            "runs": True,
            "promised": "interpreter",
            "detail": "the interpreter's sandbox alone",
        }
    if level is SecurityLevel.DEVELOPMENT:
        return {"runs": True, "promised": "interpreter", "detail": "no jail is promised"}
    if machine.confines:
        return {"runs": True, "promised": "jail", "detail": "a jail around the interpreter"}
    missing = "; ".join(machine.missing)
    return {"runs": False, "promised": "jail", "detail": f"refused: this machine lacks {missing}"}


def _time(seconds: float | None) -> str:
    if seconds is not None and seconds < 1:
        return f"{seconds * 1000:.1f} ms"
    return duration(seconds)


def _shown(value: object) -> object:
    if value is None:
        return "not measured"
    return f"{value:.1f}" if isinstance(value, float) else value
