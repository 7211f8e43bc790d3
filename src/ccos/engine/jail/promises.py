"""What a security level promises of the jail, and whether this machine keeps it."""

from __future__ import annotations

from collections.abc import Callable

from ccos.engine.jail.isolation import Isolation
from ccos.engine.policy import SecurityLevel, SecurityPolicy
from ccos.errors import IsolationError


def check_promise(policy: SecurityPolicy, isolation: Callable[[], Isolation] | None) -> None:
    """Make sure that workers are as isolated as the level of ``policy`` promises. May block.

    Args:
        policy: Of the script. Development promises no jail.
        isolation: Finds out what the machine can do. None where the jail was given up.

    Raises:
        IsolationError: if this machine cannot provide that.
    """
    if isolation is None or policy.level is SecurityLevel.DEVELOPMENT:
        return
    found = isolation()
    if not found.confines:
        missing = "; ".join(found.missing)
        raise IsolationError(
            f"Level {policy.level.value} promises workers in a jail. This machine lacks: "
            f"{missing}.",
            details={"missing": list(found.missing)},
        )
