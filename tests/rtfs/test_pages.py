"""Every example in the pages about RTFS gives what the page says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pydantic_monty as monty
import pytest

from ccos.rtfs.cases import outcome_of, same
from ccos.rtfs.execution import Failure

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("how-to/write-rtfs.md", "rtfs-differences.md")
BLOCK = re.compile(r"```clojure\n(.*?)```", re.DOTALL)


def examples() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for block in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
            for paragraph in block.strip().split("\n\n"):
                program, _, claim = paragraph.rpartition("\n")
                yield program, claim


@pytest.mark.parametrize(("program", "claim"), list(examples()))
def test_an_example_gives_what_the_page_says(program: str, claim: str, pool: monty.Monty) -> None:
    outcome = outcome_of(program, pool)
    how, _, wanted = claim.partition(" ")
    if how == ";!>":
        assert isinstance(outcome, Failure)
        assert outcome.kind == wanted
    else:
        assert how == ";=>"
        assert not isinstance(outcome, Failure), outcome
        assert same(outcome, outcome_of(wanted, pool)), outcome


def test_every_page_has_examples() -> None:
    assert len(list(examples())) > 30
