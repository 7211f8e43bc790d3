"""What a script finds around itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .running import Runner

pytestmark = pytest.mark.anyio


async def test_its_variables_are_its_own(
    contained: tuple[str, Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, runner = contained
    for name in ("CCOS_PLANTED_SECRET", "PYTHONPATH", "LD_LIBRARY_PATH", "HTTP_PROXY"):
        monkeypatch.setenv(name, "planted")
    source = """
import os
[dict(os.environ), open("/proc/self/environ").read(), os.getcwd(), os.listdir()]
"""
    variables, raw, folder, entries = await runner.run(source)
    assert variables.keys() == {"PATH", "HOME", "TMPDIR", "LANG"}
    assert variables["HOME"] == variables["TMPDIR"] == folder
    assert "planted" not in raw
    assert entries == []
    assert not Path(folder).exists()


async def test_it_is_never_the_services_process(contained: tuple[str, Runner]) -> None:
    _, runner = contained
    source = """
import os, sys
[int(os.readlink("/proc/self")), os.getsid(0) == os.getpid(), "ccos" in sys.modules,
 [fd for fd in os.listdir("/proc/self/fd")]]
"""
    process, own_session, has_ccos, descriptors = await runner.run(source)
    assert process != os.getpid()
    assert own_session
    assert not has_ccos
    # The three streams, two pipes, and what listdir opens itself.
    assert len(descriptors) == 6


async def test_every_execution_is_a_fresh_one(runner: Runner) -> None:
    source = "import builtins\nseen = hasattr(builtins, 'mark')\nbuiltins.mark = 1\nseen"
    assert [await runner.run(source) for _ in range(3)] == [False] * 3


async def test_files_network_and_processes_are_there(
    contained: tuple[str, Runner], tmp_path: Path
) -> None:
    _, runner = contained
    source = """
import os, socket, subprocess, tempfile
with open(path, "w") as file:
    file.write("written")
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
with tempfile.NamedTemporaryFile() as one:
    inside = one.name.startswith(os.environ["HOME"])
[subprocess.check_output(["echo", "run"], text=True), inside, os.geteuid()]
"""
    value = await runner.run(source, None, {"path": str(tmp_path / "file")})
    assert value == ["run\n", True, os.geteuid()]
    assert (tmp_path / "file").read_text() == "written"
    assert (tmp_path / "file").stat().st_uid == os.geteuid()


async def test_no_zombie_is_left_to_the_script(kept: Runner) -> None:
    source = """
import os, time
if os.fork() == 0:
    for _ in range(20):
        if os.fork() == 0:
            os._exit(0)
    os._exit(0)
os.wait()
time.sleep(0.1)
own = os.readlink("/proc/self")
found = []
for entry in os.listdir("/proc"):
    if entry.isdigit():
        try:
            fields = open(f"/proc/{entry}/stat").read().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] == "Z" and fields[3] == own:
            found.append(entry)
found
"""
    assert await kept.run(source) == []
