"""Running scripts without ambient authority: they compute, and they ask the host."""

from ccos.engine.plans import Plan, StaticCall, read_plan
from ccos.engine.python import (
    Finished,
    HostCall,
    PlanLimits,
    PlanSession,
    PythonWorkers,
    Raised,
    Settled,
    Value,
    Waiting,
)
from ccos.engine.snapshots import SnapshotSeal, UnusableSnapshotError

__all__ = [
    "Finished",
    "HostCall",
    "Plan",
    "PlanLimits",
    "PlanSession",
    "PythonWorkers",
    "Raised",
    "Settled",
    "SnapshotSeal",
    "StaticCall",
    "UnusableSnapshotError",
    "Value",
    "Waiting",
    "read_plan",
]
