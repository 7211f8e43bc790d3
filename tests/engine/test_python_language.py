"""Python as a language of the engine: what compiling tells, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from ccos.engine import PythonLanguage, PythonWorkers
from ccos.engine.hosts import HostFunction
from ccos.engine.languages import Compiled
from ccos.engine.modules import host_modules
from ccos.engine.policy import SecurityPolicy
from ccos.errors import CompilationError, SecurityViolationError

from .engines import FILES, PRODUCTION, SAFE

pytestmark = pytest.mark.anyio


@pytest.fixture
def python(workers: PythonWorkers) -> PythonLanguage:
    return PythonLanguage(workers)


def granted(policy: SecurityPolicy) -> dict[str, HostFunction]:
    return dict(host_modules().granted(policy))


async def compiled(
    python: PythonLanguage, source: str, policy: SecurityPolicy = SAFE, name: str = "it.py"
) -> Compiled:
    return await python.compile(source, name=name, functions=granted(policy), level=policy.name)


async def test_it_says_what_it_is(python: PythonLanguage) -> None:
    assert (python.name, python.suffixes) == ("python", (".py",))
    assert python.format.startswith("monty ")


async def test_exports_are_the_functions_of_the_text_with_their_parameters(
    python: PythonLanguage,
) -> None:
    source = (
        "def one(a, b=1, *, c):\n    def inner(x):\n        pass\n    return a\n"
        "async def two():\n    pass\nthree = 3"
    )
    made = await compiled(python, source)
    assert dict(made.exports) == {"one": ("a", "b", "c"), "two": ()}
    assert (made.source, made.name, made.modules) == (source, "it.py", frozenset())


async def test_compiling_runs_nothing(python: PythonLanguage) -> None:
    await compiled(python, "while True:\n    pass")
    await compiled(python, "1 / 0")


@pytest.mark.parametrize(
    "source",
    [
        "import crucible.file",
        "import crucible.file as f",
        "from crucible import file",
        "from crucible.file import file_read",
        "def later():\n    from crucible.file import file_read",
    ],
)
async def test_a_module_is_found_however_it_is_imported(
    python: PythonLanguage, source: str
) -> None:
    with pytest.raises(SecurityViolationError, match="does not exist at level safe") as caught:
        await compiled(python, source)
    assert caught.value.details["violation"] == "module"
    assert "crucible.file" in caught.value.details["module"]
    assert (await compiled(python, source, FILES)).source == source


@pytest.mark.parametrize(
    ("source", "policy"),
    [("from crucible.json import json_parse", PRODUCTION), ("import crucible.http", PRODUCTION)],
)
async def test_modules_of_a_level_are_there_and_named(
    python: PythonLanguage, source: str, policy: SecurityPolicy
) -> None:
    assert len((await compiled(python, source, policy)).modules) == 1
    with pytest.raises(SecurityViolationError):
        await compiled(python, source)


async def test_a_denied_function_does_not_exist_and_the_others_do(python: PythonLanguage) -> None:
    denied = PRODUCTION.derive("reading", denied_functions=frozenset({"crucible.http.http_post"}))
    await compiled(python, "from crucible.http import http_get", denied)
    with pytest.raises(SecurityViolationError, match=r"crucible\.http\.http_post does not exist"):
        await compiled(python, "from crucible.http import http_post", denied)


@pytest.mark.parametrize("module", ["socket", "subprocess", "ctypes", "builtins", "importlib"])
async def test_what_the_interpreter_does_not_have_is_refused_at_every_level(
    python: PythonLanguage, module: str
) -> None:
    for policy in (SAFE, PRODUCTION, FILES):
        with pytest.raises(SecurityViolationError, match=module):
            await compiled(python, f"import {module}", policy)


@pytest.mark.parametrize("module", ["math", "json", "re", "datetime", "itertools", "asyncio"])
async def test_what_the_interpreter_has_needs_no_permission(
    python: PythonLanguage, module: str
) -> None:
    assert (await compiled(python, f"import {module}")).modules == frozenset()


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("x = = 1", (1, 5)),
        ("x = 1\n  y = 2", (2, 2)),
        ("def f(x:\n    pass", (1, 6)),
        ("x = 1\nclass A(int):\n    pass", (2, 1)),
    ],
)
async def test_a_fault_has_its_place(
    python: PythonLanguage, source: str, place: tuple[int, int]
) -> None:
    with pytest.raises(CompilationError) as caught:
        await compiled(python, source, name="bad.py")
    (found,) = caught.value.details["diagnostics"]
    assert (found["line"], found["column"]) == place
    assert (found["file"], found["severity"]) == ("bad.py", "error")
    assert found["message"]


@pytest.mark.parametrize(
    "source",
    ["(" * 5000 + ")" * 5000, "x" + ".y" * 100_000, "-" * 50_000 + "1", "\x00", "x = '\ud800'"],
    ids=["parentheses", "attributes", "signs", "nul", "surrogate"],
)
async def test_a_text_made_to_break_the_compiler_is_only_refused(
    python: PythonLanguage, source: str
) -> None:
    with pytest.raises(CompilationError):
        await compiled(python, source)
    assert (await compiled(python, "1 + 1")).source == "1 + 1"


async def test_a_unit_of_one_compilation_is_that_of_the_next(python: PythonLanguage) -> None:
    source = "async def b():\n    pass\nasync def a():\n    pass"
    units: set[Any] = {(await compiled(python, source)).unit for _ in range(3)}
    assert len(units) == 1
