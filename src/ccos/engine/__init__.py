"""Running scripts without ambient authority: they compute, and they ask the host."""

from ccos.engine.languages import (
    Entry,
    Finished,
    HostCall,
    Raised,
    SessionRequest,
    Settled,
    Stop,
    Value,
    Waiting,
)
from ccos.engine.plans import Plan, StaticCall, read_plan
from ccos.engine.policy import SecurityLevel, SecurityPolicy, level_policy
from ccos.engine.python import SLEEP, Program, PythonLanguage, PythonSession, PythonWorkers
from ccos.engine.snapshots import SnapshotSeal, UnusableSnapshotError

__all__ = [
    "SLEEP",
    "Entry",
    "Finished",
    "HostCall",
    "Plan",
    "Program",
    "PythonLanguage",
    "PythonSession",
    "PythonWorkers",
    "Raised",
    "SecurityLevel",
    "SecurityPolicy",
    "SessionRequest",
    "Settled",
    "SnapshotSeal",
    "StaticCall",
    "Stop",
    "UnusableSnapshotError",
    "Value",
    "Waiting",
    "level_policy",
    "read_plan",
]
