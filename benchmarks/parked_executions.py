"""Ten thousand parked executions: what they cost while they wait, and how they are resumed.

Prints memory, idle processor time and the time to park and to resume. Exit status 1 if an
execution was lost, or its capability called more or less than once.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import ccos
from ccos.capabilities import Manifest, TrustTier
from ccos.config import load_settings
from ccos.providers.local import describe_callable
from ccos.resolution.sources import Candidate, Wanted
from ccos.runtime import ExecutionState

AT_ONCE = 32
IDLE_SECONDS = 10.0
WANTED = "ledger.record_entry"


class Proposal:
    """A source that knows one capability and that nobody vouches for."""

    name = "benchmark"
    method = "custom"
    flag = None
    highest_risk: Literal["low", "medium", "high"] = "high"

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest

    async def find(self, wanted: Wanted) -> Sequence[Candidate]:
        """The one candidate."""
        return [Candidate(self._manifest, self.name, "benchmark", 1.0, TrustTier.UNKNOWN)]


def resident_megabytes() -> float:
    """Memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


async def park_all(runtime: ccos.Ccos, count: int) -> float:
    """Park that many plans; returns the seconds it took."""
    started = time.perf_counter()
    slots = asyncio.Semaphore(AT_ONCE)

    async def park(number: int) -> None:
        async with slots:
            outcome = await runtime.run(f"await {WANTED}(number={number})", name=f"plan {number}")
            assert isinstance(outcome, ccos.Parked), outcome

    await asyncio.gather(*(park(number) for number in range(count)))
    return time.perf_counter() - started


async def idle_share() -> float:
    """The share of one processor that the process uses while nothing happens."""
    await asyncio.sleep(2)
    before = time.process_time()
    await asyncio.sleep(IDLE_SECONDS)
    return (time.process_time() - before) / IDLE_SECONDS


async def approve_and_wait(runtime: ccos.Ccos, count: int) -> float:
    """Say yes once; returns the seconds until all executions have completed."""
    while not (questions := await runtime.resolver.approvals.recent(limit=2)):
        await asyncio.sleep(0.1)
    (question,) = questions
    started = time.perf_counter()
    await runtime.resolver.approve(approval_id=question.id, by="benchmark")
    while True:
        completed = await runtime.runtime.executions(
            state=ExecutionState.COMPLETED, limit=count + 1
        )
        if len(completed) == count:
            return time.perf_counter() - started
        await asyncio.sleep(0.5)


async def measure(home: Path, count: int) -> int:
    """Measure, print, judge."""
    calls: Counter[int] = Counter()

    async def record_entry(number: int) -> int:
        """Record an entry of the ledger."""
        calls[number] += 1
        return number

    settings = load_settings(
        environ={
            "CCOS_HOME": str(home),
            "CCOS_MISSING_CAPABILITY_ENABLED": "true",
            "CCOS_AUTO_RESOLUTION": "true",
            "CCOS_AUTO_RESUME_ENABLED": "true",
            "CCOS_HUMAN_APPROVAL_REQUIRED": "false",
            "CCOS_MCP_REGISTRY_ENABLED": "false",
        }
    ).settings
    async with ccos.open(settings) as runtime:
        manifest = describe_callable(record_entry, id=WANTED)
        runtime.local.register(WANTED, record_entry)
        runtime.resolver.add_custom_resolver(Proposal(manifest))
        before = resident_megabytes()
        parking = await park_all(runtime, count)
        parked = resident_megabytes()
        share = await idle_share()
        resuming = await approve_and_wait(runtime, count)
        verification = await runtime.audit.verify()
    size = sum(path.stat().st_size for path in home.rglob("*") if path.is_file()) / 1e6
    print(f"Python {platform.python_version()}, {count} parked executions, SQLite")
    print(f"  parked in {parking:.1f} s ({parking / count * 1e3:.2f} ms each)")
    print(f"  memory {before:.0f} MB before, {parked:.0f} MB with all of them parked")
    print(f"  idle: {share:.2%} of one processor over {IDLE_SECONDS:g} s")
    print(
        f"  one approval: all completed in {resuming:.1f} s ({resuming / count * 1e3:.2f} ms each)"
    )
    print(f"  {size:.0f} MB on disk, {verification.entries} audit entries")
    once = len(calls) == count and set(calls.values()) == {1}
    print(f"  each called once: {once}; audit intact: {verification.intact}")
    return 0 if once and verification.intact else 1


def main() -> int:
    """Read the options and measure in a folder that is removed afterwards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measure(Path(folder), options.count))


if __name__ == "__main__":
    sys.exit(main())
