"""``crucible.process``: programs of this machine, and the variables that the script may see."""

from __future__ import annotations

import asyncio
import os
import pwd
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from ccos.engine.hosts import (
    Effect,
    HostContext,
    HostFunction,
    HostFunctionError,
    Parameter,
    bound_values,
)
from ccos.engine.jail.bootstrap import interpreter_options
from ccos.engine.modules.limits import MAX_COMMAND_BYTES, MAX_TEXT_BYTES
from ccos.engine.modules.waiting import to_its_end

MODULE: Final = "crucible.process"

MARK: Final = "CCOS_PROCESS"
"""A variable that every process of one command has, unless it removes it."""

_SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OPTIONS: Final = (
    Parameter("timeout", "number", required=False),
    Parameter("cwd", "string", required=False),
    Parameter("env", "object", required=False),
)
_PROGRAM: Final = """
import sys
for name in ("jail", "modules"):
    package = sys.modules[name] = type(sys)(name)
    package.__path__ = [f"{sys.argv[1]}/{name}"]
from jail.seclusion import seclude
from modules import supervisor
supervisor.main(seclude, *sys.argv[2:])
"""
_ENGINE: Final = str(Path(__file__).parents[1])
_END_SECONDS: Final = 3.0
_REST_SECONDS: Final = 1.0
_SWEEPS: Final = 5


async def process_exec(
    context: HostContext,
    command: str,
    args: list[Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Run a program, without a shell, until it and everything it started has ended.

    When the program ends, when its time is up, and when the script ends, whatever is left of it
    is killed. On Linux that includes processes that went into a session of their own or were
    orphaned, and the program cannot reach into processes that it did not start, as
    :func:`ccos.engine.jail.seclusion.seclude` says. Where that cannot keep it from signals, a
    program can kill the supervisor first and remove its mark from the environment of an orphan.

    Args:
        context: The script's.
        command: A path, or a name that is looked up in ``PATH``.
        args: Strings.
        options: ``timeout`` in seconds; ``cwd``, which starts from the working directory; ``env``,
            an object of strings that are added to the variables.

    Returns:
        ``stdout`` and ``stderr`` as text, what is not UTF-8 replaced, and ``exit_code``, which is
        the negative number of the signal for a program that died of one.

    Raises:
        HostFunctionError: if it cannot be started, was not done in time, or printed too much.
    """
    given = bound_values("process_exec", _OPTIONS, (), options or {})
    timeout = given.get("timeout")
    if timeout is not None and not timeout > 0:
        raise HostFunctionError("The option 'timeout' has to be above 0.")
    run = _Run(
        _Command.checked(
            [command, *(args or [])],
            {**visible_environment(context), **given.get("env", {})},
            (context.working_directory or Path("/")) / given.get("cwd", ""),
        )
    )
    try:
        async with asyncio.timeout(timeout):
            return await run.result()
    except TimeoutError:
        raise HostFunctionError(
            f"{_shown(command)} was not done in {timeout:g} s and was killed."
        ) from None


async def env_get(context: HostContext, name: str) -> str | None:
    """A variable of the execution; None if it has none of this name."""
    return visible_environment(context).get(name)


def visible_environment(context: HostContext) -> dict[str, str]:
    """The variables of the execution, and PATH, HOME and LANG where it has none of its own."""
    return {
        "PATH": _SEARCH_PATH,
        "HOME": _home(),
        "LANG": "C.UTF-8",
        **context.environment,
    }


def _home() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return "/"


@dataclass(frozen=True, slots=True)
class _Command:
    words: list[str]
    environment: bytes
    folder: Path

    @classmethod
    def checked(cls, words: list[Any], environment: Mapping[str, Any], folder: Path) -> _Command:
        """A command that the operating system can be given.

        Raises:
            HostFunctionError: if it cannot, or is too large.
        """
        if not words[0] or "\0" in words[0] or "\0" in str(folder):
            raise HostFunctionError("The command and 'cwd' are strings without NUL.")
        for index, word in enumerate(words[1:]):
            if not isinstance(word, str) or "\0" in word:
                raise HostFunctionError(f"args[{index}] is no string without NUL.")
        for name, value in environment.items():
            if not name or "=" in name or not isinstance(value, str) or "\0" in name + value:
                raise HostFunctionError(f"The variable {name[:100]!a} is no string without NUL.")
        try:
            entries = b"".join(f"{name}={value}\0".encode() for name, value in environment.items())
            size = sum(len(word.encode()) + 1 for word in words) + len(entries)
        except UnicodeEncodeError:
            raise HostFunctionError("The command holds half of a surrogate pair.") from None
        if size > MAX_COMMAND_BYTES:
            raise HostFunctionError(
                f"The command and its variables have more than {MAX_COMMAND_BYTES} bytes."
            )
        return cls(words, entries, folder)


class _Run:
    """One run of a command under its supervisor."""

    def __init__(self, command: _Command) -> None:
        self._command = command
        self._mark = secrets.token_hex(16)
        self._printed = _Printed()
        self._child: int | None = None

    async def result(self) -> dict[str, Any]:
        """Run it. However this ends, nothing of the command is left."""
        ours, theirs = socket.socketpair()

        def stop() -> None:
            # The end of the control socket makes the supervisor kill everything.
            with suppress(OSError):
                ours.shutdown(socket.SHUT_RDWR)

        self._printed.too_much = stop
        with ours, theirs:
            return await to_its_end(self._work(ours, theirs, stop), stop)

    async def _work(
        self, ours: socket.socket, theirs: socket.socket, stop: Callable[[], None]
    ) -> dict[str, Any]:
        answers, control = await asyncio.open_connection(sock=ours)
        try:
            transport = await self._start(theirs)
            try:
                # With a copy left here, it would not close when the supervisor ends.
                theirs.close()
                control.write(self._environment())
                code = await self._exit_code(answers)
                await self._printed.rest()
            finally:
                stop()
                await self._end(transport)
        finally:
            control.close()
        return {**self._printed.texts(), "exit_code": code}

    async def _start(self, control: socket.socket) -> asyncio.SubprocessTransport:
        try:
            transport, _ = await asyncio.get_running_loop().subprocess_exec(
                lambda: self._printed,
                sys.executable,
                *interpreter_options(),
                "-c",
                _PROGRAM,
                _ENGINE,
                str(control.fileno()),
                *self._command.words,
                stdin=asyncio.subprocess.DEVNULL,
                env={},
                cwd=self._command.folder,
                pass_fds=(control.fileno(),),
                start_new_session=True,
            )
        except OSError as error:
            raise HostFunctionError(
                f"{_shown(self._command.words[0])} cannot be started in "
                f"{_shown(str(self._command.folder))}: {error.strerror}."
            ) from error
        return transport

    def _environment(self) -> bytes:
        entries = self._command.environment + f"{MARK}={self._mark}\0".encode()
        return f"{len(entries)}\n".encode() + entries

    async def _exit_code(self, answers: asyncio.StreamReader) -> int:
        match (await answers.readline()).split():
            case [b"failed", number]:
                raise HostFunctionError(
                    f"{_shown(self._command.words[0])} cannot be started: "
                    f"{os.strerror(int(number))}."
                )
            case [b"started", pid]:
                self._child = int(pid)
        match (await answers.readline()).split():
            case [b"exited", code]:
                return int(code)
        if self._printed.is_too_much:
            raise HostFunctionError(
                f"{_shown(self._command.words[0])} printed more than {MAX_TEXT_BYTES} bytes and "
                "was killed."
            )
        raise HostFunctionError(f"The supervisor of {_shown(self._command.words[0])} was killed.")

    async def _end(self, transport: asyncio.SubprocessTransport) -> None:
        """Wait until the supervisor has killed what was left; do it here if that fails."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await self._printed.exited.wait()
        orderly = transport.get_returncode() == 0
        transport.close()
        if not orderly:
            await asyncio.to_thread(self._sweep)

    def _sweep(self) -> None:
        """Kill the process group of the command, and every process that has its mark."""
        for _ in range(_SWEEPS):
            marked = [process for process in psutil.process_iter() if self._is_marked(process)]
            for process in marked:
                with suppress(psutil.Error):
                    process.kill()
            if self._child is not None:
                with suppress(OSError):
                    os.killpg(self._child, signal.SIGKILL)
            if not marked:
                return
            psutil.wait_procs(marked, timeout=_REST_SECONDS)

    def _is_marked(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK) == self._mark
        except (psutil.Error, OSError):
            return False


class _Printed(asyncio.SubprocessProtocol):
    """What a command prints, up to the limit."""

    def __init__(self) -> None:
        self.exited = asyncio.Event()
        self.too_much: Callable[[], None] = lambda: None
        self.is_too_much = False
        self._streams = {1: bytearray(), 2: bytearray()}
        self._open = {1, 2}
        self._complete = asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Keep it, or say that it is too much."""
        if self.is_too_much:
            return
        self._streams[fd] += data
        if len(self._streams[fd]) > MAX_TEXT_BYTES:
            self.is_too_much = True
            self.too_much()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Notice the end of a stream."""
        self._open.discard(fd)
        if not self._open:
            self._complete.set()

    def process_exited(self) -> None:
        """Notice the end of the supervisor."""
        self.exited.set()

    async def rest(self) -> None:
        """Wait for the ends of the streams, but not for somebody who holds them open."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_REST_SECONDS):
                await self._complete.wait()

    def texts(self) -> dict[str, str]:
        """The streams by name."""
        stdout, stderr = (self._streams[fd].decode(errors="replace") for fd in (1, 2))
        return {"stdout": stdout, "stderr": stderr}


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 200 else f"{text[:200]}…")


FUNCTIONS: Final = (
    HostFunction(
        module=MODULE,
        name="process_exec",
        parameters=(
            Parameter("command", "string"),
            Parameter("args", "array", required=False),
            Parameter("options", "object", required=False),
        ),
        returns="object",
        effect=Effect.ACT,
        summary="Run a program without a shell, with the options timeout (seconds), cwd and env; "
        "returns stdout, stderr and exit_code.",
        handler=process_exec,
    ),
    HostFunction(
        module=MODULE,
        name="env_get",
        parameters=(Parameter("name", "string"),),
        returns="any",
        effect=Effect.READ,
        summary="A variable of the execution as a string, or null if it has none of this name.",
        handler=env_get,
    ),
)
