"""Validation: static checks of a candidate's definition, schemas and code."""

from ccos.resolution.validation.analysers import Known, is_secret_name
from ccos.resolution.validation.code import Code
from ccos.resolution.validation.definitions import Rules, Subject
from ccos.resolution.validation.findings import (
    RULES,
    Category,
    Issue,
    SecurityThreshold,
    Severity,
    ValidationReport,
    ValidationStatus,
    issue,
)
from ccos.resolution.validation.validator import POLICIES, Policy, dependencies_of, validate

__all__ = [
    "POLICIES",
    "RULES",
    "Category",
    "Code",
    "Issue",
    "Known",
    "Policy",
    "Rules",
    "SecurityThreshold",
    "Severity",
    "Subject",
    "ValidationReport",
    "ValidationStatus",
    "dependencies_of",
    "is_secret_name",
    "issue",
    "validate",
]
