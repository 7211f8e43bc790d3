"""Commands are built safely, and what is started sees and keeps nothing it should not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import anyio
import pytest

from ccos.capabilities import StdioServer
from ccos.errors import ProviderUnavailableError
from ccos.providers.launcher import Launcher, ServerProcess

BAD_SERVER = str(Path(__file__).with_name("mcp_bad_server.py"))
ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "SECRET": "s3cret", "NAMED": "given"}


def python(*arguments: str, environment: tuple[str, ...] = ()) -> StdioServer:
    return StdioServer(
        registry="command",
        package=sys.executable,
        arguments=("-c", *arguments),
        environment=environment,
    )


async def output(process: ServerProcess) -> bytes:
    chunks = [chunk async for chunk in process.stdout]
    return b"".join(chunks)


def test_installed_package_of_the_wanted_version_is_used_as_it_is() -> None:
    installed = metadata.version("mcp-server-time")
    server = StdioServer(registry="pypi", package="mcp-server-time", version=installed)
    command = Launcher(ENVIRON).command(server)
    assert Path(command.program).name == "mcp-server-time"
    assert Path(command.program).parent == Path(sys.executable).parent
    assert command.arguments == ()


def test_another_version_is_fetched_by_uv() -> None:
    server = StdioServer(
        registry="pypi", package="mcp_server.Time", version="2025.1.1", executable="clock"
    )
    command = Launcher(ENVIRON).command(server)
    assert Path(command.program).name == "uv"
    assert command.arguments == ("tool", "run", "--from", "mcp-server-time==2025.1.1", "clock")


def test_npm_package_is_fetched_by_npx(tmp_path: Path) -> None:
    (tmp_path / "npx").touch(mode=0o755)
    launcher = Launcher({"PATH": str(tmp_path)})
    plain = StdioServer(
        registry="npm", package="@scope/server", version="1.2.3", arguments=("--help",)
    )
    command = launcher.command(plain)
    assert command.program == str(tmp_path / "npx")
    assert command.arguments == ("--yes", "--", "@scope/server@1.2.3", "--help")
    named = launcher.command(plain.model_copy(update={"executable": "run"}))
    assert named.arguments == ("--yes", "--package", "@scope/server@1.2.3", "--", "run", "--help")


def test_missing_npx_says_what_to_install() -> None:
    server = StdioServer(registry="npm", package="server", version="1.2.3")
    with pytest.raises(ProviderUnavailableError) as caught:
        Launcher({"PATH": "/nowhere"}).command(server)
    assert "Node.js" in caught.value.next_step


@pytest.mark.parametrize(
    "server",
    [
        StdioServer(registry="pypi", package="git+https://example.com/x", version="1.0"),
        StdioServer(registry="pypi", package="--index-url=x", version="1.0"),
        StdioServer(registry="pypi", package="x", version=""),
        StdioServer(registry="pypi", package="x", version=">=1"),
        StdioServer(registry="pypi", package="x", version="1.0", executable="../../bin/sh"),
        StdioServer(registry="npm", package="github:user/repo", version="1.0.0"),
        StdioServer(registry="npm", package="-y", version="1.0.0"),
        StdioServer(registry="npm", package="x", version="latest"),
        StdioServer(registry="npm", package="x", version="^1.0.0"),
        StdioServer(registry="command", package="python3"),
        StdioServer(registry="command", package="/nowhere/at/all"),
    ],
)
def test_unsafe_or_inexact_definitions_are_refused(server: StdioServer) -> None:
    with pytest.raises(ProviderUnavailableError):
        Launcher(ENVIRON).command(server)


def test_package_manager_settings_reach_package_managers_only() -> None:
    launcher = Launcher({**ENVIRON, "UV_CACHE_DIR": "/c", "UV_PUBLISH_TOKEN": "t"})
    fetched = launcher.command(StdioServer(registry="pypi", package="x", version="1"))
    assert fetched.environment["UV_CACHE_DIR"] == "/c"
    assert "UV_PUBLISH_TOKEN" not in fetched.environment
    assert "UV_CACHE_DIR" not in launcher.command(python("")).environment


@pytest.mark.anyio
async def test_child_sees_named_variables_and_no_others() -> None:
    code = "import os, json; print(sorted(os.environ.items()), os.listdir('/proc/self/fd'))"
    leaked = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    try:
        async with Launcher(ENVIRON).start(python(code, environment=("NAMED",))) as process:
            seen = (await output(process)).decode()
    finally:
        os.close(leaked)
    assert "'given'" in seen
    assert "s3cret" not in seen
    assert str(leaked) not in seen.partition("[")[2].rpartition("[")[2]


@pytest.mark.anyio
async def test_child_has_limits_and_a_group_of_its_own() -> None:
    code = (
        "import os, resource as r;"
        "print(r.getrlimit(r.RLIMIT_CORE), r.getrlimit(r.RLIMIT_NOFILE),"
        "os.getpgid(0) == os.getpid())"
    )
    async with Launcher(ENVIRON, open_files=77).start(python(code)) as process:
        assert (await output(process)).decode().strip() == "(0, 0) (77, 77) True"


@pytest.mark.anyio
async def test_arguments_pass_no_shell(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    nasty = f"$(touch {mark}); touch {mark} & `touch {mark}`"
    async with Launcher(ENVIRON).start(python("import sys; print(sys.argv[1])", nasty)) as process:
        assert (await output(process)).decode().strip() == nasty
    assert not mark.exists()


@pytest.mark.anyio
async def test_last_words_are_bounded_and_printable() -> None:
    words = "\\x1b[31mred\\x1b]0;title\\x07 \\u202eend"
    code = f"import sys; sys.stderr.write('x' * 1_000_000 + '{words}')"
    async with Launcher(ENVIRON).start(python(code)) as process:
        await output(process)
        with anyio.fail_after(5):
            while not process.stderr_tail().endswith("red end"):
                await anyio.sleep(0.01)
        assert len(process.stderr_tail()) <= 2001


@pytest.mark.anyio
async def test_whole_tree_is_ended_even_if_it_ignores_sigterm(tmp_path: Path) -> None:
    state = tmp_path / "pids"
    server = StdioServer(
        registry="command", package=sys.executable, arguments=(BAD_SERVER, "family", str(state))
    )
    async with Launcher(ENVIRON, grace_seconds=0.2).start(server):
        with anyio.fail_after(10):
            while not state.exists() or len(state.read_text().split()) < 2:
                await anyio.sleep(0.01)
        pids = [int(pid) for pid in state.read_text().split()]
        assert all(alive(pid) for pid in pids)
    with anyio.fail_after(5):
        while any(alive(pid) for pid in pids):
            await anyio.sleep(0.01)


def test_server_does_not_outlive_a_killed_ccos(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    code = f"""
import anyio, sys
from ccos.capabilities import StdioServer
from ccos.providers.launcher import Launcher

async def main():
    server = StdioServer(registry="command", package=sys.executable, arguments=(
        "-c", "import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(600)"))
    async with Launcher().start(server):
        await anyio.sleep(600)

anyio.run(main)
"""
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        deadline = time.monotonic() + 20
        while not (mark.exists() and mark.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        child = int(mark.read_text())
        assert alive(child)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    while alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.anyio
async def test_program_that_cannot_run_says_so(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x00not a program")
    program.chmod(0o755)
    server = StdioServer(registry="command", package=str(program))
    async with Launcher(ENVIRON).start(server) as process:
        await output(process)
        with anyio.fail_after(5):
            while "cannot be started" not in process.stderr_tail():
                await anyio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
