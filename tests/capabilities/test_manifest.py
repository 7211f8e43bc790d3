"""Manifests: what is read, what is refused, and what their hash covers."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccos.capabilities import (
    ApprovalStatus,
    AuthReference,
    EffectType,
    HttpProvider,
    HttpServer,
    LocalProvider,
    Manifest,
    McpProvider,
    OpenApiProvider,
    Provider,
    TrustTier,
    attestation_fault,
    attested,
    parse_manifest,
    provider_url,
)
from ccos.capabilities.providers import auth_references
from ccos.errors import InvalidManifestError
from ccos.keys import LocalKey

from .definitions import manifest_data

KEY, STRANGER = LocalKey(b"k" * 32), LocalKey(b"s" * 32)
HASH = "sha256:" + "a" * 64
TOKEN = AuthReference(scheme="bearer", environment=("API_TOKEN",))


def faults_of(data: Any) -> dict[str, str]:
    with pytest.raises(InvalidManifestError) as caught:
        parse_manifest(data)
    return {fault["path"]: fault["message"] for fault in caught.value.details["errors"]}


def test_complete_manifest_is_read_and_written_unchanged() -> None:
    manifest = parse_manifest(manifest_data())
    assert manifest.effect_type is EffectType.READ_ONLY
    assert parse_manifest(json.loads(manifest.to_json())) == manifest


def test_what_is_not_declared_is_taken_for_the_worst() -> None:
    minimal = parse_manifest(
        {"id": ":weather/current", "name": "W", "provider": {"type": "local", "handler": "w"}}
    )
    assert minimal.id == "weather.current"
    assert minimal.version == "1.0.0"
    assert minimal.effect_type is EffectType.EFFECTFUL
    assert minimal.trust_tier is TrustTier.UNKNOWN
    assert minimal.approval_status is ApprovalStatus.PENDING


def test_every_fault_is_listed_with_its_place() -> None:
    found = faults_of(
        manifest_data(
            id="../x",
            name="",
            version="one",
            effect_type="harmless",
            provider={"type": "http", "base_url": "ftp://x.example", "timeout_seconds": -1},
            permissions=[""],
            unheard_of=1,
            approval_status="certainly",
        )
    )
    assert set(found) == {
        "/id",
        "/name",
        "/version",
        "/effect_type",
        "/provider/http/base_url",
        "/provider/http/timeout_seconds",
        "/permissions/0",
        "/unheard_of",
        "/approval_status",
    }
    assert "segment" in found["/id"]


@pytest.mark.parametrize("data", [None, [], "manifest", 3])
def test_manifest_is_an_object(data: object) -> None:
    with pytest.raises(InvalidManifestError, match="object"):
        parse_manifest(data)


@pytest.mark.parametrize(
    "changes",
    [
        {"provider": {"type": "telepathy"}},
        {"provider": {}},
        {"provider": None},
        {"provider": {"type": "local", "handler": "x", "secret": "y"}},
        {"provider": {"type": "mcp", "server": {"transport": "stdio"}, "tool": "t"}},
        {"input_schema": {"type": "nonsense"}},
        {"output_schema": {"properties": 3}},
        {"name": "x" * 501},
        {"description": "x" * 20_001},
        {"effects": "network"},
        {"effects": [1]},
        {"effects": ["x"] * 3 + [str(number) for number in range(101)]},
        {"metadata": {"a": 1}},
        {"metadata": {str(number): "" for number in range(101)}},
        {"name": "\ud800"},
        {"input_schema": {"const": "\ud800"}},
        {"attestation": {"signature": "00"}},
        {"provenance": {"source": "x", "content_hash": "md5:1"}},
    ],
)
def test_malformed_part_is_refused(changes: dict[str, Any]) -> None:
    parse_manifest(manifest_data())
    with pytest.raises(InvalidManifestError):
        parse_manifest(manifest_data(**changes))


@pytest.mark.parametrize(
    "provider",
    [
        {"type": "local", "handler": "h"},
        {
            "type": "mcp",
            "tool": "t",
            "tool_hash": HASH,
            "server": {"transport": "stdio", "registry": "pypi", "package": "p", "version": "1"},
        },
        {
            "type": "mcp",
            "tool": "t",
            "tool_hash": HASH,
            "server": {"transport": "http", "url": "https://mcp.example.com"},
        },
        {
            "type": "openapi",
            "document": "https://api.example.com/openapi.json",
            "base_url": "https://api.example.com",
            "method": "GET",
            "path": "/x",
        },
        {
            "type": "http",
            "base_url": "https://api.example.com",
            "auth": {"scheme": "bearer", "environment": ["API_TOKEN"]},
        },
    ],
)
def test_every_kind_of_provider_survives_storing(provider: dict[str, Any]) -> None:
    manifest = parse_manifest(manifest_data(provider=provider))
    again = parse_manifest(json.loads(manifest.to_json()))
    assert again == manifest
    assert again.definition_hash() == manifest.definition_hash()
    expected = provider.get("base_url") or provider.get("server", {}).get("url")
    assert provider_url(manifest.provider) == expected


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        (LocalProvider(handler="h"), ()),
        (HttpProvider(base_url="https://x.example"), ()),
        (HttpProvider(base_url="https://x.example", auth=TOKEN), (TOKEN,)),
        (
            OpenApiProvider(
                document="d", base_url="https://x.example", method="GET", path="/", auth=(TOKEN,)
            ),
            (TOKEN,),
        ),
        (
            McpProvider(
                server=HttpServer(url="https://x.example", auth=TOKEN), tool="t", tool_hash=HASH
            ),
            (TOKEN,),
        ),
    ],
)
def test_secrets_that_a_provider_is_given(
    provider: Provider, expected: tuple[AuthReference, ...]
) -> None:
    assert auth_references(provider) == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "weather.now"),
        ("name", "Weather"),
        ("description", "Tells the weather of a town."),
        ("version", "1.2.4"),
        ("provider", {"type": "local", "handler": "other"}),
        ("provider", {"type": "http", "base_url": "https://weather.example"}),
        ("input_schema", {"type": "object"}),
        ("output_schema", None),
        ("effect_type", "pure"),
        ("effects", []),
        ("permissions", ["network.read", "network.write"]),
        ("domains", []),
        ("categories", ["data", "climate"]),
        ("metadata", {"licence": "GPL"}),
    ],
)
def test_change_of_the_definition_changes_the_hash(field: str, value: Any) -> None:
    before = parse_manifest(manifest_data())
    assert parse_manifest(manifest_data(**{field: value})).definition_hash() != (
        before.definition_hash()
    )


def test_every_field_is_either_definition_or_standing() -> None:
    standing = {"trust_tier", "approval_status", "provenance", "attestation"}
    assert set(Manifest.model_fields) == standing | set(
        parse_manifest(manifest_data()).definition()
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("trust_tier", "official"),
        ("approval_status", "approved"),
        ("provenance", {"source": "operator", "content_hash": HASH}),
        ("effects", ["network", " :network "]),
    ],
)
def test_standing_and_spelling_do_not_change_the_hash(field: str, value: Any) -> None:
    before = parse_manifest(manifest_data())
    after = parse_manifest(manifest_data(**{field: value}))
    assert after.definition_hash() == before.definition_hash()
    assert attested(before, KEY).definition_hash() == before.definition_hash()


def test_order_of_names_and_keys_does_not_change_the_hash() -> None:
    data = manifest_data(effects=["a", "b"], permissions=["p", "q"])
    shuffled = dict(reversed(data.items())) | {
        "effects": ["b", "a", "b"],
        "permissions": ["q", "p"],
    }
    assert parse_manifest(shuffled).definition_hash() == parse_manifest(data).definition_hash()


@pytest.mark.parametrize(
    "bound",
    [2**53, 9223372036854775807, -9223372036854775808, 1e17, 5.781673638330638e16, 1e308, 0.1],
)
def test_bounds_of_any_size_survive_storing(bound: float) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "number", "maximum": bound}}}
    manifest = attested(parse_manifest(manifest_data(input_schema=schema)), KEY)
    again = parse_manifest(json.loads(manifest.to_json()))
    assert again == manifest
    assert attestation_fault(again, KEY) is None


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
            lambda children: st.lists(children, max_size=3),
            max_leaves=5,
        ),
        max_size=4,
    )
)
def test_any_constant_of_a_schema_is_refused_or_survives_storing(constant: Any) -> None:
    data = manifest_data(input_schema={"type": "object", "properties": {"x": {"const": constant}}})
    try:
        manifest = attested(parse_manifest(data), KEY)
    except InvalidManifestError:
        return
    again = parse_manifest(json.loads(manifest.to_json()))
    assert attestation_fault(again, KEY) is None


def test_attestation_holds_for_what_was_attested() -> None:
    manifest = attested(parse_manifest(manifest_data()), KEY)
    assert attestation_fault(manifest, KEY) is None
    assert manifest.attestation is not None
    assert manifest.attestation.authority == KEY.key_id
    approved = manifest.model_copy(update={"approval_status": ApprovalStatus.APPROVED})
    assert attestation_fault(approved, KEY) is None


def test_attestation_fails_for_anything_else() -> None:
    plain = parse_manifest(manifest_data())
    manifest = attested(plain, KEY)
    attestation = manifest.attestation
    assert attestation is not None

    def fault(**changes: Any) -> str:
        changed = manifest.model_copy(
            update={"attestation": attestation.model_copy(update=changes)}
        )
        return attestation_fault(changed, KEY) or "none"

    assert attestation_fault(plain, KEY) == "it carries no attestation"
    changed = manifest.model_copy(update={"provider": LocalProvider(handler="other")})
    assert "not the one that was attested" in (attestation_fault(changed, KEY) or "")
    later = attestation.expires_at + timedelta(days=365)
    assert "not the one that was attested" in fault(expires_at=later)
    assert "not the one that was attested" in fault(created_at=later)
    assert "not the one that was attested" in fault(signature="00" * 64)
    assert "not readable" in fault(signature="zz")
    assert "not this installation's key" in (attestation_fault(manifest, STRANGER) or "")
    assert "not the one that was attested" in (
        attestation_fault(
            attested(plain, STRANGER).model_copy(
                update={
                    "attestation": attested(plain, STRANGER).attestation.model_copy(  # type: ignore[union-attr]
                        update={"authority": KEY.key_id}
                    )
                }
            ),
            KEY,
        )
        or ""
    )


def test_attestation_expires_after_a_year() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    manifest = attested(parse_manifest(manifest_data()), KEY, now=now)
    last_moment = now + timedelta(days=365) - timedelta(seconds=1)
    assert attestation_fault(manifest, KEY, now=last_moment) is None
    fault = attestation_fault(manifest, KEY, now=now + timedelta(days=365))
    assert fault is not None
    assert "expired" in fault


def test_only_effects_without_a_second_effect_are_repeatable() -> None:
    assert [effect for effect in EffectType if not effect.repeatable] == [EffectType.EFFECTFUL]


def test_trust_weighs_in_the_order_of_the_tiers() -> None:
    weights = [tier.weight for tier in TrustTier]
    assert weights == sorted(weights, reverse=True)
    assert weights[0] == 1.0
