"""What can be told from a definition and its schemas alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from ccos.capabilities import (
    EffectType,
    Manifest,
    ScriptProvider,
    TrustTier,
    id_tokens,
    parse_version,
    provider_url,
)
from ccos.config import SecurityConfig
from ccos.errors import InvalidManifestError
from ccos.resolution.validation.analysers import (
    Neighbours,
    budget_issues,
    is_secret_name,
    used_effects,
)
from ccos.resolution.validation.code import Function, Read, walk
from ccos.resolution.validation.findings import Issue, issue

MAXIMUM_PARAMETERS: Final = 20
_FEW_PARAMETERS: Final = 10
_SHORT_DESCRIPTION: Final = 20
_GOOD_DESCRIPTION: Final = 50

_PERSONAL: Final = frozenset({"personal_data", "ssn", "credit_card"})
_PRIVATE: Final = _PERSONAL | {"user_id", "email", "phone", "address"}
_PRIVILEGES: Final = frozenset({"admin", "root", "sudo", "superuser", "administrator"})
_STORING: Final = frozenset(
    {"store", "save", "write", "create", "insert", "database", "filesystem"}
)
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_TRUE: Final = frozenset({"true", "yes", "1"})
_SUBSCHEMAS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Rules:
    """What an operator decided.

    Attributes:
        security: Hosts that may be contacted, and how.
        audited: Whether what happens is audited.
        data_privacy, performance, api_design: Whether these policies, which refuse much that is
            in good use, are applied.
    """

    security: SecurityConfig = field(default_factory=SecurityConfig)
    audited: bool = True
    data_privacy: bool = False
    performance: bool = False
    api_design: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """What is judged.

    Attributes:
        manifest: The definition.
        read: Its code; None if it has none of its own.
        neighbours: What the code may call.
        approved: Whether a person approved it, or will be asked.
    """

    manifest: Manifest
    rules: Rules
    read: Read | None = None
    neighbours: Neighbours = field(default_factory=dict)
    approved: bool = True


def definition_issues(subject: Subject) -> Iterator[Issue]:
    """Quality of the definition, and secrets in its schema."""
    manifest = subject.manifest
    properties = _top_properties(manifest.input_schema)
    if len(manifest.description.strip()) <= _SHORT_DESCRIPTION:
        yield issue("QUAL003", "Its description says little.", "/description")
    if len(properties) > MAXIMUM_PARAMETERS:
        yield issue("MAX_PARAM_COUNT", f"It has {len(properties)} parameters.", "/input_schema")
    if manifest.input_schema in (True, {}):
        yield issue("QUAL002", "Its input is not described.", "/input_schema")
    for pointer, name, schema in _fields(manifest.input_schema, "/input_schema"):
        marked = isinstance(schema, dict) and (
            schema.get("writeOnly") is True or schema.get("format") == "password"
        )
        if is_secret_name(name) and not marked and _may_be_text(schema):
            yield issue("SEC_ANALYZER004", f"{name} is not marked as a secret.", pointer)
    parameters = _parameters(subject)
    if parameters is not None and parameters != frozenset(properties):
        differ = ", ".join(sorted(parameters ^ frozenset(properties)))
        yield issue("QUAL002", f"Schema and code differ in {differ}.", "/input_schema")


def compliance_issues(subject: Subject) -> Iterator[Issue]:
    """Personal data without consent, and effects that nobody would hear of."""
    manifest = subject.manifest
    if not (_says(manifest, "consent") or _says(manifest, "gdpr_compliant")):
        if _says(manifest, "personal_data"):
            yield issue("COMP001", "It handles personal data without consent.", "/metadata")
        for pointer, name, _ in _all_fields(manifest):
            if name.lower() in _PERSONAL:
                yield issue("COMP001", f"{name} is personal data.", pointer)
    if subject.read is not None:
        undeclared = used_effects(subject.read, subject.neighbours) - set(manifest.effects)
        for effect in sorted(undeclared):
            yield issue("COMP002", f"It has the effect {effect} and does not say so.", "/effects")


def governance_issues(subject: Subject) -> Iterator[Issue]:
    """Privileges, hosts and the audit."""
    manifest, rules = subject.manifest, subject.rules
    words = set(id_tokens(manifest.id)).union(*map(id_tokens, manifest.permissions))
    if words & _PRIVILEGES and not subject.approved:
        yield issue("GOV001", "It has privileges and nobody approved it.", "/id")
    if not rules.audited and manifest.effect_type is EffectType.EFFECTFUL:
        yield issue("GOV004", "It acts and nothing is audited.", "/effect_type")
        yield issue("COMP002", "It acts and the audit is disabled.", "/effect_type")
    url = provider_url(manifest.provider)
    parts = urlsplit(url or "")
    host = (parts.hostname or "").rstrip(".").lower()
    if url is None or host in _LOOPBACK:
        return
    if parts.scheme != "https" and rules.security.require_https:
        yield issue("GOV003", f"{parts.scheme}://{host} is not encrypted.", "/provider")
    blocked = {one.lower() for one in rules.security.blocked_domains}
    allowed = {one.lower() for one in rules.security.allowed_domains} - blocked
    vouched = manifest.trust_tier in (TrustTier.OFFICIAL, TrustTier.APPROVED)
    if host in blocked or not (vouched or host in allowed):
        yield issue("GOV002", f"{host} is not allowed.", "/provider")


def privacy_issues(subject: Subject) -> Iterator[Issue]:
    """Personal data needs consent, a purpose and a way to be deleted."""
    manifest = subject.manifest
    fields = [(pointer, name) for pointer, name, _ in _all_fields(manifest) if name in _PRIVATE]
    if not (subject.rules.data_privacy and fields):
        return
    pointer, name = fields[0]
    words = {*id_tokens(manifest.id), *manifest.effects}
    if not _says(manifest, "consent"):
        yield issue("PRIV001", f"{name} is used without consent.", pointer)
    if not manifest.metadata.get("purpose"):
        yield issue("PRIV002", f"Nobody says what {name} is for.", pointer)
    if words & _STORING and not manifest.metadata.get("deletion_capability"):
        yield issue("PRIV003", f"{name} is kept and cannot be deleted.", pointer)


def performance_issues(subject: Subject) -> Iterator[Issue]:
    """Calls that could be fewer."""
    if subject.rules.performance and subject.read is not None:
        yield from budget_issues(subject.read)


def api_issues(subject: Subject) -> Iterator[Issue]:
    """How easy it is to use."""
    if not subject.rules.api_design:
        return
    manifest = subject.manifest
    try:
        parse_version(manifest.version)
    except InvalidManifestError as error:
        yield issue("API001", error.message, "/version")
    if len(manifest.description) < _GOOD_DESCRIPTION:
        yield issue("API002", "Its description is short.", "/description")
    if not any(name in ("error", "errors") for _, name, _ in _output_fields(manifest)):
        yield issue("API003", "Its result says nothing of errors.", "/output_schema")
    if len(_top_properties(manifest.input_schema)) > _FEW_PARAMETERS:
        yield issue("API004", "It has many parameters.", "/input_schema")


def _parameters(subject: Subject) -> frozenset[str] | None:
    """Names that the code takes one by one; None where it takes them as one object."""
    provider, read = subject.manifest.provider, subject.read
    if read is None or not isinstance(provider, ScriptProvider) or provider.argument is not None:
        return None
    for node in walk(read.body):
        if isinstance(node, Function) and node.name == read.entry:
            return frozenset(node.parameters)
    return None


def _says(manifest: Manifest, key: str) -> bool:
    return manifest.metadata.get(key, "").strip().lower() in _TRUE


def _may_be_text(schema: Any) -> bool:
    kind = schema.get("type") if isinstance(schema, dict) else None
    return kind is None or "string" in ([kind] if isinstance(kind, str) else kind)


def _top_properties(schema: Any) -> Mapping[str, Any]:
    found = schema.get("properties") if isinstance(schema, dict) else None
    return found if isinstance(found, dict) else {}


def _all_fields(manifest: Manifest) -> Iterator[tuple[str, str, Any]]:
    yield from _fields(manifest.input_schema, "/input_schema")
    yield from _output_fields(manifest)


def _output_fields(manifest: Manifest) -> Iterator[tuple[str, str, Any]]:
    yield from _fields(manifest.output_schema, "/output_schema")


_MAPS: Final = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_SINGLE: Final = ("items", "additionalProperties", "not", "if", "then", "else", "contains")
_LISTS: Final = ("allOf", "anyOf", "oneOf", "prefixItems")


def _fields(schema: Any, pointer: str) -> Iterator[tuple[str, str, Any]]:
    """Every property of a schema, however deep, with its JSON Pointer (RFC 6901)."""
    waiting: list[tuple[str, Any]] = [(pointer, schema)]
    for _ in range(_SUBSCHEMAS):
        if not waiting:
            return
        place, current = waiting.pop()
        if not isinstance(current, dict):
            continue
        for name, part in _top_properties(current).items():
            yield f"{place}/properties/{_escaped(name)}", name, part
        for key in _MAPS:
            parts = current.get(key)
            if isinstance(parts, dict):
                waiting += [(f"{place}/{key}/{_escaped(n)}", one) for n, one in parts.items()]
        waiting += [(f"{place}/{key}", current[key]) for key in _SINGLE if key in current]
        for key in _LISTS:
            parts = current.get(key)
            if isinstance(parts, list):
                waiting += [(f"{place}/{key}/{number}", one) for number, one in enumerate(parts)]


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
