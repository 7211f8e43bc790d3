"""What scripts print."""

from __future__ import annotations

import asyncio

import pytest

from ccos.engine.languages import Entry, Finished, HostCall, Value
from ccos.errors import ResourceExceededError, ScriptRaisedError

from .running import FUNCTIONS, Runner

pytestmark = pytest.mark.anyio


async def test_streams_are_apart_and_in_order_with_calls(runner: Runner) -> None:
    source = """
import sys
from crucible.basic import log_info
from crucible.http import http_get
for i in range(20):
    print("line", i)
    log_info(str(i))
print("error", file=sys.stderr)
print("before")
await http_get("x")
print("no end of line", end="")
"""
    await runner.run(source)
    heard = [
        int(one.arguments["message"]) if isinstance(one, HostCall) else one[1]
        for one in runner.host.heard
        if isinstance(one, tuple) or one.target.endswith("log_info")
    ]
    assert heard[:40] == [part for i in range(20) for part in (f"line {i}\n", i)]
    assert runner.host.output().endswith("before\nno end of line")
    assert runner.host.output("stderr") == "error\n"


async def test_it_is_heard_while_it_happens(runner: Runner) -> None:
    compiled = await runner.language.compile(
        "import time\nprint('early')\ntime.sleep(60)",
        name="script.py",
        functions=FUNCTIONS,
        level="development",
    )
    async with runner.language.session(compiled, runner.request()) as session:
        turn = asyncio.create_task(session.start(Entry()))
        async with asyncio.timeout(5):
            while not runner.host.heard:
                await asyncio.sleep(0.01)
        assert runner.host.heard == [("stdout", "early\n")]
        turn.cancel()


async def test_what_was_printed_before_a_fault_or_a_death_is_heard(runner: Runner) -> None:
    for end in ("1/0", "import os; os._exit(1)", "raise SystemExit"):
        with pytest.raises(ScriptRaisedError):
            await runner.run(f"print('x' * 200_000, flush=True)\n{end}")
        assert len(runner.host.output()) == 200_001
        runner.host.heard.clear()


async def test_bytes_that_are_no_text_are_replaced(runner: Runner) -> None:
    source = r"""
import os, sys, time
os.write(2, "é".encode()[:1])
for byte in "é🙂".encode():
    os.write(1, bytes([byte]))
    time.sleep(0.005)
os.write(1, b"\xff\xfe|")
print("\ud800" + "|")
"""
    with pytest.raises(ScriptRaisedError, match="surrogates not allowed"):
        await runner.run(source)
    assert runner.host.output() == "é🙂\ufffd\ufffd|"
    assert runner.host.output("stderr") == "\ufffd"


async def test_input_is_empty(runner: Runner) -> None:
    assert await runner.run("import sys\nsys.stdin.read()") == ""
    with pytest.raises(ScriptRaisedError, match="EOFError"):
        await runner.run("input()")


async def test_a_flood_ends_when_the_host_says_so_and_piles_up_nowhere(runner: Runner) -> None:
    runner.host.refusal = ResourceExceededError("It printed too much.")
    for flood in ("while True: print('x' * 1000)", "import os\nwhile True: os.write(2, b'x'*9999)"):
        runner.host.room = 1_000_000
        with pytest.raises(ResourceExceededError, match="too much"):
            await runner.run(flood)
        assert len(runner.host.output() + runner.host.output("stderr")) <= 1_000_000
        runner.host.heard.clear()


async def test_between_two_turns_a_flood_is_held_up_by_its_pipe(runner: Runner) -> None:
    source = """
import threading, time
from crucible.http import http_get
written, stuck = 0, None
def flood():
    global written
    while stuck is None:
        print("x" * 999)
        written += 1000
def watch():
    global stuck
    before = -1
    while before != written:
        before = written
        time.sleep(0.05)
    stuck = written
threads = [threading.Thread(target=flood), threading.Thread(target=watch)]
for one in threads: one.start()
await http_get("a")
stuck
"""
    compiled = await runner.language.compile(
        source, name="script.py", functions=FUNCTIONS, level="development"
    )
    async with runner.language.session(compiled, runner.request()) as session:
        await session.start(Entry())
        before = len(runner.host.output())
        await asyncio.sleep(0.4)
        assert len(runner.host.output()) == before
        stop = await session.deliver({0: Value("page")})
        assert isinstance(stop, Finished)
        assert 0 < stop.value - before < 200_000
