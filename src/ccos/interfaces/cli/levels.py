"""The security levels as commands name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ccos.config import Settings
    from ccos.engine.policy import SecurityLevel, SecurityPolicy
    from ccos.engine.service import ScriptEngine


def policy_at(level: SecurityLevel, engine: ScriptEngine, settings: Settings) -> SecurityPolicy:
    """The policy of a level, within the folders that the settings grant."""
    from ccos.engine.policy import SecurityLevel, level_policy

    configured = engine.get_security_policy()
    if configured.level is level:
        return configured
    policy = level_policy(level)
    roots = tuple(settings.services.script_engine.file_roots)
    if level is SecurityLevel.DEVELOPMENT and roots != policy.file_roots:
        return policy.derive("configured", file_roots=roots)
    return policy
