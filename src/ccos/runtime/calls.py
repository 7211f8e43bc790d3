"""How one call is taken up, shared by direct calls and plans."""

from __future__ import annotations

import asyncio
import hmac
import time
from dataclasses import dataclass, field, replace
from typing import Any

from ccos.audit import AuditTrail
from ccos.engine import SnapshotSeal
from ccos.engine.asked import Asked, plain
from ccos.engine.hosts import HttpRequests
from ccos.errors import CcosError, UnknownCapabilityError
from ccos.events import Event, EventType
from ccos.marketplace import Marketplace, Registered
from ccos.runtime.dispatch import Answer, Dispatcher
from ccos.runtime.gate import CallPolicy, refusal
from ccos.runtime.hinted import HintedCalls, in_time
from ccos.runtime.missing import MissingCapabilities, Sighting
from ccos.runtime.outcomes import OutcomeUnknown, UnknownEffect
from ccos.runtime.records import (
    Entry,
    EntryState,
    Execution,
    ExecutionState,
    add_waits,
)
from ccos.runtime.workers import Workers
from ccos.runtime.writer import ExecutionWriter
from ccos.storage import Storage, Transaction


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an execution works with."""

    storage: Storage
    audit: AuditTrail
    marketplace: Marketplace
    dispatcher: Dispatcher
    missing: MissingCapabilities
    policy: CallPolicy
    seal: SnapshotSeal
    slots: asyncio.Semaphore
    workers: Workers
    random_key: bytes
    requests: HttpRequests
    hinted: HintedCalls = field(default_factory=HintedCalls)

    @property
    def worker_id(self) -> str:
        """The worker that this process is known as."""
        return self.workers.me.id

    def seed(self, execution_id: str) -> str:
        """What the random numbers of an execution are drawn from; secret, and always the same."""
        return hmac.digest(self.random_key, execution_id.encode(), "sha256").hex()

    def writer(
        self, execution: Execution, *, stored: bool, entries: list[Entry] | None = None
    ) -> ExecutionWriter:
        """A writer for an execution of this worker."""
        return ExecutionWriter(
            self.storage,
            self.audit,
            execution,
            workers=self.workers,
            stored=stored,
            entries=entries or [],
        )


@dataclass(frozen=True, slots=True)
class Ready:
    """The capability is there and the gate lets the call through with these arguments."""

    registered: Registered
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """The call must not be made."""

    error: CcosError


@dataclass(frozen=True, slots=True)
class Missing:
    """Nobody registered the capability; the caller has to wait."""


async def judge(
    around: Surroundings,
    writer: ExecutionWriter,
    target: str,
    arguments: dict[str, Any],
    asked: Asked | None = None,
) -> Ready | Refused | Missing:
    """Look the capability up and pass the call through the gate.

    With ``asked`` the arguments are bound to what the capability takes first.
    """
    try:
        registered = await around.marketplace.get(target)
    except CcosError as error:
        return Refused(error)
    if registered is None:
        if around.missing.detects:
            return Missing()
        return Refused(await unknown_capability(around.marketplace, target))
    if asked is not None:
        if not _is_of_version(registered, asked.version):
            return Refused(_other_version(registered, asked.version))
        schema = registered.manifest.input_schema
        arguments = asked.bound(schema if isinstance(schema, dict) else {})
    fault = refusal(registered, arguments, around.policy)
    if fault is None:
        return Ready(registered, arguments)
    writer.note(
        EventType.CAPABILITY_REFUSED,
        capability_id=registered.manifest.id,
        data={"error": fault.as_dict()},
    )
    if fault.details.get("violation"):
        writer.note(
            EventType.SECURITY_VIOLATION,
            capability_id=registered.manifest.id,
            data={"type": fault.details["violation"], "message": fault.message},
        )
    return Refused(fault)


def _is_of_version(registered: Registered, wanted: str | None) -> bool:
    version = registered.manifest.version
    return wanted is None or version == wanted or version.startswith(f"{wanted}.")


def _other_version(registered: Registered, wanted: str | None) -> UnknownCapabilityError:
    manifest = registered.manifest
    return UnknownCapabilityError(
        f"{manifest.id} has version {manifest.version}, not {wanted}.",
        next_step="Ask for the version that there is, or for none.",
        details={"capability_id": manifest.id, "version": manifest.version, "wanted": wanted},
    )


async def unknown_capability(marketplace: Marketplace, target: str) -> UnknownCapabilityError:
    """The error for an id that is not registered, with what the caller may have meant."""
    near = await marketplace.near(target)
    hint = f" Did you mean {' or '.join(near[:3])}?" if near else ""
    return UnknownCapabilityError(
        f"There is no capability {target}.{hint}",
        details={"capability_id": target, "nearest": near},
    )


def new_entry(execution: Execution, sequence: int, target: str, arguments: dict[str, Any]) -> Entry:
    """The journal entry of a call that is about to be judged."""
    return Entry(
        execution_id=execution.id,
        sequence=sequence,
        target=target,
        arguments=arguments,
        state=EntryState.MISSING,
        repeatable=False,
        created_at=time.time(),
    )


def announce(
    writer: ExecutionWriter,
    entry: Entry,
    registered: Registered,
    arguments: dict[str, Any] | None = None,
) -> Entry:
    """Keep that the call is about to be sent, with these arguments if not those of its entry."""
    manifest = registered.manifest
    writer.note(
        EventType.CAPABILITY_CALL,
        capability_id=manifest.id,
        data={
            "sequence": entry.sequence,
            "called_as": entry.target,
            "version": manifest.version,
            "definition": registered.definition_hash,
            "arguments": entry.arguments if arguments is None else arguments,
        },
    )
    return writer.keep(
        replace(
            entry,
            state=EntryState.DISPATCHED,
            repeatable=manifest.effect_type.repeatable,
        )
    )


async def send(
    around: Surroundings,
    writer: ExecutionWriter,
    entry: Entry,
    registered: Registered,
    arguments: dict[str, Any] | None = None,
    *,
    key: str | None = None,
    seconds: float | None = None,
) -> Answer:
    """Make the call, when there is room for one more.

    Args:
        around: What it is made with.
        writer: Of its execution.
        entry: Its place in the journal.
        registered: What is called.
        arguments: By name; None for those of the entry.
        key: Its idempotency key; None for one of the entry's own.
        seconds: Longest time that is waited for an answer.

    Raises:
        ExecutionStateError: if another worker took the execution over meanwhile; nothing was sent.
    """
    given = entry.arguments if arguments is None else arguments
    own = f"{entry.execution_id}:{entry.sequence}"

    async def attempt() -> Answer:
        return await around.dispatcher.dispatch(registered, given, idempotency_key=key or own)

    async with around.slots:
        if not entry.repeatable:
            await writer.confirm()
        return await attempt() if seconds is None else await in_time(seconds, registered, attempt)


async def park(
    around: Surroundings, writer: ExecutionWriter, entries: list[Entry], **values: Any
) -> bool:
    """Let the execution wait for the capabilities of ``entries``.

    Returns:
        False, with nothing written, if one of them has come to be registered meanwhile.
    """
    targets = sorted({entry.target for entry in entries})
    execution = writer.execution
    for entry in entries:
        writer.keep(replace(entry, state=EntryState.MISSING))
    created = Event(
        EventType.CHECKPOINT_CREATED,
        execution_id=execution.id,
        actor=execution.principal,
        data={"missing_capabilities": targets, "snapshot": bool(values.get("snapshot"))},
    )

    def still_missing(transaction: Transaction) -> bool:
        around.marketplace.hold_still(transaction)
        return not any(around.marketplace.is_registered_in(transaction, one) for one in targets)

    def wait(transaction: Transaction) -> None:
        add_waits(transaction, execution.id, targets)
        around.audit.record(transaction, created)
        around.missing.record_in(
            transaction,
            [
                Sighting(entry.target, plain(entry.arguments), execution.id, execution.name)
                for entry in entries
            ],
        )

    parked = await writer.write(
        "park", wait, check=still_missing, state=ExecutionState.PARKED, **values
    )
    if parked:
        around.missing.noticed()
    return parked


async def leave_unknown(
    around: Surroundings, writer: ExecutionWriter, reasons: dict[int, str]
) -> OutcomeUnknown:
    """Hand an execution over to a person who knows what became of these calls."""
    effects = []
    for sequence, reason in sorted(reasons.items()):
        entry = writer.keep(replace(writer.recorded[sequence], state=EntryState.UNKNOWN))
        effects.append(UnknownEffect(sequence, entry.target, plain(entry.arguments), reason))
        writer.note(
            EventType.EXECUTION_OUTCOME_UNKNOWN,
            capability_id=entry.target,
            data={"sequence": sequence, "reason": reason},
        )
    await writer.write("unknown", state=ExecutionState.OUTCOME_UNKNOWN)
    return OutcomeUnknown(writer.execution.id, tuple(effects))
