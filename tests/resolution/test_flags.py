"""Every flag switches its stage off for real: a spy is called when on, never when off."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ccos.assembly import Ccos
from ccos.errors import FeatureDisabledError, UnknownCapabilityError
from ccos.events import EventType
from ccos.resolution.queue import RequestStatus
from ccos.resolution.sources import (
    Catalogue,
    CuratedCatalogue,
    Introspector,
    McpRegistry,
    NearMatches,
    OpenApiDocuments,
    Source,
    Wanted,
)
from ccos.runtime import Failed
from ccos.storage.schema import audit_entries, resolutions
from opening import (
    DETECTING,
    OFF,
    ON,
    RESOLVING,
    ScriptedSource,
    change,
    failure,
    happened,
    increment,
    offer,
    opened,
    parked,
    rows,
    settings,
    status,
    value,
)

pytestmark = pytest.mark.anyio

EVERYTHING = {
    "CCOS_MISSING_CAPABILITY_ENABLED": ON,
    "CCOS_RUNTIME_DETECTION": ON,
    "CCOS_AUTO_RESOLUTION": ON,
    "CCOS_MCP_REGISTRY_ENABLED": ON,
    "CCOS_IMPORTERS_ENABLED": ON,
    "CCOS_CONTINUOUS_RESOLUTION": ON,
    "CCOS_AUTO_RESUME_ENABLED": ON,
    "CCOS_HUMAN_APPROVAL_REQUIRED": OFF,
    "CCOS_AUDIT_LOGGING": ON,
}


def either(variable: str) -> pytest.MarkDecorator:
    """The test runs with one flag on and off; all else is on."""
    return pytest.mark.parametrize(
        ("on", "variables"),
        [(on, {**EVERYTHING, variable: ON if on else OFF}) for on in (True, False)],
        ids=["on", "off"],
    )


@either("CCOS_MISSING_CAPABILITY_ENABLED")
async def test_enabled(tmp_path: Path, on: bool, variables: dict[str, str]) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **variables) as ccos:
        source.candidates = [await offer(ccos, "weather.current")]
        outcome = await ccos.call("weather.current", {"x": 1})
        await ccos.worker.run_once()
        assert bool(source.asked) is on
        assert bool(await rows(ccos, sa.select(resolutions))) is on
        if on:
            assert value(await ccos.runtime.outcome(outcome.execution_id)) == 2
        else:
            assert isinstance(failure(outcome), UnknownCapabilityError)


async def test_runtime_detection(tmp_path: Path) -> None:
    # The configuration refuses it off while all is on, so the flag is put into it by hand.
    for on in (True, False):
        async with opened(tmp_path / str(on), **DETECTING) as ccos:
            flags = ccos.resolver.config.feature_flags
            ccos.resolver.config = ccos.resolver.config.model_copy(
                update={"feature_flags": flags.model_copy(update={"runtime_detection": on})}
            )
            outcome = await ccos.call("weather.current")
            assert isinstance(outcome, Failed) is not on
            assert bool(await rows(ccos, sa.select(resolutions))) is on


@either("CCOS_AUTO_RESOLUTION")
async def test_auto_resolution(tmp_path: Path, on: bool, variables: dict[str, str]) -> None:
    if not on:
        variables = {
            **variables,
            "CCOS_CONTINUOUS_RESOLUTION": OFF,
            "CCOS_AUTO_RESUME_ENABLED": OFF,
        }
    source = ScriptedSource()
    async with opened(tmp_path, source, **variables) as ccos:
        parked(await ccos.call("weather.current"))
        await ccos.worker.run_once()
        await ccos.resolver.resolve_capability("weather.current", force=True)
        assert bool(source.asked) is on
        found = await status(ccos, "weather.current")
        assert found is (RequestStatus.FAILED if on else RequestStatus.PENDING)


@pytest.mark.parametrize(
    ("variable", "flag"),
    [
        ("CCOS_MCP_REGISTRY_ENABLED", "mcp_registry_enabled"),
        ("CCOS_IMPORTERS_ENABLED", "importers_enabled"),
    ],
)
@pytest.mark.parametrize("on", [True, False], ids=["on", "off"])
async def test_a_flag_of_a_source(tmp_path: Path, variable: str, flag: str, on: bool) -> None:
    gated, free = ScriptedSource(name="gated", flag=flag), ScriptedSource(name="free")
    variables = {**EVERYTHING, variable: ON if on else OFF}
    async with opened(tmp_path, gated, free, **variables) as ccos:
        await ccos.resolver.resolve_capability("weather.current")
        assert bool(gated.asked) is on
        assert free.asked == ["weather.current"]


@pytest.mark.parametrize(
    ("source", "flag"),
    [
        (NearMatches, "auto_resolution"),
        (CuratedCatalogue, "auto_resolution"),
        (McpRegistry, "mcp_registry_enabled"),
        (OpenApiDocuments, "importers_enabled"),
    ],
)
def test_the_built_in_sources_name_their_flags(source: Any, flag: str) -> None:
    assert source.flag == flag


@either("CCOS_HUMAN_APPROVAL_REQUIRED")
async def test_human_approval_required(tmp_path: Path, on: bool, variables: dict[str, str]) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **variables) as ccos:
        source.candidates = [await offer(ccos, "weather.current")]
        parked(await ccos.call("weather.current", {"x": 1}))
        await ccos.worker.run_once()
        assert bool(await ccos.resolver.approvals.recent()) is on
        assert bool(source.asked) is not on
        expected = RequestStatus.AWAITING_APPROVAL if on else RequestStatus.RESOLVED
        assert await status(ccos, "weather.current") is expected


@either("CCOS_AUTO_RESUME_ENABLED")
async def test_auto_resume_enabled(tmp_path: Path, on: bool, variables: dict[str, str]) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **variables) as ccos:
        source.candidates = [await offer(ccos, "weather.current")]
        ticket = parked(await ccos.call("weather.current", {"x": 1}))
        await ccos.worker.run_once()
        assert bool(await happened(ccos, EventType.CHECKPOINT_RESUMED)) is on
        assert len(await happened(ccos, EventType.AUTO_RESUME_READY)) == 1
        if not on:
            assert value(await ccos.runtime.resume(ticket.execution_id)) == 2


@either("CCOS_AUTO_RESUME_ENABLED")
async def test_auto_resume_of_what_was_registered_by_hand(
    tmp_path: Path, on: bool, variables: dict[str, str]
) -> None:
    async with opened(tmp_path, **variables) as ccos:
        parked(await ccos.call("weather.current", {"x": 1}))
        await ccos.register("weather.current", increment)
        await ccos.worker.run_once()
        assert bool(await happened(ccos, EventType.CHECKPOINT_RESUMED)) is on


@either("CCOS_AUDIT_LOGGING")
async def test_audit_logging_enabled(tmp_path: Path, on: bool, variables: dict[str, str]) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **variables) as ccos:
        live = ccos.events.subscribe([EventType.RESOLUTION_SUCCEEDED])
        source.candidates = [await offer(ccos, "weather.current")]
        ticket = parked(await ccos.call("weather.current", {"x": 1}))
        await ccos.worker.run_once()
        assert value(await ccos.runtime.outcome(ticket.execution_id)) == 2
        assert bool(await rows(ccos, sa.select(audit_entries))) is on
        assert (await ccos.audit.verify()).intact
        # Whoever watches live sees it in either case.
        live.close()
        assert [event.capability_id async for event in live] == ["weather.current"]


@either("CCOS_CONTINUOUS_RESOLUTION")
async def test_continuous_resolution(tmp_path: Path, on: bool, variables: dict[str, str]) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source, **variables) as ccos:
        await ccos.resolver.enqueue_missing_capability("weather.current")
        await ccos.worker.run_once()
        await change(ccos, sa.update(resolutions).values(next_attempt=0.0))
        source.asked.clear()
        await ccos.worker.run_once()
        assert bool(source.asked) is on


async def test_without_a_flag_set_everything_is_off(tmp_path: Path) -> None:
    source = ScriptedSource()
    async with opened(tmp_path, source) as ccos:
        failure(await ccos.call("weather.current"))
        await ccos.worker.run_once()
        with pytest.raises(FeatureDisabledError):
            await ccos.resolver.resolve_capability("weather.current")
        assert source.asked == []


async def built_in(ccos: Ccos, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Resolve something with the built-in sources and return which of them were asked."""
    asked: list[str] = []

    def spy(name: str) -> Any:
        async def find(_: Source, wanted: Wanted) -> Sequence[Any]:
            asked.append(name)
            return []

        return find

    for source in (NearMatches, CuratedCatalogue, McpRegistry, OpenApiDocuments):
        monkeypatch.setattr(source, "find", spy(source.name))
    await ccos.resolver.resolve_capability("weather.current")
    return asked


@pytest.mark.parametrize(
    ("switched_off", "expected"),
    [
        ({}, ["near_matches", "catalogue", "mcp_registry", "openapi_documents"]),
        ({"CCOS_MCP_REGISTRY": OFF}, ["near_matches", "catalogue", "openapi_documents"]),
        ({"CCOS_IMPORTERS": OFF}, ["near_matches", "catalogue", "mcp_registry"]),
    ],
    ids=str,
)
async def test_the_built_in_sources_are_asked_in_order_as_the_flags_say(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    switched_off: dict[str, str],
    expected: list[str],
) -> None:
    variables = {**RESOLVING, "CCOS_IMPORTERS": ON, "CCOS_MCP_REGISTRY": ON, **switched_off}
    catalogue = Catalogue(shipped=False)

    async def nothing(_: Any) -> Any:
        raise AssertionError("No server is asked here.")

    async with opened(tmp_path, **variables) as ccos:
        introspector = Introspector(nothing)
        egress: Any = None
        for source in (
            NearMatches(ccos.marketplace),
            CuratedCatalogue(catalogue, introspector),
            McpRegistry(egress, introspector, base_url="https://registry.example"),
            OpenApiDocuments(egress, ()),
        ):
            ccos.resolver.add_custom_resolver(source)
        assert await built_in(ccos, monkeypatch) == expected


def test_settings_are_read_from_the_given_variables_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCOS_AUTO_RESOLUTION", ON)
    assert not settings(tmp_path, **DETECTING).missing.feature_flags.auto_resolution
