"""Hostile scripts in RTFS: each is refused as its entry says, and its harmless twin works."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.arenas import SECRET, Arena, arena_of, check_refusal_and_twin

CASES: list[dict[str, Any]] = [
    case
    for path in sorted((Path(__file__).parent / "hostile").glob("*.toml"))
    for case in tomllib.loads(path.read_text())["case"]
]


@pytest.fixture(scope="module", params=["jail", "interpreter"])
def arena(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Arena]:
    os.environ["CCOS_HOSTILE_SECRET"] = SECRET
    try:
        with arena_of(tmp_path_factory.mktemp("arena"), request.param, "it.rtfs") as made:
            yield made
    finally:
        del os.environ["CCOS_HOSTILE_SECRET"]


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_refused_and_twin_works(arena: Arena, case: dict[str, Any]) -> None:
    check_refusal_and_twin(arena, case)


def test_corpus_is_large_and_has_no_id_twice() -> None:
    names = [case["id"] for case in CASES]
    assert len(names) >= 150
    assert len(names) == len(set(names))
