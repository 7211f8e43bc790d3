"""Turns: calls that block, made in threads."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from functools import partial
from operator import mul

import pytest

from ccos.engine.turns import Turns

pytestmark = pytest.mark.anyio


@contextlib.contextmanager
def turns(threads: int, **options: float) -> Iterator[Turns]:
    opened = Turns(threads, name="test-turns", **options)
    try:
        yield opened
    finally:
        opened.stop()


def threads_alive() -> int:
    return sum(one.name.startswith("test-turns") for one in threading.enumerate())


async def test_turn_gives_the_value_of_its_call_which_another_thread_made() -> None:
    with turns(2) as two:
        assert await two.begin(threading.get_ident).future != threading.get_ident()


async def test_what_a_call_raises_is_raised_where_it_is_awaited() -> None:
    def fail() -> None:
        raise ValueError("no")

    with turns(1) as one:
        with pytest.raises(ValueError, match="no"):
            await one.begin(fail).future
        assert await one.begin(lambda: "goes on").future == "goes on"


async def test_turns_one_after_the_other_need_two_threads_at_most() -> None:
    # No turn is long by this patience, not even where the machine lets its thread wait.
    with turns(8, patience_seconds=60) as many:
        idents = {await many.begin(threading.get_ident).future for _ in range(300)}
        assert 1 <= len(idents) <= threads_alive() <= 2


async def test_turn_that_takes_longer_than_the_patience_is_left_to_its_thread() -> None:
    release = threading.Event()
    with turns(8, patience_seconds=0) as many:
        long = [many.begin(release.wait) for _ in range(5)]
        assert await many.begin(lambda: "short").future == "short"
        assert threads_alive() >= 6
        release.set()
        assert all([await one.future for one in long])


async def test_long_turns_run_side_by_side_up_to_the_number_of_threads() -> None:
    together = threading.Barrier(3)
    with turns(3) as three:
        begun = [three.begin(lambda: together.wait(10)).future for _ in range(3)]
        assert sorted(await asyncio.gather(*begun)) == [0, 1, 2]


async def test_short_turns_overtake_long_ones() -> None:
    release = threading.Event()
    with turns(4) as four:
        long = [four.begin(lambda: release.wait(10)) for _ in range(3)]
        short = [four.begin(lambda: "short").future for _ in range(20)]
        assert await asyncio.wait_for(asyncio.gather(*short), 5) == ["short"] * 20
        assert not any(one.over for one in long)
        release.set()
        assert all([await one.future for one in long])


async def test_turns_beyond_the_threads_wait_and_are_all_made() -> None:
    release = threading.Event()
    with turns(2) as two:
        long = [two.begin(lambda: release.wait(10)) for _ in range(2)]
        waiting = [two.begin(partial(int, number)).future for number in range(50)]
        await asyncio.sleep(0.05)
        assert not any(one.done() for one in waiting)
        release.set()
        assert await asyncio.gather(*waiting) == list(range(50))
        assert all([await one.future for one in long])


async def test_thread_that_was_replaced_serves_again_later() -> None:
    with turns(3) as three:
        for _ in range(20):
            slow = [three.begin(lambda: time.sleep(0.003)).future for _ in range(6)]
            assert await asyncio.gather(*slow) == [None] * 6
        assert threads_alive() == 3


async def test_end_is_waited_for_although_the_turn_is_awaited_no_more() -> None:
    release = threading.Event()
    with turns(1) as one:
        turn = one.begin(lambda: release.wait(10))
        waiting = asyncio.ensure_future(turn.future)
        waiting.cancel()
        asyncio.get_running_loop().call_later(0.02, release.set)
        await turn.end()
        assert turn.over
        await turn.end()


async def test_stop_waits_for_what_was_begun_and_leaves_no_thread() -> None:
    done: list[int] = []

    def take(number: int) -> None:
        time.sleep(0.002)
        done.append(number)

    opened = Turns(3, name="test-turns")
    futures = [opened.begin(partial(take, number)).future for number in range(20)]
    await asyncio.to_thread(opened.stop)
    await asyncio.gather(*futures)
    assert sorted(done) == list(range(20))
    assert threads_alive() == 0


def test_several_event_loops_use_the_same_threads() -> None:
    with turns(2) as two:

        def of_a_loop(number: int) -> None:
            async def main() -> list[int]:
                begun = [two.begin(partial(mul, number, one)) for one in range(100)]
                return [await one.future for one in begun]

            results[number] = asyncio.run(main())

        results: dict[int, list[int]] = {}
        loops = [threading.Thread(target=of_a_loop, args=(number,)) for number in range(3)]
        for one in loops:
            one.start()
        for one in loops:
            one.join(20)
    assert results == {number: [number * one for one in range(100)] for number in range(3)}
