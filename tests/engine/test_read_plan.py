"""Reading a plan: what counts as a call of a capability, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccos.engine import read_plan
from ccos.engine.plans import MAXIMUM_BYTES
from ccos.errors import PlanError


def called(source: str) -> list[str | None]:
    return [call.capability_id for call in read_plan(source).calls]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("await weather.current(city='Paris')", ["weather.current"]),
        ("await call('weather.current', city='Paris')", ["weather.current"]),
        ("await call(':weather/current')", ["weather.current"]),
        ("await a.b.c.d()", ["a.b.c.d"]),
        ("await a.b(); await a.b()", ["a.b", "a.b"]),
        ("await a.b(x=await c.d())", ["a.b", "c.d"]),
        ("[await a.b(n=n) for n in range(3)]", ["a.b"]),
        ("async def f():\n    return await a.b()\nawait f()", ["a.b"]),
        ("import asyncio\nawait asyncio.gather(a.b(), c.d())", ["a.b", "c.d"]),
        ("f'{await a.b()}'", ["a.b"]),
        ("await call(name)", [None]),
        ("await call('a.' + 'b')", [None]),
        ("await call(f'a.{x}')", [None]),
        ("await call()", [None]),
        ("await call(*ids)", [None]),
    ],
)
def test_calls_of_capabilities(source: str, expected: list[str | None]) -> None:
    assert called(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "# await weather.current()",
        "'await weather.current()'",
        "'''\nawait weather.current()\n'''",
        "f()",
        "print('x')",
        "'a'.join(['b'])",
        "str.join('a', ['b'])",
        "dict.fromkeys([])",
        "weather.current",
        "items = []\nitems.append(1)",
        "for item in []:\n    item.run()",
        "import json\njson.loads('1')",
        "import os.path as paths\npaths.join('a')",
        "from json import loads as read\nread.x()",
        "def weather(): ...\nweather.current()",
        "async def weather(): ...\nweather.current()",
        "class weather: ...\nweather.current()",
        "def f(weather):\n    weather.current()",
        "def f(*weather):\n    weather.current()",
        "lambda weather: weather.current()",
        "(weather := 3).x\nweather.current()",
        "try: ...\nexcept E as weather:\n    weather.current()",
        "match x:\n    case {'a': weather}:\n        weather.current()",
        "match x:\n    case [*weather]:\n        weather.current()",
        "match x:\n    case {**weather}:\n        weather.current()",
        "with f as weather:\n    weather.current()",
        "[weather.current() for weather in []]",
        "weather[0].current()",
        "f().current()",
        "def call(x): ...\ncall('weather.current')",
        "call = print\ncall('weather.current')",
    ],
)
def test_what_is_no_call_of_a_capability(source: str) -> None:
    plan = read_plan(source)
    assert plan.calls == ()
    assert plan.namespaces == frozenset()


def test_places_namespaces_and_order() -> None:
    plan = read_plan("x = 1\nawait b.c(\n    x=await a.d()\n)\nawait call('e.f')", name="my.py")
    assert [(call.capability_id, call.line, call.column) for call in plan.calls] == [
        ("b.c", 2, 7),
        ("a.d", 3, 13),
        ("e.f", 5, 7),
    ]
    assert plan.namespaces == {"a", "b"}
    assert plan.name == "my.py"


def test_hash_is_of_the_text_alone() -> None:
    assert read_plan("1", name="a").hash == read_plan("1", name="b").hash
    assert read_plan("1").hash != read_plan("1 ").hash


@pytest.mark.parametrize(
    ("source", "line"),
    [("x = (", 1), ("x = 1\n  y = 2", 2), ("await", 1), ("def f(:\n    pass", 1), ("1 +", 1)],
)
def test_syntax_error_has_its_place(source: str, line: int) -> None:
    with pytest.raises(PlanError, match=f"plan, line {line}, column") as caught:
        read_plan(source)
    assert caught.value.details["line"] == line
    assert caught.value.details["column"] >= 1


def test_id_that_cannot_be_is_refused_with_its_line() -> None:
    with pytest.raises(PlanError, match="Line 2") as caught:
        read_plan("\nawait call('../etc')")
    assert caught.value.details == {"line": 2}


@pytest.mark.parametrize("source", ["\x00", "x = '\ud800'", "x = 1\x00"])
def test_text_that_is_no_source_is_refused(source: str) -> None:
    with pytest.raises(PlanError) as caught:
        read_plan(source)
    assert "None" not in caught.value.message


def test_size_is_bounded() -> None:
    read_plan("#" * MAXIMUM_BYTES)
    with pytest.raises(PlanError, match="at most"):
        read_plan("#" * (MAXIMUM_BYTES + 1))
    with pytest.raises(PlanError, match="at most"):
        read_plan("#" + "é" * (MAXIMUM_BYTES // 2))


DEEP = """
import sys
from ccos.engine import read_plan
from ccos.errors import PlanError
sources = {
    "brackets": "(" * 100_000 + ")" * 100_000,
    "signs": "-" * 200_000 + "1",
    "attributes": "a" + ".b" * 200_000 + "()",
    "sums": "+".join(["1"] * 200_000),
    "calls": "f" + "()" * 100_000,
    "blocks": "\\n".join(" " * n + "if 1:" for n in range(900)) + "\\n" + " " * 900 + "1",
    "nots": "not " * 200_000 + "1",
    "lambdas": "lambda: " * 100_000 + "1",
}
for name, source in sources.items():
    try:
        read_plan(source)
        print(name, "read")
    except PlanError as error:
        print(name, "refused")
"""


def test_deep_source_is_read_or_refused_and_never_ends_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DEEP], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert len(done.stdout.splitlines()) == 8


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        plan = read_plan(text)
    except PlanError:
        return
    assert plan.source == text
