"""Every JSON value reaches a script and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccos.engine.languages import Entry, Finished, Value, Waiting
from ccos.engine.rune import RuneWorkers

from .sessions import session

INTEGERS = st.integers(min_value=-(2**63), max_value=2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=20,
)
ECHO = 'pub async fn main(x) { [x, ccos::call("a.b", #{x}).await?] }'


class Loop:
    """A loop and a pool that stay for all examples."""

    def __init__(self, program: Path) -> None:
        self.runner = asyncio.Runner()
        self.workers = RuneWorkers(
            processes=1, max_waiting=1, isolation=None, find_program=lambda: program
        )

    def echo(self, value: Any) -> Any:
        async def run() -> Any:
            async with session(self.workers, ECHO) as (opened, _):
                stop = await opened.start(Entry("main", {"x": value}))
                assert isinstance(stop, Waiting)
                [call] = stop.calls
                assert same(call.arguments, {"x": value})
                stop = await opened.deliver({0: Value(value)})
                assert isinstance(stop, Finished)
                return stop.value

        return self.runner.run(run())


@pytest.fixture(scope="module")
def loop(program: Path) -> Iterator[Loop]:
    made = Loop(program)
    yield made
    made.runner.run(made.workers.__aexit__())
    made.runner.close()


def same(one: Any, other: Any) -> bool:
    """Equal in kind as well: 1, 1.0 and True are three values, and so are 0.0 and -0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)


@given(value=JSON)
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_goes_in_comes_back(loop: Loop, value: Any) -> None:
    assert same(loop.echo(value), [value, value])


@pytest.mark.parametrize(
    "value",
    [0.0, -0.0, 1.0, 5e-324, 1.7976931348623157e308, 0.1, 2**63 - 1, -(2**63), "\x00\u2028🙂", {}],
    ids=repr,
)
def test_values_at_the_edge(loop: Loop, value: Any) -> None:
    assert same(loop.echo(value), [value, value])


def test_sameness_tells_kinds_apart() -> None:
    assert not same([1], [1.0])
    assert not same({"a": True}, {"a": 1})
    assert not same(0.0, -0.0)
