"""What happens in CCOS, as typed events from a closed set of names."""

from __future__ import annotations

import asyncio
import difflib
import itertools
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from ccos.errors import ConfigurationError


class EventType(StrEnum):
    """Every event there is. Audit entries carry the same names."""

    EXECUTION_STARTED = "execution_started"
    EXECUTION_COMPLETED = "execution_completed"
    EXECUTION_FAILED = "execution_failed"
    EXECUTION_CANCELLED = "execution_cancelled"
    EXECUTION_OUTCOME_UNKNOWN = "execution_outcome_unknown"
    EXECUTION_RECOVERED = "execution_recovered"

    CAPABILITY_CALL = "capability_call"
    CAPABILITY_RESULT = "capability_result"
    CAPABILITY_REFUSED = "capability_refused"
    OUTCOME_DECIDED = "outcome_decided"

    STEP_STARTED = "step_started"
    STEP_COMPLETED = "step_completed"
    STEP_FAILED = "step_failed"
    STEP_LOGGED = "step_logged"
    CONTEXT_SET = "context_set"
    CALL_MEASURED = "call_measured"
    CAPABILITY_FALLBACK = "capability_fallback"

    MISSING_CAPABILITY_RUNTIME = "missing_capability_runtime"
    CHECKPOINT_CREATED = "checkpoint_created"
    AUTO_RESUME_READY = "auto_resume_ready"
    CHECKPOINT_RESUMED = "checkpoint_resumed"

    RESOLUTION_QUEUED = "resolution_queued"
    RESOLUTION_DEFERRED = "resolution_deferred"
    RESOLUTION_STARTED = "resolution_started"
    RESOLUTION_SUCCEEDED = "resolution_succeeded"
    RESOLUTION_FAILED = "resolution_failed"
    RESOLUTION_PERMANENTLY_FAILED = "resolution_permanently_failed"
    RESOLUTION_BLOCKED = "resolution_blocked"
    RESOLUTION_MEDIUM_RISK = "resolution_medium_risk"
    RESOLUTION_OVERRIDDEN = "resolution_overridden"
    SOURCE_SEARCHED = "source_searched"
    CAPABILITY_DISCOVERY_COMPLETED = "capability_discovery_completed"

    APPROVAL_REQUESTED = "approval_requested"
    APPROVAL_GRANTED = "approval_granted"
    APPROVAL_DENIED = "approval_denied"
    APPROVAL_EXPIRED = "approval_expired"
    APPROVAL_SUPERSEDED = "approval_superseded"
    APPROVAL_ESCALATED = "approval_escalated"

    CAPABILITY_REGISTERED = "capability_registered"
    CAPABILITY_UPDATED = "capability_updated"
    CAPABILITY_REMOVED = "capability_removed"
    CAPABILITY_REVOKED = "capability_revoked"
    CAPABILITY_QUARANTINED = "capability_quarantined"
    CAPABILITY_VALIDATED = "capability_validated"
    CAPABILITY_DRIFTED = "capability_drifted"
    ALIAS_REGISTERED = "alias_registered"

    SCRIPT_COMPILED = "script_compiled"
    SCRIPT_LOADED = "script_loaded"
    SCRIPT_UNLOADED = "script_unloaded"
    SCRIPT_EXECUTION_REQUESTED = "script_execution_requested"
    SCRIPT_EXECUTION_STARTED = "script_execution_started"
    SCRIPT_EXECUTED = "script_executed"
    SCRIPT_CACHED = "script_cached"
    SCRIPT_TOOL_REGISTERED = "script_tool_registered"
    SCRIPT_TOOL_UNREGISTERED = "script_tool_unregistered"
    CACHE_CLEARED = "cache_cleared"
    SANDBOX_CREATED = "sandbox_created"
    SANDBOX_DESTROYED = "sandbox_destroyed"
    SECURITY_POLICY_UPDATED = "security_policy_updated"
    SERVICE_STARTED = "service_started"
    SERVICE_STOPPED = "service_stopped"
    SERVICE_RESTARTED = "service_restarted"
    CONFIGURATION_UPDATED = "configuration_updated"
    HEALTH_CHANGED = "health_changed"
    HOST_CALL = "host_call"
    BUDGET_WARNING = "budget_warning"
    BUDGET_EXHAUSTED = "budget_exhausted"
    BUDGET_EXTENDED = "budget_extended"

    MIGRATION_STARTED = "migration_started"
    TOOL_MIGRATED = "tool_migrated"
    TOOL_MIGRATION_FAILED = "tool_migration_failed"
    TOOL_ROLLED_BACK = "tool_rolled_back"
    MIGRATION_COMPLETED = "migration_completed"

    EGRESS_REQUEST = "egress_request"
    SECURITY_VIOLATION = "security_violation"
    WORKER_STARTED = "worker_started"
    WORKER_STOPPED = "worker_stopped"


NOTICES: Final[Mapping[str, EventType]] = MappingProxyType(
    {
        "step-started": EventType.STEP_STARTED,
        "step-completed": EventType.STEP_COMPLETED,
        "step-failed": EventType.STEP_FAILED,
        "log": EventType.STEP_LOGGED,
        "context-set": EventType.CONTEXT_SET,
    }
)
"""What a program tells of itself, by the name that it has for it."""


class Priority(StrEnum):
    """How soon somebody should look at an event."""

    CRITICAL = "critical"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


_PRIORITIES: Final[Mapping[EventType, Priority]] = MappingProxyType(
    {
        EventType.SECURITY_VIOLATION: Priority.CRITICAL,
        EventType.EXECUTION_OUTCOME_UNKNOWN: Priority.CRITICAL,
        EventType.CAPABILITY_QUARANTINED: Priority.CRITICAL,
        EventType.RESOLUTION_BLOCKED: Priority.CRITICAL,
        EventType.APPROVAL_REQUESTED: Priority.HIGH,
        EventType.BUDGET_EXHAUSTED: Priority.HIGH,
        EventType.EXECUTION_FAILED: Priority.HIGH,
        EventType.RESOLUTION_PERMANENTLY_FAILED: Priority.HIGH,
        EventType.EGRESS_REQUEST: Priority.LOW,
        EventType.HOST_CALL: Priority.LOW,
        EventType.SCRIPT_CACHED: Priority.LOW,
        EventType.SANDBOX_DESTROYED: Priority.LOW,
        EventType.SANDBOX_CREATED: Priority.LOW,
        EventType.SECURITY_POLICY_UPDATED: Priority.HIGH,
        EventType.HEALTH_CHANGED: Priority.HIGH,
    }
)

_PROCESS: Final = secrets.token_hex(6)
_numbers: Final = itertools.count(1)


def _next_id() -> str:
    return f"event-{_PROCESS}-{next(_numbers)}"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        type: Its name.
        capability_id: The capability it is about; empty when it is about none.
        execution_id: The execution it belongs to; empty when it belongs to none.
        actor: Who caused it: a person's name, ``agent``, ``ccos`` …
        data: Further parts, JSON data.
        at: Seconds since the Unix epoch.
        source: The part of CCOS that it comes from, such as ``script_engine``.
        id: Its own id.
    """

    type: EventType
    capability_id: str = ""
    execution_id: str = ""
    actor: str = "ccos"
    data: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    at: float = field(default_factory=time.time)
    source: str = "ccos"
    id: str = field(default_factory=_next_id, compare=False)

    @property
    def correlation_id(self) -> str:
        """What ties it to others: its execution, else its capability, else its own id."""
        return self.execution_id or self.capability_id or self.id

    @property
    def priority(self) -> Priority:
        """How soon somebody should look at it."""
        return _PRIORITIES.get(self.type, Priority.NORMAL)


_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


def event_type(name: str) -> EventType:
    """The event type of a name.

    Raises:
        ConfigurationError: for a name that is not in the set, suggesting the nearest.
    """
    try:
        return EventType(name)
    except ValueError:
        near = difflib.get_close_matches(name, [item.value for item in EventType], n=1)
        suggestion = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigurationError(
            f"There is no event named {name!r}.{suggestion}",
            details={"name": name, "nearest": near},
        ) from None


class Subscription:
    """A bounded view of the events that follow, as an async iterator.

    A reader that falls behind loses the oldest events; :attr:`lost` counts them.
    """

    def __init__(self, types: frozenset[EventType], capacity: int) -> None:
        self._types = types
        self._waiting: deque[Event] = deque(maxlen=capacity)
        self._arrival = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self.lost = 0

    def wants(self, type: EventType) -> bool:  # noqa: A002 - the word for it
        """Whether an event of this type would be taken."""
        return not self._closed and (not self._types or type in self._types)

    def offer(self, event: Event) -> None:
        """Take the event if it is of a wanted type; callable from any thread, never waits."""
        if not self.wants(event.type):
            return
        if len(self._waiting) == self._waiting.maxlen:
            self.lost += 1
        self._waiting.append(event)
        try:
            self._loop.call_soon_threadsafe(self._arrival.set)
        except RuntimeError:  # the reader's event loop is gone, and the reader with it
            self._closed = True

    def close(self) -> None:
        """End the iteration once the events at hand are read."""
        self._closed = True
        self._arrival.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._closed:
                return
            self._arrival.clear()
            if not self._waiting:
                await self._arrival.wait()


class EventBus:
    """Hands every event to every subscription; no subscriber can slow down the publisher."""

    def __init__(self) -> None:
        self._subscriptions: list[Subscription] = []

    def subscribe(
        self, types: Iterable[EventType | str] = (), *, capacity: int = 1000
    ) -> Subscription:
        """Receive events from now on.

        Args:
            types: The wanted types or their names; empty for all.
            capacity: How many unread events are kept.

        Raises:
            ConfigurationError: for an unknown name.
        """
        wanted = frozenset(event_type(name) for name in types)
        subscription = Subscription(wanted, capacity)
        self._subscriptions = [*self._subscriptions, subscription]
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop a subscription; stopping it again does nothing."""
        self._subscriptions = [one for one in self._subscriptions if one is not subscription]
        subscription.close()

    def wants(self, type: EventType) -> bool:  # noqa: A002 - the word for it
        """Whether anybody would get an event of this type."""
        for one in self._subscriptions:  # noqa: SIM110 - asked for every event, and twice as quick
            if one.wants(type):
                return True
        return False

    def publish(self, event: Event) -> None:
        """Hand ``event`` to all who want it."""
        for subscription in self._subscriptions:
            subscription.offer(event)
