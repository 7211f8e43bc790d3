"""Rune as a language of the engine: what compiling and inspecting tell, and what they refuse."""

from __future__ import annotations

import asyncio
import time

import psutil
import pytest

from ccos.engine.hosts import HostFunction
from ccos.engine.languages import Compiled
from ccos.engine.policy import SecurityLevel, SecurityPolicy, level_policy
from ccos.engine.rune import RuneLanguage, RuneWorkers
from ccos.errors import CompilationError, SecurityViolationError

from .sessions import DEVELOPMENT, MODULES

pytestmark = pytest.mark.anyio

SAFE = level_policy(SecurityLevel.SAFE)
PRODUCTION = level_policy(SecurityLevel.PRODUCTION)


@pytest.fixture
def rune(workers: RuneWorkers) -> RuneLanguage:
    return RuneLanguage(workers, MODULES)


def granted(policy: SecurityPolicy) -> dict[str, HostFunction]:
    return dict(MODULES.granted(policy))


async def compiled(rune: RuneLanguage, source: str, policy: SecurityPolicy = SAFE) -> Compiled:
    return await rune.compile(source, name="it.rn", functions=granted(policy), level=policy.name)


async def test_it_says_what_it_is(rune: RuneLanguage, workers: RuneWorkers) -> None:
    assert (rune.name, rune.suffixes) == ("rune", (".rn", ".rune"))
    assert rune.format.startswith("rune-")
    assert workers.worker_ids() == ()  # the one that was asked is gone


async def test_exports_and_modules_are_those_of_the_text(rune: RuneLanguage) -> None:
    source = (
        "use crucible::basic::math_abs;\npub fn one(a, b) { math_abs(a) }\n"
        'async fn two() { crucible::json_parse("1") }\npub mod inner { pub fn three() { } }\n'
    )
    made = await compiled(rune, source, PRODUCTION)
    assert dict(made.exports) == {"one": ("a", "b"), "two": (), "inner::three": ()}
    assert made.modules == {"crucible.basic", "crucible.json"}
    assert (made.source, made.name) == (source, "it.rn")
    assert (await compiled(rune, source, PRODUCTION)).unit == made.unit


async def test_compiling_runs_nothing(rune: RuneLanguage) -> None:
    begun = time.monotonic()
    await compiled(rune, "pub fn main() { loop {} }")
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("source", "module", "level"),
    [
        ("pub fn f() { crucible::file::file_read(1) }", "crucible.file.file_read", "development"),
        ("use crucible::http; pub fn f() { 1 }", "crucible.http", "production"),
        ("use crucible::http_get as g; pub fn f() { g(1) }", "crucible.http_get", "production"),
        ("pub fn f() { shell::exec(1) }", "shell.exec", "development"),
        ("pub fn f() { std::fs::read(1) }", "std.fs.read", None),
    ],
)
async def test_what_a_level_lacks_is_named_with_the_level_that_has_it(
    rune: RuneLanguage, source: str, module: str, level: str | None
) -> None:
    with pytest.raises(SecurityViolationError, match="does not exist at level safe") as caught:
        await compiled(rune, source)
    details = caught.value.details
    assert (details["violation"], details["line"]) == ("module", 1)
    assert (details["module"], details["available_at"]) == (module, level)
    assert (level or "no level has it") in caught.value.message
    if level is not None:
        await compiled(rune, source, level_policy(SecurityLevel(level)))


async def test_a_denied_function_does_not_exist_and_the_others_do(rune: RuneLanguage) -> None:
    denied = PRODUCTION.derive("reading", denied_functions=frozenset({"crucible.http.http_post"}))
    await compiled(rune, "pub fn f() { crucible::http::http_get(1) }", denied)
    for name in ("crucible::http::http_post", "crucible::http_post"):
        with pytest.raises(SecurityViolationError, match=f"{name} does not exist"):
            await compiled(rune, f"pub fn f() {{ {name}(1, 2) }}", denied)


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("pub fn f() { let = 1; }", (1, 18)),
        ("pub fn f() {\n    nothing()\n}", (2, 5)),
        ("pub fn f() { #{enum: 1} }", (1, 16)),
    ],
)
async def test_a_fault_has_its_place(
    rune: RuneLanguage, source: str, place: tuple[int, int]
) -> None:
    with pytest.raises(CompilationError) as caught:
        await compiled(rune, source)
    found = caught.value.details["diagnostics"][0]
    assert (found["line"], found["column"]) == place
    assert (found["file"], found["severity"]) == ("it.rn", "error")
    assert found["message"]


async def test_a_fault_whose_repair_is_known_says_it(rune: RuneLanguage) -> None:
    with pytest.raises(CompilationError) as caught:
        await compiled(rune, "pub fn f() { #{enum: 1} }")
    assert '"enum"' in caught.value.next_step
    await compiled(rune, 'pub fn f() { #{"enum": 1} }')


@pytest.mark.parametrize(
    "source", ["x = '\ud800'", "/" * (10 * 1024 * 1024 + 1)], ids=["surrogate", "large"]
)
async def test_what_is_no_text_or_too_much_is_refused(rune: RuneLanguage, source: str) -> None:
    with pytest.raises(CompilationError):
        await compiled(rune, source)
    await compiled(rune, "// " + "x" * 1_000_000)


async def test_a_compilation_that_nobody_waits_for_is_killed(workers: RuneWorkers) -> None:
    """Closures in closures take the compiler long."""
    source = "pub fn main() { let x = " + "|a| " * 4000 + "1; }"
    asking = asyncio.create_task(workers.compile(source, "it.rn"))
    while not workers.worker_ids():
        await asyncio.sleep(0.01)
    [worker] = [psutil.Process(one) for one in workers.worker_ids()]
    await asyncio.sleep(0.1)
    assert not asking.done()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not worker.is_running()
    assert workers.worker_ids() == ()


TOOL = """//! Tells the weather.
//! @entry run

/// Of one city.
#[tool(desc = "The weather", tags = ["web"])]
#[param(name = "days", type = "integer", required = false)]
pub async fn forecast(city, days) {
    crucible::http_get(city).await?
}

pub mod inner {
    pub fn NAME() { "inner" }
}

pub fn NAME() { "weather" }
pub fn INPUT_SCHEMA() { #{"type": "object"} }
pub fn DESCRIPTION() { crucible::time_now() }
pub const VERSION = "1.0";
"""


async def test_an_inspection_tells_everything_and_calls_no_host(rune: RuneLanguage) -> None:
    found = await rune.inspect(
        TOOL,
        name="it.rn",
        functions=granted(DEVELOPMENT),
        constants=["NAME", "INPUT_SCHEMA", "DESCRIPTION", "VERSION"],
    )
    assert found.compiled
    assert found.summary == "Tells the weather."
    [entry] = found.header
    assert (entry.key, entry.text) == ("entry", "run")
    forecast = found.functions[0]
    assert forecast.signature.path == "forecast"
    assert forecast.signature.parameters == ("city", "days")
    assert forecast.signature.asynchronous
    assert forecast.documentation is not None
    assert "Of one city" in forecast.documentation
    tool, param = forecast.attributes
    assert (tool.name, tool.arguments["tags"], tool.error) == ("tool", ["web"], None)
    assert (param.name, param.arguments["required"]) == ("param", False)
    assert [module.path for module in found.modules] == ["inner"]
    values = {path: one.value for path, one in found.constants.items() if one.error is None}
    assert values == {
        "NAME": "weather",
        "inner::NAME": "inner",
        "INPUT_SCHEMA": {"type": "object"},
        "VERSION": "1.0",
    }
    assert found.constants["DESCRIPTION"].error


async def test_an_inspection_of_what_does_not_compile_says_why(rune: RuneLanguage) -> None:
    found = await rune.inspect(
        "pub fn NAME() { nothing() }", name="it.rn", functions={}, constants=["NAME"]
    )
    assert not found.compiled
    assert found.findings[0].diagnostic.line == 1
    assert found.constants == {}
