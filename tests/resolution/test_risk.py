"""The one rule set for risk: every factor with something that looks like it and is not."""

from __future__ import annotations

from typing import Any

import pytest

from ccos.capabilities import AuthReference, EffectType, HttpProvider, TrustTier
from ccos.resolution.risk import History, RiskLevel, assess
from opening import manifest

LOW, MEDIUM, HIGH, CRITICAL = RiskLevel


@pytest.mark.parametrize(
    ("capability_id", "level"),
    [
        ("admin.security.auth", CRITICAL),
        ("admin.delete_user", HIGH),
        ("payment.process", HIGH),
        ("auth.reset_password", HIGH),
        ("test.capability", LOW),
        ("data.json.parse", LOW),
        ("weather.current", LOW),
    ],
)
def test_the_anchors(capability_id: str, level: RiskLevel) -> None:
    assert assess(capability_id).level is level


@pytest.mark.parametrize(
    ("risky", "harmless"),
    [
        ("user.admin", "user.administer2go"),
        ("disk.root", "disk.rooted"),
        ("job.exec", "job.executive"),
        ("sea.shell", "sea.shellfish"),
        ("file.system", "file.systematic"),
        ("math.eval", "math.evaluate"),
        ("book.auth", "book.author"),
        ("user.login", "user.blogin"),
        ("user.password", "user.passwordless"),
        ("my.secret", "my.secretary"),
        ("site.security", "site.securities"),
        ("note.crypto", "note.cryptogram"),
        ("shop.payment", "shop.repayments2"),
        ("report.financial", "report.financier"),
        ("shop.billing", "shop.billboard"),
        ("my.database", "my.databasement"),
        ("file.storage", "file.store"),
        ("row.delete", "row.undeleted"),
        ("ball.drop", "ball.dropdown"),
        ("form.pii", "form.piing"),
        ("trainer.personal", "trainer.personality"),
        ("gdpr.report", "gdp.report"),
        ("core.update", "score.update"),
    ],
)
def test_words_count_as_a_whole(risky: str, harmless: str) -> None:
    assert assess(risky).level is HIGH
    assert assess(harmless).level is LOW


@pytest.mark.parametrize(
    "capability_id", ["user.resetPassword", "user/reset_password", "USER.RESET-PASSWORD"]
)
def test_words_are_found_in_every_spelling(capability_id: str) -> None:
    assert assess(capability_id).security_concerns == ("identity",)


def test_one_group_is_one_concern_and_two_groups_are_critical() -> None:
    assert assess("auth.login.password.secret").level is HIGH
    assert assess("auth.login.password.secret").security_concerns == ("identity",)
    assert assess("admin.login").level is CRITICAL
    assert assess("payment.billing").level is HIGH
    assert assess("payment.database").compliance_requirements == ("PCI-DSS", "data protection")
    assert assess("payment.database").level is CRITICAL
    assert assess("admin.payment").level is HIGH


@pytest.mark.parametrize(
    ("history", "level", "asks"),
    [
        (History(2), LOW, False),
        (History(3), MEDIUM, False),
        (History(5), MEDIUM, False),
        (History(6), MEDIUM, True),
        (History(0, timed_out=True), MEDIUM, False),
    ],
)
def test_what_went_wrong_before_counts(history: History, level: RiskLevel, asks: bool) -> None:
    found = assess("weather.current", history=history)
    assert (found.level, found.requires_human_approval) == (level, asks)


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, LOW),
        ({"trust_tier": TrustTier.OFFICIAL}, LOW),
        ({"trust_tier": TrustTier.VERIFIED}, LOW),
        ({"trust_tier": TrustTier.COMMUNITY}, MEDIUM),
        ({"trust_tier": TrustTier.UNKNOWN}, HIGH),
        ({"effects": ("network",)}, MEDIUM),
        ({"effects": ("filesystem",)}, MEDIUM),
        ({"effects": ("process",)}, HIGH),
        ({"effects": ("system",)}, HIGH),
        ({"effects": ("clock",)}, LOW),
        ({"effect_type": EffectType.EFFECTFUL}, MEDIUM),
        ({"effect_type": EffectType.IDEMPOTENT}, MEDIUM),
        ({"effect_type": EffectType.READ_ONLY}, LOW),
        ({"effect_type": EffectType.EFFECTFUL, "effects": ("clock",)}, LOW),
        ({"permissions": ("repo.admin",)}, HIGH),
        ({"permissions": ("rows.delete",)}, HIGH),
        ({"permissions": ("repo.administrate",)}, LOW),
        ({"permissions": ("repo.admin",), "trust_tier": TrustTier.UNKNOWN}, CRITICAL),
        ({"permissions": ("repo.read",), "trust_tier": TrustTier.UNKNOWN}, HIGH),
    ],
    ids=str,
)
def test_what_is_known_of_the_candidate_counts(changes: dict[str, Any], level: RiskLevel) -> None:
    found = assess("weather.current", manifest("weather.current", **changes))
    assert found.level is level
    assert bool(found.risk_factors) is (level is not LOW)


def test_the_highest_factor_decides_and_all_are_told() -> None:
    proposed = manifest("weather.current", trust_tier=TrustTier.COMMUNITY, effects=("process",))
    found = assess("weather.current", proposed, History(3))
    assert found.level is HIGH
    assert len(found.risk_factors) == 3
    assert found.as_dict()["level"] == "high"


@pytest.mark.parametrize("source", ["synthesis", "llm_synthesis", "web_search"])
def test_what_was_generated_is_for_a_person(source: str) -> None:
    proposed = manifest("weather.current")
    assert assess("weather.current", proposed, source=source).level is HIGH
    assert assess("weather.current", proposed, source="catalogue").level is LOW


def test_a_candidate_is_judged_by_its_own_name_too() -> None:
    assert assess("user.tidy", manifest("user.delete")).level is HIGH
    assert assess("user.tidy", manifest("user.tidy_up")).level is LOW


@pytest.mark.parametrize("tier", [TrustTier.UNKNOWN, TrustTier.COMMUNITY])
def test_what_a_candidate_says_of_itself_lowers_nothing(tier: TrustTier) -> None:
    plain = manifest("weather.current", trust_tier=tier, effects=("process",))
    praised = plain.model_copy(
        update={
            "description": "Official, verified, safe, read-only, approved by security. Low risk.",
            "name": "Official and trusted",
            "metadata": {"trust": "official", "risk": "low", "approved": "true"},
        }
    )
    assert assess("weather.current", praised) == assess("weather.current", plain)


@pytest.mark.parametrize(
    ("tier", "level"),
    [
        (TrustTier.OFFICIAL, MEDIUM),
        (TrustTier.APPROVED, MEDIUM),
        (TrustTier.VERIFIED, HIGH),
        (TrustTier.COMMUNITY, HIGH),
    ],
)
def test_a_secret_that_would_be_sent_is_named(tier: TrustTier, level: RiskLevel) -> None:
    def provider(auth: AuthReference | None) -> HttpProvider:
        return HttpProvider(base_url="https://api.example.com", auth=auth)

    given = provider(AuthReference(scheme="bearer", environment=("EXAMPLE_TOKEN",)))
    found = assess("weather.current", manifest("a.b", trust_tier=tier, provider=given))
    assert found.level is level
    assert any("EXAMPLE_TOKEN" in factor for factor in found.risk_factors)
    without = assess("weather.current", manifest("a.b", trust_tier=tier, provider=provider(None)))
    assert without.level.rank < level.rank
