"""Executions: gate, journal, park, resume."""

from ccos.runtime.calls import Surroundings
from ccos.runtime.dispatch import Answer, Dispatcher
from ccos.runtime.gate import CallPolicy
from ccos.runtime.missing import MissingCapabilities, NothingDetected, Sighting
from ccos.runtime.outcomes import (
    Completed,
    Failed,
    Outcome,
    OutcomeUnknown,
    Parked,
    UnknownEffect,
)
from ccos.runtime.plan_host import PlanLimits
from ccos.runtime.records import (
    Entry,
    EntryState,
    Execution,
    ExecutionKind,
    ExecutionState,
    awaited_capabilities,
    waiting_arguments,
)
from ccos.runtime.runtime import Runtime
from ccos.runtime.workers import HEARTBEAT_SECONDS, Worker, Workers, this_worker

__all__ = [
    "HEARTBEAT_SECONDS",
    "Answer",
    "CallPolicy",
    "Completed",
    "Dispatcher",
    "Entry",
    "EntryState",
    "Execution",
    "ExecutionKind",
    "ExecutionState",
    "Failed",
    "MissingCapabilities",
    "NothingDetected",
    "Outcome",
    "OutcomeUnknown",
    "Parked",
    "PlanLimits",
    "Runtime",
    "Sighting",
    "Surroundings",
    "UnknownEffect",
    "Worker",
    "Workers",
    "awaited_capabilities",
    "this_worker",
    "waiting_arguments",
]
