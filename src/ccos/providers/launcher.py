"""The one launcher of MCP servers that run as processes on this machine."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import sysconfig
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

import anyio
import semver
import uv
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from ccos.capabilities import StdioServer
from ccos.errors import ProviderUnavailableError
from ccos.providers import mcp_exec
from ccos.providers.mcp_text import plain_text

_INHERITED: Final = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TMPDIR",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
)
_PACKAGE_MANAGER: Final = re.compile(
    r"""
    XDG_(CACHE|CONFIG|DATA)_HOME
    | UV_(CACHE_DIR|CONFIG_FILE|NO_CONFIG|OFFLINE|INDEX|DEFAULT_INDEX|INDEX_URL|EXTRA_INDEX_URL
        |INDEX_STRATEGY|FIND_LINKS|INSECURE_HOST|NATIVE_TLS|SYSTEM_CERTS|HTTP_TIMEOUT|LINK_MODE
        |PYTHON|PYTHON_INSTALL_DIR|PYTHON_DOWNLOADS|PYTHON_PREFERENCE|TOOL_DIR)
    | PIP_(INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|CACHE_DIR|CERT|TRUSTED_HOST|CONFIG_FILE)
    | (?i:npm_config_(registry|cache|userconfig|globalconfig|prefix|cafile|offline|prefer_offline))
    """,
    re.VERBOSE,
)
_NPM_NAME: Final = re.compile(r"(@[a-z0-9~][a-z0-9._~-]*/)?[a-z0-9~][a-z0-9._~-]*")
_EXECUTABLE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_BROKEN: Final = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError)
_WORKING_DIRECTORY: Final = "/"
_STDERR_BYTES: Final = 16_384
_KILL_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True)
class Command:
    """A program to start: an absolute path, its arguments, and its whole environment."""

    program: str
    arguments: tuple[str, ...]
    environment: dict[str, str]


class ServerProcess:
    """A running MCP server with its standard streams."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.stdin: ByteSendStream = process.stdin
        self.stdout: ByteReceiveStream = process.stdout
        self._process = process
        self._stderr = b""

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its process group."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How the process ended (negative: by that signal); None while it runs."""
        return self._process.returncode

    def stderr_tail(self) -> str:
        """The end of what the server wrote to standard error, safe to show."""
        return plain_text(self._stderr.decode("utf-8", errors="replace"))

    async def collect_stderr(self) -> None:
        """Read standard error to its end, keeping the last 16 KiB."""
        assert self._process.stderr is not None
        with suppress(*_BROKEN):
            async for chunk in self._process.stderr:
                self._stderr = (self._stderr + chunk)[-_STDERR_BYTES:]

    async def stop(self, grace_seconds: float) -> None:
        """Close standard input, wait, and end the whole process group, at last by SIGKILL."""
        with suppress(*_BROKEN):
            await self.stdin.aclose()
        if not await self._exited(grace_seconds):
            self._signal(signal.SIGTERM)
            await self._exited(grace_seconds)
        self._signal(signal.SIGKILL)
        await self._exited(_KILL_SECONDS)
        # A pipe is only let go once it was read to its end.
        with anyio.move_on_after(_KILL_SECONDS), suppress(*_BROKEN):
            async for _ in self.stdout:
                pass
        for stream in (self.stdout, self._process.stderr):
            if stream is not None:
                with suppress(*_BROKEN):
                    await stream.aclose()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def _exited(self, seconds: float) -> bool:
        # Process.wait() would also wait for pipes that a grandchild may hold open.
        deadline = anyio.current_time() + seconds
        while self.returncode is None:
            if anyio.current_time() >= deadline:
                return False
            await anyio.sleep(_POLL_SECONDS)
        return True


class Launcher:
    """Starts MCP servers: never through a shell, with an environment made from a short list.

    A started process gets no descriptors besides its three streams, its own session, no core
    dumps, and on Linux it is killed when the thread that started it ends. Its working directory is
    the root folder.

    Args:
        environ: Where variables are taken from; the environment of this process by default.
        grace_seconds: How long a server may take to end by itself, and again after SIGTERM.
        open_files: How many files a server may have open.
    """

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        *,
        grace_seconds: float = 1.0,
        open_files: int = 4096,
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._grace_seconds = grace_seconds
        self._open_files = open_files

    def command(self, server: StdioServer) -> Command:
        """The command that starts ``server``.

        A PyPI package that is installed beside CCOS at the wanted version is used as it is;
        otherwise ``uv tool run`` or ``npx`` fetches exactly that version.

        Raises:
            ProviderUnavailableError: if the definition is unsafe or incomplete, or a program that
                it needs is not on this machine.
        """
        match server.registry:
            case "pypi":
                return self._pypi(server)
            case "npm":
                return self._npm(server)
            case "command":
                return self._local(server)

    @asynccontextmanager
    async def start(self, server: StdioServer) -> AsyncIterator[ServerProcess]:
        """Run ``server`` for as long as the context lasts.

        Raises:
            ProviderUnavailableError: if it cannot be started.
        """
        command = self.command(server)
        try:
            raw = await anyio.open_process(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    mcp_exec.__file__,
                    str(os.getpid()),
                    str(self._open_files),
                    command.program,
                    *command.arguments,
                ],
                env=command.environment,
                cwd=_WORKING_DIRECTORY,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise _unavailable(server, f"cannot be started: {error}") from error
        process = ServerProcess(raw)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.collect_stderr)
            try:
                yield process
            finally:
                with anyio.CancelScope(shield=True):
                    await process.stop(self._grace_seconds)
                tasks.cancel_scope.cancel()

    def _pypi(self, server: StdioServer) -> Command:
        try:
            package = canonicalize_name(server.package, validate=True)
            version = Version(server.version)
        except (InvalidName, InvalidVersion) as error:
            raise _unavailable(
                server, "needs the name of a PyPI package and one exact version"
            ) from error
        executable = _executable(server, default=server.package)
        if (script := _installed_script(package, version, executable)) is not None:
            return Command(str(script), server.arguments, self._environment(server))
        return Command(
            uv.find_uv_bin(),
            ("tool", "run", "--from", f"{package}=={version}", executable, *server.arguments),
            self._environment(server, package_manager=True),
        )

    def _npm(self, server: StdioServer) -> Command:
        if not _NPM_NAME.fullmatch(server.package) or not semver.Version.is_valid(server.version):
            raise _unavailable(server, "needs the name of an npm package and one exact version")
        npx = shutil.which("npx", path=self._environ.get("PATH", os.defpath))
        if npx is None:
            raise _unavailable(
                server, "needs npx, which is not on the PATH", next_step="Install Node.js."
            )
        package = f"{server.package}@{server.version}"
        wanted = ["--", package]
        if server.executable:
            wanted = ["--package", package, "--", _executable(server, default="")]
        return Command(
            str(Path(npx).absolute()),
            ("--yes", *wanted, *server.arguments),
            self._environment(server, package_manager=True),
        )

    def _local(self, server: StdioServer) -> Command:
        program = Path(server.package)
        if not program.is_absolute():
            raise _unavailable(server, "must be named by its absolute path")
        if not program.is_file() or not os.access(program, os.X_OK):
            raise _unavailable(server, "is not an executable file on this machine")
        return Command(str(program), server.arguments, self._environment(server))

    def _environment(self, server: StdioServer, *, package_manager: bool = False) -> dict[str, str]:
        return {
            name: value
            for name, value in self._environ.items()
            if name in _INHERITED
            or name in server.environment
            or (package_manager and _PACKAGE_MANAGER.fullmatch(name))
        }


def _executable(server: StdioServer, *, default: str) -> str:
    name = server.executable or default
    if not _EXECUTABLE.fullmatch(name):
        raise _unavailable(server, "names an executable that is not a plain file name")
    return name


def _installed_script(package: str, version: Version, name: str) -> Path | None:
    """The console script of a package in this environment, if it has exactly this version."""
    try:
        distribution = metadata.distribution(package)
        if Version(distribution.version) != version:
            return None
    except (metadata.PackageNotFoundError, InvalidVersion):
        return None
    scripts = distribution.entry_points.select(group="console_scripts", name=name)
    path = Path(sysconfig.get_path("scripts")) / name
    return path if scripts and path.is_file() else None


def _unavailable(
    server: StdioServer, what: str, *, next_step: str | None = None
) -> ProviderUnavailableError:
    return ProviderUnavailableError(
        f"The MCP server {server.package!r} {what}.",
        next_step=next_step,
        details={"package": server.package, "registry": server.registry},
    )
