"""Rune on its own virtual machine, in worker processes that are installed beside CCOS."""

from ccos.engine.rune.client import (
    Accepted,
    Attribute,
    Constant,
    Declared,
    Finding,
    HeaderEntry,
    InspectedFunction,
    Inspection,
    Module,
    Refused,
    Signature,
)
from ccos.engine.rune.installation import find_worker
from ccos.engine.rune.language import RuneLanguage
from ccos.engine.rune.session import Program, RuneSession
from ccos.engine.rune.workers import RuneWorkers

__all__ = [
    "Accepted",
    "Attribute",
    "Constant",
    "Declared",
    "Finding",
    "HeaderEntry",
    "InspectedFunction",
    "Inspection",
    "Module",
    "Program",
    "Refused",
    "RuneLanguage",
    "RuneSession",
    "RuneWorkers",
    "Signature",
    "find_worker",
]
