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
    NamedCall,
    Refused,
    Signature,
)
from ccos.engine.rune.installation import find_worker
from ccos.engine.rune.language import RuneLanguage
from ccos.engine.rune.plans import RunePlans
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
    "NamedCall",
    "Program",
    "Refused",
    "RuneLanguage",
    "RunePlans",
    "RuneSession",
    "RuneWorkers",
    "Signature",
    "find_worker",
]
