"""How a program starts in a jail, lives there, and ends."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pydantic_monty
import pytest
from pydantic_monty._binary import find_monty_binary

from ccos.engine.jail import Isolation, Jail, JailSpec
from ccos.errors import ConfigurationError, IsolationError
from engine.jail.corpus import interpreter_library, public_interpreter

MONTY = Path(find_monty_binary())
CAT = Path("/bin/cat").resolve()
ENDLESS = "while True:\n    pass"


@pytest.fixture
def pool(confining: Isolation) -> Iterator[pydantic_monty.Monty]:
    spec = JailSpec(MONTY, memory_bytes=768 * 1024 * 1024)
    with (
        Jail(spec, confining) as worker,
        pydantic_monty.Monty(binary_path=worker, min_processes=1, max_processes=1) as pool,
    ):
        yield pool


def run(worker: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    options = {"input": b"", "capture_output": True, "timeout": 30, **options}
    return subprocess.run([worker, *arguments], **options)


def wait_until(condition: Callable[[], bool], seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def lives(pid: int) -> bool:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return fields[0] not in ("Z", "X")


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines)


def test_monty_runs_in_the_jail(confining: Isolation) -> None:
    began = time.perf_counter()
    with (
        Jail(JailSpec(MONTY, memory_bytes=768 * 1024 * 1024), confining) as worker,
        pydantic_monty.Monty(binary_path=worker, min_processes=1, max_processes=1) as pool,
    ):
        with pool.checkout() as session:
            assert session.feed_run("1 + 1") == 2
        first = time.perf_counter() - began
        began = time.perf_counter()
        with pool.checkout() as session:
            assert session.feed_run("sum(range(1000))") == 499500
        warm = time.perf_counter() - began
    sys.stdout.write(f"\nfirst run {first * 1000:.1f} ms, warm {warm * 1000:.2f} ms\n")


def test_everything_is_in_force(pool: pydantic_monty.Monty, confining: Isolation) -> None:
    with pool.checkout() as session:
        session.feed_run("1")
        pid = session.worker_pid
        assert pid is not None
        worker = status(pid)
        assert (worker["Seccomp"], worker["NoNewPrivs"]) == ("2", "1")
        assert {int(worker[f"Cap{kind}"], 16) for kind in ("Prm", "Eff", "Inh", "Amb")} == {0}
        if confining.has("own_user"):
            assert {int(user) for user in worker["Uid"].split()} == {1_900_000_000 + pid}
            assert {int(group) for group in worker["Gid"].split()} == {1_900_000_000 + pid}
            assert not worker["Groups"].strip()
        for name, short in (("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("user", "user")):
            mine, its = (Path(f"/proc/{who}/ns/{short}").readlink() for who in ("self", pid))
            assert (mine != its) is confining.has(f"{name}_namespace")
        opened = {path.name for path in Path(f"/proc/{pid}/fd").iterdir()}
        assert opened == {"0", "1", "2", "63"}
        assert Path(f"/proc/{pid}/environ").read_bytes() == b""
        assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
        limits = Path(f"/proc/{pid}/limits").read_text()
        for name, value in (
            ("file size", 0),
            ("core file size", 1),
            ("address space", 768 * 1024 * 1024),
        ):
            assert re.search(rf"^Max {name} +{value} +{value} ", limits, re.MULTILINE)


def test_groups_of_root_do_not_come_along(confining: Isolation) -> None:
    if not confining.has("own_user"):
        pytest.skip("only root can give a program a user of its own")
    with Jail(JailSpec(CAT), confining) as worker:
        process = subprocess.Popen([worker], stdin=subprocess.PIPE, extra_groups=[4242, 4243])
        with process:
            assert wait_until(lambda: status(process.pid)["Seccomp"] == "2")
            assert not status(process.pid)["Groups"].strip()


def test_a_worker_can_be_killed_and_is_replaced(pool: pydantic_monty.Monty) -> None:
    with pool.checkout() as session:
        session.feed_run("1")
        pid = session.worker_pid
        assert pid is not None
        killer = threading.Timer(0.2, os.kill, (pid, signal.SIGKILL))
        killer.start()
        with pytest.raises(pydantic_monty.MontyCrashedError):
            session.feed_run(ENDLESS)
        killer.join()
    with pool.checkout() as session:
        assert session.feed_run("2 + 2") == 4
        assert session.worker_pid != pid


def test_a_worker_outlives_the_thread_that_started_it(confining: Isolation) -> None:
    with (
        Jail(JailSpec(MONTY), confining) as worker,
        pydantic_monty.Monty(binary_path=worker, min_processes=0, max_processes=1) as pool,
    ):
        pids: list[int | None] = []

        def first() -> None:
            with pool.checkout() as session:
                session.feed_run("1")
                pids.append(session.worker_pid)

        thread = threading.Thread(target=first)
        thread.start()
        thread.join()
        time.sleep(0.1)
        with pool.checkout() as session:
            assert session.feed_run("1 + 1") == 2
            assert session.worker_pid == pids[0]


SERVICE = """
    import sys, threading, time
    from pathlib import Path
    import pydantic_monty
    from ccos.engine.jail import Jail, JailSpec, probe
    with Jail(JailSpec(Path(sys.argv[1])), probe()) as worker:
        with pydantic_monty.Monty(binary_path=worker, min_processes=1, max_processes=1) as pool:
            with pool.checkout() as session:
                session.feed_run("1")
                sys.stdout.write(f"{worker.parent} {session.worker_pid}\\n")
                sys.stdout.flush()
                BUSY
"""


@pytest.mark.parametrize("busy", [True, False], ids=["computing", "idle"])
def test_a_worker_dies_with_its_service(busy: bool, confining: Isolation) -> None:
    doing = 'session.feed_run("while True: pass")' if busy else "time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SERVICE).replace("BUSY", doing), MONTY],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as service:
        assert service.stdout is not None
        folder, _, pid = service.stdout.readline().strip().rpartition(" ")
        try:
            assert lives(int(pid))
            time.sleep(0.05)
            service.kill()
            assert wait_until(lambda: not lives(int(pid)))
        finally:
            service.kill()
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def swept() -> bool:
        with Jail(JailSpec(CAT), confining):
            return not Path(folder).exists()

    assert wait_until(swept)
    with Jail(JailSpec(CAT), confining) as worker, Jail(JailSpec(CAT), confining):
        assert run(worker, input=b"x").stdout == b"x"


def test_leaving_the_jail_kills_what_runs_in_it(confining: Isolation) -> None:
    with Jail(JailSpec(CAT), confining) as worker:
        process = subprocess.Popen([worker], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"hello\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"hello\n"
    with process:
        assert process.wait(5) == -signal.SIGKILL


def test_only_the_service_can_start_it(confining: Isolation) -> None:
    with Jail(JailSpec(CAT), confining) as worker:
        assert run(worker, input=b"x").stdout == b"x"
        foreign = subprocess.run(
            ["/bin/sh", "-c", '"$0"; exit $?', worker], input=b"x", capture_output=True
        )
    assert foreign.returncode == 126
    assert foreign.stdout == b""
    assert b"jail: lifeline: process" in foreign.stderr


def test_the_folder_is_private_and_goes(confining: Isolation) -> None:
    with Jail(JailSpec(CAT), confining) as worker:
        folder = worker.parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in folder.iterdir()} == {0}
    assert not folder.exists()


def test_a_program_in_a_private_folder_starts(confining: Isolation, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(0o700)
    program = Path(shutil.copy(CAT, private))
    with Jail(JailSpec(program), confining) as worker:
        assert run(worker, input=b"x").stdout == b"x"


def test_arguments_pass_unchanged(confining: Isolation) -> None:
    odd = ["", "a b", "$(id)", "'", '"', "\n", "é", "--", "-c"]
    question = "import sys; sys.stdout.write(repr(sys.argv[1:]))"
    assert jailed_python(confining, question, *odd) == repr(odd)


def test_the_environment_is_what_the_jail_was_given(
    confining: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "1")
    question = "import os, sys; sys.stdout.write(repr(dict(os.environ)))"
    seen = jailed_python(confining, question, environment={"GIVEN": "a=b é"})
    assert "SECRET" not in seen
    assert "'GIVEN': 'a=b é'" in seen


def jailed_python(
    isolation: Isolation,
    program: str,
    *arguments: str,
    environment: dict[str, str] | None = None,
    **options: Any,
) -> str:
    path = public_interpreter()
    assert path is not None
    spec = JailSpec(path, readable=interpreter_library(path), environment=environment or {})
    with Jail(spec, isolation) as worker:
        done = run(worker, "-I", "-S", "-B", "-X", "utf8", "-c", program, *arguments, **options)
    assert done.returncode == 0, done.stderr
    return (done.stdout or b"").decode()


def test_files_and_terminals_do_not_come_along(confining: Isolation, tmp_path: Path) -> None:
    kinds = "import os, stat, sys; " + (
        "os.write(%d, repr([stat.S_ISCHR(os.fstat(n).st_mode) for n in (0, 1, 2)]).encode())"
    )
    assert jailed_python(confining, kinds % 1) == "[False, False, False]"
    path = tmp_path / "log"
    with path.open("wb") as log:
        jailed_python(confining, kinds % 1, capture_output=False, stdout=log, stderr=log)
    assert path.read_bytes() == b""
    controller, terminal = os.openpty()
    try:
        seen = jailed_python(
            confining,
            "import os, sys; sys.stdout.write(repr([os.isatty(n) for n in (0, 1, 2)]));"
            "os.write(2, b'\\x1b]0;title\\x07')",
            input=None,
            stdin=terminal,
            capture_output=False,
            stdout=subprocess.PIPE,
            stderr=terminal,
        )
        assert seen == "[False, False, False]"
        os.set_blocking(controller, False)
        with pytest.raises(BlockingIOError):
            os.read(controller, 100)
    finally:
        os.close(controller)
        os.close(terminal)


def test_missing_standard_streams_do_no_harm(confining: Isolation) -> None:
    with Jail(JailSpec(CAT), confining) as worker:
        command = ["/bin/sh", "-c", 'exec "$0" <&- >&- 2>&-', str(worker)]
        assert subprocess.run(command, timeout=30).returncode == 0


def test_a_crash_leaves_no_core_dump(confining: Isolation, interpreter: Path) -> None:
    spec = JailSpec(interpreter, readable=interpreter_library(interpreter))
    with Jail(spec, confining) as worker:
        process = subprocess.Popen([worker, "-I", "-S", "-c", "import os; os.abort()"])
        _, how = os.waitpid(process.pid, 0)
        process.returncode = 0
    assert os.WIFSIGNALED(how)
    assert os.WTERMSIG(how) == signal.SIGABRT
    assert not os.WCOREDUMP(how)


def test_a_long_path_of_the_interpreter_is_no_obstacle(
    confining: Isolation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("long " * 40)
    folder.mkdir()
    interpreter = folder / "python"
    interpreter.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    with Jail(JailSpec(CAT), confining) as worker:
        assert worker.read_text().startswith("#!/bin/sh\n")
        assert run(worker, input=b"x").stdout == b"x"


def test_a_step_that_fails_starts_nothing(confining: Isolation, tmp_path: Path) -> None:
    spec = JailSpec(CAT, readable=(tmp_path / "absent",))
    with Jail(spec, confining) as worker:
        done = run(worker, input=b"x")
    assert done.returncode == 126
    assert done.stdout == b""
    assert done.stderr.startswith(b"jail: files: ")
    assert b"absent" in done.stderr


BROKEN: Sequence[tuple[str, str]] = (
    ("enter_user_namespace", "user namespace"),
    ("drop_capabilities", "capabilities"),
    ("refuse_new_privileges", "no new privileges"),
    ("landlock_restrict", "Landlock"),
    ("install_filter", "seccomp"),
    ("die_with_writer", "lifeline"),
    ("execute", "start"),
)


@pytest.mark.parametrize(("function", "step"), BROKEN, ids=[name for name, _ in BROKEN])
def test_every_mechanism_must_work_at_the_start(
    function: str, step: str, confining: Isolation
) -> None:
    if function == "enter_user_namespace" and not confining.has("user_namespace"):
        pytest.skip("this machine lacks user_namespace")
    with Jail(JailSpec(CAT), confining) as worker:
        text = worker.read_text()
        saboteur = f"from jail import kernel\nkernel.{function} = None\nlaunch("
        worker.write_text(text.replace("launch(", saboteur, 1))
        sabotaged = run(worker, input=b"x")
        worker.write_text(text)
        whole = run(worker, input=b"x")
    assert sabotaged.returncode == 126
    assert sabotaged.stdout == b""
    assert sabotaged.stderr.startswith(f"jail: {step}: ".encode())
    assert whole.stdout == b"x"


def test_a_machine_with_less_gives_the_jail_it_can(confining: Isolation) -> None:
    """In a user namespace with one user, and no more of them: as in some containers."""
    if not confining.has("user_namespace"):
        pytest.skip("this machine lacks user_namespace")
    script = textwrap.dedent("""
        import subprocess, sys
        from pathlib import Path
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
        from ccos.engine.jail import Jail, JailSpec, probe
        isolation = probe()
        assert isolation.confines and not isolation.has("user_namespace")
        with Jail(JailSpec(Path(sys.argv[1])), isolation) as worker:
            done = subprocess.run([worker, "/proc/self/status"], capture_output=True)
        sys.stdout.buffer.write(done.stderr)
    """)
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", script, CAT],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    assert "Permission denied" in done.stdout


@pytest.mark.parametrize(
    ("attribute", "value"), [("memory_bytes", 2**20), ("threads", 0), ("open_files", 3)]
)
def test_limits_that_nothing_could_start_with_are_refused(attribute: str, value: int) -> None:
    with pytest.raises(ConfigurationError, match=attribute):
        JailSpec(CAT, **{attribute: value})  # type: ignore[arg-type]
    JailSpec(CAT, memory_bytes=2**26, threads=1, open_files=16)


def test_only_programs_of_this_machine_are_accepted(confining: Isolation, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    for program, words in (
        (tmp_path / "absent", "not an executable program"),
        (tmp_path, "cannot|not a program"),
        (script, "not an ELF file"),
    ):
        with pytest.raises(IsolationError, match=words), Jail(JailSpec(program), confining):
            pass
    with Jail(JailSpec(CAT), confining) as worker:
        assert worker.exists()


def test_a_folder_where_nothing_may_be_executed_is_told(
    confining: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_NOEXEC))
    with pytest.raises(IsolationError, match="Nothing may be executed") as caught:
        Jail(JailSpec(CAT), confining).__enter__()
    assert "TMPDIR" in caught.value.next_step


def test_a_failed_start_leaves_nothing(
    confining: Isolation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    descriptors = sorted(Path("/proc/self/fd").iterdir())
    with contextlib.suppress(IsolationError):
        Jail(JailSpec(Path("/etc/hostname")), confining).__enter__()
    assert list(tmp_path.iterdir()) == []
    assert sorted(Path("/proc/self/fd").iterdir()) == descriptors
