"""The manifest: everything that is known about one capability at one version."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from ccos.canonical import content_hash
from ccos.capabilities.identifiers import canonical_id
from ccos.capabilities.providers import Provider
from ccos.capabilities.schemas import JsonSchema, SchemaValidator, check_schema_size
from ccos.capabilities.versions import parse_version
from ccos.errors import CapabilityError, InvalidManifestError

MAXIMUM_MANIFEST_BYTES = 2_000_000
CANONICAL = "canonical"
"""Set in the context of a validation by whoever knows that all texts and numbers of the definition
have a canonical form; this is then not tried out."""


class EffectType(StrEnum):
    """What a call does to the world, and so what may be done after a crash in the middle of one."""

    PURE = "pure"
    """The result depends on the arguments alone."""
    READ_ONLY = "read_only"
    """It looks at the world and changes nothing."""
    IDEMPOTENT = "idempotent"
    """Once or twice with the same arguments is the same."""
    EFFECTFUL = "effectful"
    """A second call acts a second time. What is not declared otherwise is this."""

    @property
    def repeatable(self) -> bool:
        """Whether a call whose outcome is unknown may simply be made again."""
        return self is not EffectType.EFFECTFUL


class ApprovalStatus(StrEnum):
    """Whether somebody, or a rule, said that the capability may be used."""

    PENDING = "pending"
    APPROVED = "approved"
    AUTO_APPROVED = "auto_approved"
    REVOKED = "revoked"


class TrustTier(StrEnum):
    """How far the provider is trusted, judged by its address and never by its own words."""

    OFFICIAL = "official"
    APPROVED = "approved"
    VERIFIED = "verified"
    COMMUNITY = "community"
    UNKNOWN = "unknown"

    @property
    def weight(self) -> float:
        """The factor by which the tier scales a candidate's relevance."""
        return _TRUST_WEIGHTS[self]


_TRUST_WEIGHTS = {
    TrustTier.OFFICIAL: 1.0,
    TrustTier.APPROVED: 0.9,
    TrustTier.VERIFIED: 0.8,
    TrustTier.COMMUNITY: 0.5,
    TrustTier.UNKNOWN: 0.2,
}


def _name_list(value: Any) -> Any:
    """Order and repetition of a set of names mean nothing, so they must not change a hash."""
    if isinstance(value, list | tuple | set | frozenset) and all(
        isinstance(item, str) for item in value
    ):
        return tuple(sorted({item.strip().removeprefix(":") for item in value}))
    return value


def _as_fault(check: Callable[[str], Any]) -> Callable[[str], str]:
    """The check as a field validator, so that its refusal joins the list of faults."""

    def validator(text: str) -> str:
        try:
            return str(check(text))
        except CapabilityError as error:
            raise ValueError(error.message) from error

    return validator


Names = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1, max_length=200)], ...],
    BeforeValidator(_name_list),
    Field(max_length=100),
]
Text = Annotated[str, StringConstraints(max_length=20_000)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CustodyEntry(_Model):
    """One step of a definition's way into the marketplace."""

    step: Annotated[
        str, StringConstraints(pattern=r"^(found|imported|validated|approved|registered)$")
    ]
    at: datetime
    by: Text


class Provenance(_Model):
    """Where a definition comes from and through whose hands it went."""

    source: Text
    """Kind of source: ``catalogue``, ``mcp_registry``, ``openapi_document``, ``operator`` …"""
    reference: Text = ""
    """The exact place within the source: a URL, a file name, a registry entry."""
    content_hash: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
    custody_chain: tuple[CustodyEntry, ...] = ()
    registered_at: datetime | None = None


class Attestation(_Model):
    """A signature over the canonical definition by a key of this installation."""

    signature: Text
    authority: Text
    """Identifier of the signing key."""
    algorithm: Text = "Ed25519"
    created_at: datetime
    expires_at: datetime
    metadata: dict[str, str] = Field(default_factory=dict)


class Manifest(_Model):
    """A capability at one version: what callers and approvers rely on, and its standing.

    The first group of fields is the *definition*; :meth:`definition_hash` covers exactly those.
    """

    id: Annotated[str, AfterValidator(_as_fault(canonical_id))]
    name: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    description: Text = ""
    version: Annotated[str, AfterValidator(_as_fault(parse_version))] = "1.0.0"
    provider: Provider
    input_schema: JsonSchema = Field(default_factory=lambda: {"type": "object"})
    output_schema: JsonSchema | None = None
    effect_type: EffectType = EffectType.EFFECTFUL
    effects: Names = ()
    permissions: Names = ()
    domains: Names = ()
    categories: Names = ()
    metadata: dict[str, str] = Field(default_factory=dict, max_length=100)

    trust_tier: TrustTier = TrustTier.UNKNOWN
    approval_status: ApprovalStatus = ApprovalStatus.PENDING
    provenance: Provenance | None = None
    attestation: Attestation | None = None

    @model_validator(mode="after")
    def _schemas_are_schemas(self) -> Manifest:
        try:
            SchemaValidator(self.input_schema, role="input schema")
            if self.output_schema is not None:
                SchemaValidator(self.output_schema, role="output schema")
        except InvalidManifestError as error:
            raise ValueError(error.message) from error
        return self

    @model_validator(mode="after")
    def _definition_can_be_pinned(self, info: ValidationInfo) -> Manifest:
        if not (info.context and info.context.get(CANONICAL)):
            self.definition_hash()
        return self

    def definition(self) -> dict[str, Any]:
        """The part that callers and approvers rely on, as JSON data."""
        return self.model_dump(mode="json", include=set(_DEFINITION_FIELDS))

    def definition_hash(self) -> str:
        """Hash of the canonical :meth:`definition`; any change to what was relied on changes it."""
        return content_hash(self.definition())

    def to_json(self) -> str:
        """The whole manifest as JSON text, from which it can be read again.

        Not canonical JSON, which has no form of its own for integers beyond 2**53.
        """
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False, sort_keys=True)


_DEFINITION_FIELDS = (
    "id",
    "name",
    "description",
    "version",
    "provider",
    "input_schema",
    "output_schema",
    "effect_type",
    "effects",
    "permissions",
    "domains",
    "categories",
    "metadata",
)


def parse_manifest(data: Any) -> Manifest:
    """Read a manifest from JSON data.

    Raises:
        InvalidManifestError: with every fault and its place in ``details['errors']``.
    """
    if not isinstance(data, dict):
        raise InvalidManifestError(f"A manifest is an object, not {type(data).__name__}.")
    for role in ("input_schema", "output_schema"):
        if data.get(role) is not None:
            check_schema_size(data[role], role=role.replace("_", " "))
    try:
        return Manifest.model_validate(data)
    except ValidationError as error:
        faults = [
            {
                "path": "/" + "/".join(map(str, fault["loc"])),
                "message": fault["msg"].removeprefix("Value error, "),
            }
            for fault in error.errors(include_url=False, include_input=False)
        ]
        listed = "; ".join(f"{fault['path']}: {fault['message']}" for fault in faults[:5])
        raise InvalidManifestError(
            f"The manifest has {len(faults)} fault{'s' * (len(faults) != 1)}: {listed}",
            details={"errors": faults},
        ) from error
