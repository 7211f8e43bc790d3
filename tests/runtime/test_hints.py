"""Hints act: each is seen to, beside the same calls without it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ccos.assembly import Ccos
from ccos.capabilities import EffectType
from ccos.errors import InvalidArgumentsError
from ccos.events import EventType
from ccos.runtime import Completed, OutcomeUnknown
from ccos.runtime.hinted import CallMetrics, HintedCalls
from ccos.runtime.hints import NO_HINTS, HintLimits, Retry, read_hints
from opening import DETECTING, failure, happened, opened, parked, value

pytestmark = pytest.mark.anyio


class Service:
    """A capability that fails as often as it is told to, and remembers when it was called."""

    def __init__(self, fails: int = 0) -> None:
        self.fails = fails
        self.calls: list[int] = []

    async def __call__(self, n: int = 0) -> int:
        self.calls.append(n)
        if self.fails:
            self.fails -= 1
            raise ValueError("not now")
        return n + 100


class Time:
    """A clock that only goes on when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


async def run(ccos: Ccos, source: str) -> Any:
    return await ccos.run(source, name="it.rtfs")


def with_time(ccos: Ccos) -> Time:
    """Let hints of this CCOS go by a clock of the test's own."""
    time = Time()
    hinted = ccos.runtime._around.hinted
    hinted.clock, hinted._sleep = time.clock, time.sleep
    return time


async def test_retry_calls_again_what_may_be_called_again(tmp_path: Path) -> None:
    service, acting = Service(), Service()
    async with opened(tmp_path) as ccos:
        time = with_time(ccos)
        await ccos.register("a.read", service.__call__, effect_type=EffectType.READ_ONLY)
        await ccos.register("a.act", acting.__call__)
        service.fails = 2
        hinted = "^{:runtime.learning.retry {:max-retries 3 :initial-delay-ms 100}} (call :a.read)"
        assert value(await run(ccos, hinted)) == 100
        assert len(service.calls) == 3
        assert time.slept == [0.1, 0.2]
        service.fails = 1
        assert failure(await run(ccos, "(call :a.read)")).details["kind"] == "CapabilityError"
        service.fails = 9
        short = "^{:runtime.retry {:max-retries 1 :backoff-ms 10 :backoff-multiplier 5}}"
        failure(await run(ccos, f"{short} (call :a.read)"))
        assert (len(service.calls), time.slept[2:]) == (6, [0.01])
        # What acts on the world is called again only if the plan says that this does no harm.
        acting.fails = 1
        failure(await run(ccos, "^{:runtime.retry 3} (call :a.act)"))
        assert len(acting.calls) == 1
        acting.fails = 1
        source = "^{:runtime.retry 3 :runtime.idempotent true} (call :a.act)"
        assert value(await run(ccos, source)) == 100
        assert len(acting.calls) == 3


async def test_the_idempotency_key_reaches_the_provider(tmp_path: Path) -> None:
    keys: list[str] = []
    async with opened(tmp_path) as ccos:
        await ccos.register("a.act", Service().__call__)
        invoke = ccos.local.invoke

        async def noting(*arguments: Any, idempotency_key: str) -> Any:
            keys.append(idempotency_key)
            return await invoke(*arguments, idempotency_key=idempotency_key)

        ccos.local.invoke = noting  # type: ignore[method-assign, assignment]
        await run(ccos, '^{:runtime.idempotent (str "order-" 7)} (call :a.act)')
        outcome = await run(ccos, "(call :a.act)")
        assert keys == ["order-7", f"{outcome.execution_id}:0"]


async def test_timeout_ends_an_attempt(tmp_path: Path) -> None:
    async def slow() -> int:
        await asyncio.sleep(30)
        return 1

    async with opened(tmp_path) as ccos:
        await ccos.register("slow.read", slow, effect_type=EffectType.READ_ONLY)
        await ccos.register("slow.act", slow)
        await ccos.register("quick.read", Service().__call__, effect_type=EffectType.READ_ONLY)
        for hint in ("20", "{:timeout-ms 20}", "{:absolute-ms 20}"):
            hinted = f"^{{:runtime.timeout {hint}}}"
            error = failure(await run(ccos, f"{hinted} (call :slow.read)"))
            assert error.details["kind"] == "TimeoutError"
        assert value(await run(ccos, "^{:runtime.timeout 20000} (call :quick.read)")) == 100
        outcome = await run(ccos, "^{:runtime.timeout 20} (call :slow.act)")
        assert isinstance(outcome, OutcomeUnknown)


async def test_fallback_is_called_for_what_fails_and_counts_as_a_dependency(
    tmp_path: Path,
) -> None:
    first, spare = Service(fails=2), Service()
    async with opened(tmp_path) as ccos:
        await ccos.register("a.first", first.__call__)
        await ccos.register("a.spare", spare.__call__)
        source = "^{:runtime.learning.fallback {:capability :a.spare}} (call :a.first 5)"
        assert value(await run(ccos, source)) == 105
        assert (first.calls, spare.calls) == ([5], [5])
        [told] = await happened(ccos, EventType.CAPABILITY_FALLBACK)
        assert told["to"] == "a.spare"
        failure(await run(ccos, "(call :a.first 5)"))
        assert value(await run(ccos, source)) == 105
        assert len(spare.calls) == 1
        found = await ccos.check(source, name="it.rtfs")
        assert {one.capability_id for one in found.resolved} == {"a.first", "a.spare"}
        # What cannot be called is no help, and the first error stands.
        first.fails = 1
        lost = "^{:runtime.fallback {:capability :never.there}} (call :a.first)"
        assert "a.first failed" in failure(await run(ccos, lost)).message


async def test_a_refused_call_falls_back_too(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        await ccos.register("a.first", Service().__call__)
        await ccos.register("a.spare", Service().__call__)
        refused = '(call :a.first {:other "x"})'
        assert failure(await run(ccos, refused)).details["kind"] == "TypeValidationError"
        source = f"^{{:runtime.fallback {{:capability :a.any}}}} {refused}"

        async def anything(other: str) -> str:
            return other

        await ccos.register("a.any", anything)
        assert value(await run(ccos, source)) == "x"


async def test_cache_answers_from_before_where_nothing_acts(tmp_path: Path) -> None:
    service, acting = Service(), Service()
    async with opened(tmp_path) as ccos:
        time = with_time(ccos)
        await ccos.register("a.read", service.__call__, effect_type=EffectType.READ_ONLY)
        await ccos.register("a.act", acting.__call__)
        hint = "^{:runtime.learning.cache {:ttl-ms 1000 :max-entries 2}}"
        source = f"{hint} [(call :a.read 1) (call :a.read 1) (call :a.read 2)]"
        assert value(await run(ccos, source)) == [101, 101, 102]
        assert service.calls == [1, 2]
        results = await happened(ccos, EventType.CAPABILITY_RESULT)
        assert [one.get("cached") for one in results] == [None, True, None]
        # It lasts from plan to plan, for its time and its number of entries.
        await run(ccos, f"{hint} (call :a.read 1)")
        assert service.calls == [1, 2]
        await run(ccos, f"{hint} [(call :a.read 3) (call :a.read 2)]")
        assert service.calls == [1, 2, 3, 2]
        time.now += 1.1
        await run(ccos, f"{hint} (call :a.read 1)")
        await run(ccos, "(call :a.read 1)")
        assert service.calls == [1, 2, 3, 2, 1, 1]
        await run(ccos, f"{hint} [(call :a.act 1) (call :a.act 1)]")
        assert acting.calls == [1, 1]


async def test_cache_does_not_keep_failures(tmp_path: Path) -> None:
    service = Service(fails=1)
    async with opened(tmp_path) as ccos:
        await ccos.register("a.read", service.__call__, effect_type=EffectType.READ_ONLY)
        source = "^{:runtime.cache 60000} (call :a.read)"
        failure(await run(ccos, source))
        assert value(await run(ccos, source)) == 100


async def test_circuit_breaker_leaves_alone_what_keeps_failing(tmp_path: Path) -> None:
    service = Service(fails=3)
    async with opened(tmp_path) as ccos:
        time = with_time(ccos)
        await ccos.register("a.act", service.__call__)
        hint = "^{:runtime.circuit-breaker {:failure-threshold 2 :cooldown-ms 500}}"
        source = f"(try {hint} (call :a.act) (catch e (:kind e)))"
        for kind in ("capability-error", "capability-error", "resource-error", "resource-error"):
            assert value(await run(ccos, source)) == kind
        assert len(service.calls) == 2
        # Without the hint it is called all the same.
        assert value(await run(ccos, "(try (call :a.act) (catch e (:kind e)))"))
        assert len(service.calls) == 3
        time.now += 0.6
        assert value(await run(ccos, source)) == 100
        assert value(await run(ccos, source)) == 100


async def test_rate_limit_lets_calls_wait(tmp_path: Path) -> None:
    service = Service()
    async with opened(tmp_path) as ccos:
        time = with_time(ccos)
        await ccos.register("a.act", service.__call__)
        hint = "^{:runtime.rate-limit {:requests-per-second 10 :burst 2}}"
        four = "(map (fn [n] (call :a.act n)) [1 2 3 4])"
        assert value(await run(ccos, f"{hint} {four}")) == [101, 102, 103, 104]
        assert time.slept == pytest.approx([0.1, 0.1])
        await run(ccos, four)
        assert len(time.slept) == 2


async def test_metrics_measure_the_call_with_all_that_hints_made_of_it(tmp_path: Path) -> None:
    service = Service(fails=1)
    async with opened(tmp_path) as ccos:
        with_time(ccos)
        await ccos.register("a.read", service.__call__, effect_type=EffectType.READ_ONLY)
        hint = """^{:runtime.metrics {:label "reading" :emit-to-chain true
                                      :track-percentiles true}
                   :runtime.retry {:max-retries 2 :initial-delay-ms 250}}"""
        assert value(await run(ccos, f"{hint} (call :a.read)")) == 100
        await run(ccos, "^{:runtime.metrics true} (call :a.read)")
        await run(ccos, "(call :a.read)")
        measured = ccos.runtime.call_metrics()
        assert measured["reading"].as_dict() == {
            "calls": 1,
            "failures": 0,
            "total_ms": 250.0,
            "p50_ms": 250.0,
            "p95_ms": 250.0,
            "p99_ms": 250.0,
        }
        assert measured["a.read"].as_dict()["p50_ms"] is None
        assert set(measured) == {"reading", "a.read"}
        [told] = await happened(ccos, EventType.CALL_MEASURED)
        assert (told["label"], told["duration_us"], told["ok"]) == ("reading", 250_000, True)


async def test_the_inner_hint_wins_and_others_stay(tmp_path: Path) -> None:
    service = Service()
    async with opened(tmp_path) as ccos:
        time = with_time(ccos)
        await ccos.register("a.read", service.__call__, effect_type=EffectType.READ_ONLY)
        service.fails = 9
        source = """^{:runtime.retry {:max-retries 5} :runtime.metrics "outer"}
                    ^{:runtime.retry {:max-retries 1 :initial-delay-ms 7}} (call :a.read)"""
        failure(await run(ccos, source))
        assert (len(service.calls), time.slept) == (2, [0.007])
        assert ccos.runtime.call_metrics()["outer"].failures == 1


async def test_hints_are_kept_while_a_plan_is_parked(tmp_path: Path) -> None:
    service = Service(fails=2)
    async with opened(tmp_path, **DETECTING) as ccos:
        source = "^{:runtime.retry {:max-retries 2 :initial-delay-ms 1}} (call :late.one 3)"
        ticket = parked(await run(ccos, source)).execution_id
    async with opened(tmp_path, **DETECTING) as ccos:
        time = with_time(ccos)
        await ccos.register("late.one", service.__call__, effect_type=EffectType.PURE)
        outcome = await ccos.runtime.resume(ticket)
        assert isinstance(outcome, Completed)
        assert (outcome.value, time.slept) == (103, [0.001, 0.002])


def test_hints_are_clamped_by_policy() -> None:
    limits = HintLimits(retries=2, delay_seconds=1, timeout_seconds=5, cache_entries=7)
    asked = {
        "retry": {"max-retries": 99, "initial-delay-ms": 5000},
        "timeout": 10**9,
        "cache": {"ttl-ms": 1000, "max-entries": 50},
    }
    hints = read_hints(asked, limits, capability_id="a.b")
    assert hints.retry == Retry(2, 1, 2.0)
    assert hints.timeout_seconds == 5
    assert hints.cache is not None
    assert (hints.cache.seconds, hints.cache.entries) == (1.0, 7)


def test_defaults_are_those_of_the_language() -> None:
    names = ("metrics", "cache", "circuit-breaker", "rate-limit", "retry", "timeout")
    hints = read_hints(dict.fromkeys(names, True), HintLimits(), capability_id="a.b")
    assert hints.metrics is not None
    assert hints.metrics.label == "a.b"
    assert hints.cache is not None
    assert (hints.cache.seconds, hints.cache.entries) == (60, 100)
    assert hints.circuit_breaker is not None
    breaker = hints.circuit_breaker
    assert (breaker.failures, breaker.cooldown_seconds) == (5, 30)
    assert hints.rate_limit is not None
    assert (hints.rate_limit.per_second, hints.rate_limit.burst) == (10, 5)
    assert hints.retry == Retry(3, 0.1, 2.0)
    assert hints.timeout_seconds == 30
    assert read_hints({}, HintLimits(), capability_id="a.b") is NO_HINTS


@pytest.mark.parametrize(
    "asked",
    [
        {"retry": {"max-retries": "many"}},
        {"retry": -1},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"fallback": {"capability": 7}},
        {"fallback": {}},
        {"rate-limit": {"requests-per-second": 0}},
        {"circuit-breaker": {"failure-threshold": 0}},
        {"cache": {"ttl-ms": None}},
    ],
)
def test_a_hint_that_means_nothing_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentsError, match="cannot be followed"):
        read_hints(asked, HintLimits(), capability_id="a.b")


def test_percentiles_are_of_the_latest_durations() -> None:
    metrics = CallMetrics()
    assert metrics.percentile(0.5) is None
    metrics.durations.extend(range(1, 101))
    assert [metrics.percentile(one) for one in (0.0, 0.5, 0.95, 1.0)] == [1, 50, 95, 100]


def test_nothing_is_remembered_of_what_was_not_hinted() -> None:
    assert HintedCalls().metrics() == {}
