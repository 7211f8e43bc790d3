"""How risky it is to obtain and to use a capability: one rule set for ids and candidates."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final

from ccos.capabilities import EffectType, Manifest, TrustTier, auth_references, id_tokens


class RiskLevel(StrEnum):
    """From harmless to forbidden."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Its place in the order, 0 for the lowest."""
        return _ORDER.index(self)


_ORDER: Final = (RiskLevel.LOW, RiskLevel.MEDIUM, RiskLevel.HIGH, RiskLevel.CRITICAL)

_SECURITY_WORDS: Final = {
    "privilege": {
        *("admin", "admins", "administrator", "administrators", "administration"),
        *("root", "sudo", "superuser"),
    },
    "code execution": {
        *("exec", "execute", "executes", "executing", "execution"),
        *("shell", "eval", "system", "systems"),
    },
    "identity": {
        *("auth", "oauth", "authenticate", "authentication", "authorize", "authorization"),
        *("login", "logins", "credential", "credentials", "password", "passwords"),
        *("secret", "secrets", "security", "crypto", "cryptography"),
    },
}
_COMPLIANCE_WORDS: Final = {
    "PCI-DSS": {
        *("payment", "payments", "financial", "finance", "finances", "billing"),
    },
    "data protection": {
        *("database", "databases", "storage", "delete", "deletes", "deleted", "deletion"),
        *("drop", "drops"),
    },
    "GDPR": {"pii", "personal", "gdpr"},
}
_RISKY_EFFECTS: Final = {
    RiskLevel.MEDIUM: {"network", "filesystem"},
    RiskLevel.HIGH: {"destructive", "process", "system"},
}
_PLATFORM_WORDS: Final = {"core"}
_GENERATED_SOURCES: Final = {"synthesis", "llm_synthesis", "web_search"}

_FAILURES_THAT_COUNT: Final = 3
_FAILURES_THAT_ASK: Final = 5


@dataclass(frozen=True, slots=True)
class History:
    """How earlier attempts at the same id went."""

    failed_attempts: int = 0
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class RiskAssessment:
    """The level, and everything that led to it.

    Attributes:
        insists: Whether a person has to decide, whatever rules, grants and flags say.
        approvers: Who may answer; anybody if empty.
        other_than_requester: Whether whoever asked may not answer.
        escalate_after_seconds: When those of ``escalate_to`` may answer, too.
    """

    level: RiskLevel
    risk_factors: tuple[str, ...]
    security_concerns: tuple[str, ...]
    compliance_requirements: tuple[str, ...]
    requires_human_approval: bool
    recommendation: str
    insists: bool = False
    approvers: tuple[str, ...] = ()
    other_than_requester: bool = False
    escalate_after_seconds: float | None = None
    escalate_to: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The assessment as JSON data."""
        return {**asdict(self), "level": self.level.value}


def assess(
    capability_id: str,
    candidate: Manifest | None = None,
    history: History | None = None,
    *,
    source: str = "",
) -> RiskAssessment:
    """Assess a wanted id, or the candidate that was found for it.

    Only facts count: words of the id, the candidate's declared effects and permissions, and the
    trust tier of its address. What a candidate says of itself lowers nothing.

    Args:
        capability_id: What is wanted.
        candidate: What was found for it, if anything was.
        history: How earlier attempts went.
        source: The kind of source that proposed the candidate.
    """
    words = set(id_tokens(capability_id))
    security = _touched(_SECURITY_WORDS, words)
    compliance = _touched(_COMPLIANCE_WORDS, words)
    findings = [
        *_platform(words),
        *_history(history or History()),
        *(_candidate(candidate, source) if candidate is not None else ()),
    ]
    level = max((found for found, _ in findings), key=lambda one: one.rank, default=RiskLevel.LOW)
    if len(security) > 1 or len(compliance) > 1:
        level = RiskLevel.CRITICAL
    elif security or compliance:
        level = max(level, RiskLevel.HIGH, key=lambda one: one.rank)
    asks = level.rank >= RiskLevel.HIGH.rank or (
        history is not None and history.failed_attempts > _FAILURES_THAT_ASK
    )
    factors = (
        *(f"touches {name}" for name in (*security, *compliance)),
        *(reason for _, reason in findings),
    )
    return RiskAssessment(level, factors, security, compliance, asks, _RECOMMENDATIONS[level])


def raised(
    assessment: RiskAssessment, level: RiskLevel, factor: str, *, insists: bool = False
) -> RiskAssessment:
    """The assessment with one more factor, and at least this level."""
    highest = max(assessment.level, level, key=lambda one: one.rank)
    asks = assessment.requires_human_approval or insists or highest.rank >= RiskLevel.HIGH.rank
    advice = _RECOMMENDATIONS[highest]
    if asks and highest.rank < RiskLevel.HIGH.rank:
        advice = _RECOMMENDATIONS[RiskLevel.HIGH]
    return replace(
        assessment,
        level=highest,
        risk_factors=tuple(dict.fromkeys((*assessment.risk_factors, factor))),
        requires_human_approval=asks,
        recommendation=advice,
        insists=assessment.insists or insists,
    )


_RECOMMENDATIONS: Final = {
    RiskLevel.LOW: "Register it without asking.",
    RiskLevel.MEDIUM: "Register it and log every factor.",
    RiskLevel.HIGH: "Ask a person.",
    RiskLevel.CRITICAL: "Block it.",
}

_Finding = tuple[RiskLevel, str]


def _touched(listed: dict[str, set[str]], words: set[str]) -> tuple[str, ...]:
    return tuple(name for name, forms in listed.items() if words & forms)


def _platform(words: set[str]) -> list[_Finding]:
    return [(RiskLevel.HIGH, "names the platform itself")] if words & _PLATFORM_WORDS else []


def _history(history: History) -> list[_Finding]:
    found = []
    if history.failed_attempts >= _FAILURES_THAT_COUNT:
        found.append((RiskLevel.MEDIUM, f"{history.failed_attempts} attempts failed"))
    if history.timed_out:
        found.append((RiskLevel.MEDIUM, "an earlier attempt timed out"))
    return found


def _candidate(candidate: Manifest, source: str) -> list[_Finding]:
    words = set(id_tokens(candidate.id))
    touched = (*_touched(_SECURITY_WORDS, words), *_touched(_COMPLIANCE_WORDS, words))
    return [
        *((RiskLevel.HIGH, f"its own name touches {name}") for name in touched),
        *_tier(candidate.trust_tier),
        *_effects(candidate),
        *_permissions(candidate),
        *_secrets(candidate),
        *(
            ((RiskLevel.HIGH, f"it comes from {source.replace('_', ' ')}"),)
            if source in _GENERATED_SOURCES
            else ()
        ),
    ]


def _tier(tier: TrustTier) -> list[_Finding]:
    if tier is TrustTier.UNKNOWN:
        return [(RiskLevel.HIGH, "nobody vouches for its address")]
    if tier is TrustTier.COMMUNITY:
        return [(RiskLevel.MEDIUM, "its provider is known to the community only")]
    return []


def _effects(candidate: Manifest) -> list[_Finding]:
    effects = set(candidate.effects)
    if not effects and candidate.effect_type in (EffectType.EFFECTFUL, EffectType.IDEMPOTENT):
        effects = {"network"}
    return [
        (level, f"it has the effect {effect}")
        for level, listed in _RISKY_EFFECTS.items()
        for effect in sorted(effects & listed)
    ]


def _secrets(candidate: Manifest) -> list[_Finding]:
    """A document names the secrets that it wants, so only known hosts may get them unasked."""
    known = candidate.trust_tier in (TrustTier.OFFICIAL, TrustTier.APPROVED)
    level = RiskLevel.MEDIUM if known else RiskLevel.HIGH
    return [
        (level, f"it is given the secret {' or '.join(reference.variables)}")
        for reference in auth_references(candidate.provider)
    ]


def _permissions(candidate: Manifest) -> list[_Finding]:
    unknown = candidate.trust_tier is TrustTier.UNKNOWN
    level = RiskLevel.CRITICAL if unknown else RiskLevel.HIGH
    return [
        (level, f"it needs the permission {permission}")
        for permission in candidate.permissions
        if {"admin", "delete"} & set(id_tokens(permission))
    ]
