"""The pool: its workers are in a jail, bounded, warm, and gone with it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from ccos.engine.jail import Isolation, probe
from ccos.engine.jail.isolation import nothing
from ccos.engine.languages import Entry
from ccos.engine.policy import SecurityLevel, level_policy
from ccos.engine.rune import RuneWorkers
from ccos.errors import EngineBusyError, IsolationError

from .sessions import session, value_of

pytestmark = pytest.mark.anyio

WAITS = 'pub async fn main() { ccos::call("a.b").await }'


def pool(
    program: Path,
    isolation: Callable[[], Isolation] | None = probe,
    *,
    processes: int = 2,
    max_waiting: int = 100,
) -> RuneWorkers:
    return RuneWorkers(
        processes=processes,
        max_waiting=max_waiting,
        isolation=isolation,
        find_program=lambda: program,
    )


def status(process: int) -> dict[str, str]:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these means")
@pytest.mark.parametrize("isolation", [probe, None], ids=["jail", "its own"])
async def test_a_worker_has_no_privileges_and_a_filter_of_system_calls(
    program: Path, isolation: Callable[[], Isolation] | None
) -> None:
    if isolation is not None and not isolation().confines:
        pytest.skip("this machine cannot confine programs")
    async with pool(program, isolation) as workers:
        assert await value_of(workers, "pub fn main() { 1 }") == 1
        [worker] = workers.worker_ids()
        found = status(worker)
        assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")
        assert psutil.Process(worker).environ() == {}
        if isolation is not None and isolation().has("own_user"):
            assert found["Uid"] != status(psutil.Process().pid)["Uid"]


async def test_a_level_that_promises_a_jail_is_refused_where_there_is_none(program: Path) -> None:
    async with pool(program, lambda: nothing("it is a test")) as workers:
        for level in (SecurityLevel.SAFE, SecurityLevel.PRODUCTION):
            with pytest.raises(IsolationError, match="it is a test"):
                workers.check_isolation(level_policy(level))
            with pytest.raises(IsolationError):
                await value_of(workers, "pub fn main() { 1 }", policy=level_policy(level))
        assert await value_of(workers, "pub fn main() { 1 }") == 1


async def test_sessions_are_bounded_and_so_are_those_that_wait(program: Path) -> None:
    async with pool(program, None, processes=1, max_waiting=1) as workers:
        async with session(workers, WAITS) as (opened, _):
            await opened.start(Entry())
            waiting = asyncio.create_task(value_of(workers, "pub fn main() { 2 }"))
            await asyncio.sleep(0.1)
            with pytest.raises(EngineBusyError):
                await value_of(workers, "pub fn main() { 3 }")
            assert not waiting.done()
        assert await waiting == 2


async def test_a_worker_that_served_long_is_replaced(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ccos.engine.rune.workers._REQUESTS_PER_WORKER", 10)
    async with pool(program, None, processes=1) as workers:
        seen: set[int] = set()
        for n in range(30):
            assert await value_of(workers, f"pub fn main() {{ {n} }}") == n
            seen.update(workers.worker_ids())
        assert 3 <= len(seen) <= 7


async def test_nothing_outlives_the_pool(program: Path) -> None:
    async with pool(program) as workers:
        await value_of(workers, "pub fn main() { 1 }")
        await value_of(workers, "pub fn main() { 1 }", memory_bytes=None)
        alive = [psutil.Process(one) for one in workers.worker_ids()]
        assert len(alive) == 2
    assert not any(one.is_running() for one in alive)
