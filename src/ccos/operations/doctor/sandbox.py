"""What holds scripts: the interpreter's worker, and the isolation of the operating system."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import pydantic_monty as monty
from pydantic_monty._binary import find_monty_binary

from ccos.config import ScriptEngineConfig
from ccos.engine.jail import Isolation
from ccos.engine.policy import SecurityLevel
from ccos.operations.doctor.checks import Check, Status

_SECONDS: Final = 5.0


def worker() -> Iterator[Check]:
    """Whether an interpreter worker starts and computes."""
    step = "Install pydantic-monty again, or correct MONTY_BIN if it is set."
    details: dict[str, Any] = {}
    try:
        details["program"] = find_monty_binary()
        with (
            monty.Monty(
                min_processes=1,
                max_processes=1,
                checkout_timeout=_SECONDS,
                request_timeout=_SECONDS,
            ) as pool,
            pool.checkout() as session,
        ):
            answer = session.feed_run("1 + 1")
    except (OSError, RuntimeError, monty.MontyError) as error:
        words = str(error).strip().splitlines() or [type(error).__name__]
        message = f"The Python interpreter for scripts does not work: {words[0]}"
        yield Check("interpreter", Status.FAILED, message, step, details)
        return
    if answer == 2:
        message = "The Python interpreter for scripts works: a worker computed 1 + 1."
        yield Check("interpreter", Status.OK, message, details=details)
    else:
        message = "The Python interpreter for scripts computed something else than 2 for 1 + 1."
        yield Check("interpreter", Status.FAILED, message, step, details)


def isolation(config: ScriptEngineConfig | None, probe: Callable[[], Isolation]) -> Iterator[Check]:
    """Whether the machine can confine scripts as their security levels promise.

    Args:
        config: The settings of the engine; None if they cannot be read.
        probe: Asks the operating system.
    """
    if config is not None and not config.enabled:
        yield Check("isolation", Status.OK, "The script engine is switched off.")
        return
    found = probe()
    required = config is None or config.isolation == "jail"
    runs = {level.value: found.confines or not required for level in SecurityLevel}
    details = {**found.as_dict(), "levels": runs}
    lacking = f" Missing: {', '.join(found.missing)}." if found.missing else ""
    if not required:
        yield Check(
            "isolation",
            Status.WARNING,
            "Scripts of every level run inside the interpreter's own sandbox alone, as "
            f"services.script_engine.isolation says.{lacking}",
            "Set CCOS_SCRIPT_ENGINE_ISOLATION=jail."
            if found.confines
            else "Run CCOS where the operating system confines scripts, and set it to jail.",
            details,
        )
    elif not found.confines:
        yield Check(
            "isolation",
            Status.FAILED,
            f"The operating system cannot confine scripts here, so none of them runs.{lacking}",
            "Provide what is missing. CCOS_SCRIPT_ENGINE_ISOLATION=interpreter lets scripts run "
            "inside the interpreter's own sandbox alone.",
            details,
        )
    else:
        levels = ", ".join(runs)
        message = f"The operating system confines scripts of every level: {levels}.{lacking}"
        yield Check("isolation", Status.OK, message, details=details)
