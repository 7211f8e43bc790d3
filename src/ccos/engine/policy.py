"""Security levels, and the policies derived from them.

The values of the three levels are those of the migration guide; what it leaves open follows its
reference: the share of a processor is counted over the execution timeout, so a Safe script may
compute for 5 of its 10 seconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from ccos.errors import ConfigurationError

MIB: Final = 1024 * 1024
ALL_MODULES: Final = "*"
POLICY_VERSION: Final = "1.0"


class SecurityLevel(StrEnum):
    """How far a script is trusted."""

    SAFE = "safe"
    DEVELOPMENT = "development"
    PRODUCTION = "production"

    @classmethod
    def parse(cls, text: str) -> SecurityLevel:
        """The level of a name in any case; ``dev`` and ``prod`` are understood.

        Raises:
            ConfigurationError: for any other text; no level is ever assumed.
        """
        name = _SHORT_NAMES.get(text.strip().lower(), text.strip().lower())
        try:
            return cls(name)
        except ValueError:
            raise ConfigurationError(
                f"There is no security level {text!r}.",
                next_step="Use safe, development or production.",
                details={"level": text},
            ) from None


_SHORT_NAMES: Final = {"dev": "development", "prod": "production"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityPolicy:
    """What a script may use.

    Attributes:
        name: The level in lower case, or the name of a derived policy.
        level: The level it is, or derives from.
        allowed_modules: Host modules that exist for the script; ``*`` for all.
        blocked_modules: Modules that never exist for it, whatever is allowed.
        denied_functions: Single host functions that do not exist, such as
            ``crucible.http.http_post``.
        max_memory_bytes: Most memory of the script; None for no limit, as in all limits below.
        max_cpu_percentage: Share of one processor, counted over the execution timeout.
        max_concurrent_operations: Executions under this policy at once.
        operation_timeout: Seconds that an execution may wait for its turn.
        execution_timeout: Seconds from its first step to its end, host calls included.
        allow_file_access: Whether the file module works.
        allow_network_access: Whether the http module works; sockets never exist.
        allow_system_calls: Whether the process module works.
        allowed_hosts: Hosts and ``.suffixes`` that the http module may contact; empty leaves it
            to the policy of outgoing requests.
        file_roots: Folders outside of which the file module sees nothing.
    """

    name: str
    level: SecurityLevel
    version: str = POLICY_VERSION
    allowed_modules: frozenset[str]
    blocked_modules: frozenset[str] = frozenset()
    denied_functions: frozenset[str] = frozenset()
    max_memory_bytes: int | None
    max_cpu_percentage: float | None
    max_concurrent_operations: int | None
    operation_timeout: float | None
    execution_timeout: float | None
    allow_file_access: bool
    allow_network_access: bool
    allow_system_calls: bool
    allowed_hosts: frozenset[str] = frozenset()
    file_roots: tuple[Path, ...] = ()

    @property
    def cpu_seconds(self) -> float | None:
        """How long a script may compute: its share of a processor times its timeout."""
        if self.max_cpu_percentage is None or self.execution_timeout is None:
            return None
        return self.max_cpu_percentage / 100 * self.execution_timeout

    def allows_module(self, module: str) -> bool:
        """Whether the host module ``module``, such as ``crucible.http``, exists for the script."""
        if module in self.blocked_modules:
            return False
        if ALL_MODULES not in self.allowed_modules and module not in self.allowed_modules:
            return False
        needed = _ACCESS_NEEDED.get(module)
        return needed is None or bool(getattr(self, needed))

    def derive(self, name: str, *, looser: bool = False, **changes: Any) -> SecurityPolicy:
        """A policy of another name with some attributes changed.

        Args:
            name: What it is called; the names of the levels are taken.
            looser: Says explicitly that the result may allow more than this policy does.
            changes: Attributes and their new values.

        Raises:
            ConfigurationError: for an unknown attribute or a value that makes no sense, and,
                without ``looser``, for a change that would allow more.
        """
        if name in {level.value for level in SecurityLevel}:
            raise ConfigurationError(f"A derived policy cannot be called {name!r}.")
        unknown = sorted(set(changes) - _CHANGEABLE)
        if unknown:
            raise ConfigurationError(
                f"A security policy has no attribute {unknown[0]!r} that can be changed.",
                details={"attributes": unknown},
            )
        derived = dataclasses.replace(self, name=name, **changes)
        _check(derived)
        widened = [] if looser else _widened(self, derived)
        if widened:
            raise ConfigurationError(
                f"Policy {name!r} would allow more than {self.name!r}: {', '.join(widened)}.",
                next_step="Pass looser=True if that is meant.",
                details={"attributes": widened},
            )
        return derived

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> SecurityPolicy:
        """The policy that :meth:`options` described."""
        sets = ("allowed_modules", "blocked_modules", "denied_functions", "allowed_hosts")
        return cls(
            **{
                **options,
                **{name: frozenset(options[name]) for name in sets},
                "level": SecurityLevel(options["level"]),
                "file_roots": tuple(Path(root) for root in options["file_roots"]),
            }
        )

    def options(self) -> dict[str, Any]:
        """Every attribute as JSON data, in a stable order; part of a script's identity."""
        return {item.name: _plain(getattr(self, item.name)) for item in dataclasses.fields(self)}


def module_name(text: str) -> str:
    """A module in the spelling used here: ``crucible::http`` is ``crucible.http``."""
    return text.replace("::", ".")


def level_policy(level: SecurityLevel) -> SecurityPolicy:
    """The policy of a level."""
    return _LEVELS[level]


_ACCESS_NEEDED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "crucible.file": "allow_file_access",
        "crucible.http": "allow_network_access",
        "crucible.process": "allow_system_calls",
    }
)

_LEVELS: Final[Mapping[SecurityLevel, SecurityPolicy]] = MappingProxyType(
    {
        SecurityLevel.SAFE: SecurityPolicy(
            name="safe",
            level=SecurityLevel.SAFE,
            allowed_modules=frozenset({"crucible.basic"}),
            blocked_modules=frozenset({"std.fs", "std.net"}),
            max_memory_bytes=50 * MIB,
            max_cpu_percentage=50.0,
            max_concurrent_operations=10,
            operation_timeout=10.0,
            execution_timeout=10.0,
            allow_file_access=False,
            allow_network_access=False,
            allow_system_calls=False,
        ),
        SecurityLevel.DEVELOPMENT: SecurityPolicy(
            name="development",
            level=SecurityLevel.DEVELOPMENT,
            allowed_modules=frozenset({ALL_MODULES}),
            max_memory_bytes=None,
            max_cpu_percentage=None,
            max_concurrent_operations=None,
            operation_timeout=None,
            execution_timeout=None,
            allow_file_access=True,
            allow_network_access=True,
            allow_system_calls=True,
            file_roots=(Path("/"),),
        ),
        SecurityLevel.PRODUCTION: SecurityPolicy(
            name="production",
            level=SecurityLevel.PRODUCTION,
            allowed_modules=frozenset({"crucible.basic", "crucible.http", "crucible.json"}),
            blocked_modules=frozenset({"std.fs", "std.process"}),
            max_memory_bytes=100 * MIB,
            max_cpu_percentage=75.0,
            max_concurrent_operations=50,
            operation_timeout=30.0,
            execution_timeout=30.0,
            allow_file_access=False,
            allow_network_access=True,
            allow_system_calls=False,
        ),
    }
)

_CHANGEABLE: Final = frozenset(
    item.name
    for item in dataclasses.fields(SecurityPolicy)
    if item.name not in ("name", "level", "version")
)
_LIMITS: Final = (
    "max_memory_bytes",
    "max_cpu_percentage",
    "max_concurrent_operations",
    "operation_timeout",
    "execution_timeout",
)
_PERMISSIONS: Final = ("allow_file_access", "allow_network_access", "allow_system_calls")


def _check(policy: SecurityPolicy) -> None:
    for limit in _LIMITS:
        value = getattr(policy, limit)
        if value is not None and not value > 0:
            raise ConfigurationError(f"{limit} of policy {policy.name!r} has to be above 0.")
    for root in policy.file_roots:
        if not root.is_absolute():
            raise ConfigurationError(f"The file root {root} of {policy.name!r} is not absolute.")
        if ".." in root.parts:  # it would look as if it were below the part before it
            raise ConfigurationError(f"The file root {root} of {policy.name!r} goes up by '..'.")


def _widened(old: SecurityPolicy, new: SecurityPolicy) -> list[str]:
    """The attributes by which ``new`` allows more than ``old``."""
    wider = [limit for limit in _LIMITS if _higher(getattr(old, limit), getattr(new, limit))]
    wider += [one for one in _PERMISSIONS if getattr(new, one) and not getattr(old, one)]
    if ALL_MODULES not in old.allowed_modules and not new.allowed_modules <= old.allowed_modules:
        wider.append("allowed_modules")
    wider += [
        one
        for one in ("blocked_modules", "denied_functions")
        if not getattr(new, one) >= getattr(old, one)
    ]
    if old.allowed_hosts and not (new.allowed_hosts and new.allowed_hosts <= old.allowed_hosts):
        wider.append("allowed_hosts")
    if not all(any(root.is_relative_to(one) for one in old.file_roots) for root in new.file_roots):
        wider.append("file_roots")
    return wider


def _higher(old: float | None, new: float | None) -> bool:
    return old is not None and (new is None or new > old)


def _plain(value: Any) -> Any:
    match value:
        case frozenset():
            return sorted(value)
        case tuple():
            return [str(item) for item in value]
        case SecurityLevel():
            return value.value
    return value
