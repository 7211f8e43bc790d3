"""What is read from a text, and where scripts may run."""

from __future__ import annotations

import pytest

from ccos.engine.policy import SecurityLevel, level_policy
from ccos.errors import CompilationError, IsolationError, SecurityViolationError

from .running import DEVELOPMENT, FUNCTIONS, Runner

pytestmark = pytest.mark.anyio


async def compiled(runner: Runner, source: str) -> object:
    return await runner.language.compile(
        source, name="script.py", functions=FUNCTIONS, level="development"
    )


@pytest.mark.parametrize("level", [SecurityLevel.SAFE, SecurityLevel.PRODUCTION])
async def test_only_development_runs_it(runner: Runner, level: SecurityLevel) -> None:
    read = await runner.language.compile(
        "1", name="script.py", functions=FUNCTIONS, level="development"
    )
    for name in (level.value, "derived"):
        policy = level_policy(level)
        policy = policy if name == level.value else policy.derive(name)
        with pytest.raises(IsolationError, match=level.value):
            runner.language.check_isolation(policy)
    runner.language.check_isolation(DEVELOPMENT)
    runner.language.check_isolation(DEVELOPMENT.derive("narrower", max_memory_bytes=10_000))
    request = runner.request()
    refused = type(request)(
        functions={},
        policy=level_policy(level),
        memory_bytes=None,
        cpu_seconds=None,
        host=request.host,
        seed="",
    )
    with pytest.raises(IsolationError):
        async with runner.language.session(read, refused):
            pytest.fail("It opened a session.")


async def test_reading_tells_functions_and_modules_and_runs_nothing(runner: Runner) -> None:
    source = """
import crucible
import crucible.basic as basic
from crucible import http
raise AssertionError("it was run")
def first(a, b=1, *, c): pass
async def second(): pass
class Not:
    def inner(self): pass
"""
    read = await runner.language.compile(
        source, name="script.py", functions=FUNCTIONS, level="development"
    )
    assert read.exports == {"first": ("a", "b", "c"), "second": ()}
    assert read.modules == {"crucible.basic", "crucible.http"}
    assert read.source == source


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("import crucible.http", "crucible.http"),
        ("import crucible.http as other", "crucible.http"),
        ("from crucible.http import http_get", "crucible.http"),
        ("from crucible.http import *", "crucible.http"),
        ("from crucible import http_get", "crucible.http"),
        ("import crucible\ncrucible.basic.log_info('x')", "crucible.basic"),
    ],
)
async def test_every_way_to_use_a_module_is_seen(runner: Runner, source: str, module: str) -> None:
    read = await runner.language.compile(
        source, name="script.py", functions=FUNCTIONS, level="development"
    )
    assert read.modules == {module}


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("import crucible.file", "crucible.file"),
        ("\nimport crucible.file as harmless", "crucible.file"),
        ("from crucible.file import file_read", "crucible.file"),
        ("from crucible import file", "crucible.file"),
        ("from crucible.http import http_post", "crucible.http.http_post"),
        ("def later():\n    import crucible.process", "crucible.process"),
    ],
)
async def test_what_is_not_granted_is_refused_by_name(
    runner: Runner, source: str, missing: str
) -> None:
    with pytest.raises(SecurityViolationError, match=f"{missing} does not exist") as refusal:
        await compiled(runner, source)
    assert refusal.value.details["module"] == missing
    assert refusal.value.details["level"] == "development"
    assert refusal.value.details["line"] == source.count("\n") + 1


async def test_a_module_that_is_not_granted_is_not_there_at_run_time(runner: Runner) -> None:
    source = """
import importlib
found = []
for name in ("crucible.file", "crucible.http"):
    try:
        importlib.import_module(name)
        found.append(name)
    except ModuleNotFoundError:
        pass
found
"""
    assert await runner.run(source) == ["crucible.http"]


@pytest.mark.parametrize(
    ("source", "line", "column"),
    [
        ("x = = 1", 1, 5),
        ("ok = 1\nif ok:\n  x = (\n", 3, 7),
        ("'\ud800'", 0, 0),
        ("x\0y", 0, 0),
    ],
)
async def test_what_is_not_python_is_refused_with_its_place(
    runner: Runner, source: str, line: int, column: int
) -> None:
    with pytest.raises(CompilationError) as refusal:
        await compiled(runner, source)
    (diagnostic,) = refusal.value.details["diagnostics"]
    assert (diagnostic["line"], diagnostic["column"]) == (line, column)
    assert diagnostic["file"] == "script.py"
    assert diagnostic["message"]


@pytest.mark.parametrize("source", ["(" * 5000, "-" * 300_000 + "1", "x" + ".x" * 100_000])
async def test_depth_is_refused_and_nothing_dies(runner: Runner, source: str) -> None:
    with pytest.raises(CompilationError):
        await compiled(runner, source)
    assert await runner.run("1") == 1


async def test_what_only_the_compiler_finds_is_refused_before_the_first_line(
    runner: Runner,
) -> None:
    with pytest.raises(CompilationError) as refusal:
        await runner.run("print('ran')\n\n  \nreturn 3")
    assert refusal.value.details["line"] == 4
    assert refusal.value.details["diagnostics"][0]["message"] == "'return' outside function"
    assert runner.host.output() == ""
