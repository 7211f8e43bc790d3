"""Who decides: the whole matrix of flag, level, scope, approval and override."""

from __future__ import annotations

import itertools
from typing import Literal

import pytest

from ccos.config import MissingCapabilityConfig, MissingCapabilityFeatureFlags
from ccos.resolution.governance import Decision, decide
from ccos.resolution.risk import RiskAssessment, RiskLevel

Scope = Literal["all", "high_and_synthesis"]

LOW, MEDIUM, HIGH, CRITICAL = RiskLevel
PROCEED, ASK, BLOCK = Decision


def assessment(level: RiskLevel, *, asks: bool = False) -> RiskAssessment:
    return RiskAssessment(level, (), (), (), asks or level.rank >= HIGH.rank, "")


def config(
    *, required: bool, scope: Scope = "all", automatic: bool = False
) -> MissingCapabilityConfig:
    return MissingCapabilityConfig(
        feature_flags=MissingCapabilityFeatureFlags(enabled=True, human_approval_required=required),
        approval_scope=scope,
        high_risk_auto_resolution=automatic,
    )


@pytest.mark.parametrize(
    ("required", "scope", "expected"),
    [
        (True, "all", {LOW: ASK, MEDIUM: ASK, HIGH: ASK, CRITICAL: BLOCK}),
        (False, "all", {LOW: PROCEED, MEDIUM: PROCEED, HIGH: ASK, CRITICAL: BLOCK}),
        (
            True,
            "high_and_synthesis",
            {LOW: PROCEED, MEDIUM: PROCEED, HIGH: ASK, CRITICAL: BLOCK},
        ),
        (
            False,
            "high_and_synthesis",
            {LOW: PROCEED, MEDIUM: PROCEED, HIGH: ASK, CRITICAL: BLOCK},
        ),
    ],
)
def test_without_an_approval_flag_and_level_decide(
    required: bool, scope: Scope, expected: dict[RiskLevel, Decision]
) -> None:
    chosen = config(required=required, scope=scope)
    assert {level: decide(assessment(level), chosen) for level in RiskLevel} == expected


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize(
    ("level", "approved"), list(itertools.product([LOW, MEDIUM, HIGH], [LOW, MEDIUM, HIGH]))
)
def test_an_approval_covers_its_level_and_those_below(
    required: bool, level: RiskLevel, approved: RiskLevel
) -> None:
    decision = decide(assessment(level), config(required=required), approved_level=approved)
    if level.rank <= approved.rank:
        assert decision is PROCEED
    else:
        assert decision is decide(assessment(level), config(required=required))


@pytest.mark.parametrize("approved", list(RiskLevel))
def test_no_approval_lifts_a_block(approved: RiskLevel) -> None:
    assert decide(assessment(CRITICAL), config(required=False), approved_level=approved) is BLOCK


@pytest.mark.parametrize(
    ("approved", "expected"), [(None, ASK), (LOW, ASK), (MEDIUM, ASK), (HIGH, PROCEED)]
)
def test_an_override_makes_critical_as_good_as_high_and_no_better(
    approved: RiskLevel | None, expected: Decision
) -> None:
    decision = decide(
        assessment(CRITICAL), config(required=False), approved_level=approved, overridden=True
    )
    assert decision is expected


def test_high_risk_is_resolved_alone_only_where_the_configuration_says_so() -> None:
    assert decide(assessment(HIGH), config(required=True, automatic=True)) is PROCEED
    assert decide(assessment(HIGH), config(required=True)) is ASK
    assert decide(assessment(CRITICAL), config(required=True, automatic=True)) is BLOCK


def test_an_assessment_may_ask_for_a_person_whatever_its_level() -> None:
    chosen = config(required=False)
    assert decide(assessment(MEDIUM, asks=True), chosen) is ASK
    assert decide(assessment(MEDIUM), chosen) is PROCEED
