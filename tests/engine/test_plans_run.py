"""Running plans: calls, values, limits, and nothing of the machine."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccos.engine import Finished, PythonWorkers, Raised, Value, Waiting, read_plan
from ccos.engine.jail import probe
from ccos.errors import ResourceExceededError, ScriptError

from .conftest import Host
from .sessions import LIMITS, open_session

pytestmark = pytest.mark.anyio


async def test_both_spellings_call_the_same(host: Host) -> None:
    value = await host.run("[await a.b(x=1), await call('a.b', x=1), await call(':a/b', {'x': 1})]")
    assert value == [0, 1, 2]
    assert {(call.target, call.arguments["x"]) for call in host.calls} == {("a.b", 1)}
    assert [call.sequence for call in host.calls] == [0, 1, 2]


async def test_line_of_a_call_is_known(host: Host) -> None:
    await host.run("x = 'é'\n\nawait a.b()\nawait c.d(\n)")
    assert [(call.target, call.line) for call in host.calls] == [("a.b", 3), ("c.d", 4)]


async def test_names_of_any_depth_and_names_kept_in_variables(host: Host) -> None:
    await host.run("f = a.b\nawait f(x=1)\nawait a.b.c.d()\nawait a.e()\ng = call\nawait g('h.i')")
    assert host.targets == ["a.b", "a.b.c.d", "a.e", "h.i"]


async def test_names_below_one_namespace_are_used_again_and_again(host: Host) -> None:
    await host.run("for _ in range(2):\n    await a.b.c()\n    await a.b.d.e()\na.b is a.b")
    assert host.targets == ["a.b.c", "a.b.d.e"] * 2


async def test_arguments_of_any_name(host: Host) -> None:
    await host.run("await call('a.b', id=1, name=2)\nawait a.b(self=1, **{'not a name': 2})")
    assert [call.arguments for call in host.calls] == [
        {"id": 1, "name": 2},
        {"self": 1, "not a name": 2},
    ]


async def test_calls_that_are_gathered_are_asked_for_at_once(workers: PythonWorkers) -> None:
    plan = read_plan("import asyncio\nawait asyncio.gather(a.b(), a.c(), a.d())")
    async with open_session(workers, plan, seed="s", clock=lambda _: 0.0) as session:
        stop = await session.start()
        assert isinstance(stop, Waiting)
        assert [call.target for call in stop.calls] == ["a.b", "a.c", "a.d"]
        assert stop.pending == {0, 1, 2}
        stop = await session.deliver({1: Value("second")})
        assert stop == Waiting((), frozenset({0, 2}))
        stop = await session.deliver({2: Value("third"), 0: Value("first")})
        assert stop == Finished(["first", "second", "third"])


async def test_failure_of_a_call_can_be_caught(host: Host) -> None:
    source = "try:\n    await a.b()\nexcept RuntimeError as error:\n    caught = str(error)\ncaught"
    assert await host.run(source, lambda _: Raised("no such city")) == "no such city"


async def test_failure_nobody_catches_ends_the_plan_with_its_line(host: Host) -> None:
    with pytest.raises(ScriptError, match=r"line 2.*no such city") as caught:
        await host.run("x = 1\nawait a.b()", lambda _: Raised("no such city"))
    assert caught.value.details["line"] == 2
    assert "Traceback" in caught.value.details["traceback"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("await a.b(1)", "named arguments"),
        ("await a.b({'x': 1}, y=2)", "named arguments"),
        ("await a.b({1: 2})", "not text"),
        ("await a.b(x={1, 2})", "set"),
        ("await a.b(x=b'')", "bytes"),
        ("await a.b(x=float('nan'))", "no JSON form"),
        ("x = 1\nfor _ in range(150):\n    x = [x]\nawait a.b(x=x)", "deeper than 100"),
        ("await call()", "first argument"),
        ("await call(3)", "first argument"),
        ("x = '../b'\nawait call(x)", "segment"),
        ("await call('a' * 300)", "at most 200"),
    ],
)
async def test_call_that_cannot_be_made_is_an_error_in_the_plan(
    host: Host, source: str, words: str
) -> None:
    with pytest.raises(ScriptError, match=words) as caught:
        await host.run(source)
    assert "TypeError" in caught.value.message
    assert host.calls == []


@pytest.mark.parametrize("name", ["foo", "eval_", "__import__", "compile", "globals", "input"])
async def test_unknown_function_is_no_call_of_a_capability(host: Host, name: str) -> None:
    with pytest.raises(ScriptError, match=f"NameError: name '{name}' is not defined"):
        await host.run(f"{name}('a.b')")
    assert host.calls == []


async def test_unknown_name_is_an_error(host: Host) -> None:
    with pytest.raises(ScriptError, match="line 2: NameError"):
        await host.run("x = 1\ny = foo")


async def test_random_bytes_are_bounded(host: Host) -> None:
    assert await host.run("import os\nlen(os.urandom(1000))") == 1000
    with pytest.raises(ResourceExceededError) as caught:
        await host.run("import os\nlen(os.urandom(10_000_000))")
    assert caught.value.details["limit"] == "entropy"


async def test_call_that_nobody_awaits_is_refused(host: Host) -> None:
    with pytest.raises(ScriptError, match=r"Line 2: mail\.send was called without `await`"):
        await host.run("x = 1\nmail.send(to='you')\n'sent'")
    assert host.calls == []
    assert await host.run("x = 1\nawait mail.send(to='you')\n'sent'") == "sent"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{1, 2}", "set"),
        ("b''", "bytes"),
        ("float('inf')", "inf"),
        ("{1: 2}", "key 1"),
        ("x = 1\nfor _ in range(150):\n    x = [x]\nx", "deeper"),
        ("class A: ...\nA()", "no JSON form"),
        ("await a.b()\na", "no JSON form"),
    ],
)
async def test_value_that_is_no_json_is_refused(host: Host, source: str, words: str) -> None:
    with pytest.raises(ScriptError, match=words):
        await host.run(source)


@pytest.mark.parametrize(
    "source",
    [
        "open('/etc/passwd').read()",
        "open('/tmp/x', 'w').write('x')",
        "from pathlib import Path\nPath('/etc/passwd').read_text()",
        "from pathlib import Path\nlist(Path('/').iterdir())",
        "import os\nos.listdir('/')",
        "import os\nos.environ['PATH']",
        "import os\nos.getenv('PATH')",
        "import os\nos.system('true')",
        "import subprocess",
        "import socket",
        "import ctypes",
        "import importlib",
        "import ccos",
        "__import__('os')",
        "().__class__.__bases__[0].__subclasses__()",
        "(lambda: 0).__globals__",
        "await a.b()\na.b.__globals__",
        "call.__globals__",
        "import time\ntime.sleep(1)",
        "input()",
    ],
)
async def test_plan_has_nothing_of_the_machine(host: Host, source: str) -> None:
    with pytest.raises(ScriptError):
        await host.run(source)
    assert await host.run("1 + 1") == 2


async def test_clock_is_the_hosts(host: Host) -> None:
    source = (
        "import time\nfrom datetime import datetime, date, timezone\n"
        "[time.time(), str(datetime.now()), str(datetime.now(timezone.utc)), str(date.today())]"
    )
    assert await host.run(source, now=1.5) == [
        1.5,
        "1970-01-01 00:00:01.500000",
        "1970-01-01 00:00:01.500000+00:00",
        "1970-01-01",
    ]


async def test_sleep_is_a_call_of_the_host(host: Host) -> None:
    await host.run("import asyncio\nawait asyncio.sleep(3600)\nawait asyncio.sleep(-1)")
    assert [(call.target, call.arguments) for call in host.calls] == [
        ("ccos.sleep", {"seconds": 3600.0}),
        ("ccos.sleep", {"seconds": 0.0}),
    ]


async def test_random_numbers_follow_from_the_seed(host: Host) -> None:
    source = "import random\n[random.random() for _ in range(3)] + [random.randint(0, 10**9)]"
    first = await host.run(source, seed="one")
    assert await host.run(source, seed="one") == first
    assert await host.run(source, seed="two") != first
    assert len(set(first)) == 4


@pytest.mark.parametrize(
    ("source", "limit"),
    [
        ("while True:\n    pass", "time"),
        ("x = [0]\nwhile True:\n    x = x + x", "memory"),
        ("'x' * 10**10", "memory"),
        ("2 ** (10 ** 10)", "memory"),
        ("for _ in range(51):\n    await a.b()", "calls"),
        ("import time\nfor _ in range(51):\n    time.time()", "calls"),
    ],
)
async def test_limit_ends_the_plan_and_is_named(host: Host, source: str, limit: str) -> None:
    started = time.perf_counter()
    with pytest.raises(ResourceExceededError) as caught:
        await host.run(source)
    assert caught.value.details["limit"] == limit
    assert time.perf_counter() - started < 5
    assert await host.run("'next'") == "next"


async def test_use_within_the_limits_is_allowed(host: Host) -> None:
    await host.run("for _ in range(50):\n    await a.b()")
    assert len(host.calls) == LIMITS.calls
    assert await host.run("len('x' * 1_000_000)") == 1_000_000


async def test_endless_recursion_is_an_error_in_the_plan(host: Host) -> None:
    with pytest.raises(ScriptError, match="RecursionError"):
        await host.run("def f():\n    return f()\nf()")


async def test_waiting_for_the_host_is_not_counted_as_time(workers: PythonWorkers) -> None:
    plan = read_plan("await a.b()\n'done'")
    async with open_session(workers, plan, seed="s", clock=lambda _: 0.0) as session:
        await session.start()
        await asyncio.sleep(LIMITS.seconds + 0.2)
        assert await session.deliver({0: Value(None)}) == Finished("done")


async def test_worker_that_dies_ends_only_its_plan(workers: PythonWorkers, host: Host) -> None:
    plan = read_plan("await a.b()\nwhile True:\n    pass")
    async with open_session(workers, plan, seed="s", clock=lambda _: 0.0) as session:
        await session.start()
        delivering = asyncio.ensure_future(session.deliver({0: Value(None)}))
        await asyncio.sleep(0.1)
        assert session.worker_id is not None
        os.kill(session.worker_id, signal.SIGKILL)
        with pytest.raises(ResourceExceededError, match="worker died") as caught:
            await delivering
        assert caught.value.details == {"limit": "worker"}
    assert await host.run("'next'") == "next"


async def test_session_left_while_the_plan_computes_frees_its_worker(host: Host) -> None:
    plan = read_plan("while True:\n    pass")
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with (
                asyncio.timeout(0.1),
                open_session(host.workers, plan, seed="s", clock=lambda _: 0.0) as session,
            ):
                await session.start()
    assert await host.run("'next'") == "next"


async def test_more_plans_than_workers_take_turns(workers: PythonWorkers) -> None:
    hosts = [Host(workers) for _ in range(8)]
    values = await asyncio.gather(
        *(host.run(f"await a.b()\n{number}") for number, host in enumerate(hosts))
    )
    assert values == list(range(8))


async def test_print_is_kept_up_to_a_bound(host: Host) -> None:
    await host.run("print('hello', 3)\nprint('world')")
    assert host.printed == "hello 3\nworld\n"
    await host.run("for _ in range(300):\n    print('x' * 10_000)")
    assert len(host.printed) == 1_000_000


@pytest.mark.parametrize(
    "source", ["yield 1", "async with a.b() as c:\n    pass", "break", "nonlocal x"]
)
async def test_python_that_the_interpreter_lacks_is_an_error(host: Host, source: str) -> None:
    with pytest.raises(ScriptError):
        await host.run(source)


async def test_answer_that_no_interpreter_takes_is_an_error(host: Host) -> None:
    with pytest.raises(ScriptError):
        await host.run("await a.b()", lambda _: Value("\ud800"))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda children: (
        st.lists(children, max_size=5)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), children, max_size=5)
    ),
    max_leaves=25,
)


def test_json_of_any_shape_survives_the_way_in_and_out() -> None:
    async def main(values: list[Any]) -> None:
        async with PythonWorkers(processes=1, max_waiting=100, isolation=probe) as workers:
            for value in values:
                host = Host(workers)
                source = "x = await a.get()\nawait a.put(x=x)\nx"
                got = await host.run(source, lambda _, value=value: Value(value))  # type: ignore[misc]
                sent = host.calls[1].arguments["x"]
                for arrived in (got, sent):
                    assert arrived == value
                    assert json.dumps(arrived) == json.dumps(value)

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(json_values, min_size=5, max_size=10))
    def check(values: list[Any]) -> None:
        asyncio.run(main(values))

    check()


async def test_long_message_is_cut(host: Host) -> None:
    with pytest.raises(ScriptError, match=r"x… \[\d+ characters\]") as caught:
        await host.run("raise ValueError('x' * 1_000_000)")
    assert len(caught.value.message) < 3_000
    assert len(caught.value.details["traceback"]) < 11_000
