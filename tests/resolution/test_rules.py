"""Approval rules: what fits, what comes first, and what no rule can do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ccos.capabilities import TrustTier
from ccos.config import MissingCapabilityConfig, MissingCapabilityFeatureFlags
from ccos.errors import ConfigurationError
from ccos.resolution.approvals.rules import (
    ApprovalRule,
    Case,
    RuleAction,
    read_rules,
    verdict,
)
from ccos.resolution.governance import Decision, decide
from ccos.resolution.risk import RiskLevel, assess, raised

CASE = Case(
    "payments.refund",
    RiskLevel.MEDIUM,
    {"amount": 40, "to": {"country": "CH"}},
    "mcp_registry",
    "api.pay.example",
    TrustTier.VERIFIED,
    frozenset({"network"}),
)


def rule(action: str, **fields: Any) -> ApprovalRule:
    return ApprovalRule.model_validate({"action": action, "reason": "because", **fields})


def said(*rules: ApprovalRule, case: Case = CASE, found: bool = True) -> RuleAction | None:
    answer = verdict(rules, case, found=found)
    return None if answer is None else answer.action


@pytest.mark.parametrize(
    ("fits", "misses"),
    [
        ({"id": "payments.*"}, {"id": "payments"}),
        ({"id": ["a.b", "*.refund"]}, {"id": "*.refun"}),
        ({"id": "payments.refund"}, {"id": "payments?refund"}),
        ({"arguments": {"amount": {"at_most": 50}}}, {"arguments": {"amount": {"at_most": 39}}}),
        ({"arguments": {"amount": {"at_least": 40}}}, {"arguments": {"amount": {"at_least": 41}}}),
        ({"arguments": {"to.country": "C*"}}, {"arguments": {"to.country": "D*"}}),
        ({"arguments": {"amount": "40"}}, {"arguments": {"missing": "*"}}),
        ({"source": "mcp_*"}, {"source": "web_search"}),
        ({"host": "*.pay.example"}, {"host": "pay.example"}),
        ({"trust": ["verified", "official"]}, {"trust": ["official"]}),
        ({"effects": ["net*"]}, {"effects": ["filesystem"]}),
        ({"expires_at": 32_503_680_000}, {"expires_at": 1_000_000_000}),
    ],
    ids=str,
)
@pytest.mark.parametrize("action", ["deny", "ask", "allow"])
def test_each_pattern_and_its_twin(
    action: str, fits: dict[str, Any], misses: dict[str, Any]
) -> None:
    assert said(rule(action, **fits)) == action
    assert said(rule(action, **misses)) is None


def test_a_denial_comes_first_and_a_question_before_a_permission() -> None:
    deny, ask, allow = rule("deny"), rule("ask"), rule("allow")
    assert said(allow, ask, deny) is RuleAction.DENY
    assert said(allow, ask) is RuleAction.ASK
    assert said(allow) is RuleAction.ALLOW
    assert said() is None


def test_a_permission_needs_every_effect_and_a_denial_only_one() -> None:
    case = Case("a.b", RiskLevel.LOW, {}, "s", "", TrustTier.OFFICIAL, frozenset({"x", "y"}))
    assert said(rule("allow", effects=["x"]), case=case) is None
    assert said(rule("allow", effects=["x", "y"]), case=case) is RuleAction.ALLOW
    assert said(rule("deny", effects=["x"]), case=case) is RuleAction.DENY
    silent = Case("a.b", RiskLevel.LOW, {}, "s", "", TrustTier.OFFICIAL, frozenset())
    assert said(rule("allow", effects=[]), case=silent) is RuleAction.ALLOW
    assert said(rule("allow", effects=[]), case=case) is None


def test_what_is_not_known_permits_nothing_and_denies_by_asking() -> None:
    unknown = Case("payments.refund", RiskLevel.LOW, None, "s", "", TrustTier.OFFICIAL, frozenset())
    limited = {"arguments": {"amount": {"at_most": 50}}}
    assert said(rule("allow", **limited), case=unknown) is None
    assert said(rule("deny", **limited), case=unknown) is RuleAction.ASK
    assert said(rule("ask", **limited), case=unknown) is RuleAction.ASK


def test_before_anything_is_found_only_the_id_denies_and_a_permission_lets_the_search_begin() -> (
    None
):
    wanted = Case("payments.refund", RiskLevel.LOW, {"amount": 40})
    assert said(rule("deny", source="web"), case=wanted, found=False) is None
    assert said(rule("ask", trust=["unknown"]), case=wanted, found=False) is None
    assert said(rule("deny", id="payments.*"), case=wanted, found=False) is RuleAction.DENY
    allow = rule("allow", id="payments.*", trust=["official"])
    assert said(allow, case=wanted, found=False) is RuleAction.ALLOW
    assert said(allow, case=CASE) is None


@pytest.mark.parametrize("up_to", ["low", "medium", "high"])
@pytest.mark.parametrize("level", list(RiskLevel))
def test_a_permission_reaches_up_to_its_level(up_to: str, level: RiskLevel) -> None:
    case = Case("a.b", level, {}, "s", "", TrustTier.OFFICIAL, frozenset())
    expected = RuleAction.ALLOW if level.rank <= RiskLevel(up_to).rank else None
    assert said(rule("allow", up_to=up_to), case=case) is expected


CONFIG = MissingCapabilityConfig(
    feature_flags=MissingCapabilityFeatureFlags(enabled=True, human_approval_required=True),
    high_risk_auto_resolution=True,
)


def test_what_no_rule_can_do() -> None:
    allow = verdict([rule("allow", up_to="high")], CASE, found=True)
    calm = assess("weather.current")
    assert decide(calm, CONFIG, verdict=allow) is Decision.PROCEED
    assert decide(calm, CONFIG) is Decision.ASK
    # Critical stays blocked, and what insists on a person gets one.
    assert decide(assess("admin.auth"), CONFIG, verdict=allow) is Decision.BLOCK
    suspicious = raised(calm, RiskLevel.HIGH, "it is suspicious", insists=True)
    assert decide(suspicious, CONFIG, verdict=allow) is Decision.ASK
    assert decide(suspicious, CONFIG, approved_level=RiskLevel.HIGH) is Decision.PROCEED
    plain = raised(calm, RiskLevel.HIGH, "it is risky")
    assert decide(plain, CONFIG) is Decision.PROCEED


def test_a_denial_is_final() -> None:
    deny = verdict([rule("deny")], CASE, found=True)
    calm = assess("weather.current")
    approved = decide(calm, CONFIG, verdict=deny, approved_level=RiskLevel.HIGH, overridden=True)
    assert approved is Decision.BLOCK


def test_a_file_of_rules(tmp_path: Path) -> None:
    path = tmp_path / "approval-rules.json"
    assert read_rules(None) == read_rules(path) == ()
    entry = {"action": "allow", "id": "a.*", "reason": "ours", "expires_at": "2030-01-31T12:00:00Z"}
    path.write_text(json.dumps({"rules": [entry, {"action": "deny", "reason": "no"}]}))
    first, second = read_rules(path)
    assert (first.id, first.expires_at) == (("a.*",), 1_896_091_200.0)
    assert second.action is RuleAction.DENY


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read"),
        ("[]", 'one key "rules"'),
        ('{"rules": [], "more": 1}', 'one key "rules"'),
        ('{"rules": {}}', 'one key "rules"'),
        ('{"rules": [{"action": "deny"}]}', "Rule 1 .*reason"),
        ('{"rules": [{"action": "permit", "reason": "x"}]}', "Rule 1 .*action"),
        ('{"rules": [{"action": "deny", "reason": "x", "ids": "a"}]}', "Rule 1 .*ids"),
        ('{"rules": [{"action": "allow", "reason": "x", "up_to": "critical"}]}', "up_to"),
        ('{"rules": [{"action": "deny", "reason": "x", "up_to": "low"}]}', "only a rule"),
        ('{"rules": [{"action": "allow", "reason": "x", "approvers": ["a"]}]}', "only a rule"),
        ('{"rules": [{"action": "ask", "reason": "x", "escalate_to": ["a"]}]}', "need each other"),
        (
            '{"rules": [{"action": "deny", "reason": "x", "expires_at": "2030-01-01T00:00:00"}]}',
            "offset",
        ),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "approval-rules.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        read_rules(path)
