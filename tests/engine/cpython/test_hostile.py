"""Scripts that turn on their own worker: only they themselves come to harm."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from ccos.engine.cpython.frames import MAXIMUM_BYTES
from ccos.errors import (
    ResourceExceededError,
    ScriptError,
    ScriptRaisedError,
    SecurityViolationError,
)

from .running import Runner

pytestmark = pytest.mark.anyio

PIPES = """
import fcntl, json, os, stat, time
def pipe(mode):
    for number in range(3, 100):
        try:
            is_pipe = stat.S_ISFIFO(os.fstat(number).st_mode)
            if is_pipe and fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == mode:
                os.set_blocking(number, True)
                return number
        except OSError:
            pass
READING, WRITING = pipe(os.O_RDONLY), pipe(os.O_WRONLY)
def write(data):
    while data:
        data = data[os.write(WRITING, data):]
def frame(value):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return len(data).to_bytes(4, "big") + data
def call(number, target="crucible.basic.echo", arguments={"value": 1}, line=1):
    return frame({"kind": "call", "number": number, "target": target, "arguments": arguments,
                  "line": line})
"""
ENDLESS = "\ntime.sleep(600)"


async def run(runner: Runner, attack: str, end: str = ENDLESS) -> object:
    async with asyncio.timeout(10):
        return await runner.run(PIPES + attack + end)


@pytest.mark.parametrize(
    "attack",
    [
        "write(b'garbage that is long enough')",
        f"write(({MAXIMUM_BYTES + 1}).to_bytes(4, 'big'))",
        "write(b'\\xff' * 4)",
        "write(frame(b''))",
        "write(frame(b'\\xff\\xfe'))",
        "write(frame(b'[' * 1_000_000))",
        "write(frame(b'{\"kind\":' * 100_000))",
        'write(frame(b\'{"kind":"result","value":NaN}\'))',
        'write(frame(b\'{"kind":"result","value":1e999}\'))',
        "write(frame(b'{\"kind\":\"result\",\"value\":' + b'9' * 5000 + b'}'))",
        'write(frame(b\'{"kind":"result","value":"\\\\ud800"}\'))',
        'write(frame(b\'{"kind":"result","value":1,"value":2}\'))',
        "write(frame(b'{\"kind\":\"result\",\"value\":' + b'['*200 + b']'*200 + b'}'))",
        "write(frame([]))",
        "write(frame(None))",
        "write(frame({}))",
        "write(frame({'kind': 'unheard-of'}))",
        "write(frame({'kind': ['result']}))",
        "write(frame({'kind': 'result'}))",
        "write(frame({'kind': 'result', 'value': 1, 'more': 2}))",
        "write(frame({'kind': 'ready', 'process': 1}))",
        "write(frame({'kind': 'waiting', 'seen': 0}))",
        "write(frame({'kind': 'waiting', 'seen': 5}))",
        "write(frame({'kind': 'waiting', 'seen': -1}))",
        "write(frame({'kind': 'waiting', 'seen': True}))",
        "write(frame({'kind': 'waiting', 'seen': 10**30}))",
        "write(frame({'kind': 'raised', 'type': 1, 'message': '', 'line': 1, 'column': 1,"
        " 'traceback': ''}))",
        "write(call(1))",
        "write(call(0) + call(0))",
        "write(call(0, line=-1))",
        "write(call(0, arguments=[1]))",
        "write(call('0'))",
    ],
)
async def test_what_no_worker_says_ends_the_script(runner: Runner, attack: str) -> None:
    with pytest.raises(ResourceExceededError) as refusal:
        await run(runner, attack)
    assert refusal.value.details == {"limit": "protocol"}
    assert await runner.run("'the next one runs'") == "the next one runs"


async def test_a_forged_call_is_only_what_the_script_may_call(runner: Runner) -> None:
    read = "\nanswer = os.read(READING, 1000)[4:]\njson.loads(answer)"
    assert await run(runner, "write(call(0))", read) == {"number": 0, "value": 1}
    wrong = "write(call(0, arguments={'other': 1}))"
    assert "no parameter" in str(await run(runner, wrong, read))
    wrong = "write(call(0, arguments={'value': 1, 'extra': None}))"
    assert await run(runner, wrong, read) == {"number": 0, "value": 1}
    for target in ("crucible.file.file_read", "ccos.sleep", "os.system", "", "x" * 1_000_000):
        with pytest.raises(SecurityViolationError, match="does not exist at level") as refusal:
            await run(runner, f"write(call(0, target={target!r}))")
        assert len(refusal.value.message) < 500
    assert [call.arguments for call in runner.host.calls] == [
        {"value": 1},
        {"value": 1, "extra": None},
    ]


async def test_a_forged_result_is_the_scripts_own(runner: Runner) -> None:
    assert await run(runner, "write(frame({'kind': 'result', 'value': [1]}))") == [1]
    forged = (
        "write(frame({'kind': 'raised', 'type': 'X', 'message': 'm' * 10**6, 'line': 3,"
        " 'column': 0, 'traceback': ''}))"
    )
    with pytest.raises(ScriptRaisedError, match="line 3: X: m") as fault:
        await run(runner, forged)
    assert len(fault.value.message) <= 2000


async def test_half_a_frame_is_waited_for_and_can_be_killed(runner: Runner) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await run(runner, "write(frame({'kind': 'result', 'value': 1})[:-1])")
    assert runner.workers.worker_ids() == ()


@pytest.mark.parametrize(
    "attack",
    [
        "os.close(WRITING)",
        "os.close(READING)\nos.close(WRITING)",
        "for n in range(3, 100):\n  try: os.close(n)\n  except OSError: pass",
        "os.closerange(0, 1000)",
        "os.dup2(os.open('/dev/null', 2), WRITING)\nos.close(READING)\nos._exit(0)",
    ],
)
async def test_closed_pipes_end_the_script_soon(runner: Runner, attack: str) -> None:
    before = time.perf_counter()
    with pytest.raises(ScriptError):
        await run(runner, attack)
    assert time.perf_counter() - before < 4
    assert await runner.run("'the next one runs'") == "the next one runs"


async def test_one_that_does_not_read_its_answers_is_read_no_further(runner: Runner) -> None:
    attack = """
number = 0
text = "x" * 100_000
print("begin")
while True:
    write(call(number, arguments={"value": text}))
    number += 1
"""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):
            await run(runner, attack, "")
    answered = sum(len(call.arguments["value"]) for call in runner.host.calls)
    assert 500_000 < answered < 3_000_000


async def test_calls_that_nobody_waits_for_do_not_pile_up(runner: Runner) -> None:
    attack = """
number = 0
while True:
    write(call(number, "crucible.http.http_get", {"url": "x"}))
    number += 1
"""
    with pytest.raises(ResourceExceededError) as refusal:
        await run(runner, attack, "")
    assert refusal.value.details["limit"] == "pending_calls"


async def test_a_deep_tree_of_closed_folders_is_removed(runner: Runner) -> None:
    source = """
import os
home = os.getcwd()
for _ in range(3000):
    os.mkdir("d")
    open("file", "w").close()
    os.chmod("file", 0)
    os.chdir("d")
os.symlink("/etc", "link")
os.mkdir("closed", 0o000)
home
"""
    home = await runner.run(source)
    assert isinstance(home, str)
    assert not Path(home).exists()
    assert Path("/etc/passwd").exists()
