"""What a capability is: manifest, schemas, versions, provenance. Nothing here does I/O."""

from ccos.canonical import canonical_json, content_hash
from ccos.capabilities.attestation import attestation_fault, attested
from ccos.capabilities.identifiers import canonical_id, id_tokens
from ccos.capabilities.manifest import (
    ApprovalStatus,
    Attestation,
    CustodyEntry,
    EffectType,
    Manifest,
    Provenance,
    TrustTier,
    parse_manifest,
)
from ccos.capabilities.providers import (
    AuthReference,
    HttpProvider,
    HttpServer,
    LocalProvider,
    McpProvider,
    McpServer,
    OpenApiBody,
    OpenApiEncoding,
    OpenApiParameter,
    OpenApiProvider,
    Provider,
    StdioServer,
    provider_url,
)
from ccos.capabilities.schemas import Fault, JsonSchema, SchemaValidator
from ccos.capabilities.versions import (
    Comparison,
    SchemaChange,
    breaking_input_changes,
    breaking_output_changes,
    compare_versions,
    parse_version,
)

__all__ = [
    "ApprovalStatus",
    "Attestation",
    "AuthReference",
    "Comparison",
    "CustodyEntry",
    "EffectType",
    "Fault",
    "HttpProvider",
    "HttpServer",
    "JsonSchema",
    "LocalProvider",
    "Manifest",
    "McpProvider",
    "McpServer",
    "OpenApiBody",
    "OpenApiEncoding",
    "OpenApiParameter",
    "OpenApiProvider",
    "Provenance",
    "Provider",
    "SchemaChange",
    "SchemaValidator",
    "StdioServer",
    "TrustTier",
    "attestation_fault",
    "attested",
    "breaking_input_changes",
    "breaking_output_changes",
    "canonical_id",
    "canonical_json",
    "compare_versions",
    "content_hash",
    "id_tokens",
    "parse_manifest",
    "parse_version",
    "provider_url",
]
