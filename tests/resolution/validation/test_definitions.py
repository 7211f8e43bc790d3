"""Policies on definitions and schemas: each finding, and its twin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from ccos.capabilities import (
    EffectType,
    HttpProvider,
    LocalProvider,
    Manifest,
    ScriptProvider,
    TrustTier,
)
from ccos.config import SecurityConfig
from ccos.marketplace import Registered, Standing
from ccos.resolution.validation import (
    RULES,
    Category,
    Code,
    Issue,
    Rules,
    Severity,
    Subject,
    ValidationReport,
    ValidationStatus,
    issue,
    validate,
)

pytestmark = pytest.mark.anyio

GOOD = "Tells the weather of a place, now and for the coming days."
SENDER = Manifest(
    id="mail.send",
    name="send",
    provider=LocalProvider(handler="send"),
    effects=("network",),
    trust_tier=TrustTier.APPROVED,
)


async def lookup(capability_id: str) -> Registered | None:
    if capability_id != SENDER.id:
        return None
    return Registered(SENDER, SENDER.definition_hash(), Standing.ACTIVE)


def manifest(**changes: Any) -> Manifest:
    fields = {
        "id": "weather.current",
        "name": "weather",
        "description": GOOD,
        "provider": LocalProvider(handler="weather"),
        "effect_type": EffectType.PURE,
        "trust_tier": TrustTier.COMMUNITY,
        **changes,
    }
    return Manifest(**fields)


def properties(*names: str, **schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": "string", **schema} for name in names}}


def web(url: str, **changes: Any) -> Manifest:
    return manifest(provider=HttpProvider(base_url=url, method="GET", path="/x"), **changes)


async def codes(subject: Manifest, rules: Rules | None = None, **options: Any) -> set[str]:
    report = await validate(subject, rules or Rules(), lookup, **options)
    return {one.code for one in report.issues}


NESTED = {"type": "object", "properties": {"who": properties("ssn")}}
CHOICE = {"type": "object", "anyOf": [properties("credit_card")]}
MENTION = properties("note") | {"description": "Never give an ssn or a credit_card."}

DEFINITIONS: list[tuple[str, Manifest, Manifest]] = [
    ("QUAL002", manifest(input_schema=True), manifest(input_schema=properties("place"))),
    ("QUAL003", manifest(description="Tells it."), manifest()),
    (
        "MAX_PARAM_COUNT",
        manifest(input_schema=properties(*(f"p{n}" for n in range(21)))),
        manifest(input_schema=properties(*(f"p{n}" for n in range(20)))),
    ),
    (
        "SEC_ANALYZER004",
        manifest(input_schema=properties("api_key")),
        manifest(input_schema=properties("api_key", writeOnly=True)),
    ),
    (
        "SEC_ANALYZER004",
        manifest(input_schema=properties("password")),
        manifest(input_schema=properties("passage")),
    ),
    ("COMP001", manifest(input_schema=NESTED), manifest(input_schema=MENTION)),
    (
        "COMP001",
        manifest(input_schema=CHOICE),
        manifest(input_schema=CHOICE, metadata={"gdpr_compliant": "true"}),
    ),
    (
        "COMP001",
        manifest(metadata={"personal_data": "true"}),
        manifest(metadata={"personal_data": "true", "consent": "true"}),
    ),
    ("GOV002", web("https://a.example"), web("https://api.github.com")),
    ("GOV002", web("https://a.example"), web("https://a.example", trust_tier=TrustTier.OFFICIAL)),
    ("GOV003", web("http://api.github.com"), web("https://api.github.com")),
    ("GOV003", web("http://api.github.com"), web("http://127.0.0.1:8000")),
]


@pytest.mark.parametrize(
    ("code", "bad", "good"), DEFINITIONS, ids=[f"{n}-{d[0]}" for n, d in enumerate(DEFINITIONS)]
)
async def test_a_finding_and_its_twin(code: str, bad: Manifest, good: Manifest) -> None:
    assert code in await codes(bad)
    assert code not in await codes(good)


async def test_privileges_need_an_approval() -> None:
    admin = manifest(id="admin.users")
    assert "GOV001" in await codes(admin, approved=False)
    assert "GOV001" not in await codes(admin, approved=True)
    assert "GOV001" not in await codes(manifest(id="administer.dose"), approved=False)


async def test_what_acts_wants_to_be_audited() -> None:
    acting = manifest(effect_type=EffectType.EFFECTFUL)
    assert await codes(acting, Rules(audited=False)) == {"GOV004", "COMP002"}
    assert await codes(acting) == set()
    assert await codes(manifest(), Rules(audited=False)) == set()


async def test_a_blocked_host_is_blocked_whoever_vouches() -> None:
    rules = Rules(SecurityConfig(blocked_domains=("api.github.com",)))
    official = web("https://api.github.com", trust_tier=TrustTier.OFFICIAL)
    assert "GOV002" in await codes(official, rules)
    assert "GOV002" not in await codes(official)


async def test_plain_http_is_fine_where_the_operator_says_so() -> None:
    rules = Rules(SecurityConfig(require_https=False))
    assert "GOV003" not in await codes(web("http://api.github.com"), rules)


async def test_an_effect_that_the_code_has_must_be_declared() -> None:
    code = Code("python", 'def work(input):\n    call("mail.send")', "work")
    assert "COMP002" in await codes(manifest(), code=code)
    assert "COMP002" not in await codes(manifest(effects=("network",)), code=code)


async def test_schema_and_parameters_must_agree() -> None:
    provider = ScriptProvider(script_id="s", content_id="c", function="work")
    code = Code("python", "def work(place, day):\n    return 1", "work")
    one = manifest(provider=provider, input_schema=properties("place"))
    both = manifest(provider=provider, input_schema=properties("place", "day"))
    assert "QUAL002" in await codes(one, code=code)
    assert "QUAL002" not in await codes(both, code=code)


STORES = manifest(id="contacts.save", input_schema=properties("email"))
PRIVATE = {"consent": "true", "purpose": "newsletters", "deletion_capability": "contacts.forget"}


async def test_the_policy_of_privacy_is_opt_in() -> None:
    rules = Rules(data_privacy=True)
    assert await codes(STORES, rules) == {"PRIV001", "PRIV002", "PRIV003"}
    assert await codes(STORES) == set()
    assert await codes(STORES.model_copy(update={"metadata": PRIVATE}), rules) == set()
    assert await codes(manifest(input_schema=properties("place")), rules) == set()


@pytest.mark.parametrize("missing", ["consent", "purpose", "deletion_capability"])
async def test_each_demand_of_privacy_alone(missing: str) -> None:
    kept = {key: value for key, value in PRIVATE.items() if key != missing}
    code = {"consent": "PRIV001", "purpose": "PRIV002", "deletion_capability": "PRIV003"}[missing]
    found = await codes(STORES.model_copy(update={"metadata": kept}), Rules(data_privacy=True))
    assert found == {code}


def calls(text: str, count: int) -> Code:
    body = "\n".join(f"    {text.format(n)}" for n in range(count))
    return Code("python", f"def work(input):\n{body}", "work")


async def test_the_policy_of_performance_is_opt_in() -> None:
    many, few = calls('call("http.get", {})', 11), calls('call("http.get", {})', 10)
    rules = Rules(performance=True)
    assert "PERF001" in await codes(manifest(), rules, code=many)
    assert "PERF001" not in await codes(manifest(), rules, code=few)
    assert "PERF001" not in await codes(manifest(), code=many)
    same, others = calls('call("a.b", 1)', 2), calls('call("a.b", {})', 2)
    assert "PERF002" in await codes(manifest(), rules, code=same)
    assert "PERF002" not in await codes(manifest(), rules, code=others)
    assert "PERF002" not in await codes(manifest(), code=same)


async def test_the_policy_of_design_is_opt_in() -> None:
    poor = manifest(
        description="Tells the weather of a place.",
        input_schema=properties(*(f"p{n}" for n in range(11))),
    ).model_copy(update={"version": "newest"})
    rules = Rules(api_design=True)
    assert await codes(poor, rules) == {"API001", "API002", "API003", "API004"}
    assert await codes(poor) == set()
    good = manifest(output_schema=properties("error"))
    assert await codes(good, rules) == set()


async def test_a_policy_that_breaks_off_rejects() -> None:
    def broken(_: Subject) -> Iterable[Issue]:
        raise ValueError("no")

    def silent(_: Subject) -> Iterable[Issue]:
        return []

    assert (await validate(manifest(), Rules(), lookup, policies=[broken])).rejects
    assert not (await validate(manifest(), Rules(), lookup, policies=[silent])).rejects


@pytest.mark.parametrize(
    ("found", "status"),
    [
        ([], ValidationStatus.PASSED),
        (["QUAL003"], ValidationStatus.PASSED),
        (["QUAL001"], ValidationStatus.PASSED_WITH_WARNINGS),
        (["SEC002"], ValidationStatus.PASSED_WITH_WARNINGS),
        (["SYNTAX001"], ValidationStatus.FAILED),
        (["COMP001", "SYNTAX001"], ValidationStatus.COMPLIANCE_FAILED),
        (["SEC001", "COMP001"], ValidationStatus.SECURITY_FAILED),
    ],
    ids=str,
)
def test_what_findings_come_to(found: list[str], status: ValidationStatus) -> None:
    report = ValidationReport(tuple(issue(code, "") for code in found))
    assert report.status is status
    failed = "failed" in status.value
    assert report.rejects is failed
    assert ValidationReport(report.issues, skipped=True).status is ValidationStatus.SKIPPED


@pytest.mark.parametrize(
    ("code", "low", "medium", "high"),
    [
        ("SEC001", True, True, True),
        ("SEC002", False, True, True),
        ("GOV002", False, True, True),
        ("COMP002", False, True, True),
        ("MAX_PARAM_COUNT", False, False, True),
        ("QUAL001", False, False, False),
    ],
)
def test_how_strict_a_level_is(code: str, low: bool, medium: bool, high: bool) -> None:
    report = ValidationReport((issue(code, ""),))
    assert (report.fails("low"), report.fails("medium"), report.fails("high")) == (
        low,
        medium,
        high,
    )


def test_scores_start_at_one_and_end_at_nothing() -> None:
    clean = ValidationReport()
    assert (clean.security_score, clean.quality_score, clean.compliance_score) == (1, 1, 1)
    report = ValidationReport(tuple(issue(c, "") for c in ("SEC001", "SEC002", "QUAL001")))
    assert (report.security_score, report.quality_score) == (0.4, 0.9)
    assert ValidationReport(tuple(issue("SEC001", str(n)) for n in range(3))).security_score == 0
    assert ValidationReport((issue("PRIV001", ""), issue("PRIV002", ""))).compliance_score == 0.2


def test_every_rule_says_how_bad_it_is_and_what_to_do() -> None:
    for code, (severity, category, advice) in RULES.items():
        assert isinstance(severity, Severity), code
        assert isinstance(category, Category), code
        assert advice.endswith("."), code
