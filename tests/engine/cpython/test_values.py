"""Values on their way into scripts and out of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccos.engine.cpython import CPythonWorkers
from ccos.errors import ResourceExceededError, ScriptRaisedError

from .running import Runner

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=30,
)


def alike(one: Any, other: Any) -> bool:
    """Equal, and of the same types at every depth."""
    if type(one) is not type(other):
        return False
    match one:
        case list():
            return len(one) == len(other) and all(map(alike, one, other))
        case dict():
            return list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
    return repr(one) == repr(other)


@settings(max_examples=25, deadline=None)
@given(values=st.lists(JSON, min_size=4, max_size=12))
def test_json_survives_the_way_in_to_the_host_and_out(values: list[Any]) -> None:
    async def main() -> Any:
        async with CPythonWorkers(processes=1, max_waiting=0) as workers:
            source = """
from crucible.basic import echo
def main(values):
    return [echo(value) for value in values]
"""
            return await Runner(workers).run(source, "main", {"values": values})

    assert alike(asyncio.run(main()), values)


@pytest.mark.anyio
async def test_arguments_are_variables_or_parameters(runner: Runner) -> None:
    assert await runner.run("[name, size]", None, {"name": "é", "size": 2}) == ["é", 2]
    source = "def f(a, *, b=5): return [a, b]\nasync def g(a): return a"
    assert await runner.run(source, "f", {"a": 1, "b": 2}) == [1, 2]
    assert await runner.run(source, "f", {"a": 1}) == [1, 5]
    assert await runner.run(source, "g", {"a": [None]}) == [None]
    with pytest.raises(ScriptRaisedError, match="unexpected keyword argument"):
        await runner.run(source, "f", {"a": 1, "c": 2})
    with pytest.raises(ScriptRaisedError, match="defines no function 'h'"):
        await runner.run(source, "h")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("", None),
        ("x = 5", None),
        ("x = 5\nx", 5),
        ("'only text'", "only text"),
        ("(1, (2, 3))", [1, [2, 3]]),
        ("import enum\nclass E(enum.IntEnum):\n  A = 3\nE.A", 3),
        ("[__name__, __file__]", ["__main__", "script.py"]),
        ("from __future__ import annotations\n1", 1),
        ("import asyncio\nawait asyncio.sleep(0)\n'waited'", "waited"),
        ("import pickle\nclass C: pass\ntype(pickle.loads(pickle.dumps(C()))) is C", True),
        ("import sys, threading\nsys.argv", ["script.py"]),
    ],
)
async def test_the_last_expression_is_the_value(runner: Runner, source: str, value: Any) -> None:
    assert alike(await runner.run(source), value)


@pytest.mark.anyio
async def test_a_text_whose_function_is_called_is_not_the_main_module(runner: Runner) -> None:
    source = "def f(): return __name__\nif __name__ == '__main__': raise SystemExit"
    assert await runner.run(source, "f") == "script"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{1}", "type set"),
        ("b'x'", "type bytes"),
        ("{1: 2}", "key 1"),
        ("float('nan')", "nan"),
        ("[1e400]", "inf"),
        ("'\\ud800'", "surrogate"),
        ("10 ** 5000", "digits"),
        ("x = []\nfor _ in range(100): x = [x]\nx", "100 levels"),
        ("x = []\nfor _ in range(100_000): x = [x]\nx", "100 levels"),
        ("x = []\nx.append(x)\nx", "100 levels"),
        ("'x' * 20_000_000", "bytes"),
    ],
)
async def test_what_is_not_json_data_is_an_error_of_the_script(
    runner: Runner, source: str, words: str
) -> None:
    with pytest.raises(ScriptRaisedError, match=f"not JSON data.*{words}"):
        await runner.run(source)


@pytest.mark.anyio
async def test_the_greatest_depth_and_size_pass(runner: Runner) -> None:
    depth = "x = []\nfor _ in range(98): x = [x]\nx"
    value = await runner.run(depth)
    for _ in range(98):
        (value,) = value
    assert value == []
    assert len(await runner.run("'x' * 10_000_000")) == 10_000_000


@pytest.mark.anyio
async def test_large_arguments_pass_and_larger_ones_are_refused(runner: Runner) -> None:
    assert await runner.run("len(text)", None, {"text": "x" * 10_000_000}) == 10_000_000
    with pytest.raises(ResourceExceededError) as refusal:
        await runner.run("len(text)", None, {"text": "x" * 25_000_000})
    assert refusal.value.details["limit"] == "arguments"
