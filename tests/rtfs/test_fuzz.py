"""Texts that nobody wrote: the compiler answers or refuses, it never breaks and never hangs.

It goes on for ``CCOS_FUZZ_SECONDS``; ``benchmarks/rtfs_fuzz.py`` gives it ten minutes.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pydantic_monty as monty
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccos.rtfs.analysing import CORE, DERIVED
from ccos.rtfs.compiler import LIMITS, check, compile_module
from ccos.rtfs.execution import Failure, run
from ccos.rtfs.library import BY_NAME

from .generated_programs import programs

LIMITED: monty.ResourceLimits = {**LIMITS, "max_feed_duration_secs": 2.0}
SECONDS = 60.0
"""No text takes longer to be read, however slow the machine is."""

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


KNOWN = [
    line.split(" => ")[0].split(" ! ")[0]
    for line in Path(__file__).with_name("language.txt").read_text(encoding="utf-8").splitlines()
    if line and "10000000" not in line and "1000000" not in line
]


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A program that was right, with a piece of it left out, doubled, or of another one."""
    text = draw(st.sampled_from(KNOWN))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 8)))
        other = draw(st.sampled_from(KNOWN))
        piece = draw(st.sampled_from(["", text[start:end] * 2, other[start:end], *"()[]{}'`~@^#:"]))
        text = text[:start] + piece + text[end:]
    return text


soup = st.lists(st.recursive(words, nested, max_leaves=15), max_size=3).map("\n".join)


@given(st.one_of(soup, programs, damaged()))
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_text_is_answered_or_refused(pool: monty.Monty, text: str) -> None:
    begun = time.monotonic()
    report = check(text)
    report.rendered()
    assert time.monotonic() - begun < SECONDS, text
    if report.errors:
        return
    outcome = run(compile_module(text), pool, limits=LIMITED)
    if isinstance(outcome, Failure):
        assert outcome.kind != "InternalError", (text, outcome)


def test_for_as_long_as_is_asked(pool: monty.Monty) -> None:
    end = time.monotonic() + float(os.environ.get("CCOS_FUZZ_SECONDS", "30"))
    while time.monotonic() < end:
        test_any_text_is_answered_or_refused(pool)
