"""What this machine can do to hold a program."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from ccos.engine.jail.bootstrap import interpreter_options, standalone

MECHANISMS: Final = (
    "no_new_privileges",
    "landlock",
    "seccomp",
    "resource_limits",
    "own_user",
    "user_namespace",
    "network_namespace",
    "ipc_namespace",
    "uts_namespace",
    "mount_namespace",
    "cgroup_namespace",
)
_TIMEOUT: Final = 10.0


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One means of the operating system. ``detail`` says what was found out about it."""

    available: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Isolation:
    """What this process can use to hold the programs that it starts.

    Args:
        mechanisms: By name, for every one of :data:`MECHANISMS`.
    """

    mechanisms: Mapping[str, Mechanism]

    def has(self, name: str) -> bool:
        """Whether a mechanism works here."""
        return self.mechanisms[name].available

    @property
    def landlock_abi(self) -> int:
        """The version of Landlock; 0 without it."""
        mechanism = self.mechanisms["landlock"]
        return int(mechanism.detail.removeprefix("ABI ")) if mechanism.available else 0

    @property
    def files(self) -> bool:
        """Whether a program in a jail can be kept from opening, making and changing files."""
        return self.has("landlock")

    @property
    def network(self) -> bool:
        """Whether it can be kept from every network, that of this machine included."""
        return self.has("seccomp") or self.has("network_namespace")

    @property
    def processes(self) -> bool:
        """Whether it can be kept from starting, tracing and signalling processes."""
        return self.has("seccomp")

    @property
    def confines(self) -> bool:
        """Whether a jail keeps all three promises here."""
        return self.files and self.network and self.processes

    @property
    def missing(self) -> tuple[str, ...]:
        """What the promises lack, in words; nothing if all are kept."""
        landlock, seccomp = self.mechanisms["landlock"], self.mechanisms["seccomp"]
        missing = []
        if not self.files:
            missing.append(f"Landlock to confine files ({landlock.detail})")
        if not self.processes:
            missing.append(f"seccomp to confine processes ({seccomp.detail})")
        if not self.network:
            missing.append("seccomp or a network namespace to confine the network")
        return tuple(missing)

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return {
            "confines": self.confines,
            "files": self.files,
            "network": self.network,
            "processes": self.processes,
            "missing": list(self.missing),
            "mechanisms": {
                name: {"available": mechanism.available, "detail": mechanism.detail}
                for name, mechanism in self.mechanisms.items()
            },
        }


def probe() -> Isolation:
    """Try every mechanism in child processes, which takes some hundredths of a second.

    Never raises: what cannot be tried is not available.
    """
    if sys.platform != "linux":
        return nothing("only Linux has it")
    try:
        answer = subprocess.run(  # noqa: S603 - our own interpreter and program
            [sys.executable, *interpreter_options(), "-c", standalone("probing", "main()")],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=_TIMEOUT,
            env={},
            close_fds=True,
        ).stdout
        found = json.loads(answer)
        return Isolation(MappingProxyType({name: Mechanism(*found[name]) for name in MECHANISMS}))
    except (OSError, ValueError, TypeError, KeyError, subprocess.SubprocessError) as error:
        return nothing(f"it could not be tried: {error}")


def nothing(reason: str) -> Isolation:
    """No mechanism at all, for a reason."""
    return Isolation(MappingProxyType({name: Mechanism(False, reason) for name in MECHANISMS}))
