"""A parked plan goes on from its snapshot or, where that is of no use, from its journal."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
import sqlalchemy as sa

from ccos.assembly import Ccos
from ccos.capabilities import EffectType
from ccos.engine import SnapshotSeal
from ccos.engine.languages import Entry as Beginning
from ccos.engine.python.session import FORMAT, PythonSession
from ccos.errors import ReplayMismatchError
from ccos.keys import LocalKey, load_key
from ccos.runtime import Answer
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
    value,
)

pytestmark = pytest.mark.anyio

PLAN = """
import asyncio, random, time
print("begin")
first, second = await asyncio.gather(effect.make(n=1), math.next(x=1))
await effect.note(at=time.time(), number=random.random())
third = await late.one(x=first)
fourth = await effect.make(n=2)
print("end")
[first, second, third, fourth, time.time(), random.random()]
"""


async def damage(ccos: Ccos, execution_id: str, how: str) -> None:
    """Make the snapshot of an execution unusable in one way."""
    ((blob,),) = await rows(ccos, sa.select(executions.c.snapshot))
    own = SnapshotSeal(load_key(ccos.settings.home / "keys" / "ccos.key"))
    header, state = own.opened(blob)
    damaged: bytes | None = {
        "whole": blob,
        "lost": None,
        "empty": b"",
        "cut": blob[: len(blob) // 2],
        "one bit": blob[:-1] + bytes([blob[-1] ^ 1]),
        "foreign key": SnapshotSeal(LocalKey(os.urandom(32))).sealed(header, state),
        "other interpreter": own.sealed({**header, "format": "monty 0.0.1"}, state),
        "other plan": own.sealed({**header, "program": "sha256:0"}, state),
        "unreadable state": own.sealed(header, b"\x00" * 64),
    }[how]
    await change(
        ccos,
        sa.update(executions).where(executions.c.id == execution_id).values(snapshot=damaged),
    )


@pytest.mark.parametrize(
    "how",
    [
        "whole",
        "lost",
        "empty",
        "cut",
        "one bit",
        "foreign key",
        "other interpreter",
        "other plan",
        "unreadable state",
    ],
)
async def test_the_result_is_the_same_and_no_settled_effect_is_repeated(
    tmp_path: Path, store: dict[str, str], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    begun: list[str] = []
    start = PythonSession.start

    async def watched(session: PythonSession, entry: Beginning) -> object:
        begun.append("from the beginning")
        return await start(session, entry)

    effects, notes, pure = Counter(), Counter(), Counter(increment)
    async with opened(tmp_path, **DETECTING, **store) as ccos:
        await ccos.register("effect.make", effects)
        await ccos.register("effect.note", notes)
        await ccos.register("math.next", pure, effect_type=EffectType.PURE)
        ticket = parked(await ccos.run(PLAN))
        await damage(ccos, ticket.execution_id, how)
        await ccos.register("late.one", increment)
        monkeypatch.setattr(PythonSession, "start", watched)
        outcome = await ccos.runtime.resume(ticket.execution_id)
        first, second, third, fourth, now, number = value(outcome)
        assert (first, second, third, fourth) == (1, 2, 2, 2)
        assert outcome.printed == "begin\nend\n"  # type: ignore[union-attr]
        assert (effects.calls, len(notes.calls)) == ([{"n": 1}, {"n": 2}], 1)
        assert len(pure.calls) == 1
        assert begun == ([] if how == "whole" else ["from the beginning"])
        assert now >= notes.calls[0]["at"]
        assert number != notes.calls[0]["number"]


async def test_clock_and_random_numbers_are_those_of_the_first_run(
    tmp_path: Path, store: dict[str, str]
) -> None:
    plan = """
import random, time
from datetime import datetime
seen = [time.time(), datetime.now().isoformat(), random.random(), random.randint(1, 10**9)]
await effect.note(seen=seen)
await late.one(x=1)
seen
"""
    notes = Counter()
    async with opened(tmp_path, **DETECTING, **store) as ccos:
        await ccos.register("effect.note", notes)
        ticket = parked(await ccos.run(plan))
        await damage(ccos, ticket.execution_id, "lost")
        await asyncio.sleep(0.02)
        await ccos.register("late.one", increment)
        assert value(await ccos.runtime.resume(ticket.execution_id)) == notes.calls[0]["seen"]
        other = parked(await ccos.run(plan.replace("late.one", "later.one")))
        assert other.execution_id != ticket.execution_id
        assert notes.calls[0]["seen"][2] != notes.calls[1]["seen"][2]


async def test_a_sleep_that_is_over_is_not_slept_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def watched(seconds: float) -> Answer:
        slept.append(seconds)
        return Answer()

    monkeypatch.setattr("ccos.runtime.plan_run._slept", watched)
    plan = "import asyncio\nawait asyncio.sleep(60)\nawait late.one(x=1)"
    async with opened(tmp_path, **DETECTING) as ccos:
        ticket = parked(await ccos.run(plan))
        await damage(ccos, ticket.execution_id, "lost")
        await ccos.register("late.one", increment)
        assert value(await ccos.runtime.resume(ticket.execution_id)) == 2
        assert slept == [pytest.approx(60, abs=5)]


@pytest.mark.parametrize(
    "changed",
    [
        {"target": "effect.other"},
        {"arguments": '{"n": 9}'},
        {"delivery": 7},
    ],
    ids=lambda changed: next(iter(changed)),
)
async def test_a_journal_of_something_else_is_never_followed(
    tmp_path: Path, changed: dict[str, object]
) -> None:
    plan = "a = await effect.make(n=1)\nb = await late.one(x=a)\nawait effect.make(n=b)"
    effects = Counter()
    async with opened(tmp_path, **DETECTING) as ccos:
        await ccos.register("effect.make", effects)
        ticket = parked(await ccos.run(plan))
        await damage(ccos, ticket.execution_id, "lost")
        await change(ccos, sa.update(journal).where(journal.c.sequence == 0).values(**changed))
        await ccos.register("late.one", increment)
        error = failure(await ccos.runtime.resume(ticket.execution_id))
        assert isinstance(error, ReplayMismatchError)
        assert len(effects.calls) == 1


async def test_a_clock_entry_of_something_else_is_never_followed(tmp_path: Path) -> None:
    plan = "import time\nnow = time.time()\nawait late.one(x=1)\nnow"
    async with opened(tmp_path, **DETECTING) as ccos:
        ticket = parked(await ccos.run(plan))
        await damage(ccos, ticket.execution_id, "lost")
        await change(
            ccos, sa.update(journal).where(journal.c.sequence == 0).values(target="effect.make")
        )
        await ccos.register("late.one", increment)
        error = failure(await ccos.runtime.resume(ticket.execution_id))
        assert isinstance(error, ReplayMismatchError)


async def test_after_a_restart_the_plan_goes_on_where_it_was(
    tmp_path: Path, store: dict[str, str]
) -> None:
    effects, notes = Counter(), Counter()
    async with opened(tmp_path, **DETECTING, **store) as ccos:
        await ccos.register("effect.make", effects)
        await ccos.register("effect.note", notes)
        await ccos.register("math.next", increment)
        ticket = parked(await ccos.run(PLAN))
    async with opened(tmp_path, **DETECTING, **store) as ccos:
        await ccos.register("effect.make", effects)
        await ccos.register("late.one", increment)
        assert value(await ccos.runtime.resume(ticket.execution_id))[:4] == [1, 2, 2, 2]
        assert (len(effects.calls), len(notes.calls)) == (2, 1)
        ((snapshot,),) = await rows(ccos, sa.select(executions.c.snapshot))
        assert snapshot is None


async def test_snapshots_name_the_interpreter_that_can_load_them(tmp_path: Path) -> None:
    async with opened(tmp_path, **DETECTING) as ccos:
        parked(await ccos.run("await late.one()"))
        ((blob,),) = await rows(ccos, sa.select(executions.c.snapshot))
        seal = SnapshotSeal(load_key(tmp_path / "keys" / "ccos.key"))
        header, _ = seal.opened(blob, format=FORMAT)
        assert header["format"] == FORMAT
