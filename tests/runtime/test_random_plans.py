"""Any plan, parked and replayed anywhere, comes to what it comes to when run straight."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccos.assembly import Ccos
from ccos.capabilities import EffectType
from ccos.runtime import Completed, Parked
from ccos.storage.schema import executions
from opening import DETECTING, change, opened

LATE = ("late.a", "late.b", "late.c")
TARGETS = ("pure.one", "effect.one", "effect.fails", *LATE)
WAYS = ("snapshot", "replay", "restart")

Step = tuple[str, tuple[str, ...]]

steps = st.lists(
    st.one_of(
        st.tuples(st.just("one"), st.tuples(st.sampled_from(TARGETS))),
        st.tuples(
            st.just("gather"), st.lists(st.sampled_from(TARGETS), min_size=2, max_size=4).map(tuple)
        ),
    ),
    min_size=1,
    max_size=5,
)
ways = st.lists(st.sampled_from(WAYS), min_size=3, max_size=3)


def python(plan: list[Step]) -> str:
    """The text of a plan whose every call has a number of its own and uses the last result."""
    lines = [
        "import asyncio",
        "async def careful(target, n, before):",
        "    try:",
        "        return await call(target, n=n, before=before)",
        "    except RuntimeError:",
        "        return -1",
        "seen = [0]",
    ]
    number = 0
    for how, targets in plan:
        calls = []
        for target in targets:
            number += 1
            calls.append(f"careful({target!r}, {number}, seen[-1])")
        if how == "one":
            lines.append(f"seen.append(await {calls[0]})")
        else:
            lines.append(f"seen += await asyncio.gather({', '.join(calls)})")
    return "\n".join([*lines, "seen"])


def rune(plan: list[Step]) -> str:
    """The same plan; between its calls it looks at the clock and at the order of a map."""
    lines = [
        "async fn careful(target, n, before) {",
        "    ccos::call(target, #{n, before}).await.unwrap_or(-1)",
        "}",
        "pub async fn main() {",
        "let seen = [0];",
        "let mixed = std::collections::HashMap::new();",
    ]
    number = 0
    for how, targets in plan:
        calls = []
        for target in targets:
            number += 1
            calls.append(f'careful("{target}", {number}, seen[seen.len() - 1])')
        lines.append(f"mixed.insert(crucible::time_now(), {number});")
        lines.append("for entry in mixed { crucible::log_debug(`${entry.0} ${entry.1}`); }")
        if how == "one":
            lines.append(f"seen.push({calls[0]}.await);")
        else:
            joined = f"std::future::join([{', '.join(calls)}]).await"
            lines.append(f"for one in {joined} {{ seen.push(one); }}")
    return "\n".join([*lines, "seen", "}"])


LANGUAGES = {"plan.py": python, "plan.rn": rune}


@dataclass
class World:
    """What the capabilities of a plan did."""

    done: Counter[int] = field(default_factory=Counter)

    async def pure(self, n: int, before: int) -> int:
        return 2 * n + before

    async def effect(self, n: int, before: int) -> int:
        self.done[n] += 1
        await asyncio.sleep(0)
        return 3 * n + before

    async def fails(self, n: int, before: int) -> int:
        self.done[n] += 1
        raise ValueError("no")

    async def enter(self, ccos: Ccos, late: set[str]) -> None:
        await ccos.register("pure.one", self.pure, effect_type=EffectType.PURE)
        await ccos.register("effect.one", self.effect)
        await ccos.register("effect.fails", self.fails)
        for capability_id in sorted(late):
            await ccos.register(capability_id, self.effect)


async def straight(plan: list[Step], name: str) -> tuple[Any, Counter[int]]:
    world = World()
    with tempfile.TemporaryDirectory() as home:
        async with opened(Path(home)) as ccos:
            await world.enter(ccos, set(LATE))
            outcome = await ccos.run(LANGUAGES[name](plan), name=name)
            assert isinstance(outcome, Completed)
            return outcome.value, world.done


async def interrupted(plan: list[Step], name: str, how: list[str]) -> tuple[Any, Counter[int]]:
    world, known, ticket = World(), set[str](), None
    with tempfile.TemporaryDirectory() as home:
        for way in (*how, "restart"):
            async with opened(Path(home), **DETECTING) as ccos:
                await world.enter(ccos, known)
                if ticket is None:
                    outcome = await ccos.run(LANGUAGES[name](plan), name=name)
                else:
                    outcome = await ccos.runtime.resume(ticket)
                while isinstance(outcome, Parked):
                    ticket = outcome.execution_id
                    arrived = outcome.missing[0]
                    assert arrived not in known
                    known.add(arrived)
                    if way == "restart":
                        break
                    if way == "replay":
                        await change(ccos, sa.update(executions).values(snapshot=None))
                    await ccos.register(arrived, world.effect)
                    outcome = await ccos.runtime.resume(ticket)
                else:
                    assert isinstance(outcome, Completed), outcome
                    assert (await ccos.audit.verify()).intact
                    return outcome.value, world.done
    raise AssertionError("the plan never ended")


@pytest.mark.parametrize("name", LANGUAGES)
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
@given(plan=steps, how=ways)
def test_each_effect_happens_once_and_the_result_is_the_same(
    name: str, plan: list[Step], how: list[str]
) -> None:
    expected, effects = asyncio.run(straight(plan, name))
    assert asyncio.run(interrupted(plan, name, how)) == (expected, effects)
    assert set(effects.values()) <= {1}
