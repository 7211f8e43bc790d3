"""Random plans whose result is known before they run."""

from __future__ import annotations

import random
from typing import Any


def random_plan(chance: random.Random, names: list[str]) -> tuple[str, list[Any]]:
    """A plan of several steps, each one call or some at once, and the value it must come to."""
    lines = ["import asyncio", "seen = []"]
    expected: list[Any] = []
    number = 0
    for _ in range(chance.randint(2, 4)):
        calls, values = [], []
        for _ in range(chance.choice((1, 1, 2, 3))):
            number += 1
            kind = chance.choice(("bump", "bump", "peek"))
            calls.append(f"counter.{kind}_{chance.choice(names)}(n={number})")
            values.append({"bumped" if kind == "bump" else "peeked": number})
        if len(calls) == 1:
            lines.append(f"seen.append(await {calls[0]})")
        else:
            lines.append(f"seen.extend(await asyncio.gather({', '.join(calls)}))")
        expected += values
    return "\n".join([*lines, "seen"]), expected
