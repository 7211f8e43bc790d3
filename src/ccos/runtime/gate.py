"""The gate: whether a call may be made, judged anew before every call."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from ccos.capabilities import ApprovalStatus
from ccos.errors import CcosError, InvalidArgumentsError, InvalidResultError, NotCallableError
from ccos.marketplace import Registered, Standing


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """Which capabilities may be called, as patterns in which ``*`` stands for any text.

    What is denied is not called, whatever is allowed.
    """

    allow: tuple[str, ...] = ("*",)
    deny: tuple[str, ...] = ()

    def permits(self, capability_id: str) -> bool:
        """Whether the policy lets this capability be called."""
        return _matches(self.allow, capability_id) and not _matches(self.deny, capability_id)


def refusal(
    registered: Registered, arguments: dict[str, Any], policy: CallPolicy
) -> CcosError | None:
    """Why this call must not be made; None if it may."""
    manifest = registered.manifest
    if registered.standing is not Standing.ACTIVE:
        reason = f": {registered.reason}" if registered.reason else ""
        return NotCallableError(f"{manifest.id} is {registered.standing.value}{reason}.")
    if registered.fault is not None:
        return NotCallableError(
            f"{manifest.id} cannot be trusted: {registered.fault}.",
            details={"violation": "attestation"},
        )
    if manifest.attestation is None or manifest.attestation.expires_at <= datetime.now(UTC):
        return NotCallableError(
            f"The attestation of {manifest.id} has expired.",
            next_step=f"Look at it again with `ccos resolve {manifest.id} --force`.",
            details={"violation": "attestation"},
        )
    if manifest.approval_status is ApprovalStatus.REVOKED:
        return NotCallableError(f"{manifest.id} is revoked.")
    if manifest.approval_status is ApprovalStatus.PENDING and not manifest.effect_type.repeatable:
        return NotCallableError(
            f"{manifest.id} acts on the world and nobody approved it.",
            details={"reason": "approval"},
        )
    if not policy.permits(manifest.id):
        return NotCallableError(
            f"The call policy does not permit {manifest.id}.",
            next_step="Let the policy of this runtime allow it, or call something else.",
        )
    faults = registered.input_validator.faults(arguments)
    if faults:
        listed = "; ".join(f"{fault.path or '/'}: {fault.message}" for fault in faults[:3])
        return InvalidArgumentsError(
            f"The arguments do not fit {manifest.id}: {listed}",
            details={"faults": [[fault.path, fault.message] for fault in faults]},
        )
    return None


def result_fault(registered: Registered, result: Any) -> CcosError | None:
    """Why this result must not be believed; None if it fits the output schema."""
    if registered.output_validator is None:
        return None
    faults = registered.output_validator.faults(result)
    if not faults:
        return None
    listed = "; ".join(f"{fault.path or '/'}: {fault.message}" for fault in faults[:3])
    return InvalidResultError(
        f"{registered.manifest.id} answered what its output schema does not allow: {listed}",
        details={"faults": [[fault.path, fault.message] for fault in faults]},
    )


def _matches(patterns: tuple[str, ...], capability_id: str) -> bool:
    return any(_pattern(pattern).fullmatch(capability_id) for pattern in patterns)


@lru_cache(maxsize=1000)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")))
