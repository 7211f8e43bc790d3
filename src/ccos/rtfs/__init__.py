"""RTFS: the language of plans and capabilities, compiled to the Python that Monty runs.

``compile_module`` makes a text that a Monty worker runs; ``check`` says what is wrong with a
program or doubtful; ``load_artefacts`` reads capabilities and plans. What a program and its host
say to each other is described in :mod:`ccos.rtfs.prelude` (``rtfs_call``, ``rtfs_calls``,
``rtfs_event`` and ``rtfs_context``).
"""

from ccos.rtfs.artefacts import Artefacts, CapabilityArtefact, PlanArtefact, load_artefacts
from ccos.rtfs.cases import CaseReport, CaseResult, run_case, run_cases
from ccos.rtfs.compiler import (
    ANSWER_JSON,
    ANSWER_TAGGED,
    ANSWER_TEXT,
    LIMITS,
    CompiledModule,
    Dependency,
    FunctionSignature,
    check,
    compile_module,
    dependencies,
)
from ccos.rtfs.diagnostics import Diagnostic, Report, RtfsSyntaxError
from ccos.rtfs.execution import Failure, Host, HostRequest, Outcome, failure, run
from ccos.rtfs.forms import Source
from ccos.rtfs.printer import format_text
from ccos.rtfs.reader import is_unfinished, read, read_leniently
from ccos.rtfs.reference import documentation, names, reference_page
from ccos.rtfs.schemas import (
    FromSchema,
    NotRepresentableError,
    from_json_schema,
    shape_of,
    to_json_schema,
)
from ccos.rtfs.targets import CallTarget, target_of

__all__ = [
    "ANSWER_JSON",
    "ANSWER_TAGGED",
    "ANSWER_TEXT",
    "LIMITS",
    "Artefacts",
    "CallTarget",
    "CapabilityArtefact",
    "CaseReport",
    "CaseResult",
    "CompiledModule",
    "Dependency",
    "Diagnostic",
    "Failure",
    "FromSchema",
    "FunctionSignature",
    "Host",
    "HostRequest",
    "NotRepresentableError",
    "Outcome",
    "PlanArtefact",
    "Report",
    "RtfsSyntaxError",
    "Source",
    "check",
    "compile_module",
    "dependencies",
    "documentation",
    "failure",
    "format_text",
    "from_json_schema",
    "is_unfinished",
    "load_artefacts",
    "names",
    "read",
    "read_leniently",
    "reference_page",
    "run",
    "run_case",
    "run_cases",
    "shape_of",
    "target_of",
    "to_json_schema",
]
