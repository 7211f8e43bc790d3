"""Texts that nobody wrote: the compiler answers or refuses, it never breaks.

``CCOS_FUZZ_SECONDS`` lets it run longer than a moment.
"""

from __future__ import annotations

import os
import time

import pydantic_monty as monty
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccos.rtfs.analysing import CORE, DERIVED
from ccos.rtfs.cases import outcome_of
from ccos.rtfs.compiler import check
from ccos.rtfs.execution import Failure
from ccos.rtfs.library import BY_NAME

from .generated_programs import programs

ATOMS = """a b x xs _ & % %1 catch finally when Int :int :k :as :keys :or :when :let :else : 1
-1 2.5 0 nil true "s" [] {} () '() [x]"""
words = st.sampled_from([*CORE, *DERIVED, *BY_NAME, *ATOMS.split()])


def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(inner, max_size=5).map(" ".join)
    return st.one_of(
        several.map("({})".format),
        several.map("({})".format),
        several.map("[{}]".format),
        st.lists(st.tuples(inner, inner).map(" ".join), max_size=2)
        .map(" ".join)
        .map("{{{}}}".format),
        st.tuples(st.sampled_from(["'", "`", "~", "~@", "@", "^", "#", "#_"]), inner).map("".join),
    )


soup = st.lists(st.recursive(words, nested, max_leaves=15), max_size=3).map("\n".join)


@given(st.one_of(soup, programs))
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_text_is_answered_or_refused(pool: monty.Monty, text: str) -> None:
    report = check(text)
    report.rendered()
    if report.errors:
        return
    outcome = outcome_of(text, pool)
    if isinstance(outcome, Failure):
        assert outcome.kind != "InternalError", (text, outcome)


def test_for_as_long_as_is_asked(pool: monty.Monty) -> None:
    end = time.monotonic() + float(os.environ.get("CCOS_FUZZ_SECONDS", "0"))
    while time.monotonic() < end:
        test_any_text_is_answered_or_refused(pool)
