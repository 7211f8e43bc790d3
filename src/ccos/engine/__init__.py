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
from ccos.engine.plan_languages import PlanLanguage, PlanLanguages, PlanSession, RunnablePlan
from ccos.engine.plans import Plan, StaticCall, read_plan
from ccos.engine.policy import SecurityLevel, SecurityPolicy, level_policy
from ccos.engine.python import SLEEP, Program, PythonLanguage, PythonSession, PythonWorkers
from ccos.engine.python.plans import PythonPlans
from ccos.engine.snapshots import SnapshotSeal, UnusableSnapshotError

__all__ = [
    "SLEEP",
    "Entry",
    "Finished",
    "HostCall",
    "Plan",
    "PlanLanguage",
    "PlanLanguages",
    "PlanSession",
    "Program",
    "PythonLanguage",
    "PythonPlans",
    "PythonSession",
    "PythonWorkers",
    "Raised",
    "RunnablePlan",
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
