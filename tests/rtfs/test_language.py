"""Small programs and what they are worth, one a line in ``language.txt``."""

from __future__ import annotations

from pathlib import Path

import pydantic_monty as monty
import pytest

from ccos.rtfs.cases import outcome_of, same
from ccos.rtfs.execution import Failure
from ccos.rtfs.library import FUNCTIONS

PROGRAMS = [
    line
    for line in Path(__file__).with_name("language.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("; ")
]
EXAMPLES = [example for function in FUNCTIONS for example in function.examples]


def check(line: str, gives: str, fails: str, pool: monty.Monty) -> None:
    if fails in line:
        program, kind = line.rsplit(fails, 1)
        outcome = outcome_of(program, pool)
        assert isinstance(outcome, Failure), outcome
        assert outcome.kind == kind, outcome
    else:
        program, value = line.rsplit(gives, 1)
        outcome, wanted = outcome_of(program, pool), outcome_of(value, pool)
        assert not isinstance(outcome, Failure), outcome
        assert not isinstance(wanted, Failure), wanted
        assert same(outcome, wanted), outcome


@pytest.mark.parametrize("line", PROGRAMS)
def test_program(line: str, pool: monty.Monty) -> None:
    check(line, " => ", " ! ", pool)


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_of_the_library(example: str, pool: monty.Monty) -> None:
    check(example, " → ", " ✗ ", pool)


def test_every_function_but_one_has_an_example() -> None:
    assert [one.names for one in FUNCTIONS if not one.examples] == [("context/set",)]
