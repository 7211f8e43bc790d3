"""Approval rules: what an operator decided ahead of time, for whatever fits a pattern.

A denial comes before a question, and a question before a permission. Nothing that is not known
fits a permission, so that a rule never permits more than was written into it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ccos.capabilities import TrustTier
from ccos.errors import ConfigurationError
from ccos.resolution.risk import RiskLevel

FILE_NAME: Final = "approval-rules.json"
_LARGEST_FILE: Final = 1_000_000


class RuleAction(StrEnum):
    """What a rule says."""

    DENY = "deny"
    ASK = "ask"
    ALLOW = "allow"


class _Fit(Enum):
    NO = 0
    UNKNOWN = 1
    YES = 2


@dataclass(frozen=True, slots=True)
class Case:
    """What a decision is about; None is what is not known yet.

    Attributes:
        arguments: Those of a call that waits.
        source: The kind of source that proposed the candidate.
        host: Where its provider is reached; empty if on this machine.
    """

    capability_id: str
    level: RiskLevel
    arguments: Mapping[str, Any] | None = None
    source: str | None = None
    host: str | None = None
    trust: TrustTier | None = None
    effects: frozenset[str] | None = None


class Bound(BaseModel):
    """Numbers between two limits, each included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_least: float | None = None
    at_most: float | None = None

    def holds(self, value: Any) -> bool:
        """Whether a value is a number within the limits."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        low, high = self.at_least, self.at_most
        return (low is None or value >= low) and (high is None or value <= high)


def _moment(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("a time needs its offset, such as 2030-01-31T12:00:00Z")
    return moment.timestamp()


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Patterns = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class ApprovalRule(BaseModel):
    """One rule. Patterns are whole texts in which ``*`` stands for any text.

    Attributes:
        action: What it says of what fits.
        id: Which capabilities.
        arguments: Patterns, or limits of numbers, of arguments by their dotted path.
        source, host, trust: Of the candidate; any of the patterns.
        effects: A permission needs every effect to fit one of them, all else any effect.
        up_to: The highest risk that it permits; never critical.
        expires_at: When it ends, RFC 3339 in a file, seconds since 1970 inside.
        reason: Why; kept with every decision it makes.
        approvers: Who may answer the question; anybody if empty.
        other_than_requester: Whether whoever asked may not answer.
        escalate_after_seconds: When those of ``escalate_to`` may answer, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: RuleAction
    id: Patterns = ("*",)
    arguments: Mapping[str, str | Bound] = Field(default_factory=dict)
    source: Patterns = ()
    host: Patterns = ()
    trust: tuple[TrustTier, ...] = ()
    effects: Patterns | None = None
    up_to: Literal[RiskLevel.LOW, RiskLevel.MEDIUM, RiskLevel.HIGH] = RiskLevel.MEDIUM
    expires_at: Annotated[float | None, BeforeValidator(_moment)] = None
    reason: str = Field(min_length=1, max_length=1000)
    approvers: tuple[str, ...] = ()
    other_than_requester: bool = False
    escalate_after_seconds: Annotated[float, Field(gt=0)] | None = None
    escalate_to: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _parts_belong_together(self) -> ApprovalRule:
        asks = self.action is RuleAction.ASK
        if not asks and (self.approvers or self.escalate_to or self.other_than_requester):
            raise ValueError("only a rule that asks says who may answer")
        if bool(self.escalate_to) != (self.escalate_after_seconds is not None):
            raise ValueError("escalate_to and escalate_after_seconds need each other")
        if self.action is not RuleAction.ALLOW and "up_to" in self.model_fields_set:
            raise ValueError("only a rule that allows has up_to")
        return self

    def fit(self, case: Case, now: float) -> _Fit:
        """Whether the case is one of those that the rule is about."""
        if self.expires_at is not None and self.expires_at <= now:
            return _Fit.NO
        fits = [
            _any_fits(self.id, case.capability_id),
            _any_fits(self.source, case.source) if self.source else _Fit.YES,
            _any_fits(self.host, case.host) if self.host else _Fit.YES,
            self._trust_fits(case.trust),
            self._effects_fit(case.effects),
            *(_argument_fits(path, one, case.arguments) for path, one in self.arguments.items()),
        ]
        return min(fits, key=lambda one: one.value)

    def _trust_fits(self, tier: TrustTier | None) -> _Fit:
        if not self.trust:
            return _Fit.YES
        return _Fit.UNKNOWN if tier is None else _fit(tier in self.trust)

    def _effects_fit(self, effects: frozenset[str] | None) -> _Fit:
        if self.effects is None:
            return _Fit.YES
        if effects is None:
            return _Fit.UNKNOWN
        each = [_any_fits(self.effects, one) is _Fit.YES for one in effects]
        return _fit(all(each) if self.action is RuleAction.ALLOW else any(each))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules say of a case, and the rule that says it."""

    action: RuleAction
    rule: ApprovalRule


def verdict(
    rules: Sequence[ApprovalRule], case: Case, *, found: bool, now: float | None = None
) -> Verdict | None:
    """The first denial that fits, else the first question, else the first permission.

    Before anything is found, only what is known of the wanted id can deny or ask, and a
    permission that might fit lets the search begin. Of a candidate, a denial that might fit asks,
    and a permission has to fit.

    Args:
        rules: In their order.
        case: What it is about.
        found: Whether it is about a candidate.
    """
    moment = time.time() if now is None else now
    fits = [(rule, rule.fit(case, moment)) for rule in rules]
    wanted = (_Fit.YES, _Fit.UNKNOWN)
    sure: dict[RuleAction, tuple[_Fit, ...]] = {
        RuleAction.DENY: (_Fit.YES,),
        RuleAction.ASK: wanted if found else (_Fit.YES,),
        RuleAction.ALLOW: (_Fit.YES,) if found else wanted,
    }
    for action in (RuleAction.DENY, RuleAction.ASK, RuleAction.ALLOW):
        for rule, fit in fits:
            if rule.action is action and fit in sure[action]:
                if action is RuleAction.ALLOW and case.level.rank > rule.up_to.rank:
                    continue
                return Verdict(action, rule)
        if action is RuleAction.DENY and found:
            for rule, fit in fits:
                if rule.action is RuleAction.DENY and fit is _Fit.UNKNOWN:
                    return Verdict(RuleAction.ASK, rule)
    return None


def read_rules(path: Path | None) -> tuple[ApprovalRule, ...]:
    """The rules of a file; none if there is no such file.

    Raises:
        ConfigurationError: naming the rule and what is wrong with it.
    """
    if path is None or not path.exists():
        return ()
    advice = f"Correct {path.name}; until then every decision is put before a person."
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ConfigurationError(f"{path.name} is larger than a file of rules can be.")
        data = json.loads(path.read_text("utf-8"))
        listed = data["rules"]
        if set(data) != {"rules"} or not isinstance(listed, list):
            raise TypeError
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"{path.name} cannot be read: {type(error).__name__}.", next_step=advice
        ) from error
    except (KeyError, TypeError) as error:
        raise ConfigurationError(
            f'{path.name} is not an object with the one key "rules".', next_step=advice
        ) from error
    return tuple(_rule(number, one, path.name, advice) for number, one in enumerate(listed, 1))


def _rule(number: int, data: Any, name: str, advice: str) -> ApprovalRule:
    try:
        return ApprovalRule.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigurationError(
            f"Rule {number} of {name}{f', {place}' if place else ''}: {first['msg']}.",
            next_step=advice,
        ) from error


def _fit(holds: bool) -> _Fit:
    return _Fit.YES if holds else _Fit.NO


def _any_fits(patterns: Iterable[str], text: str | None) -> _Fit:
    if text is None:
        return _Fit.UNKNOWN
    return _fit(any(_matches(one, text) for one in patterns))


def _matches(pattern: str, text: str) -> bool:
    anything = ".*".join(map(re.escape, re.split(r"\*+", pattern)))
    return re.fullmatch(anything, text, re.DOTALL | re.IGNORECASE) is not None


def _argument_fits(path: str, wanted: str | Bound, arguments: Mapping[str, Any] | None) -> _Fit:
    if arguments is None:
        return _Fit.UNKNOWN
    value: Any = arguments
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return _Fit.NO
        value = value[name]
    if isinstance(wanted, Bound):
        return _fit(wanted.holds(value))
    return _fit(_matches(wanted, value if isinstance(value, str) else json.dumps(value)))
