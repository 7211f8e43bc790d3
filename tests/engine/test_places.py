"""Places: bounded, fair among callers, and never lost."""

from __future__ import annotations

import asyncio
import random

import pytest

from ccos.engine.places import Places, Visit
from ccos.errors import EngineBusyError

pytestmark = pytest.mark.anyio


async def _soon() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_never_more_inside_than_there_are_places() -> None:
    places = Places(3, waiting=100, purpose="a place")
    inside = most = 0

    async def visit(caller: str) -> None:
        nonlocal inside, most
        async with Visit((places,), caller):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(visit(f"c{number % 4}") for number in range(50)))
    assert (most, inside, places.waiting) == (3, 0, 0)


async def test_callers_take_turns_however_many_one_of_them_sends() -> None:
    places = Places(1, waiting=100, purpose="a place")
    order: list[str] = []

    async def visit(caller: str) -> None:
        async with Visit((places,), caller):
            order.append(caller)

    await places.enter("first")
    many = [asyncio.create_task(visit("many")) for _ in range(5)]
    await _soon()
    few = [asyncio.create_task(visit("few")) for _ in range(2)]
    await _soon()
    places.leave()
    await asyncio.gather(*many, *few)
    assert order == ["many", "few", "many", "few", "many", "many", "many"]


async def test_one_caller_is_served_in_the_order_of_arrival() -> None:
    places = Places(1, waiting=100, purpose="a place")
    order: list[int] = []

    async def visit(number: int) -> None:
        async with Visit((places,), "same"):
            order.append(number)

    await places.enter("same")
    tasks = [asyncio.create_task(visit(number)) for number in range(10)]
    await _soon()
    places.leave()
    await asyncio.gather(*tasks)
    assert order == list(range(10))


async def test_a_full_queue_refuses_and_a_queue_with_room_takes() -> None:
    places = Places(1, waiting=1, purpose="a worker")
    await places.enter("a")
    waiting = asyncio.create_task(places.enter("b"))
    await _soon()
    assert places.waiting == 1
    with pytest.raises(EngineBusyError, match="1 executions wait for a worker") as caught:
        await places.enter("c")
    assert caught.value.code == "CCOS-ENGINE-BUSY"
    assert caught.value.details == {"waiting": 1, "purpose": "a worker"}
    places.leave()
    await waiting
    again = asyncio.create_task(places.enter("c"))
    await _soon()
    places.leave()
    await again


async def test_a_place_given_to_somebody_cancelled_at_that_moment_goes_on() -> None:
    places = Places(1, waiting=10, purpose="a place")
    await places.enter("a")
    second = asyncio.create_task(places.enter("b"))
    third = asyncio.create_task(places.enter("c"))
    await _soon()
    places.leave()
    second.cancel()
    async with asyncio.timeout(1):
        await third
    assert second.cancelled()
    assert places.waiting == 0


@pytest.mark.parametrize("seed", range(30))
async def test_no_schedule_of_cancellations_loses_a_place(seed: int) -> None:
    chance = random.Random(seed)
    count = chance.randint(1, 4)
    places = Places(count, waiting=1000, purpose="a place")
    inside = most = 0

    async def visit(caller: str) -> None:
        nonlocal inside, most
        async with Visit((places,), caller):
            inside += 1
            most = max(most, inside)
            try:
                for _ in range(chance.randint(0, 3)):
                    await asyncio.sleep(0)
            finally:
                inside -= 1

    tasks: list[asyncio.Task[None]] = []
    for _ in range(100):
        tasks.append(asyncio.create_task(visit(chance.choice("abc"))))
        if chance.random() < 0.5:
            chance.choice(tasks).cancel()
        if chance.random() < 0.5:
            await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert most <= count
    assert (inside, places.waiting) == (0, 0)
    async with asyncio.timeout(1):
        for _ in range(count):
            await places.enter("after")
    further = asyncio.create_task(places.enter("after"))
    await _soon()
    assert not further.done()
    further.cancel()
