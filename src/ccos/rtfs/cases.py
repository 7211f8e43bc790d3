"""Conformance cases: small programs with what they have to give."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pydantic_monty as monty

from ccos.errors import ConfigurationError
from ccos.nesting import nests_deeper
from ccos.rtfs.compiler import check, compile_module
from ccos.rtfs.diagnostics import RtfsSyntaxError
from ccos.rtfs.execution import Failure, run

_DEPTH: Final = 100


@dataclass(frozen=True, slots=True)
class CaseResult:
    """How one case went.

    Attributes:
        index: Its place in the file, counted from 0.
        code: The program.
        passed: Whether it gave what it has to.
        wanted: What it has to give, for people.
        got: What it gave.
    """

    index: int
    code: str
    passed: bool
    wanted: str
    got: str


@dataclass(frozen=True, slots=True)
class CaseReport:
    """How the cases of a file went."""

    results: tuple[CaseResult, ...]

    @property
    def passed(self) -> int:
        """How many passed."""
        return sum(one.passed for one in self.results)

    @property
    def differences(self) -> tuple[CaseResult, ...]:
        """Those that did not."""
        return tuple(one for one in self.results if not one.passed)

    def __str__(self) -> str:
        return f"passed {self.passed} of {len(self.results)}"


def run_cases(path: Path, pool: monty.Monty | None = None) -> CaseReport:
    """Run a file of cases.

    A case is an object with ``code`` and one of ``expected`` (a value: JSON data in which
    ``{"kw": …}``, ``{"vec": …}``, ``{"list": …}``, ``{"map": [[key, value] …]}`` and
    ``{"float": …}`` stand for what JSON lacks), ``error`` (with ``error_kind``), or ``parse``
    (``ok`` or ``error``).

    Raises:
        ConfigurationError: if the file is no list of cases.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if nests_deeper(text, _DEPTH):
            raise ValueError("it nests too deeply")
        cases = json.loads(text)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} holds no cases: {error}.") from error
    if not isinstance(cases, list) or not all(
        isinstance(one, dict) and isinstance(one.get("code"), str) for one in cases
    ):
        raise ConfigurationError(f"{path} holds no list of cases with `code`.")
    if pool is not None:
        return CaseReport(tuple(run_case(one, pool, i) for i, one in enumerate(cases)))
    with monty.Monty() as own:
        return CaseReport(tuple(run_case(one, own, i) for i, one in enumerate(cases)))


def run_case(case: dict[str, Any], pool: monty.Monty, index: int = 0) -> CaseResult:
    """Run one case; see :func:`run_cases`."""
    code = case["code"]
    if "parse" in case:
        errors = check(code).errors
        got = "error" if errors else "ok"
        words = f"{got}: {errors[0].message}" if errors else got
        return CaseResult(index, code, got == case["parse"], str(case["parse"]), words)
    outcome = outcome_of(code, pool)
    if case.get("error"):
        wanted = case.get("error_kind")
        passed = isinstance(outcome, Failure) and wanted in (None, outcome.kind)
        return CaseResult(index, code, passed, f"error {wanted or ''}".strip(), _shown(outcome))
    wanted = case.get("expected")
    passed = not isinstance(outcome, Failure) and same(outcome, wanted)
    return CaseResult(index, code, passed, json.dumps(wanted), _shown(outcome))


def outcome_of(code: str, pool: monty.Monty) -> Any:
    """The tagged value of a program, or its :class:`Failure`."""
    try:
        module = compile_module(code)
    except RtfsSyntaxError as error:
        first = error.report.errors[0]
        return Failure(first.kind, first.message, first.kind)
    return run(module, pool)


def same(one: Any, other: Any) -> bool:
    """Whether two tagged values are equal; the order of maps does not count."""
    if type(one) is not type(other):
        return False
    if not isinstance(one, dict):
        return bool(one == other)
    if one.keys() != other.keys():
        return False
    [(tag, value)] = one.items()
    return _same_tagged(tag, value, other[tag])


def _same_tagged(tag: str, value: Any, wanted: Any) -> bool:
    if tag in ("vec", "list"):
        return len(value) == len(wanted) and all(map(same, value, wanted))
    if tag == "map":
        left = list(wanted)
        for key, item in value:
            found = [pair for pair in left if same(key, pair[0]) and same(item, pair[1])]
            if not found:
                return False
            left.remove(found[0])
        return not left
    if tag == "float":
        a, b = float(value), float(wanted)
        return a == b or (math.isnan(a) and math.isnan(b))
    return bool(value == wanted)


def _shown(outcome: Any) -> str:
    if isinstance(outcome, Failure):
        return f"error {outcome.kind}: {outcome.message}"
    return json.dumps(outcome, default=str)
