"""Capabilities that are written in RTFS, as manifests that the marketplace registers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from ccos.capabilities import (
    ApprovalStatus,
    CustodyEntry,
    EffectType,
    Manifest,
    Provenance,
    TrustTier,
    parse_manifest,
)
from ccos.engine.executions import CompilationContext
from ccos.engine.hosts import Effect, HostFunction
from ccos.engine.policy import SecurityPolicy
from ccos.engine.rtfs.services import SERVICES
from ccos.engine.rtfs.session import host_function
from ccos.engine.scripts import script_id
from ccos.engine.service import ScriptEngine
from ccos.errors import InvalidManifestError
from ccos.rtfs import CapabilityArtefact
from ccos.rtfs.artefacts import IMPLEMENTATION

_INPUT = "input"


async def manifest_of(
    artefact: CapabilityArtefact,
    engine: ScriptEngine,
    functions: dict[str, HostFunction],
    *,
    policy: SecurityPolicy,
    reference: str,
    by: str,
) -> Manifest:
    """The manifest of a capability; its implementation becomes a script that the engine keeps.

    Args:
        artefact: What a file says of it.
        engine: Where its implementation runs.
        functions: The host functions that exist under ``policy``, by full name.
        policy: What its implementation is compiled for.
        reference: Where it comes from, such as the name of the file.
        by: Who approves it.

    Raises:
        InvalidManifestError: if it cannot be a capability; the message says why.
        ScriptError: if its implementation is not accepted.
    """
    provider = artefact.provider
    effect = EffectType.EFFECTFUL
    if provider is None:
        effect = _effect(artefact, functions)
        provider = await _script(artefact, engine, policy)
    data: dict[str, Any] = {
        "id": artefact.id,
        "name": artefact.name,
        "description": artefact.description,
        "version": artefact.version,
        "provider": _with_underscores(provider),
        "input_schema": artefact.input_schema or {"type": "object"},
        "output_schema": artefact.output_schema,
        "effect_type": effect.value,
        "effects": list(artefact.effects),
        "permissions": list(artefact.permissions),
        "domains": list(artefact.domains),
        "categories": list(artefact.categories),
        "metadata": {**artefact.metadata, "language": "rtfs", "artefact": artefact.hash},
    }
    manifest = parse_manifest(data)
    now = datetime.now(UTC)
    return manifest.model_copy(
        update={
            "approval_status": ApprovalStatus.APPROVED,
            "trust_tier": TrustTier.APPROVED,
            "provenance": Provenance(
                source="rtfs",
                reference=reference,
                content_hash=artefact.hash,
                custody_chain=(CustodyEntry(step="approved", at=now, by=by),),
            ),
        }
    )


async def _script(
    artefact: CapabilityArtefact, engine: ScriptEngine, policy: SecurityPolicy
) -> dict[str, Any]:
    context = CompilationContext(
        name=f"{artefact.id}.rtfs",
        language="rtfs",
        policy=policy,
        description=artefact.description,
        version=artefact.version,
    )
    made = await engine.compile_script(artefact.script, context)
    kept = made.script
    return {
        "type": "script",
        "script_id": made.script_id,
        "content_id": script_id(kept.source, kept.language, kept.options),
        "function": IMPLEMENTATION,
        "argument": _INPUT,
    }


def _effect(artefact: CapabilityArtefact, functions: dict[str, HostFunction]) -> EffectType:
    """What an implementation does to the world, by the host functions that it calls."""
    effects = set(_effects(artefact, functions))
    if Effect.ACT in effects:
        return EffectType.EFFECTFUL
    return EffectType.READ_ONLY if effects else EffectType.PURE


def _effects(artefact: CapabilityArtefact, functions: dict[str, HostFunction]) -> Iterable[Effect]:
    for one in artefact.dependencies:
        identifier = one.canonical
        name = None if identifier is None else host_function(identifier, functions)
        if identifier in SERVICES:
            yield Effect.READ
        elif name is not None:
            yield functions[name].effect
        else:
            raise InvalidManifestError(
                f"{artefact.id} calls {identifier or 'what it computes'} on line {one.line}, which "
                "is no host function; only a plan calls capabilities.",
                next_step="Run it as a plan with `ccos rtfs run`, or call host functions only.",
                details={"capability_id": artefact.id, "calls": identifier, "line": one.line},
            )


def _with_underscores(data: Any) -> Any:
    """Keys as manifests have them: ``base_url`` for ``:base-url``."""
    if isinstance(data, dict):
        return {key.replace("-", "_"): _with_underscores(value) for key, value in data.items()}
    return [_with_underscores(one) for one in data] if isinstance(data, list) else data
