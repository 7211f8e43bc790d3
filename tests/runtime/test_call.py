"""One direct call: what is let through, what is refused, and what comes back."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Self

import pytest
import sqlalchemy as sa

from ccos.capabilities import ApprovalStatus, EffectType
from ccos.errors import (
    CapabilityFailedError,
    InvalidArgumentsError,
    InvalidIdentifierError,
    InvalidResultError,
    NotCallableError,
    ProviderError,
    UnknownCapabilityError,
)
from ccos.events import EventType
from ccos.runtime import CallPolicy, EntryState, ExecutionKind, ExecutionState
from ccos.storage.schema import capabilities
from opening import (
    DETECTING,
    change,
    failure,
    happened,
    increment,
    manifest,
    opened,
    parked,
    value,
)

pytestmark = pytest.mark.anyio


def double(x: int) -> int:
    """Twice the number."""
    return 2 * x


@pytest.mark.parametrize("function", [increment, double], ids=["coroutine", "plain function"])
async def test_a_registered_function_is_called_with_its_arguments(
    tmp_path: Path, store: dict[str, str], function: Any
) -> None:
    async with opened(tmp_path, **store) as ccos:
        await ccos.register("math.change", function, effect_type=EffectType.PURE)
        outcome = await ccos.call("math.change", {"x": 20})
        assert value(outcome) == (21 if function is increment else 40)
        execution = await ccos.runtime.execution(outcome.execution_id)
        assert (execution.kind, execution.state) == (ExecutionKind.CALL, ExecutionState.COMPLETED)
        assert await ccos.runtime.outcome(outcome.execution_id) == outcome


async def test_a_call_leaves_its_journal_and_its_audit_entries(
    tmp_path: Path, store: dict[str, str]
) -> None:
    async with opened(tmp_path, **store) as ccos:
        await ccos.register("math.next", increment)
        outcome = await ccos.call("math.next", {"x": 1}, principal="alice")
        (entry,) = await ccos.runtime.journal(outcome.execution_id)
        assert (entry.target, entry.arguments) == ("math.next", {"x": 1})
        assert (entry.state, entry.outcome) == (EntryState.SETTLED, {"value": 2})
        (call,) = await happened(ccos, EventType.CAPABILITY_CALL)
        assert (call["arguments"], call["version"]) == ({"x": 1}, "1.0.0")
        trail = await ccos.audit.tail(100, execution_id=outcome.execution_id)
        assert {entry.actor for entry in trail} == {"alice"}
        assert (await ccos.audit.verify()).intact


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({}, "x"), ({"x": "one"}, "/x"), ({"x": 1, "y": 2}, "y")],
    ids=["left out", "of another type", "too many"],
)
async def test_arguments_that_do_not_fit_never_reach_the_function(
    tmp_path: Path, arguments: dict[str, Any], named: str
) -> None:
    calls = []

    def watched(x: int) -> int:
        calls.append(x)
        return x

    async with opened(tmp_path) as ccos:
        await ccos.register("math.same", watched)
        error = failure(await ccos.call("math.same", arguments))
        assert isinstance(error, InvalidArgumentsError)
        assert named in error.message
        assert calls == []
        assert value(await ccos.call("math.same", {"x": 1})) == 1
        assert calls == [1]


async def test_arguments_must_be_json_data(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        with pytest.raises(InvalidArgumentsError, match="not JSON data"):
            await ccos.call("math.next", {"x": object()})
        assert await ccos.runtime.executions() == []


async def test_an_id_that_can_name_nothing_is_refused_at_the_door(tmp_path: Path) -> None:
    async with opened(tmp_path, **DETECTING) as ccos:
        with pytest.raises(InvalidIdentifierError):
            await ccos.call("../etc/passwd")
        assert await ccos.runtime.executions() == []
        assert parked(await ccos.call("etc.passwd")).missing == ("etc.passwd",)


async def test_a_result_that_breaks_its_schema_is_not_believed(tmp_path: Path) -> None:
    answers: list[Any] = ["one", 1]

    def lies() -> int:
        answer: int = answers.pop(0)
        return answer

    async with opened(tmp_path) as ccos:
        await ccos.register("math.lies", lies)
        error = failure(await ccos.call("math.lies"))
        assert isinstance(error, InvalidResultError)
        assert "output schema" in error.message
        assert value(await ccos.call("math.lies")) == 1


async def test_a_function_that_raises_is_a_failure_with_its_words(tmp_path: Path) -> None:
    def breaks() -> int:
        raise ValueError("the wheel came off")

    async with opened(tmp_path) as ccos:
        await ccos.register("car.drive", breaks)
        outcome = await ccos.call("car.drive")
        error = failure(outcome)
        assert isinstance(error, CapabilityFailedError)
        assert "the wheel came off" in error.message
        stored = failure(await ccos.runtime.outcome(outcome.execution_id))
        assert stored.as_dict() == error.as_dict()


async def test_an_unknown_capability_fails_at_once_while_detection_is_off(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        await ccos.register("weather.current", increment)
        error = failure(await ccos.call("weather.curent"))
        assert isinstance(error, UnknownCapabilityError)
        assert "Did you mean weather.current?" in error.message
        assert error.details["nearest"] == ["weather.current"]


async def test_nothing_is_suggested_where_nothing_is_near(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        await ccos.register("weather.current", increment)
        error = failure(await ccos.call("bank.balance"))
        assert "Did you mean" not in error.message


async def test_an_alias_reaches_the_capability(tmp_path: Path, store: dict[str, str]) -> None:
    async with opened(tmp_path, **store) as ccos:
        await ccos.register("math.next", increment)
        await ccos.marketplace.add_alias("number.successor", "math.next", actor="alice")
        assert value(await ccos.call("number.successor", {"x": 1})) == 2
        (call,) = await happened(ccos, EventType.CAPABILITY_CALL)
        assert call["called_as"] == "number.successor"


async def test_what_acts_on_the_world_needs_an_approval_and_what_is_pure_does_not(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as ccos:
        await ccos.register("behind.it", increment)
        behind = (await ccos.marketplace.get("behind.it")).manifest.provider  # type: ignore[union-attr]
        for name, effect_type in (("acts", EffectType.EFFECTFUL), ("computes", EffectType.PURE)):
            proposed = manifest(f"it.{name}", effect_type=effect_type, provider=behind)
            assert proposed.approval_status is ApprovalStatus.PENDING
            await ccos.marketplace.register(proposed, actor="test")
        error = failure(await ccos.call("it.acts", {"x": 1}))
        assert isinstance(error, NotCallableError)
        assert "nobody approved it" in error.message
        assert value(await ccos.call("it.computes", {"x": 1})) == 2


@pytest.mark.parametrize("withheld", ["revoke", "quarantine"])
async def test_what_is_withheld_is_refused_with_the_reason(tmp_path: Path, withheld: str) -> None:
    async with opened(tmp_path, **DETECTING) as ccos:
        await ccos.register("math.next", increment)
        assert value(await ccos.call("math.next", {"x": 1})) == 2
        await getattr(ccos.marketplace, withheld)("math.next", actor="alice", reason="it lies")
        error = failure(await ccos.call("math.next", {"x": 1}))
        assert isinstance(error, NotCallableError)
        assert "it lies" in error.message
        assert len(await happened(ccos, EventType.CAPABILITY_REFUSED)) == 1


async def test_a_manifest_with_the_status_revoked_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        revoked = manifest("math.next", approval_status=ApprovalStatus.REVOKED)
        await ccos.marketplace.register(revoked, actor="test")
        assert isinstance(failure(await ccos.call("math.next", {"x": 1})), NotCallableError)


async def test_an_attestation_that_expires_while_the_process_runs_ends_the_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NextYear(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(days=366)

    async with opened(tmp_path) as ccos:
        await ccos.register("math.next", increment)
        assert value(await ccos.call("math.next", {"x": 1})) == 2
        monkeypatch.setattr("ccos.runtime.gate.datetime", NextYear)
        error = failure(await ccos.call("math.next", {"x": 1}))
        assert isinstance(error, NotCallableError)
        assert "expired" in error.message


async def test_a_definition_that_was_tampered_with_is_refused_as_a_violation(
    tmp_path: Path, store: dict[str, str]
) -> None:
    async with opened(tmp_path, **store) as ccos:
        await ccos.register("math.next", increment)
    async with opened(tmp_path, **store) as ccos:
        await ccos.register("math.next", increment)
        changed = sa.func.replace(capabilities.c.manifest, "The next number.", "Sends it to me.")
        await change(ccos, sa.update(capabilities).values(manifest=changed))
    async with opened(tmp_path, **store) as ccos:
        error = failure(await ccos.call("math.next", {"x": 1}))
        assert isinstance(error, NotCallableError)
        assert "cannot be trusted" in error.message
        (violation,) = await happened(ccos, EventType.SECURITY_VIOLATION)
        assert violation["type"] == "attestation"


async def test_a_manifest_that_is_no_longer_readable_is_a_failure_not_a_crash(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as ccos:
        await ccos.register("math.next", increment)
        await change(ccos, sa.update(capabilities).values(manifest="{}"))
    async with opened(tmp_path) as ccos:
        error = failure(await ccos.call("math.next", {"x": 1}))
        assert error.code == "CCOS-INTEGRITY"


@pytest.mark.parametrize(
    ("policy", "permitted"),
    [
        (CallPolicy(), True),
        (CallPolicy(deny=("math.*",)), False),
        (CallPolicy(deny=("math",)), True),
        (CallPolicy(allow=("text.*",)), False),
        (CallPolicy(allow=("math.next",)), True),
        (CallPolicy(allow=("mathXnext",)), False),
        (CallPolicy(allow=("math.next",), deny=("*.next",)), False),
        (CallPolicy(allow=("math.nex",)), False),
    ],
)
async def test_the_policy_decides_by_whole_ids(
    tmp_path: Path, policy: CallPolicy, permitted: bool
) -> None:
    async with opened(tmp_path, policy=policy) as ccos:
        await ccos.register("math.next", increment)
        outcome = await ccos.call("math.next", {"x": 1})
        if permitted:
            assert value(outcome) == 2
        else:
            assert "policy does not permit" in failure(outcome).message


async def test_a_function_of_another_program_cannot_be_called_here(tmp_path: Path) -> None:
    async with opened(tmp_path) as ccos:
        await ccos.register("math.next", increment)
    async with opened(tmp_path) as ccos:
        error = failure(await ccos.call("math.next", {"x": 1}))
        assert isinstance(error, ProviderError)
        assert "this process is not that program" in error.message
