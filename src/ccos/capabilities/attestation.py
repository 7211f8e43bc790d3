"""Attestation: a signature that ties a definition to the installation that accepted it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from ccos.canonical import canonical_json
from ccos.capabilities.manifest import Attestation, Manifest
from ccos.keys import LocalKey

VALIDITY: Final = timedelta(days=365)


def attested(manifest: Manifest, key: LocalKey, *, now: datetime | None = None) -> Manifest:
    """The manifest with an attestation over its definition, valid for a year from ``now``."""
    created = now or datetime.now(UTC)
    expires = created + VALIDITY
    signature = key.sign(_message(manifest.definition_hash(), created, expires)).hex()
    attestation = Attestation(
        signature=signature, authority=key.key_id, created_at=created, expires_at=expires
    )
    return manifest.model_copy(update={"attestation": attestation})


def attestation_fault(
    manifest: Manifest, key: LocalKey, *, now: datetime | None = None
) -> str | None:
    """Why the manifest's attestation does not hold; None if it does."""
    attestation = manifest.attestation
    if attestation is None:
        return "it carries no attestation"
    if attestation.authority != key.key_id:
        return f"it is attested by {attestation.authority}, which is not this installation's key"
    message = _message(manifest.definition_hash(), attestation.created_at, attestation.expires_at)
    try:
        signature = bytes.fromhex(attestation.signature)
    except ValueError:
        return "its signature is not readable"
    if not key.verifies(signature, message):
        return "its definition is not the one that was attested"
    if attestation.expires_at <= (now or datetime.now(UTC)):
        return f"its attestation expired at {attestation.expires_at.isoformat()}"
    return None


def _message(definition_hash: str, created: datetime, expires: datetime) -> bytes:
    return canonical_json(
        {
            "purpose": "ccos capability attestation",
            "definition": definition_hash,
            "created_at": created.isoformat(),
            "expires_at": expires.isoformat(),
        }
    )
