"""What starts a command for :mod:`ccos.engine.modules.process`, and leaves nothing of it behind.

It runs in an interpreter without site packages, so it uses the standard library alone. On Linux
it is the subreaper of the command (prctl(2), PR_SET_CHILD_SUBREAPER): whoever is orphaned below
it becomes its child, new sessions and double forks included, and so can be found and killed.
Elsewhere it knows only the process group of the command.

Arguments: descriptor of the control socket, the command, its arguments. The socket brings the
length of the environment as a line of digits, then the environment, ``NAME=VALUE`` each ended by
NUL. It takes ``started PID`` or ``failed ERRNO``, and at the end ``exited CODE``, each a line.
Closing it at the other side kills the command; so does the death of whoever held it.
"""

from __future__ import annotations

import _thread
import ctypes
import os
import select
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_KILL_SECONDS = 2.0
_POLL_SECONDS = 0.005


def main(seclude: Callable[[], None], descriptor: str, command: str, *arguments: str) -> None:
    """Run the command to its end, or until the control socket closes; then kill the rest.

    Args:
        seclude: Called by the thread that starts the command, to keep it from processes that it
            did not start, this one included.
        descriptor: Of the control socket.
        command: A path, or a name that is looked up.
        arguments: Of the command.
    """
    control = int(descriptor)
    os.set_inheritable(control, False)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wakened = _wakened_by_children()
    environment = _environment(control)
    try:
        child = _started(seclude, [command, *arguments], environment)
    except OSError as error:
        _say(control, f"failed {error.errno}")
        return
    _say(control, f"started {child}")
    _let_go_of_output()
    status = _watch(child, control, wakened)
    _kill_rest(child)
    _say(control, f"exited {status}")


def _started(seclude: Callable[[], None], words: list[str], environment: dict[bytes, bytes]) -> int:
    """Start the command in a thread of its own, for what is taken from that does not come back."""
    results: list[int | OSError] = []
    done = _thread.allocate_lock()

    def start() -> None:
        try:
            seclude()
            child = os.posix_spawnp(
                words[0],
                words,
                environment,
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
            )
            results.append(child)
        except OSError as error:
            results.append(error)
        finally:
            done.release()

    done.acquire()
    _thread.start_new_thread(start, ())
    done.acquire()
    [result] = results
    if isinstance(result, OSError):
        raise result
    return result


def _wakened_by_children() -> int:
    """A descriptor that can be read once a child ended."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return reading


def _environment(control: int) -> dict[bytes, bytes]:
    with open(control, "rb", closefd=False) as stream:
        length = int(stream.readline() or 0)
        text = stream.read(length)
    if not length or len(text) != length:
        sys.exit()  # whoever wanted the command wants it no more
    environment = dict(entry.split(b"=", 1) for entry in text.split(b"\0")[:-1])
    # The command is looked up in the path that it will have itself.
    os.environb[b"PATH"] = environment.get(b"PATH", b"")
    return environment


def _let_go_of_output() -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nothing, stream)


def _watch(child: int, control: int, wakened: int) -> int:
    """Wait for the command, reaping orphans; its exit code, or the negative signal it died of."""
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wakened, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == control:
                return -signal.SIGKILL
            os.read(wakened, 512)
        for pid, status in _ended():
            if pid == child:
                return os.waitstatus_to_exitcode(status)


def _ended() -> list[tuple[int, int]]:
    ended = []
    with suppress(ChildProcessError):
        while (one := os.waitpid(-1, os.WNOHANG))[0]:
            ended.append(one)
    return ended


def _kill_rest(child: int) -> None:
    """Kill every process below this one, those that are orphaned by it in their turn too."""
    give_up = time.monotonic() + _KILL_SECONDS
    while time.monotonic() < give_up:
        for pid in (-child, *_children()):
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(_POLL_SECONDS)


def _children() -> list[int]:
    if sys.platform != "linux":
        return []
    own = str(os.getpid())
    with os.scandir("/proc") as entries:
        return [
            int(entry.name)
            for entry in entries
            if entry.name.isdigit() and _parent(entry.name) == own
        ]


def _parent(pid: str) -> str:
    # Opened by hand, and bytes: pathlib takes longer to import than all the rest.
    with suppress(OSError), open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123
        # The name of the program stands in brackets, and may hold anything itself.
        return stat.read().rpartition(b")")[2].split()[1].decode()
    return ""


def _say(control: int, line: str) -> None:
    with suppress(OSError):
        os.write(control, line.encode() + b"\n")
