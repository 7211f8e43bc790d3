"""The process above a script: starts it contained, waits for it, and leaves nothing of it.

It is a process of its own, which runs no line of the script. On SIGTERM it kills everything at
once; when the script ends, it kills what is left; and when the service dies, so does it, and
everything with it. Its exit status is the script's, a death by signal included, and comes only
after the last process of the script has ended.

In a namespace there is one more process between: the first of the namespace, whose end ends all
others (pid_namespaces(7)). It is not the script itself, since the kernel spares the first process
most signals, its own included.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from .containment import NAMESPACES, contain, die_with_parent
from .script import run

if TYPE_CHECKING:
    from collections.abc import Callable

_WATCHED = {signal.SIGTERM, signal.SIGCHLD}
_SWEEP_PAUSE_SECONDS = 0.002


def probe(containment: str, seclude: Callable[[], None]) -> None:
    """Exit with status 0 if children can be contained this way, with 1 otherwise."""
    try:
        contain(containment)
        child = os.fork()
        if child == 0:
            seclude()
            os._exit(0)
    except OSError:
        os._exit(1)
    os._exit(os.waitpid(child, 0)[1] != 0)


def main(
    containment: str,
    seclude: Callable[[], None],
    service: int,
    lifeline: int,
    reading: int,
    writing: int,
) -> None:
    """Run a script in a contained child, and end as it ends.

    Args:
        containment: One that was probed.
        seclude: Called by the script's process, to be kept from those that it did not start.
        service: Process id of whoever started this process.
        lifeline: A descriptor that no process of the script gets, so that its closing tells
            the end of this one.
        reading: Where the script hears its host; no process above the script keeps it.
        writing: Where it speaks to it, likewise.
    """
    die_with_parent(signal.SIGTERM)  # which it answers by killing everything
    if os.getppid() != service:
        os._exit(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    contain(containment)
    if containment in NAMESPACES:
        _keep_namespace(seclude, lifeline, reading, writing)
    else:
        _keep_children(seclude, lifeline, reading, writing)


def _keep_namespace(seclude: Callable[[], None], lifeline: int, reading: int, writing: int) -> None:
    status_reading, status_writing = os.pipe()
    first = os.fork()
    if first == 0:
        os.close(status_reading)
        _be_first(seclude, status_writing, lifeline, reading, writing)
    os.close(status_writing)
    _let_go(reading, writing)
    while os.waitpid(first, os.WNOHANG)[0] == 0:
        if signal.sigwait(_WATCHED) == signal.SIGTERM:
            os.kill(first, signal.SIGKILL)
            os.waitpid(first, 0)
            break
    status = os.read(status_reading, 16)
    _end_as(int(status) if status else signal.SIGKILL)


def _be_first(
    seclude: Callable[[], None], status_pipe: int, lifeline: int, reading: int, writing: int
) -> None:
    """The life of a namespace's first process: reap everybody until the script has ended."""
    die_with_parent(signal.SIGKILL)
    if _nobody_reads(status_pipe):
        os._exit(1)
    script = _fork_script(seclude, (status_pipe, lifeline), reading, writing)
    while True:
        pid, status = os.wait()
        if pid == script:
            os.write(status_pipe, str(status).encode())
            os._exit(0)


def _nobody_reads(pipe: int) -> bool:
    poll = select.poll()
    poll.register(pipe, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _keep_children(seclude: Callable[[], None], lifeline: int, reading: int, writing: int) -> None:
    script = _fork_script(seclude, (lifeline,), reading, writing)
    while signal.sigwait(_WATCHED) != signal.SIGTERM:
        if _has_ended(script):
            break
    # Not buried yet, the script keeps its number, and its group has no other.
    for kill in (os.killpg, os.kill):
        with suppress(OSError):
            kill(script, signal.SIGKILL)
    _end_as(_sweep(script))


def _has_ended(script: int) -> bool:
    """Bury orphans; whether the script, which is left as it is, has ended."""
    while (one := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
        if one.si_pid == script:
            return True
        os.waitpid(one.si_pid, 0)
    return False


def _sweep(script: int) -> int:
    """Kill, generation by generation, whom the script left behind; the script's wait status.

    Whoever loses its parent becomes a child of this process, the subreaper, and is found then.
    """
    status = int(signal.SIGKILL)
    while True:
        for pid in _children():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            while (one := os.waitpid(-1, os.WNOHANG))[0]:
                if one[0] == script:
                    status = one[1]
        except ChildProcessError:
            return status
        time.sleep(_SWEEP_PAUSE_SECONDS)


def _children() -> list[int]:
    """Children of this process; empty where the machine does not tell."""
    try:
        with os.scandir("/proc") as found:
            entries = [entry.name for entry in found if entry.name.isdigit()]
    except OSError:
        return []
    own = str(os.getpid()).encode()
    return [int(entry) for entry in entries if _parent(entry) == own]


def _parent(pid: str) -> bytes:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123
            # The name of the program stands in brackets, and may hold anything itself.
            return stat.read().rpartition(b")")[2].split()[1]
    except OSError:
        return b""


def _let_go(*descriptors: int) -> None:
    """Keep nothing open of what belongs to the script, its streams included."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nothing, stream)
    for descriptor in (nothing, *descriptors):
        os.close(descriptor)


def _fork_script(
    seclude: Callable[[], None], not_for_it: tuple[int, ...], reading: int, writing: int
) -> int:
    script = os.fork()
    if script:
        _let_go(reading, writing)
        return script
    try:
        for descriptor in not_for_it:
            os.close(descriptor)
        die_with_parent(signal.SIGKILL)
        os.setsid()
        seclude()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        run(reading, writing)
    except EOFError:  # the service is gone
        os._exit(1)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def _end_as(status: int) -> None:
    """End this process the way the wait status says that the script ended."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with suppress(OSError):  # SIGKILL has no handler that could be set
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))
