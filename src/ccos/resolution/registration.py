"""A person brings capabilities in: they are versioned, vouched for and registered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ccos.capabilities import (
    ApprovalStatus,
    CustodyEntry,
    Manifest,
    Provenance,
    TrustTier,
    breaking_input_changes,
    breaking_output_changes,
    parse_version,
)
from ccos.marketplace import Marketplace, Registered, Registration, Standing
from ccos.resolution.poisoning import scan
from ccos.resolution.risk import RiskLevel


@dataclass(frozen=True, slots=True)
class Withheld:
    """A capability that was not registered, and why."""

    capability_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of capabilities that were brought in together."""

    registrations: tuple[Registration, ...]
    withheld: tuple[Withheld, ...]


async def register_imported(
    marketplace: Marketplace,
    manifests: Sequence[Manifest],
    *,
    source: str,
    reference: str,
    by: str,
    force: bool = False,
) -> Imported:
    """Register capabilities that somebody took from a description, in one transaction.

    Whoever brings them in approves them. What is registered already as it is stays untouched, and
    a changed definition gets the next version. One that would break callers, that a person
    revoked, or whose texts look poisoned, is withheld unless ``force`` is set; the others are
    registered all the same.

    Args:
        marketplace: Where they are registered.
        manifests: The capabilities, each id once.
        source: Kind of source, such as ``openapi_document``.
        reference: The exact place: a file name or URL.
        by: Who vouches for them.
        force: Whether breaking changes and revoked capabilities are registered, too.
    """
    others = [one.manifest.id for one in await marketplace.registered()]
    wanted: list[Manifest] = []
    withheld: list[Withheld] = []
    for manifest in manifests:
        history = await marketplace.versions(manifest.id)
        current = await marketplace.get(manifest.id)
        if current is not None and current.manifest.id != manifest.id:
            current = None  # an alias of that name gives way to the capability itself
        versioned = with_next_version(manifest, current, history)
        reason = None if force else _objection(versioned, current) or _suspicion(versioned, others)
        if reason is None:
            wanted.append(_vouched(versioned, source, reference, by))
        else:
            withheld.append(Withheld(manifest.id, reason))
    registrations = await marketplace.storage.write(
        "register",
        lambda transaction: [
            marketplace.register_in(transaction, one, actor=by, allow_breaking=force)
            for one in wanted
        ],
    )
    return Imported(tuple(registrations), tuple(withheld))


def with_next_version(
    manifest: Manifest, current: Registered | None, history: Sequence[Registered] = ()
) -> Manifest:
    """The manifest with the version that its changes call for.

    A definition that is registered keeps its version, also one that was registered before and
    removed. A changed one that does not bring a higher version itself gets the next minor version,
    or the next major one where callers would break.

    Args:
        manifest: What is to be registered.
        current: What is registered under its id now.
        history: Every version that ever was.
    """
    for known in (current,) if current is not None else reversed(history):
        same = manifest.model_copy(update={"version": known.manifest.version})
        if same.definition_hash() == known.definition_hash:
            return same
    versions = [parse_version(one.manifest.version) for one in history]
    if current is not None:
        versions.append(parse_version(current.manifest.version))
    highest = max(versions, default=None)
    if highest is None or parse_version(manifest.version) > highest:
        return manifest
    before = current.manifest if current is not None else history[-1].manifest
    step = highest.bump_major() if _breaks(before, manifest) else highest.bump_minor()
    return manifest.model_copy(update={"version": str(step)})


def _breaks(before: Manifest, after: Manifest) -> bool:
    return bool(
        breaking_input_changes(before.input_schema, after.input_schema)
        or breaking_output_changes(before.output_schema, after.output_schema)
        or set(after.effects) - set(before.effects)
        or set(after.permissions) - set(before.permissions)
    )


def _objection(manifest: Manifest, current: Registered | None) -> str | None:
    if current is None:
        return None
    if current.standing is Standing.REVOKED:
        return f"it was revoked: {current.reason}"
    if manifest.version != current.manifest.version and _breaks(current.manifest, manifest):
        return f"it would break callers of version {current.manifest.version}"
    return None


def _suspicion(manifest: Manifest, others: Sequence[str]) -> str | None:
    """What whoever brings a capability in has to have seen first."""
    grave = [one for one in scan(manifest, others) if one.level is RiskLevel.HIGH]
    return "; ".join(map(str, grave)) or None


def _vouched(manifest: Manifest, source: str, reference: str, by: str) -> Manifest:
    now = datetime.now(UTC)
    steps = (("found", source), ("imported", "ccos"), ("validated", "ccos"), ("approved", by))
    return manifest.model_copy(
        update={
            "approval_status": ApprovalStatus.APPROVED,
            "trust_tier": TrustTier.APPROVED,
            "provenance": Provenance(
                source=source,
                reference=reference,
                content_hash=manifest.definition_hash(),
                custody_chain=tuple(
                    CustodyEntry(step=step, at=now, by=actor) for step, actor in steps
                ),
            ),
        }
    )
