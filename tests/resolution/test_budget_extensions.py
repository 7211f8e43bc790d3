"""Questions about budgets: what is granted, who hears of it, and when nobody waits any more."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import example, given
from hypothesis import strategies as st

from ccos.assembly import Ccos
from ccos.engine.budget import Allowance, Budget, Dimension, Use, WhenExhausted
from ccos.engine.executions import CompilationContext, ExecutionContext, ExecutionResult
from ccos.engine.policy import SecurityLevel, level_policy
from ccos.errors import ApprovalStateError, StorageError
from ccos.events import EventType
from ccos.resolution.approvals import (
    Approval,
    ApprovalCategory,
    Approvals,
    ApprovalState,
    BudgetExtensions,
)
from ccos.resolution.approvals.budgets import _needed
from ccos.resolution.results import AwaitingApproval
from ccos.storage.schema import approvals
from opening import RESOLVING, Failing, ScriptedSource, change, happened, opened, until

pytestmark = pytest.mark.anyio

CALLS, BYTES = Dimension.HOST_CALLS, Dimension.STORAGE_BYTES
SOURCE = "from crucible.basic import math_abs\nfor i in range({n}):\n    math_abs(i)\n'done'"
DEVELOPMENT = CompilationContext(policy=level_policy(SecurityLevel.DEVELOPMENT))
EXECUTION = "exec-1"
CALLER = "agent-7"


def run(ccos: Ccos, *, calls: int, limit: float) -> asyncio.Task[ExecutionResult]:
    """A script that makes so many calls, of which a part is allowed."""
    context = ExecutionContext(
        execution_id=EXECUTION, budget=Budget({CALLS: Allowance(limit, WhenExhausted.APPROVAL)})
    )
    source = SOURCE.format(n=calls)
    return asyncio.create_task(ccos.script_engine.execute_script_source(source, context))


async def pending(ccos: Ccos) -> list[Approval]:
    return await ccos.resolver.approvals.recent(status=ApprovalState.PENDING)


async def asked(ccos: Ccos, *, besides: Approval | None = None) -> Approval:
    """The question that is about to wait, another than ``besides``."""
    found: list[Approval] = []

    async def waits() -> bool:
        found[:] = [one for one in await pending(ccos) if one != besides]
        return bool(found)

    await until(waits, seconds=60)
    (approval,) = found
    return approval


async def entries(ccos: Ccos, event: EventType) -> list[tuple[str, str, dict[str, Any]]]:
    """Of every such entry of the audit trail: execution, actor and data."""
    await ccos.script_engine.get_execution_stats()
    return [
        (entry.execution_id, entry.actor, entry.data)
        for entry in await ccos.audit.tail(10_000)
        if entry.event_type == event.value
    ]


def failed_for_budget(result: ExecutionResult) -> None:
    assert result.error is not None
    assert result.error.code == "CCOS-BUDGET-EXHAUSTED"


def extensions(ccos: Ccos, *, worker: str | None = None, seconds: float = 60) -> BudgetExtensions:
    """Asks as ``worker``, this process by default."""
    return BudgetExtensions(
        Approvals(ccos.marketplace.storage, ccos.audit),
        worker or ccos.runtime.worker_id,
        timeout_seconds=seconds,
    )


@contextlib.asynccontextmanager
async def asking(
    extending: BudgetExtensions, *uses: Use, execution: str = EXECUTION
) -> AsyncIterator[list[asyncio.Task[float]]]:
    """Several who ask at the same time, for whom nobody has decided yet."""
    tasks = [
        asyncio.create_task(extending.extend(execution, "script-1", use, CALLER)) for use in uses
    ]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await extending.aclose()


def excess(used: float, limit: float, dimension: Dimension = CALLS) -> Use:
    return Use(dimension, used, limit, 1.0, WhenExhausted.APPROVAL)


async def test_a_script_waits_and_goes_on_after_a_yes_from_elsewhere(
    tmp_path: Path, store: dict[str, str]
) -> None:
    async with opened(tmp_path, **store) as ccos, opened(tmp_path, **store) as elsewhere:
        task = run(ccos, calls=20, limit=10)
        approval = await asked(elsewhere)
        assert (approval.category, approval.capability_id, approval.risk) == (
            ApprovalCategory.BUDGET_EXTENSION,
            "",
            {},
        )
        about = approval.extension
        assert about is not None
        assert (about.execution_id, about.dimension) == (EXECUTION, CALLS)
        assert (about.limit, about.used, about.more) == (10, 11, 10)
        assert (await elsewhere.script_engine.find_script(about.script_id)).language == "python"
        assert approval.expires_at == pytest.approx(approval.requested_at + 3600)
        assert not task.done()
        decided = await elsewhere.resolver.approve(
            approval_id=approval.id, by="alice", reason="it may"
        )
        assert (decided.status, decided.decided_by) == (ApprovalState.APPROVED, "alice")
        result = await task
        assert (result.value, result.statistics.host_calls) == (
            "done",
            {"crucible.basic.math_abs": 20},
        )
        [(execution, _, data)] = await entries(ccos, EventType.APPROVAL_REQUESTED)
        assert execution == EXECUTION
        assert data["approval_id"] == approval.id
        assert data["category"] == "BudgetExtension"
        assert (data["dimension"], data["limit"], data["more"]) == ("host_calls", 10, 10)
        [(execution, actor, data)] = await entries(ccos, EventType.APPROVAL_GRANTED)
        assert (execution, actor, data["by"], data["reason"]) == (
            EXECUTION,
            "alice",
            "alice",
            "it may",
        )
        [(_, _, data)] = await entries(ccos, EventType.BUDGET_EXTENDED)
        assert data["by"] == 10


async def test_a_no_ends_the_script(tmp_path: Path, store: dict[str, str]) -> None:
    async with opened(tmp_path, **store) as ccos, opened(tmp_path, **store) as elsewhere:
        task = run(ccos, calls=20, limit=10)
        approval = await asked(elsewhere)
        decided = await elsewhere.resolver.reject(
            approval_id=approval.id, by="alice", reason="enough"
        )
        assert decided.status is ApprovalState.REJECTED
        failed_for_budget(await task)
        [(execution, actor, data)] = await entries(ccos, EventType.APPROVAL_DENIED)
        assert (execution, actor, data["reason"]) == (EXECUTION, "alice", "enough")
        assert await entries(ccos, EventType.BUDGET_EXTENDED) == []


async def test_what_was_granted_is_not_more_than_was_asked_for(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        task = run(ccos, calls=9, limit=2)
        first = await asked(ccos)
        await ccos.resolver.approve(approval_id=first.id, by="alice")
        second = await asked(ccos, besides=first)
        assert second.extension is not None
        assert (second.extension.limit, second.extension.used) == (4, 5)
        await ccos.resolver.approve(approval_id=second.id, by="alice")
        third = await asked(ccos, besides=second)
        assert third.extension is not None
        assert third.extension.more == 8
        await ccos.resolver.reject(approval_id=third.id, by="alice")
        failed_for_budget(await task)


async def test_no_answer_in_time_means_no(tmp_path: Path, store: dict[str, str]) -> None:
    async with opened(tmp_path, CCOS_HUMAN_APPROVAL_TIMEOUT_SECONDS="0.3", **store) as ccos:
        task = run(ccos, calls=2, limit=1)
        approval = await asked(ccos)
        failed_for_budget(await task)
        expired = await ccos.resolver.approvals.get(approval.id)
        assert (expired.status, expired.decided_by) == (ApprovalState.EXPIRED, None)
        assert expired.reason == "nobody decided in time"
        with pytest.raises(ApprovalStateError, match="expired already: nobody decided") as refused:
            await ccos.resolver.approve(approval_id=approval.id, by="alice")
        assert "Run the script again" in refused.value.next_step
        [(execution, _, data)] = await entries(ccos, EventType.APPROVAL_EXPIRED)
        assert (execution, data["approval_id"]) == (EXECUTION, approval.id)


async def test_an_answer_in_the_last_moment_counts(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        approving = Approvals(ccos.marketplace.storage, ccos.audit)
        async with asking(extensions(ccos), excess(11, 10)) as [task]:
            approval = await asked(ccos)
            await ccos.resolver.approve(approval_id=approval.id, by="alice")
            late = await approving.close_unanswered(approval.id, "nobody decided in time")
            assert late.status is ApprovalState.APPROVED
            assert await task == 10
        assert await entries(ccos, EventType.APPROVAL_EXPIRED) == []


async def test_whoever_closes_what_is_overdue_closes_questions_of_every_kind(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, ScriptedSource(), **RESOLVING) as ccos:
        async with asking(extensions(ccos), excess(11, 10)) as [task]:
            await asked(ccos)
            result = await ccos.resolver.resolve_capability("user.login")
            assert isinstance(result, AwaitingApproval)
            await change(ccos, sa.update(approvals).values(expires_at=0.0))
            assert len(await ccos.resolver.expire_approvals()) == 2
            assert await task == 0
        assert await pending(ccos) == []


@pytest.mark.parametrize("how", ["cancel", "stop the engine", "close"])
@pytest.mark.parametrize("awaited", [False, True], ids=["at once", "awaited"])
async def test_a_question_does_not_outlive_the_execution(
    tmp_path: Path, store: dict[str, str], how: str, awaited: bool
) -> None:
    async with opened(tmp_path, **store) as elsewhere:

        async def nobody_asks() -> bool:
            return not await pending(elsewhere)

        async with opened(tmp_path, **store) as ccos:
            if awaited:
                target = str(tmp_path / "written")
                source = f"import crucible.file as f\nawait f.file_write({target!r}, 'xy')"
                limits = Budget({BYTES: Allowance(1, WhenExhausted.APPROVAL)})
                context = ExecutionContext(execution_id=EXECUTION, budget=limits)
                task = asyncio.create_task(
                    ccos.script_engine.execute_script_source(source, context, DEVELOPMENT)
                )
            else:
                task = run(ccos, calls=2, limit=1)
            approval = await asked(elsewhere)
            if how == "cancel":
                assert await ccos.script_engine.cancel_execution(EXECUTION)
                await until(nobody_asks, seconds=30)
            elif how == "stop the engine":
                await ccos.script_engine.stop()
        await asyncio.gather(task, return_exceptions=True)
        withdrawn = await elsewhere.resolver.approvals.get(approval.id)
        assert (withdrawn.status, withdrawn.reason) == (
            ApprovalState.EXPIRED,
            "its execution waits no longer",
        )
        for decide in (elsewhere.resolver.approve, elsewhere.resolver.reject):
            with pytest.raises(ApprovalStateError, match="its execution waits no longer"):
                await decide(approval_id=approval.id, by="alice")


@pytest.mark.parametrize("how", ["approve", "reject", "worker", "list"])
async def test_a_question_of_a_process_that_died_is_closed(
    tmp_path: Path, store: dict[str, str], how: str
) -> None:
    async with opened(tmp_path, ScriptedSource(), **store) as ccos:
        dead = extensions(ccos, worker="w-that-died")
        async with asking(dead, excess(11, 10)) as [task]:
            approval = await asked(ccos)
            if how == "worker":
                await ccos.worker.run_once()
            elif how == "list":
                await ccos.resolver.close_abandoned_approvals()
            else:
                with pytest.raises(ApprovalStateError, match="the process that asked has ended"):
                    await getattr(ccos.resolver, how)(approval_id=approval.id, by="alice")
            closed = await ccos.resolver.approvals.get(approval.id)
            assert (closed.status, closed.reason) == (
                ApprovalState.EXPIRED,
                "the process that asked has ended",
            )
            assert await task == 0


async def test_a_question_of_a_process_that_lives_stays(
    tmp_path: Path, store: dict[str, str]
) -> None:
    async with (
        opened(tmp_path, **store) as ccos,
        opened(tmp_path, **store) as elsewhere,
        asking(extensions(ccos), excess(11, 10)) as [task],
    ):
        approval = await asked(ccos)
        await elsewhere.worker.run_once()
        await elsewhere.resolver.close_abandoned_approvals()
        assert await elsewhere.resolver.approvals.get(approval.id) == approval
        await elsewhere.resolver.approve(approval_id=approval.id, by="alice")
        assert await task == 10


async def test_it_is_known_on_whose_behalf_is_asked(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos, asking(extensions(ccos), excess(11, 10)):
        approval = await asked(ccos)
        assert approval.requested_by == CALLER
        [(_, actor, _)] = await entries(ccos, EventType.APPROVAL_REQUESTED)
        assert actor == CALLER


@pytest.mark.parametrize(
    ("used", "limit", "more"), [(11, 10, 10), (500, 10, 490), (0.31, 0.3, 0.3)]
)
async def test_as_much_again_is_asked_for_or_what_is_needed_if_that_is_more(
    tmp_path: Path, used: float, limit: float, more: float
) -> None:
    async with opened(tmp_path) as ccos, asking(extensions(ccos), excess(used, limit)) as [task]:
        approval = await asked(ccos)
        assert approval.extension is not None
        assert approval.extension.more == more
        await ccos.resolver.approve(approval_id=approval.id, by="alice")
        assert await task == more


async def test_those_who_ask_at_the_same_time_ask_once_and_share(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        uses = [excess(11, 10), excess(14, 10), excess(12, 10)]
        async with asking(extensions(ccos), *uses) as tasks:
            approval = await asked(ccos)
            await ccos.resolver.approve(approval_id=approval.id, by="alice")
            shares = await asyncio.gather(*tasks)
            assert sum(shares) == 10
            assert all(use.used <= use.limit + got for use, got in zip(uses, shares, strict=True))
        assert len(await ccos.resolver.approvals.recent()) == 1


async def test_a_no_is_for_all_who_ask(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        async with asking(extensions(ccos), excess(11, 10), excess(99, 10)) as tasks:
            approval = await asked(ccos)
            await ccos.resolver.reject(approval_id=approval.id, by="alice")
            assert await asyncio.gather(*tasks) == [0, 0]
        assert len(await ccos.resolver.approvals.recent()) == 1


async def test_who_needs_more_than_was_asked_for_asks_again(tmp_path: Path) -> None:
    async with (
        opened(tmp_path) as ccos,
        asking(extensions(ccos), excess(11, 10), excess(99, 10)) as [first, second],
    ):
        approval = await asked(ccos)
        await ccos.resolver.approve(approval_id=approval.id, by="alice")
        assert await first == 10
        again = await asked(ccos, besides=approval)
        assert again.extension is not None
        assert again.extension.more == 89
        await ccos.resolver.approve(approval_id=again.id, by="alice")
        assert await second == 89


async def test_a_question_stays_while_one_of_those_who_ask_waits(tmp_path: Path) -> None:
    async with (
        opened(tmp_path) as ccos,
        asking(extensions(ccos), excess(11, 10), excess(13, 10)) as [first, second],
    ):
        approval = await asked(ccos)
        first.cancel()
        await asyncio.sleep(0.05)
        assert await pending(ccos) == [approval]
        await ccos.resolver.approve(approval_id=approval.id, by="alice")
        assert await second == 3


async def test_other_dimensions_and_executions_are_other_questions(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        extending = extensions(ccos)
        async with (
            asking(extending, excess(11, 10), excess(11, 10, BYTES)),
            asking(extending, excess(11, 10), execution="exec-2"),
        ):

            async def three() -> bool:
                return len(await pending(ccos)) == 3

            await until(three)


async def test_who_comes_after_the_answer_asks_anew(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        extending = extensions(ccos)
        async with asking(extending, excess(11, 10)) as [first]:
            approval = await asked(ccos)
            await ccos.resolver.approve(approval_id=approval.id, by="alice")
            assert await first == 10
            async with asking(extending, excess(21, 20)) as [second]:
                again = await asked(ccos, besides=approval)
                await ccos.resolver.reject(approval_id=again.id, by="alice")
                assert await second == 0


async def test_what_one_asks_next_is_not_answered_by_the_last_answer(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        extending = extensions(ccos)

        async def twice() -> float:
            await extending.extend(EXECUTION, "script-1", excess(11, 10), CALLER)
            return await extending.extend(EXECUTION, "script-1", excess(22, 20), CALLER)

        first = asyncio.create_task(twice())
        await asked(ccos)
        async with asking(extending, excess(11, 10)) as [second]:
            approval = await asked(ccos)
            await ccos.resolver.approve(approval_id=approval.id, by="alice")
            assert await second == 1
            again = await asked(ccos, besides=approval)
            await ccos.resolver.reject(approval_id=again.id, by="alice")
            assert await first == 0


async def test_closing_withdraws_what_still_waits(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        extending = extensions(ccos)
        task = asyncio.create_task(extending.extend(EXECUTION, "script-1", excess(11, 10), CALLER))
        approval = await asked(ccos)
        await extending.aclose()
        withdrawn = await ccos.resolver.approvals.get(approval.id)
        assert withdrawn.status is ApprovalState.EXPIRED
        with pytest.raises(asyncio.CancelledError):
            await task


class Slow:
    """Takes its time for a write of one name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.begun = threading.Event()

    def before_commit(self, name: str) -> None:
        if self.name in name.split("+"):
            self.begun.set()
            time.sleep(0.3)

    def after_commit(self, name: str) -> None:
        pass


async def test_a_question_that_is_just_being_put_is_withdrawn_too(
    tmp_path: Path, store: dict[str, str]
) -> None:
    slow = Slow("ask")
    async with opened(tmp_path, **store) as elsewhere:
        async with opened(tmp_path, observer=slow, **store) as ccos:
            task = run(ccos, calls=2, limit=1)
            await asyncio.to_thread(slow.begun.wait, 5)
        await asyncio.gather(task, return_exceptions=True)
        (approval,) = await elsewhere.resolver.approvals.recent()
        assert approval.reason == "its execution waits no longer"


async def test_a_look_that_fails_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Approvals.get
    failed: list[str] = []

    async def fails_once(self: Approvals, approval_id: str) -> Approval:
        if not failed:
            failed.append(approval_id)
            raise StorageError("The disk is gone.")
        return await look(self, approval_id)

    async with opened(tmp_path) as ccos, asking(extensions(ccos), excess(11, 10)) as [task]:
        approval = await asked(ccos)
        monkeypatch.setattr(Approvals, "get", fails_once)

        async def has_failed() -> bool:
            return bool(failed)

        await until(has_failed)
        await ccos.resolver.approve(approval_id=approval.id, by="alice")
        assert await task == 10
        assert failed == [approval.id]


async def test_what_cannot_be_asked_is_not_granted(tmp_path: Path) -> None:
    failing = Failing("ask")
    async with opened(tmp_path, observer=failing) as ccos:
        failed_for_budget(await run(ccos, calls=2, limit=1))
        failing.active = False
        task = run(ccos, calls=2, limit=1)
        await ccos.resolver.approve(approval_id=(await asked(ccos)).id, by="alice")
        assert (await task).value == "done"


async def test_a_question_is_no_question_about_a_capability(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos, asking(extensions(ccos), excess(11, 10)):
        await asked(ccos)
        assert await ccos.resolver.approvals.waiting("user.login") is None
        assert await happened(ccos, EventType.APPROVAL_SUPERSEDED) == []


@example(8.488645594299278, 126.37296241814413)
@given(
    st.floats(min_value=1e-9, max_value=1e15),
    st.floats(min_value=1e-9, max_value=1e15),
)
def test_what_is_needed_covers_the_use_after_rounding(limit: float, used: float) -> None:
    if used > limit:
        needed = _needed(excess(used, limit))
        assert limit + needed >= used
        assert needed <= (used - limit) * 1.0001
