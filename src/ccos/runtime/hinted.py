"""Carrying out calls as their hints say: cache, circuit breaker, rate limit, retry, timeout.

They lie around each other in this order, the cache outermost. What they remember belongs to one
process; a call that was answered is in the journal, so a replay asks none of them.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from ccos.canonical import canonical_json
from ccos.capabilities import EffectType
from ccos.errors import (
    CircuitOpenError,
    DefinitionChangedError,
    ProviderError,
    ProviderTimeoutError,
)
from ccos.marketplace import Registered
from ccos.runtime.dispatch import Answer
from ccos.runtime.hints import Cache, CircuitBreaker, HintLimits, Hints, Metrics, RateLimit, Retry

T = TypeVar("T")
Attempt = Callable[[], Awaitable[Answer]]

_CAPABILITIES: Final = 10_000
"""Capabilities that something is remembered of."""
_DURATIONS: Final = 1000


@dataclass(slots=True)
class CallMetrics:
    """What was measured under one label.

    Attributes:
        durations: The latest durations in seconds, where percentiles are wanted.
    """

    calls: int = 0
    failures: int = 0
    seconds: float = 0.0
    durations: deque[float] = field(default_factory=lambda: deque(maxlen=_DURATIONS))

    def percentile(self, share: float) -> float | None:
        """The duration in seconds that ``share`` (0 to 1) of the calls did not exceed."""
        if not self.durations:
            return None
        ordered = sorted(self.durations)
        return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data, durations in milliseconds."""
        percentiles = {
            name: None if found is None else round(found * 1000, 3)
            for name, found in (
                ("p50_ms", self.percentile(0.5)),
                ("p95_ms", self.percentile(0.95)),
                ("p99_ms", self.percentile(0.99)),
            )
        }
        return {
            "calls": self.calls,
            "failures": self.failures,
            "total_ms": round(self.seconds * 1000, 3),
            **percentiles,
        }


@dataclass(slots=True)
class _Breaker:
    failures: int = 0
    open_until: float = 0.0
    trying: bool = False


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class HintedCalls:
    """Carries out calls as their hints say, and remembers what that takes.

    Args:
        limits: The most that hints can ask for.
        clock: Seconds, of a clock that never goes back.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        limits: HintLimits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.limits = limits or HintLimits()
        self.clock = clock
        self._sleep = sleep
        self._cached: OrderedDict[str, OrderedDict[bytes, tuple[float, Answer]]] = OrderedDict()
        self._breakers: OrderedDict[str, _Breaker] = OrderedDict()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._metrics: OrderedDict[str, CallMetrics] = OrderedDict()

    async def perform(
        self, hints: Hints, registered: Registered, arguments: dict[str, Any], attempt: Attempt
    ) -> Answer:
        """Make a call of ``registered``; ``attempt`` makes it once, in the time it may take."""
        target = registered.definition_hash
        effect = registered.manifest.effect_type
        work = attempt
        if hints.retry is not None and (effect.repeatable or hints.idempotent):
            work = self._again(hints.retry, work)
        if hints.rate_limit is not None:
            work = self._slowly(hints.rate_limit, target, work)
        if hints.circuit_breaker is not None:
            work = self._broken(hints.circuit_breaker, target, registered.manifest.id, work)
        if hints.cache is not None and effect in (EffectType.PURE, EffectType.READ_ONLY):
            work = self._remembered(hints.cache, target, arguments, work)
        return await work()

    def measured(self, metrics: Metrics, seconds: float, *, ok: bool) -> None:
        """Note how long a call took, with all that its hints made of it."""
        found = _kept(self._metrics, metrics.label, CallMetrics)
        found.calls += 1
        found.failures += not ok
        found.seconds += seconds
        if metrics.track_percentiles:
            found.durations.append(seconds)

    def metrics(self) -> dict[str, CallMetrics]:
        """What was measured in this process, by label."""
        return dict(self._metrics)

    def _again(self, retry: Retry, work: Attempt) -> Attempt:
        async def attempt() -> Answer:
            delay = retry.delay_seconds
            answer = await work()
            for _ in range(retry.times):
                if not _may_be_repeated(answer):
                    break
                await self._sleep(delay)
                delay = min(delay * retry.multiplier, self.limits.delay_seconds)
                answer = await work()
            return answer

        return attempt

    def _slowly(self, rate: RateLimit, target: str, work: Attempt) -> Attempt:
        async def attempt() -> Answer:
            now = self.clock()
            bucket = _kept(self._buckets, target, lambda: _Bucket(rate.burst, now))
            refilled = bucket.tokens + (now - bucket.at) * rate.per_second
            bucket.tokens, bucket.at = min(rate.burst, refilled) - 1, now
            if bucket.tokens < 0:
                await self._sleep(-bucket.tokens / rate.per_second)
            return await work()

        return attempt

    def _broken(
        self, options: CircuitBreaker, target: str, capability_id: str, work: Attempt
    ) -> Attempt:
        async def attempt() -> Answer:
            breaker = _kept(self._breakers, target, _Breaker)
            rest = breaker.open_until - self.clock()
            if rest > 0 or breaker.trying:
                return Answer(
                    error=CircuitOpenError(
                        f"{capability_id} failed {breaker.failures} times in a row and is left "
                        f"alone for {max(rest, 0):.1f} s.",
                        details={"capability_id": capability_id, "failures": breaker.failures},
                    )
                )
            breaker.trying = breaker.failures >= options.failures
            try:
                answer = await work()
            finally:
                breaker.trying = False
            failed = answer.error is not None or answer.unknown is not None
            breaker.failures = breaker.failures + 1 if failed else 0
            if breaker.failures >= options.failures:
                breaker.open_until = self.clock() + options.cooldown_seconds
            return answer

        return attempt

    def _remembered(
        self, cache: Cache, target: str, arguments: dict[str, Any], work: Attempt
    ) -> Attempt:
        async def attempt() -> Answer:
            known = _kept(self._cached, target, OrderedDict[bytes, tuple[float, Answer]])
            key = canonical_json(arguments)
            now = self.clock()
            stored = known.get(key)
            if stored is not None and now - stored[0] < cache.seconds:
                known.move_to_end(key)
                return replace(stored[1], cached=True)
            answer = await work()
            if answer.error is None and answer.unknown is None:
                known[key] = (self.clock(), answer)
                known.move_to_end(key)
                while len(known) > cache.entries:
                    known.popitem(last=False)
            return answer

        return attempt


async def in_time(seconds: float, registered: Registered, attempt: Attempt) -> Answer:
    """Make one attempt at a call of ``registered``, and wait no longer than ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            return await attempt()
    except TimeoutError:
        words = f"{registered.manifest.id} did not answer within {seconds * 1000:g} ms"
        if registered.manifest.effect_type.repeatable:
            return Answer(error=ProviderTimeoutError(f"{words}."))
        return Answer(unknown=f"{words}; it may have acted")


def _may_be_repeated(answer: Answer) -> bool:
    error = answer.error
    return isinstance(error, ProviderError) and not isinstance(error, DefinitionChangedError)


def _kept(found: OrderedDict[str, T], key: str, make: Callable[[], T]) -> T:
    """What is remembered under ``key``; of too many the oldest are forgotten."""
    if key not in found:
        found[key] = make()
        while len(found) > _CAPABILITIES:
            found.popitem(last=False)
    found.move_to_end(key)
    return found[key]
