"""Looking at an installation and the machine it is on, without changing anything."""

from ccos.operations.doctor.checks import Check, Examination, Status, examine
from ccos.operations.doctor.machine import Machine
from ccos.operations.doctor.rounds import diagnose, examinations

__all__ = [
    "Check",
    "Examination",
    "Machine",
    "Status",
    "diagnose",
    "examinations",
    "examine",
]
