"""The gates: everything that is asked about an id or a candidate before a decision."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ccos.capabilities import Manifest, ScriptProvider
from ccos.config import MissingCapabilityConfig
from ccos.errors import ConfigurationError
from ccos.marketplace import Marketplace
from ccos.resolution.approvals.rules import Case, RuleAction, Verdict, read_rules, verdict
from ccos.resolution.approvals.standing import StandingApprovals, host_of
from ccos.resolution.poisoning import scan
from ccos.resolution.risk import RiskAssessment, RiskLevel, raised
from ccos.resolution.validation import (
    Category,
    Code,
    Rules,
    Severity,
    ValidationReport,
    dependencies_of,
    validate,
)

CodeOf = Callable[[ScriptProvider], Awaitable[Code | None]]
"""Finds the code behind a script provider."""


@dataclass(frozen=True, slots=True)
class Review:
    """What the gates found out about a candidate.

    Attributes:
        assessment: The risk with every finding in it.
        report: What validation found.
        verdict: What the rules say; None if they say nothing.
        missing: The capabilities that its code calls and nobody registered.
    """

    assessment: RiskAssessment
    report: ValidationReport
    verdict: Verdict | None
    missing: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Gates:
    """Reviews ids and candidates.

    Attributes:
        rules_file: Where the operator's approval rules stand.
        code_of: Finds the code of scripts; without it a script's code is not judged.
    """

    marketplace: Marketplace
    config: MissingCapabilityConfig
    standing: StandingApprovals
    rules_file: Path | None = None
    code_of: CodeOf | None = None

    async def of_id(
        self,
        capability_id: str,
        assessment: RiskAssessment,
        arguments: Mapping[str, Any] | None,
    ) -> tuple[RiskAssessment, Verdict | None]:
        """The assessment of a wanted id, and what the rules say before anything is found."""
        case = Case(capability_id, assessment.level, arguments)
        return await self._judged(assessment, case, found=False)

    async def of_candidate(
        self,
        capability_id: str,
        manifest: Manifest,
        assessment: RiskAssessment,
        *,
        source: str,
        arguments: Mapping[str, Any] | None,
    ) -> Review:
        """Scan and validate a candidate, and ask the rules about it.

        Args:
            capability_id: What is wanted.
            manifest: The candidate.
            assessment: Its risk, by its declared facts.
            source: The kind of source that proposed it.
            arguments: Those of a call that waits.
        """
        others = [one.manifest.id for one in await self.marketplace.registered()]
        for finding in scan(manifest, others):
            insists = finding.level is RiskLevel.HIGH
            assessment = raised(assessment, finding.level, str(finding), insists=insists)
        code = await self._code(manifest)
        report = await self._validated(manifest, code)
        for found in report.issues:
            if found.severity is Severity.HIGH:
                assessment = raised(assessment, RiskLevel.HIGH, str(found))
            elif found.severity is Severity.MEDIUM and found.category is Category.SECURITY:
                assessment = raised(assessment, RiskLevel.MEDIUM, str(found))
        missing = await self._missing(manifest, code)
        for one in sorted(missing):
            factor = f"it calls {one}, which is not registered"
            assessment = raised(assessment, RiskLevel.MEDIUM, factor, insists=True)
        case = Case(
            capability_id,
            assessment.level,
            arguments,
            source,
            host_of(manifest),
            manifest.trust_tier,
            frozenset(manifest.effects),
        )
        assessment, said = await self._judged(assessment, case, found=True)
        return Review(assessment, report, said, missing)

    async def unapproved(self, manifest: Manifest) -> ValidationReport:
        """What validation finds in a candidate that is about to be registered unasked."""
        return await self._validated(manifest, None, approved=False)

    async def _judged(
        self, assessment: RiskAssessment, case: Case, *, found: bool
    ) -> tuple[RiskAssessment, Verdict | None]:
        try:
            rules = read_rules(self.rules_file)
        except ConfigurationError as error:
            return raised(assessment, assessment.level, error.message, insists=True), None
        said = verdict((*rules, *await self.standing.rules()), case, found=found)
        if said is None:
            return assessment, None
        if said.action is RuleAction.ALLOW:
            return assessment, said
        factor = f"a rule says {said.action.value}: {said.rule.reason}"
        return raised(assessment, assessment.level, factor, insists=True), said

    async def _missing(self, manifest: Manifest, code: Code | None) -> frozenset[str]:
        called = dependencies_of(code, manifest.id) if code is not None else frozenset()
        return frozenset([one for one in called if await self.marketplace.get(one) is None])

    async def _code(self, manifest: Manifest) -> Code | None:
        if self.code_of is None or not isinstance(manifest.provider, ScriptProvider):
            return None
        return await self.code_of(manifest.provider)

    async def _validated(
        self, manifest: Manifest, code: Code | None, *, approved: bool = True
    ) -> ValidationReport:
        flags = self.config.feature_flags
        if not flags.validation_enabled:
            return ValidationReport(skipped=True)
        chosen = self.config.validation_policies
        rules = Rules(
            self.config.security_config,
            audited=flags.audit_logging_enabled,
            data_privacy="data_privacy" in chosen,
            performance="performance" in chosen,
            api_design="api_design" in chosen,
        )
        return await validate(manifest, rules, self.marketplace.get, code=code, approved=approved)


def question_data(review: Review | None) -> dict[str, Any]:
    """What a question keeps of a review, beside the risk."""
    if review is None:
        return {}
    return {"validation": review.report.as_dict(), "needs": sorted(review.missing)}


def with_verdict(assessment: RiskAssessment, said: Verdict | None) -> RiskAssessment:
    """The assessment with what the rules say about who may answer."""
    if said is None or said.action is not RuleAction.ASK:
        return assessment
    rule = said.rule
    return replace(
        assessment,
        approvers=rule.approvers,
        other_than_requester=rule.other_than_requester,
        escalate_after_seconds=rule.escalate_after_seconds,
        escalate_to=rule.escalate_to,
    )
