"""Generated programs give what the direct evaluator gives."""

from __future__ import annotations

from typing import Any

import pydantic_monty as monty
from hypothesis import HealthCheck, example, given, settings

from ccos.rtfs.cases import outcome_of
from ccos.rtfs.execution import Failure
from ccos.rtfs.reader import read

from .evaluator import RaisedError, equal, evaluate
from .generated_programs import programs


def evaluation(program: str) -> tuple[Any, str | None]:
    """The value of a program, or the kind of error it ends with."""
    try:
        return evaluate(read(program).forms[0], {}), None
    except RaisedError as error:
        return None, error.kind


def agree(got: Any, evaluated: Any) -> bool:
    """Whether two values are the same; functions and errors only have to be such."""
    if callable(evaluated):
        return isinstance(got, dict) and "function" in got
    if isinstance(evaluated, RaisedError):
        return isinstance(got, dict) and "error" in got
    if isinstance(evaluated, dict) and isinstance(got, dict) and evaluated.keys() == got.keys():
        [(tag, inner)] = evaluated.items()
        if tag in ("vec", "list"):
            return len(inner) == len(got[tag]) and all(map(agree, got[tag], inner))
        if tag == "map":
            pairs = zip(got[tag], inner, strict=False)
            return len(inner) == len(got[tag]) and all(
                agree(k, x) and agree(v, y) for (k, v), (x, y) in pairs
            )
    return equal(got, evaluated)


@given(programs)
@example("(let [a 1] (reduce (fn [a b] (let [a b] a)) a [2]))")
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_program_gives_what_the_evaluator_gives(pool: monty.Monty, program: str) -> None:
    evaluated, kind = evaluation(program)
    got = outcome_of(program, pool)
    if kind is not None:
        assert isinstance(got, Failure), (program, got, kind)
        assert got.kind == kind, (program, got)
    else:
        assert not isinstance(got, Failure), (program, got)
        assert agree(got, evaluated), (program, got, evaluated)
