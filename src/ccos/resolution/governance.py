"""Who decides: a rule, a person, or nobody."""

from __future__ import annotations

from enum import StrEnum

from ccos.config import MissingCapabilityConfig
from ccos.resolution.approvals.rules import RuleAction, Verdict
from ccos.resolution.risk import RiskAssessment, RiskLevel


class Decision(StrEnum):
    """What may be done about a request or a candidate."""

    PROCEED = "proceed"
    ASK = "ask"
    BLOCK = "block"


def decide(
    assessment: RiskAssessment,
    config: MissingCapabilityConfig,
    *,
    approved_level: RiskLevel | None = None,
    overridden: bool = False,
    verdict: Verdict | None = None,
) -> Decision:
    """Judge an assessment by the configuration and by what a person approved already.

    Args:
        assessment: Of the wanted id, or of a candidate.
        config: Whose flags and limits apply.
        approved_level: Up to which level a person said yes; None if nobody did.
        overridden: Whether an operator lifted a block, which makes critical as good as high.
        verdict: What the approval rules say. A denial is final; a permission never lifts a block
            and does not stand in for a person where one has to decide.
    """
    level = assessment.level
    if verdict is not None and verdict.action is RuleAction.DENY:
        return Decision.BLOCK
    if level is RiskLevel.CRITICAL:
        if not overridden:
            return Decision.BLOCK
        level = RiskLevel.HIGH
    if approved_level is not None and level.rank <= approved_level.rank:
        return Decision.PROCEED
    if assessment.insists:
        return Decision.ASK
    if verdict is not None and verdict.action is RuleAction.ALLOW:
        return Decision.PROCEED
    if level is RiskLevel.HIGH:
        return Decision.PROCEED if config.high_risk_auto_resolution else Decision.ASK
    if assessment.requires_human_approval:
        return Decision.ASK
    asks_for_all = config.feature_flags.human_approval_required and config.approval_scope == "all"
    return Decision.ASK if asks_for_all else Decision.PROCEED
