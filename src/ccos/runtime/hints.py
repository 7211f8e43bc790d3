"""What a plan asks for about how its calls are carried out.

Names and values are those of RTFS (``^{:runtime.learning.retry 3}``), durations in milliseconds as
they are written there. A policy bounds every one of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ccos.errors import InvalidArgumentsError

_DAY_MS: Final = 24 * 3600 * 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HintLimits:
    """The most that hints can ask for; what asks for more gets this much."""

    retries: int = 10
    delay_seconds: float = 60.0
    timeout_seconds: float = 3600.0
    cache_seconds: float = 24 * 3600.0
    cache_entries: int = 10_000
    cooldown_seconds: float = 3600.0
    calls_per_second: float = 10_000.0


@dataclass(frozen=True, slots=True)
class Metrics:
    """Measure the call under a label.

    Attributes:
        label: What it is measured as.
        emit_to_chain: Whether each measurement goes on the audit trail.
        track_percentiles: Whether single durations are kept for percentiles.
    """

    label: str
    emit_to_chain: bool = False
    track_percentiles: bool = False


@dataclass(frozen=True, slots=True)
class Cache:
    """Answer from an earlier call with the same arguments."""

    seconds: float
    entries: int


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """Stop calling for a while what failed several times in a row."""

    failures: int
    cooldown_seconds: float


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Let calls wait that come too fast."""

    per_second: float
    burst: int


@dataclass(frozen=True, slots=True)
class Retry:
    """Call again after a failure, with growing pauses."""

    times: int
    delay_seconds: float
    multiplier: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """The hints of one call.

    Attributes:
        fallback: The capability that is called if this one fails.
        timeout_seconds: Longest time of one attempt.
        idempotent: Whether the caller says that calling twice does no harm.
        key: The idempotency key that the caller gives the call.
    """

    metrics: Metrics | None = None
    fallback: str | None = None
    cache: Cache | None = None
    circuit_breaker: CircuitBreaker | None = None
    rate_limit: RateLimit | None = None
    retry: Retry | None = None
    timeout_seconds: float | None = None
    idempotent: bool = False
    key: str | None = None


NO_HINTS: Final = Hints()


def read_hints(given: Mapping[str, Any], limits: HintLimits, *, capability_id: str) -> Hints:
    """Hints from what a plan wrote.

    Args:
        given: By name, such as ``{"retry": {"max-retries": 3}}``; unknown names say nothing.
        limits: What they can ask for at most.
        capability_id: What is called, for labels and messages.

    Raises:
        InvalidArgumentsError: for a value that means nothing.
    """
    if not given:
        return NO_HINTS
    reader = _Reader(given, limits, capability_id)
    idempotent = given.get("idempotent", False)
    return Hints(
        metrics=reader.metrics(),
        fallback=reader.fallback(),
        cache=reader.cache(),
        circuit_breaker=reader.circuit_breaker(),
        rate_limit=reader.rate_limit(),
        retry=reader.retry(),
        timeout_seconds=reader.timeout(),
        idempotent=idempotent not in (False, None),
        key=None if isinstance(idempotent, bool | None) else str(idempotent)[:200],
    )


class _Reader:
    def __init__(self, given: Mapping[str, Any], limits: HintLimits, capability_id: str) -> None:
        self._given = given
        self._limits = limits
        self._capability_id = capability_id

    def metrics(self) -> Metrics | None:
        options = self._options("metrics", "label")
        if options is None:
            return None
        return Metrics(
            str(options.get("label", self._capability_id))[:200],
            options.get("emit-to-chain") is True,
            options.get("track-percentiles") is True,
        )

    def fallback(self) -> str | None:
        options = self._options("fallback", "capability")
        if options is None:
            return None
        target = options.get("capability")
        if not isinstance(target, str):
            raise self._fault("fallback", "it names no capability")
        return target

    def cache(self) -> Cache | None:
        options = self._options("cache", "ttl-ms")
        if options is None:
            return None
        seconds = self._number("cache", options, "ttl-ms", 60_000, 0, _DAY_MS) / 1000
        entries = self._number("cache", options, "max-entries", 100, 1, 1e9)
        return Cache(
            min(seconds, self._limits.cache_seconds), min(int(entries), self._limits.cache_entries)
        )

    def circuit_breaker(self) -> CircuitBreaker | None:
        options = self._options("circuit-breaker", "failure-threshold")
        if options is None:
            return None
        name = "circuit-breaker"
        failures = self._number(name, options, "failure-threshold", 5, 1, 1e9)
        cooldown = self._number(name, options, "cooldown-ms", 30_000, 0, _DAY_MS) / 1000
        return CircuitBreaker(int(failures), min(cooldown, self._limits.cooldown_seconds))

    def rate_limit(self) -> RateLimit | None:
        options = self._options("rate-limit", "requests-per-second")
        if options is None:
            return None
        rate = self._number("rate-limit", options, "requests-per-second", 10, 0.001, 1e9)
        burst = self._number("rate-limit", options, "burst", 5, 1, 1e9)
        return RateLimit(min(rate, self._limits.calls_per_second), int(burst))

    def retry(self) -> Retry | None:
        options = self._options("retry", "max-retries")
        if options is None:
            return None
        times = self._number("retry", options, "max-retries", 3, 0, 1e9)
        delay_name = "backoff-ms" if "backoff-ms" in options else "initial-delay-ms"
        delay = self._number("retry", options, delay_name, 100, 0, _DAY_MS) / 1000
        multiplier = self._number("retry", options, "backoff-multiplier", 2.0, 1, 100)
        return Retry(
            min(int(times), self._limits.retries),
            min(delay, self._limits.delay_seconds),
            multiplier,
        )

    def timeout(self) -> float | None:
        options = self._options("timeout", "timeout-ms")
        if options is None:
            return None
        name = "absolute-ms" if "absolute-ms" in options else "timeout-ms"
        seconds = self._number("timeout", options, name, 30_000, 1, _DAY_MS) / 1000
        return min(seconds, self._limits.timeout_seconds)

    def _options(self, name: str, main: str) -> Mapping[str, Any] | None:
        """The options of a hint; a bare value stands for the ``main`` one."""
        value = self._given.get(name)
        if value is None or value is False:
            return None
        if value is True:
            return {}
        return value if isinstance(value, dict) else {main: value}

    def _number(
        self,
        hint: str,
        options: Mapping[str, Any],
        name: str,
        default: float,
        least: float,
        most: float,
    ) -> float:
        value = options.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            raise self._fault(hint, f"{name} is no number")
        if value < least:
            raise self._fault(hint, f"{name} is at least {least:g}")
        return float(min(value, most))

    def _fault(self, hint: str, words: str) -> InvalidArgumentsError:
        return InvalidArgumentsError(
            f"The hint {hint} for {self._capability_id} cannot be followed: {words}.",
            next_step="See the hints in the reference of RTFS.",
            details={"hint": hint},
        )
