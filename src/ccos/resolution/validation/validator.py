"""Validating a candidate: every check on its definition and its code."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from ccos.capabilities import Manifest, auth_references
from ccos.marketplace import Registered
from ccos.resolution.validation.analysers import Known, analyse_code, called
from ccos.resolution.validation.code import Code, Read
from ccos.resolution.validation.definitions import (
    Rules,
    Subject,
    api_issues,
    compliance_issues,
    definition_issues,
    governance_issues,
    performance_issues,
    privacy_issues,
)
from ccos.resolution.validation.findings import (
    Category,
    Issue,
    Severity,
    ValidationReport,
    issue,
)
from ccos.resolution.validation.python_code import read_python
from ccos.resolution.validation.rtfs_code import read_rtfs

_logger = logging.getLogger(__name__)

Policy = Callable[[Subject], Iterable[Issue]]
"""Judges a candidate; one that raises rejects it."""
Lookup = Callable[[str], Awaitable[Registered | None]]
"""Finds a registered capability, such as ``Marketplace.get``."""


def code_issues(subject: Subject) -> Iterable[Issue]:
    """Every finding of the static analysers."""
    if subject.read is None:
        return ()
    return analyse_code(subject.read, subject.manifest, subject.neighbours)


POLICIES: Final[tuple[Policy, ...]] = (
    definition_issues,
    code_issues,
    compliance_issues,
    governance_issues,
    privacy_issues,
    performance_issues,
    api_issues,
)
"""Those that are always installed; some wait for the rules to ask for them."""


async def validate(
    manifest: Manifest,
    rules: Rules,
    lookup: Lookup,
    *,
    code: Code | None = None,
    approved: bool = True,
    policies: Sequence[Policy] = POLICIES,
) -> ValidationReport:
    """Judge a candidate by its definition, and by its code where it brings some.

    Args:
        manifest: The candidate.
        rules: What the operator decided.
        lookup: Finds what its code calls.
        code: The code that does the work.
        approved: Whether a person approved it, or will be asked before it is registered.
        policies: What is checked.
    """
    read, issues = _read(code, manifest.id)
    neighbours = {}
    for identifier in sorted(called(read)) if read is not None else ():
        registered = await lookup(identifier)
        if registered is not None:
            neighbours[identifier] = _known(registered)
    subject = Subject(manifest, rules, read, neighbours, approved)
    for policy in policies:
        try:
            issues += policy(subject)
        except Exception as error:
            _logger.exception("A policy broke off")
            issues.append(
                Issue(
                    Severity.CRITICAL,
                    Category.QUALITY,
                    "POLICY_ERROR",
                    f"A policy could not judge it: {type(error).__name__}.",
                    "",
                    "Report it; a candidate that cannot be judged is not registered.",
                )
            )
    return ValidationReport(tuple(dict.fromkeys(issues)))


def dependencies_of(code: Code, capability_id: str) -> frozenset[str]:
    """The capabilities that code calls by name; none if it cannot be read."""
    read, _ = _read(code, capability_id)
    return called(read) if read is not None else frozenset()


def _read(code: Code | None, capability_id: str) -> tuple[Read | None, list[Issue]]:
    if code is None:
        return None, []
    if code.language == "rtfs":
        return read_rtfs(code, capability_id)
    if code.language == "python":
        return read_python(code)
    return None, [issue("SYNTAX001", f"Code in {code.language} cannot be judged.")]


def _known(registered: Registered) -> Known:
    manifest = registered.manifest
    return Known(
        effects=frozenset(manifest.effects),
        acts=not manifest.effect_type.repeatable,
        needs_auth=bool(auth_references(manifest.provider)),
        tier=manifest.trust_tier,
        deprecated=manifest.metadata.get("deprecated", "").lower() == "true",
    )
