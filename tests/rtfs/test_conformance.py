"""The conformance cases, where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pydantic_monty as monty
import pytest

from ccos.rtfs.cases import run_cases

CASES = os.environ.get("CCOS_RTFS_CASES")

# They fail as they have to, with a finer kind; the last keeps the order of insertion.
DELIBERATE = {
    '(parse-json "invalid json")',
    "(reduce + [])",
    "(lambda [[a b]] (+ a b))",
    '(serialize-json {:name "Alice" :age 25})',
}
PARSED_HERE = ("@plan-id", "@:context-key", "(defstruct GenerationContext")


def cases(name: str) -> Path:
    if CASES is None:
        pytest.skip("CCOS_RTFS_CASES does not name the folder of the cases")
    return Path(CASES) / name


def test_programs(pool: monty.Monty) -> None:
    report = run_cases(cases("cases.json"), pool)
    assert {one.code for one in report.differences} <= DELIBERATE


def test_texts_that_read_or_not(pool: monty.Monty) -> None:
    report = run_cases(cases("cases-parse.json"), pool)
    assert all(one.code.startswith(PARSED_HERE) for one in report.differences)
