"""Random plans whose result is known before they run."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

Step = list[tuple[str, int]]
"""Calls that are made at once: the capability and its number."""


def random_plan(
    chance: random.Random, names: list[str], language: str
) -> tuple[str, list[dict[str, int]]]:
    """A plan of several steps, each one call or some at once, and the value it must come to."""
    steps: list[Step] = []
    number = 0
    for _ in range(chance.randint(2, 4)):
        steps.append([])
        for _ in range(chance.choice((1, 1, 2, 3))):
            number += 1
            kind = chance.choice(("bump", "bump", "peek"))
            steps[-1].append((f"counter.{kind}_{chance.choice(names)}", number))
    expected = [
        {"bumped" if ".bump_" in target else "peeked": number}
        for step in steps
        for target, number in step
    ]
    return _WRITERS[language](steps), expected


def _python(steps: list[Step]) -> str:
    lines = ["import asyncio", "seen = []"]
    for step in steps:
        calls = [f"{target}(n={number})" for target, number in step]
        if len(calls) == 1:
            lines.append(f"seen.append(await {calls[0]})")
        else:
            lines.append(f"seen.extend(await asyncio.gather({', '.join(calls)}))")
    return "\n".join([*lines, "seen"])


def _rune(steps: list[Step]) -> str:
    lines = [
        'pub const NAME = "crash";',
        'pub const DESCRIPTION = "Counts.";',
        "pub const INPUT_SCHEMA = #{};",
        "pub async fn call(args) {",
        "let began = crucible::time_now();",
        "let seen = [];",
    ]
    for step in steps:
        calls = [f'ccos::call("{target}", #{{n: {number}}})' for target, number in step]
        if len(calls) == 1:
            lines.append(f"seen.push({calls[0]}.await?);")
        else:
            joined = f"std::future::join([{', '.join(calls)}]).await"
            lines.append(f"for one in {joined} {{ seen.push(one?); }}")
    return "\n".join([*lines, "if began > crucible::time_now() { return began; }", "seen", "}"])


_WRITERS: Final[dict[str, Callable[[list[Step]], str]]] = {"py": _python, "rn": _rune}
