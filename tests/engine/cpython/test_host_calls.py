"""Calls of the host: at once, awaited, together, and wrong."""

from __future__ import annotations

import asyncio

import pytest

from ccos.engine.languages import HostCall, Raised, Settled, Value
from ccos.errors import ResourceExceededError, ScriptRaisedError

from .running import Host, Runner, answered

pytestmark = pytest.mark.anyio


async def test_pure_functions_are_called_and_others_awaited(runner: Runner) -> None:
    source = """
from crucible.basic import log_info
import crucible.http as http
import crucible
log_info("begin")
first = await http.http_get("a")
second = await crucible.http.http_get(url="b")
[first, second, crucible.echo(3), crucible.basic.echo(value=4)]
"""
    assert await runner.run(source) == ["page a", "page b", 3, 4]
    assert [
        (call.sequence, call.target, call.arguments, call.line) for call in runner.host.calls
    ] == [
        (0, "crucible.basic.log_info", {"message": "begin"}, 5),
        (1, "crucible.http.http_get", {"url": "a"}, 6),
        (2, "crucible.http.http_get", {"url": "b"}, 7),
        (3, "crucible.basic.echo", {"value": 3}, 8),
        (4, "crucible.basic.echo", {"value": 4}, 8),
    ]
    assert runner.host.steps == 3


@pytest.mark.parametrize(
    "source",
    [
        """
import asyncio, crucible.http as http
async def chain(name):
    await asyncio.sleep(0)
    first = await http.http_get(name)
    return [first, await http.http_get(name + name)]
await asyncio.gather(chain("a"), chain("b"), chain("c"))
""",
        """
import asyncio, crucible.http as http
async def chain(name):
    first = await http.http_get(name)
    await asyncio.sleep(0)
    return [first, await http.http_get(name + name)]
async def main():
    return await asyncio.gather(chain("a"), chain("b"), chain("c"))
asyncio.run(main())
""",
    ],
)
async def test_awaited_together_calls_wait_together(runner: Runner, source: str) -> None:
    value = await runner.run(source)
    assert value == [["page a", "page aa"], ["page b", "page bb"], ["page c", "page cc"]]
    assert runner.rounds[0] == (0, 1, 2)
    # One is settled at a time, and its chain goes on while the others wait.
    assert runner.rounds[1] == (3,)


async def test_a_loop_of_another_kind_works_too(runner: Runner) -> None:
    source = """
import asyncio, selectors, crucible.http as http
async def main():
    return await asyncio.gather(http.http_get("a"), http.http_get("b"))
loop = asyncio.SelectorEventLoop(selectors.PollSelector())
loop.run_until_complete(main())
"""
    assert await runner.run(source) == ["page a", "page b"]
    assert runner.rounds[0] == (0, 1)


async def test_what_the_host_answers_at_once_is_no_stop(runner: Runner) -> None:
    runner.host = Host(at_once=answered)
    source = """
import asyncio, crucible.http as http
len(await asyncio.gather(*[http.http_get("x" * 5000) for _ in range(500)]))
"""
    assert await runner.run(source) == 500
    assert runner.rounds == []
    assert runner.host.steps == 1


async def test_many_wait_at_once_and_too_many_are_refused(runner: Runner) -> None:
    source = """
import asyncio, crucible.http as http
asyncio.get_running_loop().call_later(0, lambda: None)
done, rest = await asyncio.wait(
    [asyncio.ensure_future(http.http_get("x")) for _ in range(COUNT)],
    return_when=asyncio.FIRST_COMPLETED,
)
len(done)
"""
    assert await runner.run(source, None, {"COUNT": 5000}) == 1
    assert len(runner.rounds[0]) == 5000
    with pytest.raises(ResourceExceededError) as refusal:
        await runner.run(source, None, {"COUNT": 10_001})
    assert refusal.value.details["limit"] == "pending_calls"


async def test_a_failed_call_is_an_error_that_can_be_dealt_with(runner: Runner) -> None:
    runner.host = Host(at_once=_failing_logs)
    source = """
import crucible.http as http
from crucible.basic import log_info
words = []
for call in (lambda: http.http_get("nowhere"), lambda: log_info("x")):
    try:
        result = call()
        if hasattr(result, "__await__"):
            await result
    except RuntimeError as error:
        words.append(str(error))
words
"""
    assert await runner.run(source) == ["nobody is at nowhere", "the log is full"]
    with pytest.raises(ScriptRaisedError, match="line 2: RuntimeError: the log is full"):
        await runner.run("from crucible.basic import log_info\nlog_info('x')")


def _failing_logs(call: HostCall) -> Settled | None:
    return Raised("the log is full") if call.target.endswith("log_info") else None


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("log_info()", "lacks the argument 'message'"),
        ("log_info('a', 'b')", "takes 1 arguments"),
        ("log_info('a', message='b')", "twice"),
        ("log_info(other='a')", "no parameter 'other'"),
        ("log_info(5)", "takes a string"),
        ("log_info({5})", "JSON data"),
        ("echo(10 ** 5000)", "digits"),
        ("echo('x' * 20_000_000)", "bytes"),
    ],
)
async def test_wrong_arguments_never_reach_the_host(runner: Runner, call: str, words: str) -> None:
    source = f"from crucible.basic import *\necho(1)\n{call}"
    with pytest.raises(ScriptRaisedError, match=words):
        await runner.run(source)
    assert [one.arguments for one in runner.host.calls] == [{"value": 1}]
    source = f"""
from crucible.basic import *
try:
    {call}
except (TypeError, RuntimeError, ValueError):
    pass
echo("after")
"""
    assert await runner.run(source) == "after"


async def test_an_answer_that_is_too_large_is_a_failed_call(runner: Runner) -> None:
    runner.host = Host(at_once=lambda call: Value("x" * call.arguments["value"]))
    source = """
from crucible.basic import echo
whole = len(echo(10_000_000))
try:
    echo(11_000_000)
except RuntimeError as error:
    whole = [whole, "bytes" in str(error)]
whole
"""
    assert await runner.run(source) == [10_000_000, True]


async def test_what_the_host_raises_ends_the_script_which_cannot_catch_it(
    runner: Runner,
) -> None:
    def refuse(_: HostCall) -> Settled | None:
        raise ResourceExceededError("No more calls.")

    runner.host = Host(at_once=refuse)
    source = """
from crucible.basic import log_info
try:
    log_info("x")
except BaseException:
    pass
"still here"
"""
    with pytest.raises(ResourceExceededError, match="No more calls"):
        await runner.run(source)


async def test_threads_may_call_and_forks_may_not(runner: Runner) -> None:
    source = """
import asyncio, os, threading
from crucible.basic import echo
from crucible.http import http_get
found = []
threads = [
    threading.Thread(target=lambda i=i: found.extend(echo(i) for _ in range(50)))
    for i in range(4)
]
for one in threads: one.start()
page = await http_get("a")
for one in threads: one.join()
reading, writing = os.pipe()
if os.fork() == 0:
    try:
        echo("from a fork")
    except RuntimeError as error:
        os.write(writing, str(error).encode())
    os._exit(0)
os.wait()
[len(found), sum(found), page, os.read(reading, 1000).decode()]
"""
    assert await runner.run(source) == [
        200,
        300,
        "page a",
        "Only the first process of a script can call the host.",
    ]


async def test_what_threads_say_while_the_host_takes_its_turn_is_heard(runner: Runner) -> None:
    source = """
import asyncio, threading
from crucible.basic import echo
from crucible.http import http_get
found = []
def call():
    for i in range(100):
        found.append(echo(i))
for _ in range(10):
    threads = [threading.Thread(target=call) for _ in range(3)]
    for one in threads: one.start()
    await asyncio.gather(http_get("a"), http_get("b"))
    for one in threads: one.join()
len(found)
"""
    async with asyncio.timeout(20):
        assert await runner.run(source) == 3000


async def test_a_fork_that_runs_to_the_end_has_no_value(runner: Runner) -> None:
    source = "import os\nchild = os.fork()\nif child: os.waitpid(child, 0)\nchild > 0"
    assert await runner.run(source) is True


async def test_a_cancelled_call_does_not_hold_the_script_up(runner: Runner) -> None:
    source = """
import asyncio, crucible.http as http
task = asyncio.ensure_future(http.http_get("slow"))
await asyncio.sleep(0)
task.cancel()
try:
    await task
except asyncio.CancelledError:
    pass
from crucible.basic import echo
echo("after")
"""
    assert await runner.run(source) == "after"
    assert runner.rounds == []
