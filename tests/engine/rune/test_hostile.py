"""Hostile scripts in Rune: each is refused as its entry says, and its harmless twin works."""

from __future__ import annotations

import contextlib
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.arenas import SECRET, Arena, arena_of, check_refusal_and_twin

CASES: list[dict[str, Any]] = [
    case
    for path in sorted((Path(__file__).parent / "hostile").glob("*.toml"))
    for case in tomllib.loads(path.read_text())["case"]
]


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


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_refused_and_twin_works(arena: Arena, case: dict[str, Any]) -> None:
    check_refusal_and_twin(arena, case)


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
