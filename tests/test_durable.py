"""Workflows on the real engine: each runs once, and its steps are not made again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ccos.durable import DurableEngine
from ccos.errors import StorageError

pytestmark = pytest.mark.anyio


class Work:
    """A workflow of two steps that counts them; the second can be made to wait."""

    def __init__(self, engine: DurableEngine) -> None:
        self.engine = engine
        self.steps: list[str] = []
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def workflow(self, name: str) -> dict[str, Any]:
        first = await self.engine.step("first", self.first, name)
        second = await self.engine.step("second", self.second, name)
        return {"first": first, "second": second}

    async def first(self, name: str) -> str:
        self.steps.append(f"first {name}")
        return name.upper()

    async def second(self, name: str) -> int:
        self.reached.set()
        await self.go_on.wait()
        self.steps.append(f"second {name}")
        if name == "bad":
            raise ValueError("it is bad")
        return len(name)


@contextlib.asynccontextmanager
async def engine(folder: Path, executor: str = "w-1") -> AsyncIterator[tuple[DurableEngine, Work]]:
    made = DurableEngine(sa.make_url(f"sqlite:///{folder / 'e.sqlite'}"), executor_id=executor)
    work = Work(made)
    made.register("work", work.workflow)
    await made.start()
    try:
        yield made, work
    finally:
        work.go_on.set()
        await made.aclose()


async def test_a_workflow_of_an_id_runs_once_even_over_a_restart(tmp_path: Path) -> None:
    async with engine(tmp_path) as (made, work):
        await made.start()
        result = await made.run("work", "one", "tea")
        assert result == {"first": "TEA", "second": 3}
        assert await made.run("work", "one", "tea") == result
        assert await made.run("work", "two", "milk") == {"first": "MILK", "second": 4}
        assert work.steps == ["first tea", "second tea", "first milk", "second milk"]
        with pytest.raises(StorageError, match="comes too late"):
            made.register("late", work.workflow)
    assert not made.running
    async with engine(tmp_path, "w-2") as (again, work):
        assert await again.run("work", "one", "tea") == result
        assert work.steps == []


async def test_a_workflow_that_fails_fails_for_whoever_asks(tmp_path: Path) -> None:
    async with engine(tmp_path) as (made, work):
        for _ in range(2):
            with pytest.raises(Exception, match="it is bad"):
                await made.run("work", "bad one", "bad")
        assert work.steps == ["first bad", "second bad"]


async def test_what_a_worker_left_unfinished_another_carries_on_from_its_last_step(
    tmp_path: Path,
) -> None:
    async with engine(tmp_path, "w-1") as (made, work):
        work.go_on.clear()
        running = asyncio.create_task(made.run("work", "one", "tea"))
        await work.reached.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        # Leaves the second step as a process leaves it that is gone.
        work.second = _never  # type: ignore[method-assign]
        await made.aclose()
        assert work.steps == ["first tea"]
    async with engine(tmp_path, "w-2") as (other, work):
        assert await other.run("work", "one", "tea") == {"first": "TEA", "second": 3}
        assert work.steps == ["second tea"]


async def _never(name: str) -> int:
    raise AssertionError(name)


async def test_one_engine_works_in_a_process_at_a_time(tmp_path: Path) -> None:
    async with engine(tmp_path):
        second = DurableEngine(sa.make_url(f"sqlite:///{tmp_path / 'f.sqlite'}"), executor_id="w-2")
        with pytest.raises(StorageError, match="works in this process already"):
            await second.start()
        await second.aclose()


async def test_a_database_that_cannot_be_opened_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "e.sqlite").write_bytes(b"this is no database, whatever its name is" * 100)
    with pytest.raises(StorageError, match=r"e\.sqlite: file is not a database"):
        async with engine(tmp_path):
            raise AssertionError("It must not start.")
    (tmp_path / "e.sqlite").unlink()
    async with engine(tmp_path) as (made, _):
        assert await made.run("work", "one", "tea") == {"first": "TEA", "second": 3}
