"""A migrated tool as a capability: its id, what it does to the world, and where it comes from."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import Any, Final

from ccos.capabilities import (
    ApprovalStatus,
    CustodyEntry,
    EffectType,
    Manifest,
    Provenance,
    ScriptProvider,
    TrustTier,
    canonical_id,
    parse_version,
)
from ccos.errors import CapabilityError, InvalidManifestError
from ccos.migration.definitions import DEFAULT_VERSION, Binding, shown_path
from ccos.migration.staging import Staged

PREFIX: Final = "tools."
SOURCE: Final = "migration"
_LONGEST: Final = 120

_EFFECTS: Final = {
    "crucible.http": "network",
    "crucible.file": "filesystem",
    "crucible.process": "process",
}
_COMPUTING: Final = frozenset({"crucible.json", "crucible.crucible"})


def capability_id(name: str) -> str:
    """The id of the capability that a tool becomes: its own name wherever an id can have it.

    Other names are spelt with what an id may have, and end in a part of their hash, so that two
    tools never become one capability.
    """
    wanted = f"{PREFIX}{name}"
    try:
        if len(name) <= _LONGEST and canonical_id(wanted) == wanted:
            return wanted
    except CapabilityError:
        pass
    spelt = re.sub(r"[^A-Za-z0-9_]+", "_", name)[:_LONGEST].strip("_") or "tool"
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:10]
    return f"{PREFIX}{spelt}-{digest}"


def effects_of(staged: Staged) -> tuple[EffectType, tuple[str, ...]]:
    """What calls of a tool do to the world, by the host modules that it uses and what it says."""
    modules, permissions = staged.compiled.modules, staged.tool.definition.permissions
    names = tuple(sorted(_EFFECTS[one] for one in modules if one in _EFFECTS))
    if names or permissions:
        return EffectType.EFFECTFUL, names
    if modules <= _COMPUTING:
        return EffectType.PURE, ()
    return EffectType.READ_ONLY, ()


def declares_effects(staged: Staged) -> bool:
    """Whether a call of a tool may act outside, so that it is not called just to try it."""
    return effects_of(staged)[0] is EffectType.EFFECTFUL


def manifest_of(staged: Staged, *, migration_id: str) -> Manifest:
    """The capability that a tool becomes.

    Args:
        staged: The tool, compiled for its level.
        migration_id: What brings it in.

    Raises:
        InvalidManifestError: if the tool cannot be a capability.
    """
    tool, definition = staged.tool, staged.tool.definition
    effect_type, effects = effects_of(staged)
    path = "memory" if tool.file_path is None else shown_path(tool.file_path)
    entry = definition.entry
    by = f"migration {migration_id}"
    try:
        return Manifest(
            id=capability_id(tool.name),
            name=definition.name,
            description=definition.description,
            version=_version(definition.version),
            provider=ScriptProvider(
                script_id=staged.script.script_id,
                content_id=staged.content_id,
                function=entry.function,
                argument=entry.parameters[0] if entry.binding is Binding.OBJECT else None,
            ),
            input_schema=dict(definition.input_schema),
            output_schema=_plain(definition.output_schema),
            effect_type=effect_type,
            effects=effects,
            permissions=definition.permissions,
            categories=(definition.category,),
            domains=definition.tags,
            metadata={
                "tool": definition.name,
                "declared_version": definition.version,
                "language": tool.language,
                "security_level": staged.policy.level.value,
            },
            trust_tier=TrustTier.APPROVED,
            approval_status=ApprovalStatus.APPROVED,
            provenance=Provenance(
                source=SOURCE,
                reference=f"{path}#{migration_id}",
                content_hash=tool.source_hash,
                custody_chain=(
                    CustodyEntry(step="found", at=datetime.now(UTC), by=path[:_PATH_SHOWN]),
                    CustodyEntry(step="imported", at=datetime.now(UTC), by=by),
                ),
            ),
        )
    except ValueError as error:
        first = str(error).splitlines()[0]
        raise InvalidManifestError(
            f"Tool {tool.name!r} cannot be a capability: {first}",
            details={"tool": tool.name},
        ) from error


_PATH_SHOWN: Final = 4000


def _version(text: str) -> str:
    try:
        return str(parse_version(text))
    except InvalidManifestError:
        return DEFAULT_VERSION


def _plain(schema: Any) -> dict[str, Any] | None:
    return None if schema is None else dict(schema)
