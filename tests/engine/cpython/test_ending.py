"""How scripts end, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ccos.engine.cpython import CPythonWorkers
from ccos.engine.cpython.worker.containment import NAMESPACES, PROCESS_GROUP
from ccos.engine.languages import Entry, Waiting
from ccos.errors import (
    EngineBusyError,
    ResourceExceededError,
    ScriptCancelledError,
    ScriptRaisedError,
)

from .running import FUNCTIONS, Runner, eventually, processes_in

pytestmark = pytest.mark.anyio

SAY_HOME = "import os\nprint(os.environ['HOME'])\n"
BUSY = "while True: pass"


async def opened(runner: Runner, source: str, **limits: Any) -> Any:
    compiled = await runner.language.compile(
        SAY_HOME + source, name="script.py", functions=FUNCTIONS, level="development"
    )
    return runner.language.session(compiled, runner.request(**limits))


async def said_home(runner: Runner) -> str:
    await eventually(lambda: "\n" in runner.host.output())
    return runner.host.output().split("\n")[0]


@pytest.mark.parametrize(
    "source",
    [
        BUSY,
        "import time\ntime.sleep(600)",
        "import signal\nfor n in range(1, 32):\n  try: signal.signal(n, signal.SIG_IGN)\n"
        "  except OSError: pass\n" + BUSY,
        "import subprocess\nsubprocess.run(['sleep', '600'])",
        "import signal\nos.kill(os.getpid(), signal.SIGSTOP)",
        "import asyncio\nawait asyncio.sleep(600)",
    ],
)
async def test_kill_ends_whatever_it_does(kept: Runner, source: str) -> None:
    runner = kept
    async with await opened(runner, source) as session:
        turn = asyncio.create_task(session.start(Entry()))
        home = await said_home(runner)
        assert session.worker_id is not None
        assert session.worker_id in runner.workers.worker_ids()
        assert session.worker_id != os.getpid()
        before = time.perf_counter()
        session.kill()
        with pytest.raises(ScriptCancelledError):
            await turn
        assert time.perf_counter() - before < 2
    assert processes_in(home) == []
    assert not Path(home).exists()
    assert runner.workers.worker_ids() == ()


OUTLIVING = {
    "a child": "if os.fork() == 0: time.sleep(600)",
    "a daemon": """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for n in range(64):
            try: os.close(n)
            except OSError: pass
        for n in range(1, 32):
            try: signal.signal(n, signal.SIG_IGN)
            except OSError: pass
        time.sleep(600)
    os._exit(0)
os.wait()
""",
    "a command in a session of its own": """
import subprocess
subprocess.Popen(["sleep", "600"], start_new_session=True)
""",
    "one that no longer dies with its parent": """
import ctypes
ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
if os.fork() == 0:
    os.setsid()
    time.sleep(600)
""",
}


@pytest.mark.parametrize("what", OUTLIVING)
@pytest.mark.parametrize("end", ["it finishes", "it raises", "it is killed"])
async def test_nothing_outlives_a_script(
    contained: tuple[str, Runner], what: str, end: str
) -> None:
    containment, runner = contained
    if containment == PROCESS_GROUP and what != "a child":
        pytest.skip("A process can leave its group, as is documented.")
    rest = {"it finishes": "'done'", "it raises": "1/0", "it is killed": "time.sleep(600)"}[end]
    source = f"import os, signal, time\n{OUTLIVING[what]}\nprint('ready')\ntime.sleep(0.2)\n{rest}"
    own = 3 if containment in NAMESPACES else 2
    async with await opened(runner, source) as session:
        turn = asyncio.create_task(session.start(Entry()))
        home = await said_home(runner)
        await eventually(lambda: "ready" in runner.host.output())
        assert len(processes_in(home)) > own
        if end == "it finishes":
            assert (await turn).value == "done"
        elif end == "it is killed":
            session.kill()
        if end != "it finishes":
            with pytest.raises((ScriptRaisedError, ScriptCancelledError)):
                await turn
    if containment == PROCESS_GROUP:  # they are killed, and nobody can wait for their end
        await eventually(lambda: not processes_in(home))
    assert processes_in(home) == []
    assert not Path(home).exists()


async def test_a_fork_bomb_is_killed_to_the_last(runner: Runner) -> None:
    source = """
import resource, time
# As many as are enough to see it, on a machine that does other things as well.
def spread(depth):
    for _ in range(6):
        if os.fork() == 0:
            os.setsid()
            if depth: spread(depth - 1)
            time.sleep(600)
spread(2)
time.sleep(600)
"""
    async with await opened(runner, source) as session:
        turn = asyncio.create_task(session.start(Entry()))
        home = await said_home(runner)
        await eventually(lambda: len(processes_in(home)) > 50)
        session.kill()
        with pytest.raises(ScriptCancelledError):
            await turn
    assert processes_in(home) == []


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("raise SystemExit", ScriptRaisedError, "SystemExit.*status None"),
        ("import sys\nsys.exit('bad')", ScriptRaisedError, "line 4: SystemExit.*'bad'"),
        ("exit(3)", ScriptRaisedError, "status 3"),
        ("os._exit(0)", ScriptRaisedError, "ended its process with status 0"),
        ("os._exit(7)", ScriptRaisedError, "ended its process with status 7"),
        ("raise KeyboardInterrupt", ScriptRaisedError, "KeyboardInterrupt"),
        ("import ctypes\nctypes.string_at(0)", ResourceExceededError, "SIGSEGV"),
        ("os.abort()", ResourceExceededError, "SIGABRT"),
        ("os.kill(os.getpid(), 15)", ResourceExceededError, "SIGTERM"),
        ("os.kill(os.getpid(), 9)", ResourceExceededError, "SIGKILL"),
        ("os.killpg(0, 9)", ResourceExceededError, "SIGKILL"),
        ("import signal\nos.kill(os.getpid(), signal.SIGRTMIN + 1)", ResourceExceededError, "35"),
        ("os.execv('/bin/true', ['true'])", ScriptRaisedError, "status 0"),
        ("def f(): f()\nf()", ScriptRaisedError, "RecursionError"),
    ],
)
async def test_every_end_has_a_name(
    kept: Runner, source: str, error: type[Exception], words: str
) -> None:
    runner = kept
    with pytest.raises(error, match=words):
        await runner.run(SAY_HOME + source)
    assert processes_in(await said_home(runner)) == []
    assert await runner.run("'the next one runs'") == "the next one runs"


async def test_a_fault_has_its_place_and_only_the_scripts_frames(runner: Runner) -> None:
    source = """
import json
def outer(text):
    try:
        return json.loads(text)
    except ValueError as error:
        raise KeyError("é") from error
outer(
  "{")
"""
    with pytest.raises(ScriptRaisedError, match="line 7: KeyError") as fault:
        await runner.run(source)
    details = fault.value.details
    assert (details["line"], details["column"], details["type"]) == (7, 9, "KeyError")
    assert "JSONDecodeError" in details["traceback"]
    assert "return json.loads(text)" in details["traceback"]
    assert "json/" not in details["traceback"]
    assert "ccos" not in details["traceback"]


@pytest.mark.parametrize(
    "source",
    [
        "class E(Exception):\n  def __str__(self): raise ValueError\nraise E",
        "class E(Exception):\n  def __str__(self): return 'x' * 10**8\nraise E",
        "class E(Exception):\n  def __str__(self): return 5\nraise E",
        "raise ValueError('\\ud800')",
        "def f(n): f(n)\ntry: f(1)\nexcept RecursionError as e: raise ValueError('x'*10**6) from e",
        "raise ExceptionGroup('many', [ValueError(str(i)) for i in range(1000)])",
        "e = ValueError('a'); e.__cause__ = e; raise e",
    ],
)
async def test_a_hostile_exception_is_an_exception(runner: Runner, source: str) -> None:
    with pytest.raises(ScriptRaisedError) as fault:
        await runner.run(source)
    assert len(fault.value.message) <= 2000
    assert len(fault.value.details["traceback"]) < 25_000


async def test_memory_and_processor_are_limited_if_wanted(runner: Runner) -> None:
    hungry = "x = bytearray(300_000_000)\nlen(x)"
    limit = 200 * 1024 * 1024
    with pytest.raises(ResourceExceededError) as refusal:
        await runner.run(hungry, memory_bytes=limit)
    assert refusal.value.details["limit"] == "memory"
    assert await runner.run(hungry) == 300_000_000
    with pytest.raises(ResourceExceededError) as refusal:
        await runner.run("x = []\nwhile True: x.append(bytearray(100_000))", memory_bytes=limit)
    assert refusal.value.details["limit"] == "memory"
    with pytest.raises(ScriptRaisedError, match="MemoryError"):
        await runner.run("raise MemoryError")
    with pytest.raises(ResourceExceededError) as refusal:
        await runner.run(BUSY, cpu_seconds=0.5)
    assert refusal.value.details == {"limit": "cpu", "signal": "SIGXCPU"}
    assert await runner.run("import time\ntime.sleep(1.2)\n'slept'", cpu_seconds=1) == "slept"


async def test_leaving_a_session_that_waits_leaves_nothing(runner: Runner) -> None:
    source = "from crucible.http import http_get\nawait http_get('a')"
    async with await opened(runner, source) as session:
        assert isinstance(await session.start(Entry()), Waiting)
        home = await said_home(runner)
        assert processes_in(home) != []
    assert processes_in(home) == []
    session.kill()  # of what has ended already


async def test_killed_before_it_starts_it_never_does(runner: Runner) -> None:
    async with await opened(runner, "1") as session:
        session.kill()
        with pytest.raises(ScriptCancelledError):
            await session.start(Entry())
        assert session.worker_id is None


async def test_only_so_many_at_once_and_so_many_waiting() -> None:
    async with CPythonWorkers(processes=1, max_waiting=1) as workers:
        runner = Runner(workers)
        async with await opened(runner, "1") as session:
            await session.start(Entry())
            second = asyncio.create_task(runner.run("2"))
            await asyncio.sleep(0.05)
            with pytest.raises(EngineBusyError):
                await runner.run("3")
            assert not second.done()
        assert await second == 2


async def test_the_end_of_the_pool_is_the_end_of_its_scripts() -> None:
    workers = CPythonWorkers(processes=2, max_waiting=0)
    async with workers:
        runner = Runner(workers)
        forgotten = await opened(runner, BUSY)
        session = await forgotten.__aenter__()
        turn = asyncio.create_task(session.start(Entry()))
        home = await said_home(runner)
    with pytest.raises(ScriptCancelledError):
        await turn
    assert processes_in(home) == []
    await forgotten.__aexit__(None, None, None)


async def test_cancelled_at_any_moment_it_leaves_nothing(runner: Runner) -> None:
    source = """
import asyncio, subprocess
from crucible.http import http_get
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
await asyncio.gather(*[http_get(str(i)) for i in range(3)])
await asyncio.sleep(600)
"""
    before = time.perf_counter()
    await runner.run("1")
    begun = time.perf_counter() - before
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    threads = threading.active_count()
    tasks = asyncio.all_tasks()
    choose = random.Random(20)
    for _ in range(30):
        task = asyncio.create_task(runner.run(SAY_HOME + source))
        await asyncio.sleep(choose.random() * 2 * begun)
        task.cancel()
        if choose.random() < 0.3:
            await asyncio.sleep(choose.random() * 0.01)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert runner.workers.worker_ids() == ()
    homes = set(runner.host.output().split())
    assert len(homes) > 2
    assert [one for home in homes for one in processes_in(home)] == []
    assert [home for home in homes if Path(home).exists()] == []
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors
    assert threading.active_count() <= threads + 4  # the pool's own, which it keeps
    assert asyncio.all_tasks() == tasks


async def test_a_script_dies_with_its_service(contained: tuple[str, Runner]) -> None:
    containment, _ = contained
    if containment == PROCESS_GROUP:
        pytest.skip("Without anything better, only the group's first process notices.")
    here = Path(__file__).parents[2]
    service = subprocess.Popen(
        [sys.executable, "-c", _SERVICE, containment],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(here)},
    )
    assert service.stdout is not None
    home = service.stdout.readline().strip()
    assert len(processes_in(home)) >= 2
    service.send_signal(signal.SIGKILL)
    service.wait()
    service.stdout.close()
    await eventually(lambda: not processes_in(home))


_SERVICE = """
import asyncio, sys
from engine.cpython.running import Runner, Host
from ccos.engine.cpython import CPythonWorkers

class Loud(Host):
    def printed(self, stream, text):
        print(text, end="", flush=True)

async def main():
    async with CPythonWorkers(
        processes=1, max_waiting=0, containments=(sys.argv[1],)
    ) as workers:
        await Runner(workers, Loud()).run('''
import os, subprocess, time
subprocess.Popen(["sleep", "600"], start_new_session=True)
print(os.environ["HOME"])
time.sleep(600)
''')

asyncio.run(main())
"""
