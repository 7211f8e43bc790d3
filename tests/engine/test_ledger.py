"""The ledger: what executions leave behind is written in batches, and none of it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ccos.audit import AuditTrail, HeadFile
from ccos.engine.ledger import Ledger
from ccos.engine.scripts import Run
from ccos.engine.store import ScriptStore
from ccos.errors import StorageError
from ccos.events import Event, EventBus, EventType
from ccos.keys import LocalKey
from ccos.storage import Storage
from opening import Failing, until

from .registered import script

pytestmark = pytest.mark.anyio


class Observed(Failing):
    """Counts the units that were committed, and fails those that it is told to."""

    def __init__(self) -> None:
        super().__init__("scripts")
        self.active = False
        self.committed: list[str] = []

    def after_commit(self, name: str) -> None:
        self.committed.append(name)


@pytest.fixture
def observed() -> Observed:
    return Observed()


@pytest.fixture
async def storage(tmp_path: Path, observed: Observed, anyio_backend: str) -> AsyncIterator[Storage]:
    async with Storage(f"sqlite:///{tmp_path / 'ledger.sqlite'}", observer=observed) as opened:
        yield opened


@pytest.fixture
def trail(storage: Storage, tmp_path: Path) -> AuditTrail:
    return AuditTrail(storage, EventBus(), HeadFile(tmp_path / "head", LocalKey(b"k" * 32)))


@pytest.fixture
def store(storage: Storage) -> ScriptStore:
    return ScriptStore(storage, max_source_bytes=1000)


@pytest.fixture
def ledger(storage: Storage, trail: AuditTrail, store: ScriptStore) -> Ledger:
    return Ledger(storage, trail, store)


def executed(number: int) -> Event:
    return Event(EventType.SCRIPT_EXECUTED, execution_id=f"e{number}")


async def executions(trail: AuditTrail) -> list[str]:
    return [entry.execution_id for entry in await trail.tail(5000)]


async def test_what_many_leave_behind_is_one_commit(
    ledger: Ledger, trail: AuditTrail, observed: Observed
) -> None:
    for number in range(300):
        ledger.add([executed(number)])
    await ledger.flush()
    assert await executions(trail) == [f"e{number}" for number in range(300)]
    assert observed.committed.count("scripts") == 1


async def test_a_flood_is_written_in_several_commits_in_its_order(
    ledger: Ledger, trail: AuditTrail, observed: Observed
) -> None:
    for number in range(1200):
        ledger.add([executed(number)])
    await ledger.flush()
    assert await executions(trail) == [f"e{number}" for number in range(1200)]
    assert observed.committed.count("scripts") == 3


async def test_what_comes_while_it_is_written_waits_for_the_next_time(
    ledger: Ledger, trail: AuditTrail, observed: Observed
) -> None:
    def event(number: int) -> Event:
        return Event(EventType.SCRIPT_EXECUTED, execution_id=f"ex-{number}", data={})

    ledger.add([event(0)])
    flushing = asyncio.create_task(ledger.flush())
    for number in range(1, 20):
        await asyncio.sleep(0)
        ledger.add([event(number)])
    await flushing
    assert observed.committed == ["scripts"]
    await ledger.flush()
    assert observed.committed == ["scripts"] * 2
    entries = await trail.tail(100)
    assert [entry.execution_id for entry in entries] == [f"ex-{n}" for n in range(20)]


async def test_nobody_has_to_ask_for_it_to_be_written(ledger: Ledger, trail: AuditTrail) -> None:
    ledger.add([executed(1)])

    async def written() -> bool:
        return await executions(trail) == ["e1"]

    assert not await written()
    await until(written)


async def test_what_cannot_be_written_is_kept_and_written_once(
    ledger: Ledger, trail: AuditTrail, observed: Observed
) -> None:
    observed.active = True
    ledger.add([executed(1)])
    with pytest.raises(StorageError):
        await ledger.flush()
    assert await executions(trail) == []
    observed.active = False
    ledger.add([executed(2)])
    await asyncio.gather(*(ledger.flush() for _ in range(3)))
    assert await executions(trail) == ["e1", "e2"]


async def test_runs_are_counted_with_their_entries(ledger: Ledger, store: ScriptStore) -> None:
    kept = script()
    await store.save(kept)
    for number in range(10):
        run = Run(kept.script_id, number % 2 == 0, 0.5, 1_700_000_000.0)
        ledger.add([executed(number)], run)
    await ledger.flush()
    counted = await store.statistics()
    assert (counted.total_executions, counted.failed_executions) == (10, 5)


async def test_what_is_written_at_once_does_not_wait_for_the_rest(
    ledger: Ledger, trail: AuditTrail
) -> None:
    ledger.add([executed(1)])
    await ledger.write(executed(2))
    assert await executions(trail) == ["e2"]
    await ledger.flush()
    assert await executions(trail) == ["e2", "e1"]
