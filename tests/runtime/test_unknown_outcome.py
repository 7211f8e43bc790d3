"""A call that was sent and never answered: nobody guesses, a person decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ccos.capabilities import EffectType
from ccos.errors import (
    CapabilityFailedError,
    ExecutionStateError,
    ProviderInterruptedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from ccos.events import EventType
from ccos.runtime import Answer, EntryState, ExecutionState
from opening import (
    DETECTING,
    Counter,
    failure,
    happened,
    increment,
    opened,
    parked,
    unknown,
    value,
)

pytestmark = pytest.mark.anyio

LOST = [ProviderTimeoutError("No answer within 30 s."), ProviderInterruptedError("It went away.")]


class Bank:
    """Answers every transfer, except that the first ``lost`` answers never arrive."""

    def __init__(self, error: Exception, lost: int = 1) -> None:
        self.transfers: list[int] = []
        self._error = error
        self._lost = lost

    async def transfer(self, amount: int) -> str:
        self.transfers.append(amount)
        if len(self.transfers) <= self._lost:
            raise self._error
        return f"moved {amount}"


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
async def test_a_lost_answer_of_an_effect_is_left_to_a_person(
    tmp_path: Path, store: dict[str, str], error: Exception
) -> None:
    bank = Bank(error)
    async with opened(tmp_path, **store) as ccos:
        await ccos.register("bank.transfer", bank.transfer)
        outcome = unknown(await ccos.call("bank.transfer", {"amount": 5}))
        (effect,) = outcome.effects
        assert (effect.capability_id, effect.arguments) == ("bank.transfer", {"amount": 5})
        assert effect.reason == str(error)
        (listed,) = await ccos.runtime.executions(state=ExecutionState.OUTCOME_UNKNOWN)
        assert listed.id == outcome.execution_id
        stored = unknown(await ccos.settled(outcome.execution_id))
        assert [one.sequence for one in stored.effects] == [0]
        assert await ccos.runtime.recover() == []
        with pytest.raises(ExecutionStateError, match="not parked"):
            await ccos.runtime.resume(outcome.execution_id)
        assert bank.transfers == [5]


@pytest.mark.parametrize(
    "effect_type", [EffectType.PURE, EffectType.READ_ONLY, EffectType.IDEMPOTENT]
)
async def test_a_lost_answer_of_what_can_be_repeated_is_a_plain_failure(
    tmp_path: Path, effect_type: EffectType
) -> None:
    bank = Bank(LOST[0])
    async with opened(tmp_path) as ccos:
        await ccos.register("bank.transfer", bank.transfer, effect_type=effect_type)
        error = failure(await ccos.call("bank.transfer", {"amount": 5}))
        assert isinstance(error, ProviderTimeoutError)
        assert value(await ccos.call("bank.transfer", {"amount": 5})) == "moved 5"


async def test_an_effect_that_never_left_is_a_plain_failure(tmp_path: Path) -> None:
    bank = Bank(ProviderUnavailableError("Nobody listens."))
    async with opened(tmp_path) as ccos:
        await ccos.register("bank.transfer", bank.transfer)
        error = failure(await ccos.call("bank.transfer", {"amount": 5}))
        assert isinstance(error, ProviderUnavailableError)


DECISIONS: list[tuple[Answer | None, Any, int]] = [
    (Answer(value="moved by hand"), "moved by hand", 1),
    (None, "moved 5", 2),
    (Answer(error=CapabilityFailedError("The bank refused.")), "The bank refused.", 1),
]


@pytest.mark.parametrize(
    ("answer", "result", "transfers"), DECISIONS, ids=["value", "again", "error"]
)
@pytest.mark.parametrize("what", ["call", "plan"])
async def test_a_decision_carries_the_execution_on(
    tmp_path: Path,
    store: dict[str, str],
    what: str,
    answer: Answer | None,
    result: str,
    transfers: int,
) -> None:
    bank, before = Bank(LOST[0]), Counter()
    plan = "await effect.make()\nx = await bank.transfer(amount=5)\n[x, x]"
    async with opened(tmp_path, **store) as ccos:
        await ccos.register("bank.transfer", bank.transfer)
        await ccos.register("effect.make", before)
        if what == "call":
            outcome = unknown(await ccos.call("bank.transfer", {"amount": 5}))
        else:
            outcome = unknown(await ccos.run(plan))
        (effect,) = outcome.effects
        decided = await ccos.runtime.decide(
            outcome.execution_id, effect.sequence, answer, actor="alice"
        )
        if answer is not None and answer.error is not None:
            assert result in failure(decided).message
        else:
            assert value(decided) == (result if what == "call" else [result, result])
        assert len(bank.transfers) == transfers
        assert len(before.calls) == (0 if what == "call" else 1)
        (entry,) = await happened(ccos, EventType.OUTCOME_DECIDED, "bank.transfer")
        assert entry["decision"] == ("call again" if answer is None else answer.outcome)
        with pytest.raises(ExecutionStateError, match="does not wait for a decision"):
            await ccos.runtime.decide(outcome.execution_id, effect.sequence, answer, actor="bob")


async def test_every_unknown_call_of_a_plan_needs_a_decision(
    tmp_path: Path, store: dict[str, str]
) -> None:
    bank = Bank(LOST[0], lost=2)
    plan = """
import asyncio
await asyncio.gather(bank.transfer(amount=1), bank.transfer(amount=2), late.one(x=1))
"""
    async with opened(tmp_path, **DETECTING, **store) as ccos:
        await ccos.register("bank.transfer", bank.transfer)
        outcome = unknown(await ccos.run(plan))
        assert [effect.sequence for effect in outcome.effects] == [0, 1]
        decide = ccos.runtime.decide
        first = await decide(outcome.execution_id, 1, Answer(value="two"), actor="alice")
        assert first is None
        left = unknown(await ccos.runtime.outcome(outcome.execution_id))
        assert [effect.sequence for effect in left.effects] == [0]
        ticket = parked(await decide(outcome.execution_id, 0, Answer(value="one"), actor="alice"))
        assert ticket.missing == ("late.one",)
        await ccos.register("late.one", increment)
        assert value(await ccos.runtime.resume(ticket.execution_id)) == ["one", "two", 2]
        assert bank.transfers == [1, 2]


async def test_an_unknown_execution_can_be_cancelled(tmp_path: Path) -> None:
    bank = Bank(LOST[0])
    async with opened(tmp_path) as ccos:
        await ccos.register("bank.transfer", bank.transfer)
        outcome = unknown(await ccos.call("bank.transfer", {"amount": 5}))
        await ccos.runtime.cancel(outcome.execution_id, actor="alice")
        assert "was cancelled" in failure(await ccos.runtime.outcome(outcome.execution_id)).message
        with pytest.raises(ExecutionStateError):
            await ccos.runtime.decide(outcome.execution_id, 0, None, actor="alice")
        (entry,) = await ccos.runtime.journal(outcome.execution_id)
        assert entry.state is EntryState.UNKNOWN
