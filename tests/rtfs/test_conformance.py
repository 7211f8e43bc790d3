"""The conformance cases, where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pydantic_monty as monty
import pytest

from ccos.rtfs.cases import run_cases

CASES = Path(os.environ.get("CCOS_RTFS_CASES", "../shared/data/rtfs"))

# They fail as they have to, with a finer kind; the last keeps the order of insertion.
DELIBERATE = {
    '(parse-json "invalid json")',
    "(reduce + [])",
    "(lambda [[a b]] (+ a b))",
    '(serialize-json {:name "Alice" :age 25})',
}
PARSED_HERE = ("@plan-id", "@:context-key", "(defstruct GenerationContext")


def cases(name: str) -> Path:
    path = CASES / name
    if not path.exists():
        pytest.skip(f"{path} is not here; CCOS_RTFS_CASES names the folder of the cases")
    return path


def test_programs(pool: monty.Monty) -> None:
    report = run_cases(cases("cases.json"), pool)
    assert {one.code for one in report.differences} <= DELIBERATE


def test_texts_that_read_or_not(pool: monty.Monty) -> None:
    report = run_cases(cases("cases-parse.json"), pool)
    assert all(one.code.startswith(PARSED_HERE) for one in report.differences)
