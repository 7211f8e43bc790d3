"""Starts a program in a jail: takes everything away from this process, then becomes the program.

It runs in a process of its own, without site packages. Whatever cannot be done ends it with a
message: nothing starts in half a jail.

The order of the steps matters. Files are opened while they can be reached, the user changes
before namespaces are entered so that they belong to nobody else, and the filter of system calls
comes last because it would refuse the steps before it.
"""

from __future__ import annotations

import os
import resource
import signal
import stat
import sys

from . import kernel, seccomp
from .syscalls import NUMBERS

TYPE_CHECKING = False
if TYPE_CHECKING:  # the module typing takes longer to import than all the rest
    from collections.abc import Iterator
    from typing import TypedDict

    class Plan(TypedDict):
        """How to start a program.

        Attributes:
            program: An absolute path; a file that needs no interpreter.
            service: The process that may start it, and no other.
            lifeline: A named pipe. When nobody has it open for writing the program is killed.
                None where that does not exist.
            executable: Files that may be executed, which is what the start itself does.
            readable: Files, and folders with all below them, that may be read.
            limits: Names of limits without ``RLIMIT_``, and their values.
            environment: All variables of the program.
            own_user: Whether to change to a user that nobody else is.
            user_namespace: Whether to enter one.
            namespaces: Others to enter, by the names in ``kernel.NAMESPACES``.
            no_new_privileges: Whether to refuse them.
            landlock: The version of Landlock to use; 0 for none.
            seccomp: Whether to filter system calls.
        """

        program: str
        service: int
        lifeline: str | None
        executable: list[str]
        readable: list[str]
        limits: dict[str, int]
        environment: dict[str, str]
        own_user: bool
        user_namespace: bool
        namespaces: list[str]
        no_new_privileges: bool
        landlock: int
        seccomp: bool


FAILED = 126
"""Exit status of a start that failed: the shell's for a program that cannot be executed."""

USERS = ((1_900_000_000, 1 << 22), (60_578, 606))
"""First id and count of the ids under which programs of root run. The first range has one for
every process id; the second is for containers that know only 65536 users. Nobody is given ids of
either: https://systemd.io/UIDS-GIDS/."""


def launch(plan: Plan) -> None:
    """Become the program of ``plan``, with the arguments that this process got. Never returns."""
    step, messages = "descriptors", 2
    try:
        messages = separate_descriptors()
        for step in _steps(plan):  # noqa: B007 - the message names it
            pass
    except BaseException as error:
        text = f"jail: {step}: {str(error) or type(error).__name__}\n"
        os.write(messages, text.encode(errors="backslashreplace"))
    finally:
        os._exit(FAILED)


def _steps(plan: Plan) -> Iterator[str]:
    """Do everything, step after step; each is named before it is taken."""
    yield "files"
    program = os.open(plan["program"], os.O_RDONLY)
    ruleset = _ruleset(plan) if plan["landlock"] else None
    lifeline = plan["lifeline"]
    pipe = None if lifeline is None else os.open(lifeline, os.O_RDONLY | os.O_NONBLOCK)
    yield "process"
    _leave_surroundings()
    yield "namespaces"
    others = 0
    for name in plan["namespaces"]:
        others |= kernel.NAMESPACES[name]
    if others and not plan["user_namespace"]:
        kernel.unshare(others)
    if plan["own_user"]:
        yield "own user"
        become_nobody()
    if plan["user_namespace"]:
        yield "user namespace"
        kernel.enter_user_namespace(others)
    yield "resource limits"
    limit(plan["limits"])
    yield "lifeline"
    last = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1
    if pipe is not None:
        # The highest number is the one that a program never meets by itself.
        kernel.die_with_writer(os.dup2(pipe, last))
    if os.getppid() != plan["service"]:
        raise OSError(f"process {plan['service']} is not the one that starts this")
    if sys.platform == "linux":
        yield "capabilities"
        kernel.drop_capabilities()
    if plan["no_new_privileges"]:
        yield "no new privileges"
        kernel.refuse_new_privileges()
    if ruleset is not None:
        yield "Landlock"
        kernel.landlock_restrict(ruleset)
    arguments = [plan["program"], *sys.argv[1:]]
    if not plan["seccomp"]:
        yield "start"
        file = program if os.execve in os.supports_fd else plan["program"]
        os.execve(file, arguments, plan["environment"])  # noqa: S606 - a shell is not wanted
    yield "seccomp"
    machine = os.uname().machine
    # The program cannot start another one, for that would need this number, which goes with the
    # memory of the launcher.
    key = int.from_bytes(os.urandom(8), "little")
    kernel.install_filter(seccomp.assemble(machine, pid=os.getpid(), key=key, lifeline=last))
    yield "start"
    number = NUMBERS["execveat"][seccomp.ARCHITECTURES[machine][1]]
    assert number is not None
    kernel.execute(number, program, arguments, plan["environment"], key)


def separate_descriptors() -> int:
    """Keep the standard descriptors as far as they are pipes or sockets, and nothing else.

    A terminal could be read, or be sent control sequences; a file is shared with others.

    Returns:
        Where messages go until the program starts.
    """
    kernel.close_descriptors(3)
    try:
        messages = os.dup(2)
    except OSError:
        messages = 2
    for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            kind = os.fstat(number).st_mode
        except OSError:
            kind = 0
        if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):
            nothing = os.open(os.devnull, mode)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
            os.set_inheritable(number, True)
    return messages


def _leave_surroundings() -> None:
    os.umask(0o077)
    os.chdir("/")
    if os.getpgrp() != os.getpid():  # the leader of a group cannot open a session
        os.setsid()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def become_nobody() -> None:
    """Change from root to a user and group that no other process has, for good."""
    first, count = free_users()
    user = first + os.getpid() % count
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def free_users() -> tuple[int, int]:
    """First id and count of a range that this user namespace knows and nobody is given."""
    known = [_mapped("/proc/self/uid_map"), _mapped("/proc/self/gid_map")]
    for first, count in USERS:
        if all(
            any(start <= first and first + count <= end for start, end in ranges)
            for ranges in known
        ):
            return first, count
    raise OSError("the user namespace has no ids to spare")


def _mapped(path: str) -> list[tuple[int, int]]:
    with open(path, encoding="ascii") as file:  # noqa: PTH123 - pathlib is slow to import
        lines = [[int(word) for word in line.split()] for line in file]
    return [(inside, inside + count) for inside, _, count in lines]


def limit(limits: dict[str, int]) -> None:
    """Lower resource limits; one that is lower already stays."""
    for name, value in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}", None)
        if kind is None:
            continue
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(kind, (value, value))


def _ruleset(plan: Plan) -> int:
    allowed = {}
    for path in plan["readable"]:
        descriptor = os.open(path, os.O_PATH)
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        allowed[descriptor] = kernel.READ_FILE | (kernel.READ_DIRECTORY if folder else 0)
    for path in plan["executable"]:
        allowed[os.open(path, os.O_PATH)] = kernel.READ_FILE | kernel.EXECUTE
    ruleset = kernel.landlock_ruleset(plan["landlock"], allowed)
    for descriptor in allowed:
        os.close(descriptor)
    return ruleset
