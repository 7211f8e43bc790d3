from __future__ import annotations

import asyncio
import ctypes
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ccos.engine.hosts import HostFunctionError
from ccos.engine.jail import kernel
from ccos.engine.modules import process
from ccos.engine.modules.limits import MAX_COMMAND_BYTES, MAX_TEXT_BYTES
from ccos.engine.modules.process import MARK

from .script import Script

pytestmark = pytest.mark.anyio

PYTHON = sys.executable
DAEMON = textwrap.dedent(
    """
    import os, sys, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            open(sys.argv[1], "w").write(str(os.getpid()))
            time.sleep(60)
        os._exit(0)
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.01)
    """
)
"""Leaves a process behind that has another parent, session and process group."""


OWN = {"OWNER_OF_TEST": str(os.getpid())}
"""What tells the commands of these tests from those of tests running beside them."""


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(working_directory=tmp_path, environment=OWN)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """After each test there is no process of its commands, nor a supervisor."""
    yield
    assert left() == []


def left() -> list[str]:
    found = []
    for one in psutil.process_iter():
        try:
            words = one.cmdline()
            is_own = one.environ().items() >= OWN.items() and one.pid != os.getpid()
            is_supervisor = any("supervisor.main" in word for word in words)
            if is_own or (is_supervisor and one.ppid() == os.getpid()):
                found.append(" ".join(words))
        except psutil.Error:
            pass
    return found


def is_alive(pid_file: Path) -> bool:
    pid = int(pid_file.read_text())
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def python(script: Script, source: str, *arguments: str, **options: Any) -> Any:
    words = ["-I", "-S", "-c", source, *arguments]
    return await script.await_call("process_exec", PYTHON, words, options)


async def test_a_program_is_run_and_its_output_returned(script: Script) -> None:
    source = "import sys; print('é'); print('bad', file=sys.stderr); sys.exit(3)"
    answer = await python(script, f"# -*- coding: utf-8 -*-\n{source}")
    assert answer == {"stdout": "é\n", "stderr": "bad\n", "exit_code": 3}


async def test_a_program_is_found_by_name_and_needs_no_arguments(script: Script) -> None:
    assert (await script.await_call("process_exec", "true"))["exit_code"] == 0
    assert (await script.await_call("process_exec", "false"))["exit_code"] == 1


async def test_no_shell_reads_the_arguments(script: Script, tmp_path: Path) -> None:
    words = ["$HOME", "a b", ";touch x", "`id`", "*", "", "é\n"]
    answer = await script.await_call("process_exec", "printf", ["<%s>", *words])
    assert answer["stdout"] == "".join(f"<{word}>" for word in words)
    assert list(tmp_path.iterdir()) == []


async def test_a_text_without_interpreter_is_not_given_to_a_shell(
    script: Script, tmp_path: Path
) -> None:
    program = tmp_path / "program"
    program.write_text("echo hello\n")
    program.chmod(0o755)
    with pytest.raises(HostFunctionError, match="Exec format error"):
        await script.await_call("process_exec", "./program")
    program.write_text("#!/bin/sh\necho hello\n")
    assert (await script.await_call("process_exec", "./program"))["stdout"] == "hello\n"


async def test_a_program_that_dies_of_a_signal_says_which(script: Script) -> None:
    answer = await python(script, "import os; os.kill(os.getpid(), 15)")
    assert answer["exit_code"] == -signal.SIGTERM


async def test_there_is_nothing_to_read_from(script: Script) -> None:
    assert (await script.await_call("process_exec", "cat"))["stdout"] == ""


async def test_output_that_is_no_text_is_shown_as_such(script: Script) -> None:
    answer = await python(script, r"import sys; sys.stdout.buffer.write(b'a\xff')")
    assert answer["stdout"] == "a\ufffd"


async def test_the_working_directory_is_that_of_the_script_or_below(
    script: Script, tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    for options, expected in (
        ({}, tmp_path),
        ({"cwd": "sub"}, tmp_path / "sub"),
        ({"cwd": "/"}, Path("/")),
    ):
        answer = await script.await_call("process_exec", "pwd", [], options)
        assert answer["stdout"].strip() == str(expected.resolve())
    nowhere = await Script().await_call("process_exec", "pwd")
    assert nowhere["stdout"] == "/\n"


async def test_the_environment_is_clean(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_SERVICE", "secret")
    script.environment = {"MINE": "a=b\nc", "LANG": "de"}
    answer = await script.await_call("process_exec", "env", ["-0"], {"env": {"MORE": "é"}})
    found = dict(entry.split("=", 1) for entry in answer["stdout"].split("\0")[:-1])
    assert found.keys() == {"PATH", "HOME", "LANG", "MINE", "MORE", MARK}
    assert (found["MINE"], found["LANG"], found["MORE"]) == ("a=b\nc", "de", "é")


async def test_a_program_is_looked_up_in_the_path_that_it_gets(
    script: Script, tmp_path: Path
) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\necho mine\n")
    (tmp_path / "tool").chmod(0o755)
    with pytest.raises(HostFunctionError, match="No such file"):
        await script.await_call("process_exec", "tool")
    options = {"env": {"PATH": str(tmp_path)}}
    answer = await script.await_call("process_exec", "tool", [], options)
    assert answer["stdout"] == "mine\n"


async def test_variables_are_those_of_the_execution(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_SERVICE", "secret")
    monkeypatch.setenv("PATH", "/of/the/service:" + os.environ["PATH"])
    script.environment = {"MINE": "1"}
    assert await script.await_call("env_get", "MINE") == "1"
    assert await script.await_call("env_get", "OF_THE_SERVICE") is None
    assert "/of/the/service" not in await script.await_call("env_get", "PATH")
    assert await script.await_call("env_get", "LANG") == "C.UTF-8"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no-such-program",), "'no-such-program' cannot be started: No such file"),
        (("/etc/passwd",), "Permission denied"),
        (("/",), "Permission denied"),
        (("true", [], {"cwd": "no/such/folder"}), "No such file"),
        (("",), "strings without NUL"),
        (("a\0b",), "The command and 'cwd' are strings without NUL"),
        (("true", ["a\0b"]), r"args\[0\]"),
        (("true", ["a", 1]), r"args\[1\]"),
        (("true", ["\ud800"]), "surrogate"),
        (("true", [], {"cwd": "a\0b"}), "without NUL"),
        (("true", [], {"env": {"A=B": "c"}}), "variable 'A=B'"),
        (("true", [], {"env": {"": "c"}}), "variable ''"),
        (("true", [], {"env": {"A": "b\0c"}}), "variable 'A'"),
        (("true", [], {"env": {"A": 1}}), "variable 'A'"),
        (("true", ["x" * MAX_COMMAND_BYTES]), "more than"),
        (("true", [], {"timeout": 0}), "above 0"),
        (("true", [], {"timeout": float("nan")}), "above 0"),
        (("true", [], {"timeout": "1"}), "takes a number as 'timeout'"),
        (("true", [], {"shell": True}), "no parameter 'shell'"),
    ],
)
async def test_what_cannot_be_started_is_an_error(
    script: Script, arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(HostFunctionError, match=message):
        await script.await_call("process_exec", *arguments)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_output_is_bounded(script: Script, stream: str) -> None:
    source = f"import sys; sys.{stream}.write('x' * %d)"
    assert len((await python(script, source % MAX_TEXT_BYTES))[stream]) == MAX_TEXT_BYTES
    with pytest.raises(HostFunctionError, match="printed more than"):
        await python(script, source % (MAX_TEXT_BYTES + 1) + "; import time; time.sleep(60)")


async def test_a_program_that_takes_too_long_is_killed(script: Script) -> None:
    started = time.monotonic()
    with pytest.raises(HostFunctionError, match=r"not done in 0\.3 s and was killed"):
        await script.await_call("process_exec", "sleep", ["60"], {"timeout": 0.3})
    assert 0.3 <= time.monotonic() - started < 3
    answer = await script.await_call("process_exec", "sleep", ["0.1"], {"timeout": 30})
    assert answer["exit_code"] == 0


STUBBORN = {
    "ignores signals": "import signal; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3, 15)]",
    "has children": "import os; os.fork(); os.fork()",
    "has closed its streams": "import os; os.closerange(0, 10)",
    "stopped itself": "import os; os.kill(os.getpid(), 19)",
}
UNSECLUDED = {
    "stopped its supervisor": "import os; os.kill(os.getppid(), 19)",
    "killed its supervisor": "import os; os.kill(os.getppid(), 9)",
    "killed it and left": (
        "import os; parent = os.getppid(); os.fork() or (os.setsid(), os.kill(parent, 9))"
    ),
}
"""What a program can do where nothing keeps it from processes that it did not start."""


@pytest.mark.parametrize("way", STUBBORN)
async def test_no_way_of_staying_helps(script: Script, way: str) -> None:
    with pytest.raises(HostFunctionError, match="was killed"):
        await python(script, f"{STUBBORN[way]}\nimport time; time.sleep(60)", timeout=0.5)


@pytest.mark.parametrize("way", UNSECLUDED)
async def test_nor_does_it_where_nothing_protects_the_supervisor(
    script: Script, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    protected = "from jail.seclusion import seclude"
    assert protected in process._PROGRAM
    without = process._PROGRAM.replace(protected, "seclude = lambda: None")
    monkeypatch.setattr(process, "_PROGRAM", without)
    with pytest.raises(HostFunctionError, match="was killed"):
        await python(script, f"{UNSECLUDED[way]}\nimport time; time.sleep(60)", timeout=0.5)


REACHING = {
    "variables": "open(f'/proc/{pid}/environ').read()",
    "memory": "open(f'/proc/{pid}/mem', 'rb').read(0)",
    "map": "open(f'/proc/{pid}/maps').read()",
    "descriptors": "os.readlink(f'/proc/{pid}/fd/0')",
    "root": "os.listdir(f'/proc/{pid}/root')",
    "tracing": "checked(libc.ptrace(16, pid, 0, 0))",
    "vector": "checked(libc.process_vm_readv(pid, vector, 1, remote, 1, 0))",
    "copied descriptor": "checked(libc.syscall(438, os.pidfd_open(pid), 0, 0))",
}
SIGNALLING = {
    "signal": "os.kill(pid, 0)",
    "signal by descriptor": "signal.pidfd_send_signal(os.pidfd_open(pid), 0)",
}
CHECK = """
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
class Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))
here = ctypes.create_string_buffer(8)
vector = ctypes.byref(Vector(ctypes.addressof(here), 8))
remote = ctypes.byref(Vector(int(sys.argv[2]), 8))
def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
pid = int(sys.argv[1])
try:
    {way}
    print("reached")
except PermissionError:
    print("refused")
"""


def landlock() -> int:
    try:
        return kernel.landlock_abi()
    except OSError:
        return 0


@pytest.mark.skipif(landlock() < 2, reason="This machine has nothing to hold programs off with.")
@pytest.mark.parametrize("way", REACHING | SIGNALLING)
@pytest.mark.parametrize("whose", ["the service's", "its supervisor's", "its own"])
async def test_a_program_reaches_only_what_it_started(script: Script, way: str, whose: str) -> None:
    if way in SIGNALLING and landlock() < 6:
        pytest.skip("This kernel does not keep signals within bounds.")
    secret = ctypes.create_string_buffer(b"secret!")
    target = {
        "the service's": str(os.getpid()),
        "its supervisor's": "os.getppid()",
        "its own": "os.getpid()",
    }[whose]
    source = CHECK.replace("{way}", (REACHING | SIGNALLING)[way])
    source = source.replace("int(sys.argv[1])", target)
    if whose == "its own":
        source = source.replace("int(sys.argv[2])", "ctypes.addressof(here)")
        source = source.replace("checked(libc.ptrace(16, pid, 0, 0))", "checked(libc.ptrace(0))")
    answer = await python(script, source, "", str(ctypes.addressof(secret)))
    assert answer["stdout"] == ("reached\n" if whose == "its own" else "refused\n"), answer


async def test_a_daemon_is_killed_when_the_program_ends(script: Script, tmp_path: Path) -> None:
    answer = await python(script, DAEMON, str(tmp_path / "pid"))
    assert answer["exit_code"] == 0
    assert not is_alive(tmp_path / "pid")


async def test_a_daemon_is_killed_when_time_is_up(script: Script, tmp_path: Path) -> None:
    with pytest.raises(HostFunctionError, match="was killed"):
        await python(script, f"{DAEMON}\ntime.sleep(60)", str(tmp_path / "pid"), timeout=0.7)
    assert not is_alive(tmp_path / "pid")


async def test_a_daemon_is_killed_even_without_its_mark(script: Script, tmp_path: Path) -> None:
    answer = await script.await_call(
        "process_exec", "env", ["-i", PYTHON, "-I", "-S", "-c", DAEMON, str(tmp_path / "pid")]
    )
    assert answer == {"stdout": "", "stderr": "", "exit_code": 0}
    assert not is_alive(tmp_path / "pid")


async def test_many_orphans_are_killed(script: Script) -> None:
    source = "import os\nfor _ in range(6): os.fork()\nimport time; time.sleep(60)"
    with pytest.raises(HostFunctionError, match="was killed"):
        await python(script, source, timeout=1)


async def test_what_was_cancelled_at_any_moment_leaves_nothing(
    script: Script, tmp_path: Path
) -> None:
    chance = random.Random(7)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(40):
        pid_file = tmp_path / str(number)
        running = asyncio.ensure_future(python(script, f"{DAEMON}\ntime.sleep(60)", str(pid_file)))
        await asyncio.sleep(chance.choice([0, 0.001, 0.01, 0.05, 0.1]) * chance.random())
        running.cancel()
        if number % 3 == 0:
            await asyncio.sleep(0)
            running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert left() == []
        assert not pid_file.exists() or not is_alive(pid_file)
    await asyncio.sleep(0.05)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_a_program_does_not_outlive_a_service_that_is_killed(tmp_path: Path) -> None:
    service = textwrap.dedent(
        """
        import asyncio, pathlib, sys, types
        from ccos.engine.modules.process import process_exec

        owner, *arguments = sys.argv[1:]
        context = types.SimpleNamespace(
            environment={"OWNER_OF_TEST": owner}, working_directory=None
        )
        arguments = ["-I", "-S", "-c", *arguments]
        asyncio.run(process_exec(context, sys.executable, arguments))
        """
    )
    pid_file = tmp_path / "pid"
    words = [
        PYTHON,
        "-c",
        service,
        OWN["OWNER_OF_TEST"],
        f"{DAEMON}\ntime.sleep(60)",
        str(pid_file),
    ]
    with subprocess.Popen(words) as process:
        wait_until(lambda: pid_file.exists() and pid_file.read_text() != "")
        assert is_alive(pid_file)
        process.kill()
    wait_until(lambda: not is_alive(pid_file))


def wait_until(condition: Any) -> None:
    give_up = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)
