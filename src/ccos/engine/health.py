"""How an engine is, in figures that were measured."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import psutil

from ccos.engine.executions import ExecutionResult


class ServiceStatus(StrEnum):
    """How a service is."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    """It runs as many executions as it may; further ones wait."""
    UNHEALTHY = "unhealthy"
    """It does not run, or its store cannot be used."""


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """How a service is, and by which figures."""

    status: ServiceStatus
    message: str
    last_check: float
    details: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return {
            "status": self.status.value,
            "message": self.message,
            "last_check": self.last_check,
            "details": self.details,
        }


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """What the workers use now.

    ``cpu_percent`` is of one processor, since the last look; None at the first look.
    """

    workers: int
    memory_bytes: int
    cpu_percent: float | None
    active_executions: int
    waiting_executions: int

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return {
            "workers": self.workers,
            "memory_bytes": self.memory_bytes,
            "cpu_percent": self.cpu_percent,
            "active_executions": self.active_executions,
            "waiting_executions": self.waiting_executions,
        }


@dataclass(slots=True)
class Meters:
    """What an engine counted since it started, or since the counts were reset."""

    since: float = field(default_factory=time.time)
    succeeded: int = 0
    failed: int = 0
    seconds: float = 0.0
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=1000))
    """Seconds of the last executions."""

    def count(self, result: ExecutionResult) -> None:
        """Count an execution that came to its end."""
        if result.success:
            self.succeeded += 1
        else:
            self.failed += 1
        self.seconds += result.seconds
        self.recent.append(result.seconds)

    @property
    def total(self) -> int:
        """Executions that came to their end."""
        return self.succeeded + self.failed

    @property
    def success_rate(self) -> float:
        """Percent of them that succeeded; 100 before the first."""
        return 100.0 * self.succeeded / self.total if self.total else 100.0

    def as_dict(self) -> dict[str, Any]:
        """Counts and times as JSON data; what was not measured yet is null."""
        times = sorted(self.recent)
        return {
            "total_requests": self.total,
            "successful_requests": self.succeeded,
            "failed_requests": self.failed,
            "success_rate": self.success_rate,
            "average_response_time": self.seconds / self.total if self.total else None,
            "median_response_time": times[len(times) // 2] if times else None,
            "p95_response_time": times[int(len(times) * 0.95)] if times else None,
            "since": self.since,
        }


@dataclass(frozen=True, slots=True)
class PerformanceMetrics:
    """How quick an engine is and what that takes; what was not measured is None.

    Attributes:
        request_times: Seconds of the last executions, up to a thousand, oldest first.
        memory_usage: Bytes of all workers.
        cpu_usage: Percent of a processor that the workers took since the last look.
        queue_sizes: How many executions wait, by what they wait for.
        custom_metrics: Hits and misses of the compile cache, and active executions.
    """

    request_times: tuple[float, ...]
    memory_usage: int
    cpu_usage: float | None
    queue_sizes: dict[str, int]
    custom_metrics: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Its parts as JSON data."""
        return {
            "request_times": list(self.request_times),
            "memory_usage": self.memory_usage,
            "cpu_usage": self.cpu_usage,
            "queue_sizes": self.queue_sizes,
            "custom_metrics": self.custom_metrics,
        }


class WorkerMeters:
    """Memory and processor time of worker processes, as the operating system counts them."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None

    def measure(self, workers: tuple[int, ...]) -> tuple[int, float | None]:
        """Bytes of memory of these processes, and the share of a processor since last time."""
        memory, seconds = 0, 0.0
        for worker in workers:
            try:
                process = psutil.Process(worker)
                memory += process.memory_info().rss
                times = process.cpu_times()
            except psutil.Error:
                continue
            seconds += times.user + times.system
        now = time.monotonic()
        last, self._last = self._last, (now, seconds)
        if last is None or now <= last[0]:
            return memory, None
        return memory, max(0.0, 100 * (seconds - last[1]) / (now - last[0]))
