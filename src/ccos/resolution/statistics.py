"""Figures about resolutions. What was not measured is None, never zero or a hundred percent."""

from __future__ import annotations

import json
import statistics as figures
from collections import Counter
from dataclasses import dataclass

import sqlalchemy as sa

from ccos.storage.schema import approvals, resolutions


@dataclass(frozen=True, slots=True)
class ResolutionStatistics:
    """Counts, rates and times.

    Rates cover finished requests only: what waits or is blocked counts in neither. Times are in
    seconds; percentiles are of successful resolutions.
    """

    by_status: dict[str, int]
    by_method: dict[str, int]
    success_rate: float | None
    error_rate: float | None
    mean_seconds: float | None
    p50_seconds: float | None
    p95_seconds: float | None
    approvals_by_status: dict[str, int]
    mean_approval_seconds: float | None


def statistics(connection: sa.Connection, since: float) -> ResolutionStatistics:
    """Figures over requests and approvals made from ``since`` on (epoch seconds)."""
    requests = connection.execute(
        sa.select(resolutions.c.status, resolutions.c.resolution).where(
            resolutions.c.requested_at >= since
        )
    ).all()
    decisions = connection.execute(
        sa.select(approvals.c.status, approvals.c.requested_at, approvals.c.decided_at).where(
            approvals.c.requested_at >= since
        )
    ).all()
    by_status = Counter(row.status for row in requests)
    found = [json.loads(row.resolution) for row in requests if row.status == "resolved"]
    seconds = sorted(one["duration_ms"] / 1000 for one in found)
    failed = by_status["failed"] + by_status["permanently_failed"]
    finished = len(found) + failed
    waited = [row.decided_at - row.requested_at for row in decisions if row.decided_at]
    return ResolutionStatistics(
        by_status=dict(sorted(by_status.items())),
        by_method=dict(sorted(Counter(one["method"] for one in found).items())),
        success_rate=len(found) / finished if finished else None,
        error_rate=failed / finished if finished else None,
        mean_seconds=figures.fmean(seconds) if seconds else None,
        p50_seconds=_percentile(seconds, 0.50),
        p95_seconds=_percentile(seconds, 0.95),
        approvals_by_status=dict(sorted(Counter(row.status for row in decisions).items())),
        mean_approval_seconds=figures.fmean(waited) if waited else None,
    )


def _percentile(ordered: list[float], share: float) -> float | None:
    """The nearest-rank percentile of an ordered list."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
