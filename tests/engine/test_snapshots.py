"""Snapshots: another process goes on where one stopped, and takes nothing it did not seal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from ccos.engine import (
    Finished,
    PythonWorkers,
    SnapshotSeal,
    UnusableSnapshotError,
    Value,
    Waiting,
    read_plan,
)
from ccos.keys import LocalKey

from .sessions import OpenSession, open_session

pytestmark = pytest.mark.anyio

SEAL = SnapshotSeal(LocalKey(b"k" * 32))

SOURCE = """
import asyncio, random
first = random.random()
print("before")
seen = {"n": [1, 2.5, "é"]}
call_later = mcp.weather.current
one, two = await asyncio.gather(mcp.weather.current(city="Paris"), mcp.mail.send(to="you"))
print("after")
third = await call_later(city="Rome")
fourth = await mcp.weather.other()
[first, random.random(), one, two, third, fourth, seen]
"""

RESTORING = """
import asyncio, json, sys
from pathlib import Path
from ccos.engine import PythonWorkers, SnapshotSeal, Value, read_plan
from ccos.engine.jail import probe
from ccos.keys import LocalKey
from sessions import open_session

async def main(folder):
    seal = SnapshotSeal(LocalKey(b"k" * 32))
    plan = read_plan((folder / "plan.py").read_text())
    async with PythonWorkers(processes=1, max_waiting=1, isolation=probe) as workers:
        async with open_session(workers, plan, seed="seed", clock=lambda _: 0.0) as session:
            session.restore((folder / "blob").read_bytes(), seal)
            await session.deliver({0: Value("sunny"), 1: Value("sent")})
            await session.deliver({2: Value("rain")})
            done = await session.deliver({3: Value("snow")})
            print(json.dumps([done.value, session.printed]))

asyncio.run(main(Path(sys.argv[1])))
"""


def session_of(
    workers: PythonWorkers, source: str = SOURCE
) -> AbstractAsyncContextManager[OpenSession]:
    return open_session(workers, read_plan(source), seed="seed", clock=lambda _: 0.0)


async def finish(session: OpenSession) -> tuple[object, str]:
    stop = await session.deliver({0: Value("sunny"), 1: Value("sent")})
    assert isinstance(stop, Waiting)
    assert [(call.sequence, call.target) for call in stop.calls] == [(2, "mcp.weather.current")]
    stop = await session.deliver({2: Value("rain")})
    assert isinstance(stop, Waiting)
    assert [(call.sequence, call.target) for call in stop.calls] == [(3, "mcp.weather.other")]
    stop = await session.deliver({3: Value("snow")})
    assert isinstance(stop, Finished)
    return stop.value, session.printed


async def parked(workers: PythonWorkers) -> tuple[bytes, tuple[object, str]]:
    """A blob of the plan as it waits for its first calls, and what the plan comes to."""
    async with session_of(workers) as session:
        await session.start()
        blob = session.dump(SEAL)
        return blob, await finish(session)


async def test_restored_plan_comes_to_the_same_end(workers: PythonWorkers) -> None:
    blob, expected = await parked(workers)
    assert expected[1] == "before\nafter\n"
    for _ in range(2):
        async with session_of(workers) as session:
            assert session.restore(blob, SEAL) == Waiting((), frozenset({0, 1}))
            assert session.dump(SEAL) == blob
            assert await finish(session) == expected


async def test_another_process_goes_on(workers: PythonWorkers, tmp_path: Path) -> None:
    blob, (value, printed) = await parked(workers)
    (tmp_path / "plan.py").write_text(SOURCE, "utf-8")
    (tmp_path / "blob").write_bytes(blob)
    done = subprocess.run(
        [sys.executable, "-c", RESTORING, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert json.loads(done.stdout) == [value, printed]


async def test_restored_plan_can_stop_again(workers: PythonWorkers) -> None:
    blob, expected = await parked(workers)
    async with session_of(workers) as session:
        session.restore(blob, SEAL)
        assert await session.deliver({1: Value("sent")}) == Waiting((), frozenset({0}))
        again = session.dump(SEAL)
    async with session_of(workers) as session:
        session.restore(again, SEAL)
        await session.deliver({0: Value("sunny")})
        await session.deliver({2: Value("rain")})
        assert await session.deliver({3: Value("snow")}) == Finished(expected[0])


async def test_snapshot_of_another_installation_is_refused(workers: PythonWorkers) -> None:
    blob, _ = await parked(workers)
    stranger = SnapshotSeal(LocalKey(b"s" * 32))
    async with session_of(workers) as session:
        with pytest.raises(UnusableSnapshotError, match="sealed"):
            session.restore(blob, stranger)


async def test_snapshot_of_another_plan_is_refused(workers: PythonWorkers) -> None:
    blob, _ = await parked(workers)
    async with session_of(workers, SOURCE + "\n") as session:
        with pytest.raises(UnusableSnapshotError, match="program"):
            session.restore(blob, SEAL)


async def test_snapshot_of_another_interpreter_is_refused(
    workers: PythonWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob, _ = await parked(workers)
    monkeypatch.setattr("ccos.engine.python.session.FORMAT", "monty 99")
    async with session_of(workers) as session:
        with pytest.raises(UnusableSnapshotError, match="format"):
            session.restore(blob, SEAL)


async def test_every_changed_byte_is_noticed(workers: PythonWorkers) -> None:
    blob, _ = await parked(workers)
    for place in {0, 8, 9, 40, 41, 44, 45, 60, len(blob) // 2, len(blob) - 1}:
        forged = bytearray(blob)
        forged[place] ^= 1
        with pytest.raises(UnusableSnapshotError):
            SEAL.opened(bytes(forged))
    for cut in (b"", blob[:8], blob[:41], blob[:-1], blob + b"\x00"):
        with pytest.raises(UnusableSnapshotError):
            SEAL.opened(cut)
    SEAL.opened(blob)


async def test_sealed_state_that_no_interpreter_made_is_refused(workers: PythonWorkers) -> None:
    blob, _ = await parked(workers)
    header, _ = SEAL.opened(blob)
    async with session_of(workers) as session:
        session.restore(SEAL.sealed(header, b"garbage"), SEAL)
        with pytest.raises(UnusableSnapshotError, match="interpreter"):
            await session.deliver({0: Value(None)})
