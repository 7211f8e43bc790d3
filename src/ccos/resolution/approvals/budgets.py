"""Asking a person for more of a budget, on behalf of a script that waits for the answer."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import Final

from ccos.engine.budget import Dimension, Use
from ccos.errors import CcosError, StorageError
from ccos.resolution.approvals.questions import NOT_IN_TIME, Approvals
from ccos.resolution.approvals.records import Approval, ApprovalState, BudgetExtension

_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 1.0
_PAUSE_GROWTH: Final = 1.5
_NOBODY_WAITS: Final = "its execution waits no longer"

_logger = logging.getLogger(__name__)

_Key = tuple[str, Dimension]


class _Question:
    """A question that waits for its answer.

    ``unclaimed`` is what is left of the amount that it asks for, after what those who wait need.
    """

    def __init__(self, answer: asyncio.Task[bool], unclaimed: float) -> None:
        self.answer = answer
        self.unclaimed = unclaimed
        self.waiting = 0


class BudgetExtensions:
    """Extends budgets where a person says yes; an ``ExtensionApprover`` of the script engine.

    A question asks for as much again as is allowed already, or for what is needed at once if that
    is more. While it waits, an execution that needs more of the same dimension takes part in it:
    together they get what was asked for, and no more. It lasts as long as somebody waits for it,
    in this process; whoever answers may do so in another. Where it cannot be asked, the answer
    is no.

    Args:
        approvals: Where questions are put.
        worker_id: This process, as the others know it.
        timeout_seconds: How long a question waits for a person.
    """

    def __init__(self, approvals: Approvals, worker_id: str, *, timeout_seconds: float) -> None:
        self._approvals = approvals
        self._worker_id = worker_id
        self._timeout_seconds = timeout_seconds
        self._open: dict[_Key, _Question] = {}
        self._answers: set[asyncio.Task[bool]] = set()

    async def extend(self, execution_id: str, script_id: str, use: Use, caller: str) -> float:
        """By how much the dimension is extended; 0 for a no or for no answer in time."""
        key = (execution_id, use.dimension)
        needed = _needed(use)
        while True:
            question = self._open.get(key)
            first = question is None
            if question is None:
                question = self._ask(key, script_id, use, caller)
            covered = needed <= question.unclaimed
            if covered:
                question.unclaimed -= needed
            if not await self._answer(key, question):
                return 0.0
            if first:
                return needed + question.unclaimed
            if covered:
                return needed

    async def aclose(self) -> None:
        """Withdraw what still waits; returns when nothing of it is left to be written."""
        for question in list(self._open.values()):
            question.answer.cancel()
        await asyncio.gather(*self._answers, return_exceptions=True)

    def _ask(self, key: _Key, script_id: str, use: Use, caller: str) -> _Question:
        more = max(use.limit, _needed(use))
        execution_id, dimension = key
        extension = BudgetExtension(
            execution_id, script_id, dimension, use.limit, use.used, more, self._worker_id
        )
        answer = asyncio.create_task(self._answered(extension, caller), name="ccos-budget-question")
        question = self._open[key] = _Question(answer, more)
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)
        answer.add_done_callback(lambda _: self._forget(key, question))
        return question

    async def _answer(self, key: _Key, question: _Question) -> bool:
        question.waiting += 1
        try:
            return await asyncio.shield(question.answer)
        finally:
            question.waiting -= 1
            if not question.waiting:
                self._forget(key, question)
                question.answer.cancel()

    def _forget(self, key: _Key, question: _Question) -> None:
        """Let nobody take part in a question any more."""
        if self._open.get(key) is question:
            del self._open[key]

    async def _answered(self, extension: BudgetExtension, caller: str) -> bool:
        """Put a question and wait for its answer; withdrawn if this is cancelled."""
        asking = asyncio.create_task(
            self._approvals.ask_for_budget(
                extension, requested_by=caller, timeout_seconds=self._timeout_seconds
            )
        )
        try:
            return await self._decision(await asyncio.shield(asking))
        except asyncio.CancelledError:
            await self._withdraw(asking)
            raise
        except CcosError as error:
            _logger.error("A budget could not be extended. %s: %s", error.code, error.message)
            return False

    async def _decision(self, approval: Approval) -> bool:
        pause = _FIRST_PAUSE_SECONDS
        while approval.status is ApprovalState.PENDING:
            left = approval.expires_at - time.time()
            if left <= 0:
                approval = await self._approvals.close_unanswered(approval.id, NOT_IN_TIME)
                break
            await asyncio.sleep(min(pause, left))
            pause = min(pause * _PAUSE_GROWTH, _LONGEST_PAUSE_SECONDS)
            try:
                approval = await self._approvals.get(approval.id)
            except StorageError as error:
                _logger.warning("%s was not looked at: %s", approval.id, error.message)
        return approval.status is ApprovalState.APPROVED

    async def _withdraw(self, asking: asyncio.Task[Approval]) -> None:
        try:
            approval = await asking
            await self._approvals.close_unanswered(approval.id, _NOBODY_WAITS)
        except CcosError as error:
            _logger.warning("A question about a budget was not withdrawn: %s", error.message)


def _needed(use: Use) -> float:
    """The least extension that covers a use, in the arithmetic of whoever adds it."""
    needed = use.used - use.limit
    while use.limit + needed < use.used:
        needed = math.nextafter(needed, math.inf)
    return needed
