"""Plans in RTFS: called, parked, resumed and recorded as durably as those in Python."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated, Any

import pytest
import sqlalchemy as sa
from pydantic import WithJsonSchema
from typing_extensions import TypedDict

from ccos.assembly import Ccos
from ccos.capabilities import EffectType
from ccos.errors import PlanError, SecurityViolationError
from ccos.events import EventType
from ccos.runtime import CallPolicy, Completed, OutcomeUnknown
from ccos.runtime.records import EntryState
from ccos.storage.schema import executions
from opening import DETECTING, change, failure, happened, opened, parked, value

pytestmark = pytest.mark.anyio


class Reading(TypedDict):
    """An answer with types that JSON does not have."""

    state: Annotated[str, WithJsonSchema({"type": "string", "x-rtfs-type": ":keyword"})]
    count: int
    names: dict[str, int]


async def weather(city: str, unit: str = "C") -> dict[str, Any]:
    return {"city": city, "unit": unit, "degrees": 20}


async def run(ccos: Ccos, source: str, **options: Any) -> Any:
    return await ccos.run(source, name="it.rtfs", **options)


async def test_a_call_binds_its_arguments_and_takes_the_answer_apart(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        await ccos.register("weather.current", weather)
        source = """
          (println "asking")
          (let [a (call :weather/current {:city "Paris"})
                b (call "weather.current" "Rome" "F")
                c (call :weather.current :city "Oslo" :unit "K")]
            [(:degrees a) (get b :unit) (:city c) (str (:city a))])"""
        outcome = await run(ccos, source)
        assert isinstance(outcome, Completed)
        assert outcome.value == [20, "F", "Oslo", "Paris"]
        assert outcome.printed == "asking\n"
        assert [one["arguments"] for one in await happened(ccos, EventType.CAPABILITY_CALL)] == [
            {"city": "Paris"},
            {"city": "Rome", "unit": "F"},
            {"city": "Oslo", "unit": "K"},
        ]


async def test_values_take_the_types_of_the_output_schema(tmp_path: Path) -> None:
    async def answer() -> Reading:
        return {"state": "open", "count": 2.0, "names": {"a": 1}}  # type: ignore[typeddict-item]

    source = "(pr-str (call :a.b))"
    async with opened(tmp_path, **DETECTING) as ccos:
        await ccos.register("a.b", answer)
        assert value(await run(ccos, source)) == '{:state :open :count 2 :names {"a" 1}}'
        # The same when it waited for something in between, by snapshot and by replay.
        for way in ("snapshot", "replay"):
            late = f"late.{way}"
            ticket = parked(await run(ccos, f"(def r (call :a.b)) (call :{late}) (pr-str r)"))
            await ccos.register(late, lambda: None)
            if way == "replay":
                await change(ccos, sa.update(executions).values(snapshot=None))
            resumed = await ccos.runtime.resume(ticket.execution_id)
            assert value(resumed) == '{:state :open :count 2 :names {"a" 1}}'


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ("(call :never.there)", "UnknownCapability"),
        ('(call (str "../etc"))', "UnknownCapability"),
        ("(call :weather.current 1)", "TypeValidationError"),
        ("(call :weather.current)", "TypeValidationError"),
        ('(call :denied.one "x")', "SecurityViolation"),
        ("(call :fails.always)", "CapabilityError"),
        ('(call :crucible.basic/math-abs "x")', "TypeValidationError"),
        ("(call :com.acme:v9.1/thing)", "UnknownCapability"),
        ("^{:runtime.retry {:max-retries :many}} (call :fails.always)", "TypeValidationError"),
    ],
)
async def test_a_call_that_fails_is_an_error_of_its_kind(
    tmp_path: Path, call: str, kind: str
) -> None:
    async def fails() -> None:
        raise ValueError("no")

    policy = CallPolicy(deny=("denied.*",))
    async with opened(tmp_path, policy=policy) as ccos:
        await ccos.register("weather.current", weather)
        await ccos.register("denied.one", weather)
        await ccos.register("fails.always", fails)
        await ccos.register("com.acme.thing", fails)
        program = f"(try {call} (catch {kind} e (:message e)))"
        assert value(await run(ccos, program))
        error = failure(await run(ccos, f"\n {call}"))
        assert isinstance(error, PlanError | SecurityViolationError)
        assert error.details["kind"] == kind
        assert error.details["line"] == 2


async def test_a_version_wish_is_heard(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        await ccos.register("com.acme.thing", lambda: "here", version="1.4.2")
        assert value(await run(ccos, "(call :com.acme:v1.4/thing)")) == "here"
        assert value(await run(ccos, "(call :com.acme:v1/thing)")) == "here"
        error = failure(await run(ccos, "(call :com.acme:v1.40/thing)"))
        assert "1.4.2" in error.message


async def test_branches_call_at_the_same_time(tmp_path: Path) -> None:
    together = asyncio.Event()
    inside = 0

    async def meet(n: int) -> int:
        nonlocal inside
        inside += 1
        if inside == 3:
            together.set()
        await asyncio.wait_for(together.wait(), 10)
        return n

    async with opened(tmp_path) as ccos:
        await ccos.register("meet.all", meet)
        source = "(step-parallel (call :meet.all 1) (+ 1 (call :meet.all 2)) (call :meet.all 3))"
        assert value(await run(ccos, source)) == [1, 3, 3]


async def test_steps_are_events_once_however_often_the_plan_is_replayed(tmp_path: Path) -> None:
    source = """
      (step "outer"
        (step-if true (call :a.first) nil)
        (step :warn "careful" {:n 1})
        (loop [i 0] (when (< i 2) (step :turn (call :a.first)) (recur (inc i))))
        (step "late" (call :late.one)))
      (context/set :found 3)
      "done\""""
    async with opened(tmp_path, **DETECTING) as ccos:
        await ccos.register("a.first", lambda: 1)
        ticket = parked(await run(ccos, source)).execution_id
        await change(ccos, sa.update(executions).values(snapshot=None))
        await ccos.register("late.one", lambda: 2)
        assert value(await ccos.runtime.resume(ticket)) == "done"
        started = [one["label"] for one in await happened(ccos, EventType.STEP_STARTED)]
        assert started == ["outer", "step-if", "turn", "turn", "late"]
        ended = [one["label"] for one in await happened(ccos, EventType.STEP_COMPLETED)]
        assert ended == ["step-if", "turn", "turn", "late", "outer"]
        [logged] = await happened(ccos, EventType.STEP_LOGGED)
        assert (logged["level"], logged["message"], logged["data"]) == ("warn", "careful", {"n": 1})
        assert logged["steps"] == ["outer"]
        [kept] = await happened(ccos, EventType.CONTEXT_SET)
        assert (kept["name"], kept["value"]) == ("found", 3)
        failed = failure(await run(ccos, '(step "bad" (/ 1 0))'))
        assert failed.details["kind"] == "DivisionByZero"
        assert [one["label"] for one in await happened(ccos, EventType.STEP_FAILED)] == ["bad"]


async def test_the_arguments_of_a_plan_are_its_context(tmp_path: Path) -> None:
    async with opened(tmp_path, **DETECTING) as ccos:
        source = "(call :late.one) [@who (context/get :none 1)]"
        outcome = await ccos.runtime.run(source, name="it.rtfs", arguments={"who": "me"})
        ticket = parked(outcome).execution_id
        await change(ccos, sa.update(executions).values(snapshot=None))
        await ccos.register("late.one", lambda: 2)
        assert value(await ccos.runtime.resume(ticket)) == ["me", 1]


async def test_time_and_pauses_are_journaled(tmp_path: Path) -> None:
    async with opened(tmp_path, **DETECTING) as ccos:
        source = "(def t (current-time-millis)) (thread/sleep 5) (call :late.one) t"
        before = time.time() * 1000
        ticket = parked(await run(ccos, source)).execution_id
        after = time.time() * 1000
        await change(ccos, sa.update(executions).values(snapshot=None))
        await ccos.register("late.one", lambda: 2)
        assert before - 1 <= value(await ccos.runtime.resume(ticket)) <= after


async def test_host_functions_are_there_and_journaled(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        source = '[(call :crucible.basic/math-abs -3) (call :crucible.basic/string_trim " x ")]'
        assert value(await run(ccos, source)) == [3, "x"]
        with pytest.raises(SecurityViolationError):
            await run(ccos, '(call :crucible.process/run "ls")')


async def test_what_a_plan_calls_is_told_before_it_runs(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        await ccos.register("a.b", weather)
        source = "(println 1)\n(call :a.b)\n(call :c.d (call (str :e)))\n; (call :f.g)"
        found = await ccos.check(source, name="it.rtfs")
        assert [(one.capability_id, one.line) for one in found.resolved] == [("a.b", 2)]
        assert [(one.capability_id, one.line) for one in found.missing] == [("c.d", 3)]
        assert len(found.dynamic) == 1
        for wrong in ("(let [x] x)", '(call "../etc")'):
            with pytest.raises(PlanError) as caught:
                await ccos.check(wrong, name="it.rtfs")
            assert caught.value.details["line"] == 1


async def test_a_call_that_may_have_acted_is_left_to_a_person(tmp_path: Path) -> None:
    async def slow() -> int:
        await asyncio.sleep(30)
        return 1

    source = "^{:runtime.timeout 20} (call :slow.one)"
    async with opened(tmp_path) as ccos:
        await ccos.register("slow.one", slow)
        outcome = await run(ccos, source)
        assert isinstance(outcome, OutcomeUnknown)
        assert "did not answer within 20 ms" in outcome.effects[0].reason
        assert outcome.effects[0].arguments == {}
        [entry] = await ccos.runtime.journal(outcome.execution_id)
        assert entry.state is EntryState.UNKNOWN
    async with opened(tmp_path / "other") as ccos:
        await ccos.register("slow.one", slow, effect_type=EffectType.READ_ONLY)
        caught = f"(try {source} (catch TimeoutError e :late))"
        assert value(await run(ccos, caught)) == "late"


async def test_a_plan_that_is_too_large_or_calls_too_much_is_stopped(tmp_path: Path) -> None:
    async with opened(tmp_path, CCOS_PLAN_MAX_CALLS="20") as ccos:
        await ccos.register("a.b", lambda: 1)
        loop = "(loop [i 0] (if (< i {n}) (do (call :a.b) (recur (inc i))) i))"
        assert value(await run(ccos, loop.format(n=20))) == 20
        error = failure(await run(ccos, loop.format(n=21)))
        assert error.code == "CCOS-EXECUTION-LIMIT"
        with pytest.raises(PlanError):
            await run(ccos, ";" * 1_000_001)
