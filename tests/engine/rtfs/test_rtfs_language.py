"""RTFS as a language of the engine: what compiling tells, and what it refuses."""

from __future__ import annotations

import json

import pytest

from ccos.engine import PythonWorkers
from ccos.engine.hosts import HostFunction
from ccos.engine.languages import Compiled
from ccos.engine.modules import host_modules
from ccos.engine.policy import SecurityLevel, SecurityPolicy, level_policy
from ccos.engine.rtfs import RtfsLanguage
from ccos.errors import CompilationError, SecurityViolationError

pytestmark = pytest.mark.anyio

SAFE = level_policy(SecurityLevel.SAFE)
PRODUCTION = level_policy(SecurityLevel.PRODUCTION)


@pytest.fixture
def rtfs(workers: PythonWorkers) -> RtfsLanguage:
    return RtfsLanguage(workers)


def granted(policy: SecurityPolicy) -> dict[str, HostFunction]:
    return dict(host_modules().granted(policy))


async def compiled(
    rtfs: RtfsLanguage, source: str, policy: SecurityPolicy = SAFE, name: str = "it.rtfs"
) -> Compiled:
    return await rtfs.compile(source, name=name, functions=granted(policy), level=policy.name)


async def test_it_says_what_it_is(rtfs: RtfsLanguage) -> None:
    assert (rtfs.name, rtfs.suffixes) == ("rtfs", (".rtfs",))
    assert rtfs.format.startswith("monty ")
    assert rtfs.format == rtfs.format


async def test_exports_are_functions_of_one_arity(rtfs: RtfsLanguage) -> None:
    source = """
      (defn one [a-b & more] a-b)
      (defn two [[x y] n] n)
      (defn several ([a] a) ([a b] b))
      (def three 3)"""
    made = await compiled(rtfs, source)
    assert dict(made.exports) == {"one": ("a-b", "more"), "two": ("arg1", "n")}
    assert (made.source, made.name, made.modules) == (source, "it.rtfs", frozenset())


async def test_compiling_runs_nothing_and_is_the_same_every_time(rtfs: RtfsLanguage) -> None:
    await compiled(rtfs, "(loop [] (recur))")
    await compiled(rtfs, "(/ 1 0)")
    units = {(await compiled(rtfs, "(defn f [x] (* x 2)) (f 2)")).unit for _ in range(3)}
    assert len(units) == 1
    assert json.loads(units.pop())["functions"]


async def test_macros_are_run_in_a_worker(rtfs: RtfsLanguage) -> None:
    source = "(defmacro twice [x] `(do ~x ~x)) (twice 3)"
    assert (await compiled(rtfs, source)).source == source
    with pytest.raises(CompilationError, match="macro"):
        await compiled(rtfs, "(defmacro bad [] (/ 1 0)) (bad)")


@pytest.mark.parametrize(
    "source",
    [
        '(call :crucible.http/http-get "https://a.test")',
        '(call "crucible.http.http_get" "https://a.test")',
        '(call :crucible/http_get "https://a.test")',
        '(defn later [] (call :crucible.http/http_get "https://a.test"))',
    ],
)
async def test_a_host_function_of_another_level_is_refused_and_found_where_it_exists(
    rtfs: RtfsLanguage, source: str
) -> None:
    with pytest.raises(SecurityViolationError, match="does not exist at level safe") as caught:
        await compiled(rtfs, source)
    assert caught.value.details["violation"] == "module"
    assert (await compiled(rtfs, source, PRODUCTION)).modules == {"crucible.http"}


async def test_every_fault_has_its_place(rtfs: RtfsLanguage) -> None:
    source = '(let [x] x)\n(if)\n(def y "ok")\n(recur 1)'
    with pytest.raises(CompilationError) as caught:
        await compiled(rtfs, source, name="bad.rtfs")
    found = caught.value.details["diagnostics"]
    assert [one["line"] for one in found if one["severity"] == "error"] == [1, 2, 4]
    assert {one["file"] for one in found} == {"bad.rtfs"}
    assert all(one["message"] for one in found)


async def test_what_is_doubtful_is_a_warning(rtfs: RtfsLanguage) -> None:
    made = await compiled(rtfs, "(inc 1 2)\n(unknown 3)")
    assert [(one.code, one.line, one.severity.value) for one in made.warnings] == [
        ("ArityMismatch", 1, "warning"),
        ("UndefinedSymbol", 2, "warning"),
    ]


@pytest.mark.parametrize(
    "source",
    ["(" * 5000 + ")" * 5000, "[" * 100_000, "\x00", '"\ud800"', "(def x", "#|"],
    ids=["lists", "open vectors", "nul", "surrogate", "unclosed", "comment"],
)
async def test_a_text_made_to_break_the_compiler_is_only_refused(
    rtfs: RtfsLanguage, source: str
) -> None:
    with pytest.raises(CompilationError):
        await compiled(rtfs, source)
    assert (await compiled(rtfs, "(+ 1 1)")).source == "(+ 1 1)"
