"""Python names for RTFS names, and functions that end with calls of each other."""

from __future__ import annotations

import keyword as python_keywords
import re
from collections.abc import Iterable
from typing import Final

from ccos.rtfs import nodes

WORD: Final = re.compile(r"[^A-Za-z0-9_]+")


SPELLED: Final = {
    "+": "plus",
    "-": "minus",
    "*": "star",
    "/": "slash",
    "<": "less",
    ">": "greater",
    "=": "equal",
    "!": "not",
    "%": "percent",
    "λ": "lambda",
    "$": "dollar",
}


def mark_bouncing(tail_calls: Iterable[tuple[nodes.Function, nodes.Variable]]) -> None:
    """Find the functions that end with calls of each other; they must not use up depth."""
    calls: dict[nodes.Variable, set[nodes.Variable]] = {}
    for function, callee in tail_calls:
        caller = function.variable
        if caller is not None and may_bounce(caller) and may_bounce(callee):
            calls.setdefault(caller, set()).add(callee)
    for variable in calls:
        reached: set[nodes.Variable] = set()
        waiting = [one for one in calls[variable] if one is not variable]
        while waiting:
            one = waiting.pop()
            if one not in reached:
                reached.add(one)
                waiting += calls.get(one, ())
        if variable in reached:
            variable.step = variable.frame.fresh(variable.python + "_step")


def may_bounce(variable: nodes.Variable) -> bool:
    """Whether calls of a function may wait until their caller has ended."""
    function = variable.function
    if function is None or not variable.is_stable or len(function.clauses) != 1:
        return False
    [clause] = function.clauses
    # What a loop changes under a function would have to be kept for each round.
    varying = any(one.repeat is not None and one.function is None for one in function.free)
    return clause.returns is None and not clause.after and not varying


def python_name(name: str) -> str:
    """A Python name that looks like an RTFS name."""
    word = name
    if word.endswith("?"):
        word = "is_" + word[:-1]
    if all(character in SPELLED for character in word):
        word = "_".join(SPELLED[character] for character in word)
    word = word.replace("->", "_to_").replace("%", "arg")
    word = WORD.sub("_", word).strip("_") or "_"
    if word[0].isdigit():
        word = "_" + word
    word = word[:60]
    return word + "_" if python_keywords.iskeyword(word) else word
