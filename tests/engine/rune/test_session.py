"""Sessions: what they ask, how they wait, how they end, and that a replay asks the same."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import psutil
import pytest

from ccos.engine.languages import Entry, Finished, HostCall, Raised, Settled, Value, Waiting
from ccos.engine.rune import RuneWorkers
from ccos.errors import (
    ResourceExceededError,
    ScriptCancelledError,
    ScriptError,
    ScriptRaisedError,
)

from .sessions import Host, session, to_the_end, value_of

pytestmark = pytest.mark.anyio

CALLS_CAPABILITY = """
pub async fn main(city) {
    let weather = ccos::call("weather.current", #{city}).await?;
    `${city}: ${weather.text}`
}
"""


async def test_a_capability_call_waits_and_goes_on_with_its_answer(workers: RuneWorkers) -> None:
    async with session(workers, CALLS_CAPABILITY) as (opened, _):
        stop = await opened.start(Entry("main", {"city": "Oslo"}))
        assert stop == Waiting(
            (HostCall(0, "weather.current", {"city": "Oslo"}, 3),), frozenset({0})
        )
        stop = await opened.deliver({0: Value({"text": "rain"})})
        assert stop == Finished("Oslo: rain")


async def test_a_capability_that_fails_is_an_err(workers: RuneWorkers) -> None:
    async with session(workers, CALLS_CAPABILITY) as (opened, _):
        await opened.start(Entry("main", {"city": "Oslo"}))
        with pytest.raises(ScriptRaisedError, match="no route"):
            await opened.deliver({0: Raised("no route")})


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ('"crucible.file.file_read", #{path: "x"}', "is no capability"),
        ('"ccos.sleep", #{seconds: 1}', "is no capability"),
        ('"not an id", #{}', "capability id"),
        ("5, #{}", "takes the id"),
        ('"a.b", 5', "takes an object"),
    ],
)
async def test_a_call_that_is_none_is_an_err_at_once(
    workers: RuneWorkers, call: str, words: str
) -> None:
    source = f"pub async fn main() {{ match ccos::call({call}).await {{ Err(e) => e, x => x }} }}"
    async with session(workers, source) as (opened, host):
        assert words in (await to_the_end(opened))
        assert host.calls == []
    source = 'pub async fn main() { ccos::call("a.b").await? }'
    assert await value_of(workers, source) == 0


async def test_calls_that_are_joined_wait_together(workers: RuneWorkers) -> None:
    source = """
    pub async fn main() {
        let calls = [];
        for n in 0..3 { calls.push(ccos::call("a.b", #{n})); }
        let found = [];
        for one in std::future::join(calls).await { found.push(one?); }
        found
    }"""
    async with session(workers, source) as (opened, host):
        stop = await opened.start(Entry())
        assert isinstance(stop, Waiting)
        assert [call.arguments["n"] for call in stop.calls] == [0, 1, 2]
        assert stop.pending == {0, 1, 2}
        stop = await opened.deliver({1: Value("b")})
        assert stop == Waiting((), frozenset({0, 2}))
        stop = await opened.deliver({0: Value("a"), 2: Value("c")})
        assert stop == Finished(["a", "b", "c"])
        assert host.steps == 3


async def test_an_asynchronous_call_that_is_answered_at_once_stops_nobody(
    workers: RuneWorkers,
) -> None:
    source = """
    pub async fn main() {
        let found = [];
        for one in std::future::join((ccos::call("a.b"), ccos::call("c.d"))).await {
            found.push(one?);
        }
        found
    }"""

    def answers(call: HostCall) -> Settled | None:
        return Value("now") if call.target == "a.b" else None

    async with session(workers, source, host=Host({}, answers)) as (opened, _):
        stop = await opened.start(Entry())
        assert isinstance(stop, Waiting)
        assert [call.target for call in stop.calls] == ["c.d"]
        assert await opened.deliver({1: Value("later")}) == Finished(["now", "later"])


async def test_pure_functions_are_answered_without_a_stop(workers: RuneWorkers) -> None:
    source = "pub fn main() { [crucible::basic::math_abs(-1), crucible::time_now()] }"
    async with session(workers, source) as (opened, host):
        assert await opened.start(Entry()) == Finished([0, 1])
        assert [call.target for call in host.calls] == [
            "crucible.basic.math_abs",
            "crucible.basic.time_now",
        ]
        assert host.steps == 1


async def test_arguments_of_another_kind_do_not_reach_the_host(workers: RuneWorkers) -> None:
    async with session(workers, 'pub fn main() { crucible::math_abs("1") }') as (opened, host):
        with pytest.raises(ScriptRaisedError, match="takes an integer as 'value'"):
            await opened.start(Entry())
        assert host.calls == []


async def test_an_answer_for_a_future_that_was_dropped_is_for_nobody(workers: RuneWorkers) -> None:
    source = """
    pub async fn main() {
        let first = ccos::call("a.b");
        let second = ccos::call("c.d");
        let found = select { x = first => x?, x = second => x? };
        drop(first); drop(second);
        [found, ccos::call("e.f").await?]
    }"""
    async with session(workers, source) as (opened, _):
        stop = await opened.start(Entry())
        assert isinstance(stop, Waiting)
        stop = await opened.deliver({0: Value("won")})
        assert isinstance(stop, Waiting)
        assert [call.target for call in stop.calls] == ["e.f"]
        assert stop.pending == {2}
        assert await opened.deliver({1: Value("late")}) == Waiting((), frozenset({2}))
        assert await opened.deliver({2: Value("end")}) == Finished(["won", "end"])


async def test_an_answer_that_is_too_large_is_an_err(workers: RuneWorkers) -> None:
    source = 'pub async fn main() { match ccos::call("a.b").await { Err(e) => e, Ok(_) => 1 } }'
    async with session(workers, source) as (opened, _):
        await opened.start(Entry())
        stop = await opened.deliver({0: Value("x" * 17_000_000)})
        assert isinstance(stop, Finished)
        assert "at most" in stop.value
        assert await value_of(workers, source) == 1


async def test_answers_that_do_not_fit_into_one_message_arrive_all(workers: RuneWorkers) -> None:
    source = """
    pub async fn main() {
        let calls = [];
        for n in 0..3 { calls.push(ccos::call("a.b", #{n})); }
        let found = [];
        for one in std::future::join(calls).await { found.push(one?.len()); }
        found
    }"""
    async with session(workers, source, memory_bytes=None, cpu_seconds=None) as (opened, _):
        text = "x" * 7_000_000
        assert await to_the_end(opened, lambda _: Value(text)) == [len(text)] * 3


@pytest.mark.parametrize(
    ("source", "seconds", "limit"),
    [
        ("pub fn main() { loop {} }", 0.3, "time"),
        ("pub fn main() { let v = []; loop { v.push(1) } }", 10.0, "memory"),
        ("pub fn main() { let v = []; v.push(v); drop(v == v) }", 10.0, "worker"),
    ],
)
async def test_a_limit_ends_the_script_and_not_the_pool(
    workers: RuneWorkers, source: str, seconds: float, limit: str
) -> None:
    with pytest.raises(ResourceExceededError) as caught:
        await value_of(workers, source, cpu_seconds=seconds)
    assert caught.value.details["limit"] == limit
    assert await value_of(workers, "pub fn main() { 42 }", cpu_seconds=seconds) == 42


async def test_waiting_for_the_host_is_not_computing(workers: RuneWorkers) -> None:
    source = 'pub async fn main() { ccos::call("a.b").await? + ccos::call("a.b").await? }'
    async with session(workers, source, cpu_seconds=0.4) as (opened, _):
        await opened.start(Entry())
        await asyncio.sleep(0.5)
        await opened.deliver({0: Value(1)})
        await asyncio.sleep(0.5)
        assert await opened.deliver({1: Value(2)}) == Finished(3)


async def test_time_of_computing_is_counted_over_all_turns(workers: RuneWorkers) -> None:
    """Each turn is short. What a native function drives is not counted as instructions."""
    source = """
    pub async fn main() {
        loop { (0..300000).iter().filter(|n| n < 0).count(); ccos::call("a.b").await?; }
    }"""
    with pytest.raises(ResourceExceededError, match=r"more than 0\.5 s") as caught:
        await value_of(workers, source, cpu_seconds=0.5)
    assert caught.value.details["limit"] == "time"


async def test_kill_ends_a_script_that_computes(workers: RuneWorkers) -> None:
    async with session(workers, "pub fn main() { loop {} }", cpu_seconds=None) as (opened, _):
        running = asyncio.create_task(opened.start(Entry()))
        while opened.worker_id is None:
            await asyncio.sleep(0.01)
        worker = psutil.Process(opened.worker_id)
        opened.kill()
        with pytest.raises(ScriptCancelledError):
            await running
    assert not worker.is_running()


async def test_a_worker_that_served_well_serves_again(workers: RuneWorkers) -> None:
    await value_of(workers, "pub fn main() { 1 }")
    before = workers.worker_ids()
    with pytest.raises(ScriptRaisedError):
        await value_of(workers, 'pub fn main() { panic!("no") }')
    for n in range(5):
        assert await value_of(workers, f"pub fn main() {{ {n} }}") == n
    assert workers.worker_ids() == before


async def test_a_worker_that_was_killed_while_it_was_idle_is_replaced(workers: RuneWorkers) -> None:
    await value_of(workers, "pub fn main() { 1 }")
    [before] = workers.worker_ids()
    psutil.Process(before).kill()
    gone = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while os.waitid(os.P_PID, before, gone) is None:
        await asyncio.sleep(0.01)
    assert await value_of(workers, "pub fn main() { 2 }") == 2
    assert before not in workers.worker_ids()


async def test_a_worker_that_forgot_a_script_compiles_it_again(workers: RuneWorkers) -> None:
    async with session(workers, "pub fn main() { 42 }") as (opened, _):
        for n in range(70):
            await workers.compile(f"pub fn main() {{ {n} }}", "other.rn")
        assert await opened.start(Entry()) == Finished(42)


async def test_a_host_that_ends_the_script_is_obeyed(workers: RuneWorkers) -> None:
    def refuse(_: HostCall) -> Settled | None:
        raise ResourceExceededError("Enough.", details={"limit": "calls"})

    source = "pub fn main() { loop { crucible::math_abs(1) } }"
    async with session(workers, source, host=Host({}, refuse)) as (opened, _):
        with pytest.raises(ResourceExceededError, match="Enough"):
            await opened.start(Entry())
    assert await value_of(workers, "pub fn main() { crucible::math_abs(1) }") == 0


@pytest.mark.parametrize(
    ("source", "entry", "value"),
    [
        ("pub fn main(a, b) { [a, b] }", Entry(None, {"b": 1, "a": 2}), [2, 1]),
        ("pub fn call(args) { args }", Entry(None, {"a": 1}), {"a": 1}),
        ("pub fn call(args) { args }", Entry("call", {"args": {"a": 1}}), {"a": 1}),
        ("pub mod inner { pub fn f(x) { x } }", Entry("inner::f", {"x": 1}), 1),
        ("pub fn f(x, y) { y }", Entry("f", {"x": 1}), None),
        ("pub async fn f() { 1 }", Entry("f"), 1),
    ],
)
async def test_what_runs_and_with_which_arguments(
    workers: RuneWorkers, source: str, entry: Entry, value: Any
) -> None:
    async with session(workers, source) as (opened, _):
        assert await opened.start(entry) == Finished(value)


@pytest.mark.parametrize(
    ("source", "entry", "words"),
    [
        ("pub fn f() { 1 }", Entry(), "neither a function main nor"),
        ("pub fn f() { 1 }", Entry("g"), "no function 'g'"),
        ("pub fn f(x) { 1 }", Entry("f", {"y": 1}), "y"),
        ("pub fn f(x) { 1 }", Entry("f", {"x": 2**63}), "64"),
        ("pub fn f(x) { 1 }", Entry("f", {"x": float("nan")}), "no JSON"),
    ],
)
async def test_what_cannot_run(workers: RuneWorkers, source: str, entry: Entry, words: str) -> None:
    async with session(workers, source) as (opened, _):
        with pytest.raises(ScriptError, match=words):
            await opened.start(entry)


async def test_an_error_has_its_place_and_a_trace(workers: RuneWorkers) -> None:
    with pytest.raises(ScriptRaisedError) as caught:
        await value_of(workers, 'fn f() {\n    panic!("no")\n}\npub fn main() {\n    f()\n}')
    assert (caught.value.details["line"], caught.value.details["kind"]) == (2, "panic")
    assert caught.value.details["traceback"].splitlines() == [
        "it.rn, line 2, in f",
        "it.rn, line 5, in main",
    ]
    assert caught.value.message == "it.rn, line 2: no"


REPLAYED = """
use std::collections::HashMap;
use std::collections::HashSet;

pub async fn main() {
    let words = HashMap::new();
    let seen = HashSet::new();
    for n in 0..20 { words.insert(`word ${n}`, n); seen.insert(n); }
    let made = [];
    for (word, n) in words { made.push(ccos::call("keep.word", #{word, n})); }
    let found = [];
    for one in std::future::join(made).await { found.push(one?); }
    for n in seen {
        if n % 3 == 0 {
            let time = crucible::time_now();
            found.push(ccos::call("keep.number", #{n, time, last: found[found.len() - 1]}).await?);
        }
    }
    found
}
"""


async def replayed(
    workers: RuneWorkers, seed: str
) -> tuple[list[tuple[int, str, dict[str, Any]]], Any]:
    def times(call: HostCall) -> Settled | None:
        return Value(f"time {call.sequence}") if call.target.endswith("time_now") else None

    host = Host({}, times)
    async with session(workers, REPLAYED, seed=seed, host=host) as (opened, _):
        value = await to_the_end(opened, lambda call: Value([call.sequence, call.arguments]))
    return [(one.sequence, one.target, one.arguments) for one in host.calls], value


async def test_a_replay_makes_the_same_calls_in_the_same_order(workers: RuneWorkers) -> None:
    first = await replayed(workers, "one")
    assert len(first[0]) == 20 + 2 * 7
    for _ in range(3):
        assert await replayed(workers, "one") == first
    async with RuneWorkers(processes=1, max_waiting=1, isolation=None) as others:
        assert await replayed(others, "one") == first
    # The seed is what decides it, and nothing that happens to be equal.
    assert (await replayed(workers, "two"))[0] != first[0]


async def test_a_replay_up_to_a_call_waits_there_again(workers: RuneWorkers) -> None:
    """As a plan is resumed in another process: settled calls are answered, the last waits."""
    source = """
    pub async fn main() {
        let a = ccos::call("a.b", #{n: 1}).await?;
        let b = ccos::call("a.b", #{n: a}).await?;
        [a, b]
    }"""
    journal: dict[int, Settled] = {0: Value("first")}
    async with session(workers, source) as (opened, _):
        await opened.start(Entry())
        parked = await opened.deliver(dict(journal))
    async with session(workers, source) as (opened, _):
        stop = await opened.start(Entry())
        assert isinstance(stop, Waiting)
        assert await opened.deliver({0: journal[0]}) == parked
        assert await opened.deliver({1: Value("second")}) == Finished(["first", "second"])
