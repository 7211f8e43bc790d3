"""Registering: versions, conflicts, breaking changes, aliases, and who may no longer be called."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, tzinfo
from typing import Any, Self

import pytest
import sqlalchemy as sa

from ccos.capabilities import ApprovalStatus, EffectType, Manifest, parse_manifest
from ccos.errors import (
    CapabilityConflictError,
    IntegrityError,
    InvalidIdentifierError,
    UnknownCapabilityError,
)
from ccos.keys import LocalKey
from ccos.marketplace import Marketplace, RegistrationResult, Standing
from ccos.storage import Storage, Transaction
from ccos.storage.schema import capabilities

from .conftest import Open

pytestmark = pytest.mark.anyio


def manifest(version: str = "1.0.0", **changes: Any) -> Manifest:
    return parse_manifest(
        {
            "id": "weather.current",
            "name": "Weather",
            "version": version,
            "provider": {"type": "local", "handler": "weather"},
            "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
            **changes,
        }
    )


async def register(marketplace: Marketplace, one: Manifest, **options: Any) -> RegistrationResult:
    return (await marketplace.register(one, actor="tester", **options)).result


async def version(marketplace: Marketplace, capability_id: str = "weather.current") -> str | None:
    found = await marketplace.get(capability_id)
    return found.manifest.version if found else None


async def events(marketplace: Marketplace) -> list[str]:
    return [entry.event_type for entry in await marketplace.audit.tail(100)]


async def test_registering_again_renews_an_attestation_that_expired(
    marketplace: Marketplace, elsewhere: Marketplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    class LongAgo(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) - timedelta(days=366)

    with monkeypatch.context() as patch:
        patch.setattr("ccos.marketplace.store.datetime", LongAgo)
        await register(marketplace, manifest())
    expired = await elsewhere.get("weather.current")
    assert expired is not None
    assert "expired" in (expired.fault or "")
    assert await register(marketplace, manifest()) is RegistrationResult.UPDATED
    renewed = await elsewhere.get("weather.current")
    assert renewed is not None
    assert renewed.fault is None
    assert await register(marketplace, manifest()) is RegistrationResult.UNCHANGED


async def test_registered_capability_is_found_attested_and_on_record(
    marketplace: Marketplace,
) -> None:
    assert await marketplace.get("weather.current") is None
    assert await register(marketplace, manifest()) is RegistrationResult.REGISTERED
    found = await marketplace.get("weather.current")
    assert found is not None
    assert found.standing is Standing.ACTIVE
    assert found.fault is None
    assert found.definition_hash == manifest().definition_hash()
    assert found.manifest.attestation is not None
    assert found.manifest.provenance is not None
    assert [step.by for step in found.manifest.provenance.custody_chain] == ["tester"]
    (entry,) = await marketplace.audit.tail(10)
    assert entry.event_type == "capability_registered"
    assert entry.actor == "tester"
    assert entry.data["content_hash"] == found.definition_hash
    assert found.input_validator.accepts({"city": "Paris"})
    assert not found.input_validator.accepts({"city": 1})
    assert found.output_validator is None


async def test_same_definition_again_changes_nothing(marketplace: Marketplace) -> None:
    await register(marketplace, manifest())
    assert await register(marketplace, manifest()) is RegistrationResult.UNCHANGED
    assert await events(marketplace) == ["capability_registered"]


async def test_other_definition_of_the_same_version_is_a_conflict(marketplace: Marketplace) -> None:
    await register(marketplace, manifest())
    with pytest.raises(CapabilityConflictError) as caught:
        await register(marketplace, manifest(name="Other"), allow_breaking=True)
    assert caught.value.details["registered"] == "1.0.0"
    found = await marketplace.get("weather.current")
    assert found is not None
    assert found.manifest.name == "Weather"


async def test_higher_version_takes_over_and_the_history_stays(marketplace: Marketplace) -> None:
    await register(marketplace, manifest())
    done = await marketplace.register(manifest("1.1.0", description="More."), actor="tester")
    assert (done.result, done.previous_version) == (RegistrationResult.UPDATED, "1.0.0")
    assert await version(marketplace) == "1.1.0"
    assert [
        (one.manifest.version, one.standing)
        for one in await marketplace.versions("weather.current")
    ] == [("1.0.0", Standing.SUPERSEDED), ("1.1.0", Standing.ACTIVE)]
    assert [one.manifest.version for one in await marketplace.registered()] == ["1.1.0"]
    assert await events(marketplace) == ["capability_registered", "capability_updated"]


async def test_lower_version_is_refused(marketplace: Marketplace) -> None:
    await register(marketplace, manifest("2.0.0"))
    with pytest.raises(CapabilityConflictError, match="older"):
        await register(marketplace, manifest("1.9.9"), allow_breaking=True)
    assert await version(marketplace) == "2.0.0"


@pytest.mark.parametrize(
    "changes",
    [
        {"input_schema": {"type": "object", "properties": {"city": {"type": "integer"}}}},
        {"input_schema": {"type": "object", "properties": {}}},
        {
            "input_schema": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            }
        },
        {"effects": ["network"]},
        {"permissions": ["mail.send"]},
    ],
)
async def test_breaking_change_has_to_be_allowed(
    marketplace: Marketplace, changes: dict[str, Any]
) -> None:
    await register(marketplace, manifest())
    with pytest.raises(CapabilityConflictError) as caught:
        await register(marketplace, manifest("2.0.0", **changes))
    assert caught.value.details["breaking_changes"]
    assert await version(marketplace) == "1.0.0"
    done = await marketplace.register(
        manifest("2.0.0", **changes), actor="tester", allow_breaking=True
    )
    assert done.breaking_changes
    assert await version(marketplace) == "2.0.0"


async def test_output_that_is_no_longer_described_breaks_readers(marketplace: Marketplace) -> None:
    await register(marketplace, manifest(output_schema={"type": "string"}))
    found = await marketplace.get("weather.current")
    assert found is not None
    assert found.output_validator is not None
    assert not found.output_validator.accepts(1)
    with pytest.raises(CapabilityConflictError, match="no longer described"):
        await register(marketplace, manifest("1.0.1"))


async def test_version_stays_bound_to_its_definition_after_a_removal(
    marketplace: Marketplace,
) -> None:
    await register(marketplace, manifest())
    await marketplace.remove("weather.current", actor="tester")
    assert await marketplace.get("weather.current") is None
    with pytest.raises(CapabilityConflictError, match="before with another"):
        await register(marketplace, manifest(name="Other"))
    assert await register(marketplace, manifest()) is RegistrationResult.REGISTERED
    assert await version(marketplace) == "1.0.0"


async def test_removed_version_may_come_back_over_a_lower_one(marketplace: Marketplace) -> None:
    await register(marketplace, manifest("1.0.0"))
    await register(marketplace, manifest("1.1.0"))
    await marketplace.remove("weather.current", actor="tester")
    await register(marketplace, manifest("1.0.0"))
    with pytest.raises(CapabilityConflictError, match="before with another"):
        await register(marketplace, manifest("1.1.0", name="Other"))
    assert await register(marketplace, manifest("1.1.0")) is RegistrationResult.UPDATED
    assert await version(marketplace) == "1.1.0"


@pytest.mark.parametrize("how", ["revoke", "quarantine"])
async def test_withheld_capability_is_called_again_only_when_registered_anew(
    marketplace: Marketplace, how: str
) -> None:
    await register(marketplace, manifest())
    await getattr(marketplace, how)("weather.current", actor="tester", reason="looks odd")
    found = await marketplace.get("weather.current")
    assert found is not None
    assert found.standing.value.startswith(how)
    assert found.reason == "looks odd"
    assert [one.standing for one in await marketplace.registered()] == [found.standing]
    assert await marketplace.registered(include_withheld=False) == []
    assert await register(marketplace, manifest()) is RegistrationResult.UPDATED
    found = await marketplace.get("weather.current")
    assert found is not None
    assert (found.standing, found.reason, found.fault) == (Standing.ACTIVE, "", None)


@pytest.mark.parametrize("how", ["revoke", "quarantine", "remove"])
async def test_nothing_can_be_withheld_that_is_not_there(
    marketplace: Marketplace, how: str
) -> None:
    with pytest.raises(UnknownCapabilityError):
        await getattr(marketplace, how)("no.such", actor="tester", reason="x")
    assert await events(marketplace) == []


@pytest.mark.parametrize("how", ["revoke", "quarantine", "remove"])
async def test_other_processes_see_it_at_once(
    marketplace: Marketplace, elsewhere: Marketplace, how: str
) -> None:
    assert await elsewhere.get("weather.current") is None
    await register(marketplace, manifest())
    assert await version(elsewhere) == "1.0.0"
    await register(marketplace, manifest("1.1.0"))
    assert await version(elsewhere) == "1.1.0"
    await getattr(elsewhere, how)("weather.current", actor="tester", reason="x")
    found = await marketplace.get("weather.current")
    assert found is None if how == "remove" else found and found.standing is not Standing.ACTIVE


async def test_two_processes_that_register_at_once_agree(
    marketplace: Marketplace, elsewhere: Marketplace
) -> None:
    results = await asyncio.gather(
        register(marketplace, manifest(name="One")),
        register(elsewhere, manifest(name="Two")),
        return_exceptions=True,
    )
    assert sorted(type(result).__name__ for result in results) == [
        "CapabilityConflictError",
        "RegistrationResult",
    ]
    assert await version(marketplace) == await version(elsewhere) == "1.0.0"


async def alter(storage: Storage, **values: Any) -> None:
    def unit(transaction: Transaction) -> None:
        transaction.execute(sa.update(capabilities).values(**values))

    await storage.write("tamper", unit)


async def test_tampered_manifest_has_a_fault(
    marketplace: Marketplace, marketplace_in: Open
) -> None:
    await register(marketplace, manifest())
    stored = await marketplace.get("weather.current")
    assert stored is not None
    changed = stored.manifest.model_copy(update={"effect_type": EffectType.PURE})
    await alter(
        marketplace.storage, manifest=changed.to_json(), definition_hash=changed.definition_hash()
    )
    found = await marketplace_in(marketplace.storage).get("weather.current")
    assert found is not None
    assert found.fault is not None
    assert "not the one that was attested" in found.fault


async def test_version_swapped_for_another_genuine_one_has_a_fault(
    marketplace: Marketplace, marketplace_in: Open
) -> None:
    await register(marketplace, manifest())
    old = await marketplace.get("weather.current")
    assert old is not None
    await register(marketplace, manifest("1.1.0"))
    await alter(marketplace.storage, manifest=old.manifest.to_json())
    found = await marketplace_in(marketplace.storage).get("weather.current")
    assert found is not None
    assert found.fault == "its definition is not the one that was pinned"


async def test_capability_that_another_key_attested_has_a_fault(
    marketplace: Marketplace, marketplace_in: Open
) -> None:
    await register(marketplace, manifest())
    stranger = marketplace_in(marketplace.storage, LocalKey(b"s" * 32))
    found = await stranger.get("weather.current")
    assert found is not None
    assert found.fault is not None


@pytest.mark.parametrize("text", ["", "not JSON", "{}", "[]", "[" * 100_000])
async def test_damaged_manifest_is_named(
    marketplace: Marketplace, marketplace_in: Open, text: str
) -> None:
    await register(marketplace, manifest())
    await alter(marketplace.storage, manifest=text)
    with pytest.raises(IntegrityError, match=r"weather\.current"):
        await marketplace_in(marketplace.storage).get("weather.current")


async def test_alias_leads_to_its_capability(marketplace: Marketplace) -> None:
    await register(marketplace, manifest())
    await marketplace.add_alias(":meteo/now", "weather.current", actor="tester")
    assert await version(marketplace, "meteo.now") == "1.0.0"
    assert await marketplace.aliases() == {"meteo.now": "weather.current"}
    assert (await events(marketplace))[-1] == "alias_registered"
    await register(marketplace, manifest(id="climate.now"))
    await marketplace.add_alias("meteo.now", "climate.now", actor="tester")
    found = await marketplace.get("meteo.now")
    assert found is not None
    assert found.manifest.id == "climate.now"


async def test_alias_never_shadows_a_capability_or_leads_nowhere(marketplace: Marketplace) -> None:
    await register(marketplace, manifest())
    with pytest.raises(CapabilityConflictError):
        await marketplace.add_alias("weather.current", "weather.current", actor="tester")
    with pytest.raises(UnknownCapabilityError):
        await marketplace.add_alias("a.b", "no.such", actor="tester")
    with pytest.raises(InvalidIdentifierError):
        await marketplace.add_alias("../a", "weather.current", actor="tester")
    await marketplace.add_alias("a.b", "weather.current", actor="tester")
    with pytest.raises(UnknownCapabilityError):
        await marketplace.add_alias("c.d", "a.b", actor="tester")
    assert await marketplace.aliases() == {"a.b": "weather.current"}


async def test_alias_goes_with_its_capability(marketplace: Marketplace) -> None:
    await register(marketplace, manifest())
    await marketplace.add_alias("a.b", "weather.current", actor="tester")
    await marketplace.remove("weather.current", actor="tester")
    assert await marketplace.aliases() == {}
    assert await marketplace.get("a.b") is None


async def test_capability_registered_later_goes_before_an_alias(marketplace: Marketplace) -> None:
    await register(marketplace, manifest())
    await marketplace.add_alias("meteo.now", "weather.current", actor="tester")
    await register(marketplace, manifest(id="meteo.now"))
    found = await marketplace.get("meteo.now")
    assert found is not None
    assert found.manifest.id == "meteo.now"


async def test_transaction_sees_ids_and_aliases(marketplace: Marketplace) -> None:
    await register(marketplace, manifest())
    await marketplace.add_alias("a.b", "weather.current", actor="tester")
    ids = ["weather.current", "a.b", "no.such"]

    def unit(transaction: Transaction) -> list[bool]:
        marketplace.hold_still(transaction)
        return [marketplace.is_registered_in(transaction, one) for one in ids]

    assert await marketplace.storage.write("look", unit) == [True, True, False]
    await marketplace.remove("weather.current", actor="tester")
    assert await marketplace.storage.write("look", unit) == [False, False, False]


async def test_function_of_the_program_is_vouched_for_by_the_program(
    marketplace: Marketplace,
) -> None:
    def double(x: int) -> int:
        """Twice x."""
        return 2 * x

    done = await marketplace.register_local_capability("math.double", handler=double)
    assert done.result is RegistrationResult.REGISTERED
    found = await marketplace.get("math.double")
    assert found is not None
    assert found.manifest.approval_status is ApprovalStatus.APPROVED
    assert found.manifest.description == "Twice x."
    assert found.manifest.effect_type is EffectType.EFFECTFUL


async def test_cache_is_bounded(marketplace: Marketplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ccos.marketplace.store._CACHE_LIMIT", 3)
    await register(marketplace, manifest())
    for number in range(20):
        assert await marketplace.get(f"no.such{number}") is None
    assert await version(marketplace) == "1.0.0"
    assert len(marketplace._cache) <= 3
