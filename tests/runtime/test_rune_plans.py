"""Plans in Rune: they run, park and are brought back from their journal, exactly."""

from __future__ import annotations

import asyncio
import http.server
import itertools
import threading
from collections import Counter as Tally
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccos.assembly import Ccos
from ccos.capabilities import EffectType
from ccos.errors import (
    ConfigurationError,
    InvalidArgumentsError,
    LimitExceededError,
    PlanError,
    ReplayMismatchError,
    SecurityViolationError,
)
from ccos.runtime import Completed, EntryState, Parked
from ccos.storage.schema import executions, journal
from opening import (
    DETECTING,
    Counter,
    change,
    failure,
    increment,
    opened,
    parked,
    rows,
    unknown,
    value,
)

NAME = "plan.rn"
TARGETS = ("step.one", "step.two", "step.three", "step.four", "step.five", "step.fails")
PLAN = """
use std::collections::{HashMap, HashSet};

struct Seen { now, order }

pub async fn main(n) {
    let trace = [crucible::time_now()];
    let counts = HashMap::new();
    for i in 0..12 { counts.insert(`key ${i * 7 % 12}`, i + n); }
    for entry in counts { trace.push(entry); }
    let one = ccos::call("step.one", #{n: 1, trace}).await?;
    for entry in one { trace.push(entry); }

    let (two, three) = std::future::join((
        ccos::call("step.two", #{n: 2, trace}),
        ccos::call("step.three", #{n: 3, trace}),
    )).await;
    let words = HashSet::new();
    for word in ["a", "b", "c", "d", "e", "f"] { words.insert(word); }
    for word in words { trace.push(word); }
    trace.push(Seen { now: crucible::time_now(), order: [two?, three?] });

    for i in 4..6 {
        let name = if i == 4 { "step.four" } else { "step.five" };
        trace.push(ccos::call(name, #{n: i, trace}).await?);
    }
    match ccos::call("step.fails", #{n: 6, trace}).await {
        Ok(_) => panic!("it should fail"),
        Err(message) => trace.push(message),
    }
    println!("{} steps", trace.len());
    crucible::log_info(crucible::time_now());
    trace.push(crucible::json_parse("{\\"b\\": [1, 2.5], \\"a\\": null}")?);
    trace.push(crucible::time_now());
    trace
}
"""


@dataclass
class World:
    """What the capabilities of the plan did; a call tells all that the plan had seen by then."""

    done: Tally[int] = field(default_factory=Tally)
    told: dict[int, Any] = field(default_factory=dict)

    async def act(self, n: int, trace: Any) -> Any:
        self.done[n] += 1
        self.told[n] = trace
        await asyncio.sleep(0)
        return {"zeta": n, "alpha": [n, 2.5], "Ü": {"b": None, "a": n * 2**40}, "mid": "x" * n}

    async def fails(self, n: int, trace: Any) -> Any:
        await self.act(n, trace)
        raise ValueError("no")

    async def enter(self, ccos: Ccos, target: str) -> None:
        await ccos.register(target, self.fails if target == "step.fails" else self.act)


class Clock:
    """Tells another time whenever it is asked."""

    def __init__(self) -> None:
        self._ticks = itertools.count(1_700_000_000)

    def time(self) -> float:
        return next(self._ticks) + 0.25


async def carried_out(home: Path, late: set[str], *, restarts: bool) -> tuple[Any, str, World]:
    """What the plan comes to if ``late`` are registered one by one, whenever it waits."""
    world, outcome = World(), None
    known = set(TARGETS) - late
    while not isinstance(outcome, Completed):
        async with opened(home, **DETECTING) as ccos:
            for target in sorted(known):
                await world.enter(ccos, target)
            while not isinstance(outcome, Completed):
                if outcome is None:
                    outcome = await ccos.run(PLAN, name=NAME, arguments={"n": 3})
                else:
                    outcome = await ccos.runtime.resume(parked(outcome).execution_id)
                if isinstance(outcome, Parked):
                    arrived = outcome.missing[-1]
                    assert arrived not in known
                    known.add(arrived)
                    if restarts:
                        break
                    await world.enter(ccos, arrived)
            if isinstance(outcome, Completed):
                assert (await ccos.audit.verify()).intact
    return outcome.value, outcome.printed, world


def run_exactly(patch: pytest.MonkeyPatch, home: Path, key: bytes, late: set[str], way: str) -> Any:
    (home / "keys").mkdir(parents=True)
    (home / "keys" / "ccos.key").write_bytes(key)
    (home / "keys" / "ccos.key").chmod(0o600)
    patch.setattr("ccos.runtime.runtime.new_execution_id", lambda: "ex-always-the-same")
    patch.setattr("ccos.runtime.plan_run.time", Clock())
    return asyncio.run(carried_out(home, late, restarts=way == "restart"))


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Any]:
    """A key, and what the plan comes to with it if it never waits."""
    made = tmp_path_factory.mktemp("made")

    async def make_key() -> bytes:
        async with opened(made):
            return (made / "keys" / "ccos.key").read_bytes()

    key = asyncio.run(make_key())
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("straight") / "home"
        return key, run_exactly(patch, home, key, set(), "never")


def check_same(found: Any, expected: Any) -> None:
    (value, printed, world), (straight_value, straight_printed, straight_world) = found, expected
    assert value == straight_value
    assert printed == straight_printed
    assert (world.told, world.done) == (straight_world.told, straight_world.done)
    assert set(world.done.values()) == {1}


def test_what_is_compared_sees_clock_and_order(straight: tuple[bytes, Any]) -> None:
    _, (trace, printed, world) = straight
    assert trace[0] == "2023-11-14T22:13:20.250000Z"
    assert len({item for item in trace if isinstance(item, str) and item[:4] == "2023"}) == 2
    keys = [item[0] for item in trace[1:13]]
    assert sorted(keys) != keys
    assert printed.startswith("27 steps\nINFO 2023-11-14T22:13:2")
    assert world.told[6] == trace[: len(world.told[6])]


@pytest.mark.parametrize("way", ["resume", "restart"])
@pytest.mark.parametrize("target", TARGETS)
def test_parked_at_any_call_it_comes_to_the_same(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    straight: tuple[bytes, Any],
    target: str,
    way: str,
) -> None:
    key, expected = straight
    check_same(run_exactly(monkeypatch, tmp_path / "home", key, {target}, way), expected)


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    late=st.sets(st.sampled_from(TARGETS), min_size=2), way=st.sampled_from(["resume", "restart"])
)
def test_parked_at_several_calls_it_comes_to_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    straight: tuple[bytes, Any],
    late: set[str],
    way: str,
) -> None:
    key, expected = straight
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("late") / "home"
        check_same(run_exactly(patch, home, key, late, way), expected)


@pytest.mark.anyio
async def test_the_order_of_maps_is_another_one_in_another_execution(tmp_path: Path) -> None:
    plan = """
pub fn main() {
    let all = std::collections::HashSet::new();
    for n in 0..20 { all.insert(n); }
    let order = [];
    for n in all { order.push(n); }
    order
}"""
    async with opened(tmp_path) as ccos:
        orders = [value(await ccos.run(plan, name=NAME)) for _ in range(4)]
    assert len({tuple(order) for order in orders}) > 1
    assert {tuple(sorted(order)) for order in orders} == {tuple(range(20))}


@pytest.mark.anyio
async def test_whichever_answer_came_first_comes_first_again(tmp_path: Path) -> None:
    plan = """
pub async fn main() {
    let slow = ccos::call("race.slow", #{});
    let quick = ccos::call("race.quick", #{});
    let first = select { slow = slow => slow?, quick = quick => quick? };
    let noted = ccos::call("race.note", #{first}).await?;
    ccos::call("late.one", #{x: 1}).await?;
    [first, noted]
}"""
    asked = asyncio.Event()

    async def slow() -> str:
        await asked.wait()
        return "slow"

    async def quick() -> str:
        return "quick"

    async def note(first: str) -> str:
        asked.set()
        return f"{first} won"

    async with opened(tmp_path, **DETECTING) as ccos:
        await ccos.register("race.slow", slow)
        await ccos.register("race.quick", quick)
        await ccos.register("race.note", note)
        ticket = parked(await ccos.run(plan, name=NAME))
        await ccos.register("late.one", increment)
        outcome = await ccos.runtime.resume(ticket.execution_id)
        assert value(outcome) == ["quick", "quick won"]


@pytest.mark.anyio
async def test_while_it_waits_nothing_is_held_but_a_row(
    tmp_path: Path, store: dict[str, str]
) -> None:
    plan = 'pub async fn main() { ccos::call("late.one", #{x: 1}).await }'
    async with opened(tmp_path, **DETECTING, **store) as ccos:
        for _ in range(3):
            parked(await ccos.run(plan, name=NAME))
        assert ccos.runtime._active == {}
        states = [one.state for one in await ccos.runtime.executions()]
        assert states == ["parked"] * 3
        ((snapshot,),) = await rows(ccos, sa.select(executions.c.snapshot).distinct())
        assert snapshot is None
        workers = [one for one in psutil.Process().children() if "rune" in one.name()]
        assert len(workers) <= ccos.settings.services.script_engine.workers
        await ccos.register("late.one", increment)
        assert [value(one) for one in await ccos.runtime.resume_waiting("late.one")] == [2, 2, 2]


@pytest.mark.anyio
async def test_a_tool_is_a_plan(tmp_path: Path, store: dict[str, str]) -> None:
    tool = """
pub const NAME = "double";
pub const DESCRIPTION = "Doubles.";
pub const INPUT_SCHEMA = #{"type": "object"};

pub async fn call(args) {
    let next = ccos::call("late.one", #{x: args.x}).await?;
    Ok(#{doubled: next * 2, city: args.city})
}
"""
    async with opened(tmp_path, **DETECTING, **store) as ccos:
        outcome = await ccos.run(tool, name="Double.RUNE", arguments={"x": 20, "city": "Zürich"})
        ticket = parked(outcome)
    async with opened(tmp_path, **DETECTING, **store) as ccos:
        await ccos.register("late.one", increment)
        outcome = await ccos.runtime.resume(ticket.execution_id)
        assert value(outcome) == {"doubled": 42, "city": "Zürich"}


@pytest.mark.anyio
async def test_arguments_are_variables_of_a_plan_in_python(tmp_path: Path) -> None:
    plan = "first = await late.one(x=city.index('r'))\n[first, city.upper()]"
    async with opened(tmp_path, **DETECTING) as ccos:
        ticket = parked(await ccos.run(plan, arguments={"city": "paris"}))
        await change(ccos, sa.update(executions).values(snapshot=None))
        await ccos.register("late.one", increment)
        assert value(await ccos.runtime.resume(ticket.execution_id)) == [3, "PARIS"]
        with pytest.raises(InvalidArgumentsError):
            await ccos.run(plan, arguments={"city": float("nan")})


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("changed", "sequence"),
    [
        ({"target": "effect.other"}, 1),
        ({"arguments": '{"n": 9}'}, 1),
        ({"delivery": 7}, 1),
        ({"target": "effect.make"}, 0),
    ],
    ids=["target", "arguments", "delivery", "clock"],
)
async def test_a_journal_of_something_else_is_never_followed(
    tmp_path: Path, changed: dict[str, object], sequence: int
) -> None:
    plan = """
pub async fn main() {
    let now = crucible::time_now();
    let a = ccos::call("effect.make", #{n: 1}).await?;
    let b = ccos::call("late.one", #{x: a}).await?;
    ccos::call("effect.make", #{n: b}).await
}"""
    effects = Counter()
    async with opened(tmp_path, **DETECTING) as ccos:
        await ccos.register("effect.make", effects)
        ticket = parked(await ccos.run(plan, name=NAME))
        at = journal.c.sequence == sequence
        await change(ccos, sa.update(journal).where(at).values(**changed))
        await ccos.register("late.one", increment)
        error = failure(await ccos.runtime.resume(ticket.execution_id))
        assert isinstance(error, ReplayMismatchError)
        assert len(effects.calls) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("name", [NAME, "plan.py"])
async def test_a_plan_that_ends_before_its_journal_does_is_an_error(
    tmp_path: Path, name: str
) -> None:
    texts = {
        NAME: (
            'pub async fn main() { ccos::call("late.one", #{x: 1}).await }',
            "pub async fn main() { 0 }",
        ),
        "plan.py": ("await late.one(x=1)", "0"),
    }
    async with opened(tmp_path, **DETECTING) as ccos:
        ticket = parked(await ccos.run(texts[name][0], name=name))
        await change(ccos, sa.update(executions).values(program=texts[name][1], snapshot=None))
        await ccos.register("late.one", increment)
        error = failure(await ccos.runtime.resume(ticket.execution_id))
        assert isinstance(error, ReplayMismatchError)
        assert "call 0" in error.message


@pytest.mark.anyio
async def test_faults_of_a_text_are_told_before_anything_runs(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        with pytest.raises(PlanError) as caught:
            await ccos.run("pub fn main() { let x = ; }", name=NAME)
        assert caught.value.details["line"] == 1
        assert "plan.rn, line 1" in caught.value.message
        with pytest.raises(PlanError, match="Line 2"):
            await ccos.run('pub async fn main() {\nccos::call("../x").await }', name=NAME)
        with pytest.raises(SecurityViolationError, match="development has it"):
            await ccos.run('pub async fn main() { crucible::file_read("/x").await }', name=NAME)
        with pytest.raises(PlanError, match="at most 1000000"):
            await ccos.run("/" * 1_000_001, name=NAME)
        assert await ccos.runtime.executions() == []


@pytest.mark.anyio
async def test_failures_of_a_plan_are_outcomes(tmp_path: Path) -> None:
    async with opened(tmp_path, CCOS_PLAN_MAX_CALLS="5", CCOS_PLAN_MAX_MEMORY_MB="10") as ccos:
        await ccos.register("math.next", increment, effect_type=EffectType.PURE)
        run = ccos.run
        error = failure(await run('pub fn main() { panic!("oh") }', name=NAME))
        assert (error.code, "oh" in error.message) == (PlanError.code, True)
        error = failure(await run("pub fn f() { 1 }", name=NAME))
        assert "neither a function main nor a function call(args)" in error.message
        calls = 'for n in 0..%d { ccos::call("math.next", #{x: n}).await?; }'
        source = "pub async fn main() { " + calls + " Ok(()) }"
        assert value(await run(source % 5, name=NAME)) is None
        error = failure(await run(source % 6, name=NAME))
        assert isinstance(error, LimitExceededError)
        assert error.details["limit"] == "calls"
        plan = "pub fn main() { let s = []; loop { s.push([1, 2, 3]); } }"
        error = failure(await run(plan, name=NAME))
        assert (type(error), error.details["limit"]) == (LimitExceededError, "memory")
        loops = "pub fn main() { for n in 0..100 { crucible::math_abs(n); } }"
        assert value(await run(loops, name=NAME)) is None


@pytest.mark.anyio
async def test_a_call_that_is_not_awaited_is_told(tmp_path: Path) -> None:
    effects = Counter()
    async with opened(tmp_path) as ccos:
        await ccos.register("effect.make", effects)
        plan = 'pub async fn main() {\n let a = ccos::call("effect.make", #{});\n 7 }'
        outcome = await ccos.run(plan, name=NAME)
        assert (value(outcome), effects.calls) == (7, [])
        assert outcome.printed == (  # type: ignore[union-attr]
            "WARN plan.rn, line 2: ccos::call was called without .await, so nothing came of it.\n"
        )


@pytest.mark.anyio
async def test_without_a_worker_a_parked_plan_waits_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = 'pub async fn main() { ccos::call("late.one", #{x: 1}).await }'
    async with opened(tmp_path, **DETECTING) as ccos:
        ticket = parked(await ccos.run(plan, name=NAME)).execution_id
    with monkeypatch.context() as without:
        without.setenv("CCOS_RUNE_WORKER", str(tmp_path / "none"))
        async with opened(tmp_path, **DETECTING) as ccos:
            await ccos.register("late.one", increment)
            with pytest.raises(ConfigurationError, match="not an executable"):
                await ccos.runtime.resume(ticket)
            assert (await ccos.runtime.execution(ticket)).state == "parked"
    async with opened(tmp_path, **DETECTING) as ccos:
        await ccos.register("late.one", increment)
        assert value(await ccos.runtime.resume(ticket)) == 2


@pytest.mark.anyio
async def test_static_calls_are_known_ahead(tmp_path: Path) -> None:
    plan = """
use ccos::call as ask;
pub async fn main(id) {
    ask("weather.current", #{}).await?;
    // ccos::call("not.this")
    let all = [ccos::call("math.next", #{x: 1}), ccos::call(id, #{}), ccos::call(`a.${id}`)];
}"""
    async with opened(tmp_path) as ccos:
        await ccos.register("math.next", increment)
        found = await ccos.check(plan, name=NAME)
    assert [(one.capability_id, one.line, one.column) for one in found.resolved] == [
        ("math.next", 6, 16)
    ]
    assert [(one.capability_id, one.line) for one in found.missing] == [("weather.current", 4)]
    assert [one.column for one in found.dynamic] == [50, 71]


class Requests(http.server.BaseHTTPRequestHandler):
    """Counts what it is asked for."""

    asked: Tally[str]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.asked["POST"] += 1
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"made")

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[tuple[str, Tally[str]]]:
    asked: Tally[str] = Tally()
    handler = type("Handler", (Requests,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{serving.server_address[1]}", asked
        serving.shutdown()
        thread.join()


@pytest.mark.anyio
async def test_a_request_of_a_host_function_is_made_once(
    tmp_path: Path, server: tuple[str, Tally[str]]
) -> None:
    where, asked = server
    plan = f"""
pub async fn main() {{
    let made = crucible::http_post("http://{where}/", "x").await?;
    let refused = crucible::http_post("http://127.0.0.1:1/", "x").await;
    ccos::call("late.one", #{{x: 1}}).await?;
    [made, refused.is_err()]
}}"""
    options = {
        **DETECTING,
        "CCOS_EGRESS_PRIVATE_HOSTS": f"{where},127.0.0.1:1",
        "CCOS_REQUIRE_HTTPS": "false",
    }
    async with opened(tmp_path, **options) as ccos:
        ticket = parked(await ccos.run(plan, name=NAME))
        sent = (await ccos.runtime.journal(ticket.execution_id))[0]
        assert (sent.target, sent.repeatable) == ("crucible.http.http_post", False)
        await ccos.register("late.one", increment)
        made, refused = value(await ccos.runtime.resume(ticket.execution_id))
        assert ("made" in str(made), refused) == (True, True)
        assert asked["POST"] == 1


@pytest.mark.anyio
async def test_a_request_whose_answer_never_came_is_left_to_a_person(
    tmp_path: Path, server: tuple[str, Tally[str]]
) -> None:
    where, asked = server
    plan = f'pub async fn main() {{ crucible::http_post("http://{where}/", "x").await }}'
    options = {**DETECTING, "CCOS_EGRESS_PRIVATE_HOSTS": where, "CCOS_REQUIRE_HTTPS": "false"}
    async with opened(tmp_path, **options) as ccos:
        outcome = await ccos.run(plan, name=NAME)
        value(outcome)
        identity = outcome.execution_id
        await change(
            ccos,
            sa.update(executions).values(state="running", worker_id="somebody who died"),
        )
        sent = {"state": EntryState.DISPATCHED.value, "outcome": None, "delivery": None}
        await change(ccos, sa.update(journal).values(**sent))
        (recovered,) = await ccos.runtime.recover()
        assert unknown(recovered).execution_id == identity
        assert asked["POST"] == 1


MANY_TOOLS = """
#[tool(desc = "Adds what comes next")]
#[param(name = "x", type = "integer")]
#[param(name = "y", type = "integer", required = false)]
pub async fn add(x, y) { [ccos::call("late.one", #{x}).await?, y] }

pub fn other() { 0 }
"""


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "text"),
    [
        (NAME, MANY_TOOLS),
        ("plan.py", "async def add(x, y=None):\n    return [await late.one(x=x), y]\n0"),
    ],
)
async def test_one_function_of_several_can_be_run_and_waits(
    tmp_path: Path, store: dict[str, str], name: str, text: str
) -> None:
    async with opened(tmp_path, **DETECTING, **store) as ccos:
        outcome = await ccos.run(text, name=name, function="add", arguments={"x": 4})
        ticket = parked(outcome).execution_id
        await change(ccos, sa.update(executions).values(snapshot=None))
    async with opened(tmp_path, **DETECTING, **store) as ccos:
        assert (await ccos.runtime.execution(ticket)).function == "add"
        await ccos.register("late.one", increment)
        assert value(await ccos.runtime.resume(ticket)) == [5, None]
        error = failure(await ccos.run(text, name=name, function="nothing"))
        assert isinstance(error, PlanError)
