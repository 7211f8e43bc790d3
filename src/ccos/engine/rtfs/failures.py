"""Errors on their way into a program and out of it."""

from __future__ import annotations

from typing import Any, Final

from ccos.engine.languages import Raised, Settled
from ccos.errors import (
    ResourceExceededError,
    ScriptError,
    ScriptRaisedError,
    SecurityViolationError,
)
from ccos.rtfs.execution import Failure, Outcome

_MESSAGE_LIMIT: Final = 2_000

_KINDS: Final = (
    ("CCOS-CAPABILITY-UNKNOWN", "UnknownCapability"),
    ("CCOS-CAPABILITY-ID", "UnknownCapability"),
    ("CCOS-CAPABILITY-ARGUMENTS", "TypeValidationError"),
    ("CCOS-CAPABILITY-RESULT", "TypeValidationError"),
    ("CCOS-CAPABILITY-NOT-CALLABLE", "SecurityViolation"),
    ("CCOS-PROVIDER-UNAVAILABLE", "NetworkError"),
    ("CCOS-PROVIDER-INTERRUPTED", "NetworkError"),
    ("CCOS-PROVIDER-TIMEOUT", "TimeoutError"),
    ("CCOS-PROVIDER-CHANGED", "SecurityViolation"),
    ("CCOS-PROVIDER-CIRCUIT-OPEN", "ResourceError"),
    ("CCOS-EGRESS-REFUSED", "SecurityViolation"),
    ("CCOS-EGRESS-TIMEOUT", "TimeoutError"),
    ("CCOS-EGRESS", "NetworkError"),
    ("CCOS-STORAGE", "StorageError"),
    ("CCOS-SCRIPT-SECURITY", "SecurityViolation"),
    ("CCOS-SCRIPT-RESOURCE", "ResourceError"),
    ("CCOS-EXECUTION-LIMIT", "ResourceError"),
    ("CCOS-APPROVAL", "ApprovalDenied"),
)
"""Kinds of host errors by what the code of an error begins with; the first that fits holds."""


def kind_of(raised: Raised) -> str:
    """The kind of error that a program sees for a failed host call."""
    if raised.details.get("reason") == "approval":
        return "ApprovalDenied"
    fitting = (kind for start, kind in _KINDS if raised.code.startswith(start))
    return next(fitting, "CapabilityError")


def outcome_of(settled: Settled) -> Outcome:
    """A settled host call as the program takes it."""
    if isinstance(settled, Raised):
        data = {"code": settled.code, **settled.details} if settled.code else None
        return refused(kind_of(settled), settled.reason or settled.message, data)
    if settled.shape is None:
        return {"value": settled.data}
    return {"value": settled.data, "shape": settled.shape}


def refused(kind: str, message: str, data: Any = None) -> Outcome:
    """A failed host call as the program takes it."""
    return {"error": {"kind": kind, "message": message, "data": data}}


def as_script_error(failure: Failure, name: str) -> ScriptError:
    """What a program ended with, in the terms of the engine."""
    place = {}
    where = ""
    if failure.line is not None and failure.column is not None:
        place = {"line": failure.line, "column": failure.column}
        where = f", line {failure.line}, column {failure.column}"
    message = failure.message
    if len(message) > _MESSAGE_LIMIT:
        message = f"{message[:_MESSAGE_LIMIT]}… [{len(message)} characters]"
    words = f"{name}{where}: {failure.kind}: {message}"
    details = {"kind": failure.kind, "type": failure.type, "data": failure.data, **place}
    if failure.kind == "BudgetExhausted":
        return ResourceExceededError(words, details={"limit": "interpreter", **details})
    if failure.kind == "SecurityViolation":
        return SecurityViolationError(words, details=details)
    return ScriptRaisedError(words, details=details)
