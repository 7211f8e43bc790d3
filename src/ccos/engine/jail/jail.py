"""A jail around worker processes that only compute and talk over their standard streams."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ccos.engine.jail.bootstrap import interpreter_options, standalone
from ccos.engine.jail.isolation import Isolation
from ccos.engine.jail.kernel import NAMESPACES
from ccos.engine.jail.programs import needs
from ccos.errors import ConfigurationError, IsolationError

if TYPE_CHECKING:
    from ccos.engine.jail.launcher import Plan

_PREFIX: Final = "ccos-jail-"
_LIFELINE: Final = "lifeline"
_LONGEST_FIRST_LINE: Final = 127
"""Kernels before 5.1 cut a longer one."""
_FEWEST_FILES: Final = 16
_LEAST_MEMORY_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class JailSpec:
    """What a program in a jail gets. It may not write any file, nor leave a core dump.

    Attributes:
        program: An ELF executable of this machine. Where it lies need not be accessible to
            others, but its mode must let them execute it when the service runs as root.
        memory_bytes: Most address space, at least 64 MiB; None for no limit. Address space is
            not memory in use: interpreters reserve more than they use.
        threads: Most threads. Holds where the program has a user or a user namespace of its own.
        open_files: Most descriptors, at least 16.
        readable: Files, and folders with all below them, that it may read besides its own
            libraries.
        environment: All its variables.
    """

    program: Path
    memory_bytes: int | None = None
    threads: int = 64
    open_files: int = 64
    readable: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no program could start with.

        Raises:
            ConfigurationError: for a limit that is too small.
        """
        _at_least("memory_bytes", self.memory_bytes, _LEAST_MEMORY_BYTES)
        _at_least("threads", self.threads, 1)
        _at_least("open_files", self.open_files, _FEWEST_FILES)


class Jail:
    """A context manager whose value is an executable that starts the program in the jail.

    The executable passes its arguments and its standard streams on, as far as those are pipes or
    sockets; other streams, such as a terminal or a file, are replaced by the null device. Only
    the process that entered the context can use it, and what was started is killed when the
    context or that process ends. A mechanism that ``isolation`` lacks is left out; one that it
    has and that fails ends the start with exit status 126 and a message on standard error.

    Names and attributes of files (not what is in them) stay visible where the file system shows
    them to every user, for Landlock does not cover that.

    Args:
        spec: The program and what it gets.
        isolation: What the machine can do, from :func:`ccos.engine.jail.probe`.
    """

    def __init__(self, spec: JailSpec, isolation: Isolation) -> None:
        self._spec = spec
        self._isolation = isolation
        self._folder: Path | None = None
        self._lifeline: int | None = None

    def __enter__(self) -> Path:
        """Write the executable, readable and executable for this user only.

        Raises:
            IsolationError: if the program cannot be started at all.
        """
        _remove_abandoned(Path(tempfile.gettempdir()))
        folder = self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        try:
            if os.statvfs(folder).f_flag & os.ST_NOEXEC:
                raise IsolationError(
                    f"Nothing may be executed in {folder.parent}.",
                    next_step="Set TMPDIR to a folder on a file system without noexec.",
                )
            pipe = None
            if sys.platform == "linux":
                unheld, pipe = folder / "unheld", folder / _LIFELINE
                os.mkfifo(unheld, 0o600)
                self._lifeline = os.open(unheld, os.O_RDWR | os.O_CLOEXEC)
                unheld.rename(pipe)
            return _write_executable(folder, self._plan(pipe))
        except BaseException:
            self._remove()
            raise

    def __exit__(self, *exception: Any) -> None:
        self._remove()

    def _remove(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _plan(self, lifeline: Path | None) -> Plan:
        spec, isolation = self._spec, self._isolation
        program = spec.program.absolute()
        if not os.access(program, os.X_OK):
            raise IsolationError(f"{program} is not an executable program.")
        needed = needs(program)
        readable = dict.fromkeys(path.absolute() for path in (*needed.libraries, *spec.readable))
        own_user, user_namespace = isolation.has("own_user"), isolation.has("user_namespace")
        return {
            "program": str(program),
            "service": os.getpid(),
            "lifeline": None if lifeline is None else str(lifeline),
            "executable": [str(path) for path in (program, needed.loader) if path is not None],
            "readable": [str(path) for path in readable],
            "limits": _limits(spec, alone=own_user or user_namespace)
            if isolation.has("resource_limits")
            else {},
            "environment": dict(spec.environment),
            "own_user": own_user,
            "user_namespace": user_namespace,
            "namespaces": [name for name in NAMESPACES if isolation.has(f"{name}_namespace")],
            "no_new_privileges": isolation.has("no_new_privileges"),
            "landlock": isolation.landlock_abi,
            "seccomp": isolation.has("seccomp"),
        }


def _remove_abandoned(parent: Path) -> None:
    """Remove what services of this user left that were killed."""
    for folder in parent.glob(f"{_PREFIX}*"):
        try:
            if folder.lstat().st_uid == os.geteuid():
                # Somebody reads from the lifeline as long as the service or a worker lives.
                os.close(os.open(folder / _LIFELINE, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW))
        except OSError as error:
            if error.errno == errno.ENXIO:
                shutil.rmtree(folder, ignore_errors=True)


def _limits(spec: JailSpec, *, alone: bool) -> dict[str, int]:
    limits = {
        # For a core dump that goes to a program 0 means no limit, and 1 means none at all
        # (core(5)); no file is made for either.
        "CORE": 1,
        "FSIZE": 0,
        "MEMLOCK": 0,
        "MSGQUEUE": 0,
        "NOFILE": spec.open_files,
    }
    if alone:  # otherwise all that the user of the service runs would count
        limits["NPROC"] = spec.threads
    if spec.memory_bytes is not None:
        limits["AS"] = spec.memory_bytes
    return limits


def _write_executable(folder: Path, plan: Plan) -> Path:
    """A script for this interpreter; where its path does not fit into a first line, by a shell."""
    interpreter, options = sys.executable, interpreter_options()
    first_line = f"#!{interpreter} -{''.join(option.removeprefix('-') for option in options)}"
    program = standalone("launcher", f"launch({plan!r})")
    if len(os.fsencode(first_line)) <= _LONGEST_FIRST_LINE and not any(
        map(str.isspace, interpreter)
    ):
        return _executable(folder / "worker", f"{first_line}\n{program}")
    script = folder / "worker.py"
    script.write_text(program, encoding="utf-8")
    command = shlex.join([interpreter, *options, str(script)])
    return _executable(folder / "worker", f'#!/bin/sh\nexec {command} "$@"\n')


def _executable(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    path.chmod(0o700)
    return path


def _at_least(name: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise ConfigurationError(
            f"A jail needs {name} of at least {least}, not {value}.",
            details={"attribute": name, "value": value},
        )
