"""The processes of one script, and the bytes that go to and come from them."""

from __future__ import annotations

import logging
import os
import select
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ccos.engine.cpython.folders import remove_folder

_READ_BYTES: Final = 65536
_UNREAD_BYTES: Final = 1024 * 1024
"""How much may wait for a worker that does not read before nothing more is read from it."""
_CAUGHT_UP_BYTES: Final = 1024 * 1024
"""At least what a pipe holds (pipe(7)), so that reading as much leaves nothing older in it."""
_END_SECONDS: Final = 3.0
"""How long the keeper may take to kill everything."""
_SILENT_SECONDS: Final = 1.0
"""How long a worker may go on that cannot say anything any more."""
_PROGRAM: Final = """
import sys
def package(name, folder):
    module = sys.modules[name] = type(sys)(name)
    module.__path__ = [folder]
package("ccos_script", sys.argv[1])
package("ccos_jail", sys.argv[2])
from ccos_jail.seclusion import seclude
from ccos_script import keeper
if sys.argv[3] == "probe":
    keeper.probe(sys.argv[4], seclude)
keeper.main(sys.argv[4], seclude, *map(int, sys.argv[5:]))
"""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Printed:
    """Bytes of ``stdout`` or ``stderr``."""

    stream: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Said:
    """Bytes that the worker wrote for the service."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The process of the script is gone.

    ``status`` is as in :attr:`subprocess.Popen.returncode`; None if it was killed because it had
    closed the pipe over which it speaks.
    """

    status: int | None


Happening = Printed | Said | Ended


def command(*arguments: str) -> list[str]:
    """How a worker is started: CPython, without variables and folders of the user."""
    here = Path(__file__).parent
    folders = (str(here / "worker"), str(here.with_name("jail")))
    return [sys.executable, "-I", "-c", _PROGRAM, *folders, *arguments]


def environment(home: str) -> dict[str, str]:
    """All variables of a script."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": home,
        "TMPDIR": home,
        "LANG": "C.UTF-8",
    }


class ScriptProcess:
    """A script's process, with a folder of its own that is removed with it.

    One thread at a time uses it; only :meth:`terminate` may be called from any.

    Args:
        containment: How its children are held, as the worker names it.

    Raises:
        OSError: if it cannot be started.
    """

    def __init__(self, containment: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ccos-script-"))
        try:
            self._start(containment)
        except BaseException:
            remove_folder(self._folder)
            raise
        self._unwritten = bytearray()
        self._silenced = False
        self._selector = selectors.DefaultSelector()
        for descriptor in self._open:
            os.set_blocking(descriptor, False)
        for descriptor in (*self._streams, self._lifeline):
            self._selector.register(descriptor, selectors.EVENT_READ)

    def _start(self, containment: str) -> None:
        pipes = [os.pipe() for _ in range(5)]
        orders, frames, lifeline, stdout, stderr = pipes
        theirs = (orders[0], frames[1], lifeline[1], stdout[1], stderr[1])
        ours = (orders[1], frames[0], lifeline[0], stdout[0], stderr[0])
        try:
            numbers = (os.getpid(), lifeline[1], orders[0], frames[1])
            self._process = subprocess.Popen(  # noqa: S603 - the command is our own
                command("run", containment, *map(str, numbers)),
                stdin=subprocess.DEVNULL,
                stdout=stdout[1],
                stderr=stderr[1],
                pass_fds=(lifeline[1], orders[0], frames[1]),
                cwd=self._folder,
                env=environment(str(self._folder)),
                start_new_session=True,
            )
        except BaseException:
            _close(*ours)
            raise
        finally:
            _close(*theirs)
        self._orders, self._frames, self._lifeline = ours[:3]
        self._streams = {stdout[0]: "stdout", stderr[0]: "stderr"}
        self._open = set(ours)

    def terminate(self) -> None:
        """Have everything killed at once, without waiting for it."""
        self._process.send_signal(signal.SIGTERM)

    def write(self, data: bytes) -> None:
        """Give the worker something to read; it goes out while waiting for what happens."""
        if self._orders in self._open:
            self._unwritten += data
            self._flush()

    def happenings(self) -> list[Happening]:
        """What happened, after waiting for the first of it.

        What was printed before something was said comes before it.
        """
        self._want(self._orders, selectors.EVENT_WRITE, bool(self._unwritten))
        self._want(self._frames, selectors.EVENT_READ, len(self._unwritten) <= _UNREAD_BYTES)
        silent = self._frames not in self._open and not self._silenced
        ready = {key.fd for key, _ in self._selector.select(_SILENT_SECONDS if silent else None)}
        if silent and not ready:
            self._silenced = True
            self.terminate()
        if self._orders in ready:
            self._flush()
        said = self._read(self._frames) if self._frames in ready else b""
        ended = self._lifeline in ready
        found: list[Happening] = []
        for descriptor in self._open & self._streams.keys():
            if said or ended or descriptor in ready:
                most = _CAUGHT_UP_BYTES if said or ended else _READ_BYTES
                found += [
                    Printed(self._streams[descriptor], data)
                    for data in self._caught_up(descriptor, most)
                ]
        if said:
            found.append(Said(said))
        if ended:
            found += map(Said, self._caught_up(self._frames, _CAUGHT_UP_BYTES))
            found.append(Ended(None if self._silenced else self._process.wait()))
        return found

    def close(self) -> None:
        """Kill what is left, wait for its end, and remove its folder."""
        self.terminate()
        poll = select.poll()
        poll.register(self._lifeline, select.POLLIN)
        if not poll.poll(_END_SECONDS * 1000):
            _logger.warning("The keeper of a script did not end in time; killing it.")
            with suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._selector.close()
        _close(*self._open)
        remove_folder(self._folder)

    def _want(self, descriptor: int, events: int, wanted: bool) -> None:
        """Watch a descriptor, or do not."""
        if descriptor in self._open and wanted != (descriptor in self._selector.get_map()):
            if wanted:
                self._selector.register(descriptor, events)
            else:
                self._selector.unregister(descriptor)

    def _flush(self) -> None:
        try:
            del self._unwritten[: os.write(self._orders, self._unwritten)]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._unwritten.clear()
            self._forget(self._orders)

    def _caught_up(self, descriptor: int, most: int) -> Iterator[bytes]:
        """What is there to read, up to about ``most`` bytes."""
        while most > 0 and descriptor in self._open and (data := self._read(descriptor)):
            most -= len(data)
            yield data

    def _read(self, descriptor: int) -> bytes:
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return b""
        if not data:
            self._forget(descriptor)
        return data

    def _forget(self, descriptor: int) -> None:
        self._want(descriptor, 0, wanted=False)
        self._open.discard(descriptor)
        os.close(descriptor)


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
