"""What validation finds: codes with their severity, scores, and what comes of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final, Literal

SecurityThreshold = Literal["low", "medium", "high"]


class Severity(StrEnum):
    """How bad a finding is."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"


class Category(StrEnum):
    """What a finding is about."""

    SECURITY = "security"
    QUALITY = "quality"
    COMPLIANCE = "compliance"
    PERFORMANCE = "performance"
    DOCUMENTATION = "documentation"
    API_DESIGN = "api_design"
    DEPENDENCIES = "dependencies"


class ValidationStatus(StrEnum):
    """What validation came to."""

    PASSED = "passed"
    PASSED_WITH_WARNINGS = "passed_with_warnings"
    FAILED = "failed"
    SECURITY_FAILED = "security_failed"
    COMPLIANCE_FAILED = "compliance_failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Issue:
    """One finding.

    Attributes:
        code: Stable name of the rule, such as ``SEC001``.
        location: A line of the code, or a JSON Pointer into the manifest.
        suggestion: What to do about it.
    """

    severity: Severity
    category: Category
    code: str
    description: str
    location: str
    suggestion: str

    def __str__(self) -> str:
        place = f" ({self.location})" if self.location else ""
        return f"{self.code}: {self.description}{place}"


_Rule = tuple[Severity, Category, str]
_CRITICAL, _HIGH, _MEDIUM, _LOW, _ = Severity
_SEC, _QUAL, _COMP, _PERF, _DOC, _API, _DEP = Category

RULES: Final[dict[str, _Rule]] = {
    "SEC001": (_CRITICAL, _SEC, "Refer to the secret by name."),
    "SEC002": (_HIGH, _SEC, "Pass values as parameters of the statement."),
    "SEC003": (_HIGH, _SEC, "Inject the credential, or declare the permission requires_auth."),
    "SEC_ANALYZER001": (_CRITICAL, _SEC, "Name the capability that is called."),
    "SEC_ANALYZER002": (_HIGH, _SEC, "Use https."),
    "SEC_ANALYZER003": (_HIGH, _SEC, "Inject the credential instead of writing the header."),
    "SEC_ANALYZER004": (_MEDIUM, _SEC, "Mark the parameter as writeOnly and keep it inside."),
    "QUAL001": (_MEDIUM, _QUAL, "Catch the error and say what it means."),
    "QUAL002": (_MEDIUM, _QUAL, "Describe every parameter in the input schema."),
    "QUAL003": (_LOW, _DOC, "Say in a sentence what it does."),
    "COMP001": (_CRITICAL, _COMP, "Declare consent, or leave personal data out."),
    "COMP002": (_HIGH, _COMP, "Declare every effect, and leave the audit on."),
    "SYNTAX001": (_CRITICAL, _QUAL, "Correct the form."),
    "SYNTAX002": (_CRITICAL, _QUAL, "Close what was opened."),
    "SYNTAX003": (_CRITICAL, _QUAL, "Define the capability once, under the id that was asked for."),
    "SYNTAX004": (_MEDIUM, _DOC, "Add a description."),
    "SYNTAX005": (_CRITICAL, _QUAL, "Add the function that does the work."),
    "PERF_ANALYZER001": (_MEDIUM, _PERF, "Take inner parts out into functions."),
    "PERF_ANALYZER002": (_HIGH, _PERF, "Give the loop an end that is reached."),
    "PERF_ANALYZER003": (_MEDIUM, _PERF, "Call fewer capabilities."),
    "PERF_ANALYZER004": (_MEDIUM, _PERF, "Give the recursion a case that ends it."),
    "DEP_ANALYZER001": (_LOW, _DEP, "Depend on less."),
    "DEP_ANALYZER002": (_MEDIUM, _DEP, "Register what it calls, from a place that is known."),
    "DEP_ANALYZER003": (_MEDIUM, _DEP, "Call what took its place."),
    "PREFLIGHT001": (_HIGH, _QUAL, "Let it work on the least that its input schema allows."),
    "PREFLIGHT002": (_HIGH, _QUAL, "Answer what the output schema promises."),
    "MAX_PARAM_COUNT": (_HIGH, _QUAL, "Split it up."),
    "GOV001": (_CRITICAL, _SEC, "Let a person approve it."),
    "GOV002": (_HIGH, _SEC, "Let an operator allow the host."),
    "GOV003": (_HIGH, _SEC, "Use https."),
    "GOV004": (_MEDIUM, _COMP, "Switch audit_logging_enabled on."),
    "PRIV001": (_CRITICAL, _COMP, "Declare consent in the metadata."),
    "PRIV002": (_HIGH, _COMP, "Declare the purpose in the metadata."),
    "PRIV003": (_HIGH, _COMP, "Name the deletion_capability in the metadata."),
    "PERF001": (_MEDIUM, _PERF, "Make fewer calls."),
    "PERF002": (_LOW, _PERF, "Keep the answer in a cache."),
    "API001": (_MEDIUM, _API, "Give it a semantic version."),
    "API002": (_LOW, _API, "Describe it in 50 characters or more."),
    "API003": (_MEDIUM, _API, "Describe what an error looks like."),
    "API004": (_LOW, _API, "Group the parameters."),
}
"""Severity, category and advice of each rule."""


def issue(code: str, description: str, location: str = "") -> Issue:
    """A finding of the rule ``code``."""
    severity, category, suggestion = RULES[code]
    return Issue(severity, category, code, description, location, suggestion)


def at_line(line: int) -> str:
    """A line of the code as a location."""
    return f"line {line}" if line else ""


_SECURITY_COST: Final = {Severity.CRITICAL: 0.4, Severity.HIGH: 0.2}
_COMPLIANCE_COST: Final = {Severity.CRITICAL: 0.5, Severity.HIGH: 0.3}
_QUALITY_COST: Final = {
    Severity.CRITICAL: 0.3,
    Severity.HIGH: 0.2,
    Severity.MEDIUM: 0.1,
    Severity.LOW: 0.05,
    Severity.INFO: 0.01,
}


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """All findings about a candidate. Scores are from 0 to 1."""

    issues: tuple[Issue, ...] = ()
    skipped: bool = False

    @property
    def status(self) -> ValidationStatus:
        """What the findings come to."""
        critical = {one.category for one in self.issues if one.severity is Severity.CRITICAL}
        if self.skipped:
            return ValidationStatus.SKIPPED
        if Category.SECURITY in critical:
            return ValidationStatus.SECURITY_FAILED
        if Category.COMPLIANCE in critical:
            return ValidationStatus.COMPLIANCE_FAILED
        if critical:
            return ValidationStatus.FAILED
        if any(one.severity in (Severity.HIGH, Severity.MEDIUM) for one in self.issues):
            return ValidationStatus.PASSED_WITH_WARNINGS
        return ValidationStatus.PASSED

    @property
    def rejects(self) -> bool:
        """Whether the candidate must not be registered."""
        return any(one.severity is Severity.CRITICAL for one in self.issues)

    def fails(self, threshold: SecurityThreshold) -> bool:
        """Whether it fails for somebody as strict as this.

        ``low`` fails on what is critical, ``medium`` also on what is high in security or
        compliance, ``high`` on everything that is high.
        """
        high = [one for one in self.issues if one.severity is Severity.HIGH]
        if threshold == "medium":
            high = [one for one in high if one.category in (_SEC, _COMP)]
        return self.rejects or (threshold != "low" and bool(high))

    @property
    def security_score(self) -> float:
        """Less for each grave finding about security."""
        return self._score(Category.SECURITY, _SECURITY_COST)

    @property
    def quality_score(self) -> float:
        """Less for each finding about quality."""
        return self._score(Category.QUALITY, _QUALITY_COST)

    @property
    def compliance_score(self) -> float:
        """Less for each grave finding about compliance."""
        return self._score(Category.COMPLIANCE, _COMPLIANCE_COST)

    def _score(self, category: Category, costs: dict[Severity, float]) -> float:
        cost = sum(costs.get(one.severity, 0) for one in self.issues if one.category is category)
        return round(max(0.0, 1.0 - cost), 2)

    def and_issues(self, issues: Iterable[Issue]) -> ValidationReport:
        """The report with further findings."""
        return ValidationReport((*self.issues, *issues), self.skipped)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON data."""
        return {
            "status": self.status.value,
            "security_score": self.security_score,
            "quality_score": self.quality_score,
            "compliance_score": self.compliance_score,
            "issues": [asdict(one) for one in self.issues],
        }
