"""Hostile scripts in Rune: each is refused as its entry says, and its harmless twin works."""

from __future__ import annotations

import contextlib
import os
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ccos.errors import ScriptError
from ccos.events import EventType
from engine.arenas import SECRET, Arena, arena_of

CASES: list[dict[str, Any]] = [
    case
    for path in sorted((Path(__file__).parent / "hostile").glob("*.toml"))
    for case in tomllib.loads(path.read_text())["case"]
]
VIOLATIONS = {"CCOS-SCRIPT-SECURITY", "CCOS-SCRIPT-RESOURCE", "CCOS-BUDGET-EXHAUSTED"}


@pytest.fixture(scope="module", params=["jail", "interpreter"])
def arena(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, program: Path
) -> Iterator[Arena]:
    os.environ["CCOS_HOSTILE_SECRET"] = SECRET
    try:
        with arena_of(tmp_path_factory.mktemp("arena"), request.param, "it.rn") as made:
            yield made
    finally:
        del os.environ["CCOS_HOSTILE_SECRET"]


def refusal(arena: Arena, case: dict[str, Any]) -> tuple[ScriptError, str, EventType]:
    """The error, all that came out with it, and the event that tells of the end."""
    try:
        result = arena.run(case, case["timeout"])
    except ScriptError as error:
        return error, "", EventType.SCRIPT_COMPILED
    assert result.error is not None, f"it ran to its end: {result.value!r:.200}"
    said = f"{result.value}{result.stdout}{result.stderr}"
    return result.error, said, EventType.SCRIPT_EXECUTED


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_refused_and_twin_works(arena: Arena, case: dict[str, Any]) -> None:
    since, visits = time.time(), arena.server.visits
    error, said, ending = refusal(arena, case)
    assert error.code == case["refused"], error.message
    assert case["says"] in error.message
    assert "limit" not in case or error.details["limit"] == case["limit"]
    assert SECRET not in f"{said}{error.as_dict()}"
    # Whatever it said, nothing happened: no file, no process that makes one, no connection.
    assert not os.path.lexists(arena.folder / "CANARY")
    if case["level"] == "safe":
        assert arena.server.visits == visits

    wanted = {ending}
    if error.code in VIOLATIONS:
        wanted.add(EventType.SECURITY_VIOLATION)
    if error.code == "CCOS-BUDGET-EXHAUSTED":
        wanted.add(EventType.BUDGET_EXHAUSTED)
    told = arena.events(since, wanted)
    endings = [one for one in told if one.type is ending and not one.data["success"]]
    assert len(endings) == 1
    entries = arena.portal.call(arena.ccos.audit.tail, 300)
    of_it = [one for one in entries if one.data.get("script_id") == endings[0].data["script_id"]]
    assert wanted <= {EventType(one.event_type) for one in of_it}
    assert SECRET not in str([one.data for one in of_it])

    (arena.folder / "TWIN").unlink(missing_ok=True)
    twin = arena.run(case["twin"] | {"budget": case.get("budget", {})}, 5.0)
    assert twin.error is None, twin.error
    assert twin.value == case["twin"]["value"]
    assert SECRET not in f"{twin.value}{twin.stdout}{twin.stderr}"
    health = arena.portal.call(arena.ccos.script_engine.health_check)
    assert health.details["active_executions"] == 0


SLOW = """\
pub fn main() {
    let text = "x";
    for _ in 0..20 {
        text = `${text}${text}`;
    }
    loop {
        let copy = `${text}y`;
    }
}
"""


def test_nothing_is_left_of_those_who_were_killed(arena: Arena) -> None:
    """Workers that are idle are kept; one that is killed is reaped before its result is told."""
    for _ in range(3):
        assert arena.run({"source": "pub fn main() { 1 }", "level": "safe"}, 10).value == 1
        idle = workers()
        result = arena.run({"source": SLOW, "level": "safe"}, 0.2)
        assert "computed for more than" in str(result.error)
        left = workers()
        assert psutil.STATUS_ZOMBIE not in left.values()
        assert len(idle.keys() - left.keys()) == 1


def workers() -> dict[int, str]:
    """The status of every Rune worker that is a child of this process, by its number."""
    found: dict[int, str] = {}
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess), child.oneshot():
            if "rune" in child.name():
                found[child.pid] = child.status()
    return found


def test_corpus_is_large_and_has_no_id_twice() -> None:
    names = [case["id"] for case in CASES]
    assert len(names) >= 150
    assert len(names) == len(set(names))
