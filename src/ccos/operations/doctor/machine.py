"""The machine: interpreter and platform, disk space, clock, and the launchers of MCP packages."""

from __future__ import annotations

import platform
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ccos.engine.jail import Isolation, probe
from ccos.operations.doctor.checks import Check, Status

_SUPPORTED: Final = {("Linux", "x86_64"), ("Linux", "aarch64"), ("Linux", "arm64")}
_MIB: Final = 1024 * 1024
_TOO_LITTLE: Final = 100 * _MIB
_LITTLE: Final = 1024 * _MIB
_NOT_BEFORE: Final = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
_AHEAD_SECONDS: Final = 60.0


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where the doctor asks about the machine.

    Attributes:
        free_bytes: Bytes that may still be written below a folder.
        isolation: What the operating system offers to confine scripts.
        now: Seconds since the Unix epoch.
    """

    free_bytes: Callable[[Path], int] = _free_bytes
    isolation: Callable[[], Isolation] = probe
    now: Callable[[], float] = time.time


def interpreter() -> Iterator[Check]:
    """Which Python this is, and on what."""
    system, processor = platform.system(), platform.machine()
    details = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "sqlite": sqlite3.sqlite_version,
    }
    message = f"Python {details['python']} on {system} {processor}."
    if (system, processor) in _SUPPORTED:
        yield Check("python", Status.OK, message, details=details)
    else:
        yield Check(
            "python",
            Status.WARNING,
            f"{message} CCOS is made for Linux on x86-64 and aarch64.",
            "Expect that scripts cannot be confined by the operating system here.",
            details,
        )


def disk(folders: Sequence[Path], machine: Machine) -> Iterator[Check]:
    """How much may still be written where CCOS writes."""
    free = {
        str(place): machine.free_bytes(place)
        for place in map(existing, [*folders, Path(tempfile.gettempdir())])
    }
    place = min(free, key=lambda one: free[one])
    least = free[place]
    message = f"{least // _MIB:,} MiB are free at {place}."
    if least >= _LITTLE:
        yield Check("disk", Status.OK, message, details={"free_bytes": free})
        return
    yield Check(
        "disk",
        Status.FAILED if least < _TOO_LITTLE else Status.WARNING,
        message,
        "Free space on that volume; a full one refuses every call that has to be written down.",
        {"free_bytes": free},
    )


def existing(path: Path) -> Path:
    """``path``, or the nearest folder above it that is there."""
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path


def clock(machine: Machine, newest: Callable[[], float | None]) -> Iterator[Check]:
    """Whether the clock can be right.

    Args:
        machine: Tells the time.
        newest: The latest moment that any stored data speaks of; None if there is no data.
    """
    now, latest = machine.now(), newest()
    said = _moment(now)
    details = {"now": now, "newest_stored": latest}
    advice = "Set the clock, or have it kept by NTP: approvals and retries go by it."
    if now < _NOT_BEFORE:
        message = f"The clock says {said}, which is before CCOS was made."
        yield Check("clock", Status.FAILED, message, advice, details)
    elif latest is not None and latest - now > _AHEAD_SECONDS:
        message = f"The clock says {said}, and the database holds entries of {_moment(latest)}."
        yield Check("clock", Status.WARNING, message, advice, details)
    else:
        yield Check("clock", Status.OK, f"The clock says {said}.", details=details)


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f} seconds since 1970"


def launchers() -> Iterator[Check]:
    """Whether MCP servers that are packages can be started."""
    import uv

    try:
        found: dict[str, str | None] = {"uv": uv.find_uv_bin()}
    except FileNotFoundError:
        found = {"uv": None}
    found["npx"] = shutil.which("npx")
    steps = {
        "uv": "Install the uv package again to start MCP servers from PyPI.",
        "npx": "Install Node.js if MCP servers from npm are wanted.",
    }
    missing = [name for name in steps if found[name] is None]
    if missing:
        message = f"{' and '.join(missing)} cannot be found."
        advice = " ".join(steps[name] for name in missing)
        yield Check("launchers", Status.WARNING, message, advice, found)
    else:
        message = "uv and npx can start MCP servers from PyPI and npm."
        yield Check("launchers", Status.OK, message, details=found)
