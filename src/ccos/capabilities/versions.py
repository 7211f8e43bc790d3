"""Semantic versions, and what a change of definition means for callers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import jsonschema_rs
import semver

from ccos.capabilities.schemas import JsonSchema
from ccos.errors import InvalidManifestError


class Comparison(StrEnum):
    """How a version relates to the one registered before it."""

    EQUAL = "equal"
    PATCH = "patch_update"
    MINOR = "minor_update"
    MAJOR = "major_update"
    DOWNGRADE = "downgrade"


def parse_version(text: str) -> semver.Version:
    """Read a version by Semantic Versioning 2.0.0; ``1.2`` reads as ``1.2.0``.

    Raises:
        InvalidManifestError: if it is not a version.
    """
    try:
        return semver.Version.parse(text, optional_minor_and_patch=True)
    except (ValueError, TypeError) as error:
        raise InvalidManifestError(f"{text!r} is not a semantic version such as 1.4.0.") from error


def compare_versions(old: str, new: str) -> Comparison:
    """Which step leads from ``old`` to ``new``; build metadata does not count."""
    before, after = parse_version(old), parse_version(new)
    order = after.compare(before)
    if order == 0:
        return Comparison.EQUAL
    if order < 0:
        return Comparison.DOWNGRADE
    if after.major != before.major:
        return Comparison.MAJOR
    return Comparison.MINOR if after.minor != before.minor else Comparison.PATCH


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """One difference between two schemas that can break a caller."""

    path: str
    message: str


def breaking_input_changes(old: JsonSchema, new: JsonSchema) -> tuple[SchemaChange, ...]:
    """What a caller of ``old`` could send that ``new`` refuses or ignores.

    Breaking are: an input newly required, narrowed, or removed.
    """
    old_properties, new_properties = _properties(old), _properties(new)
    changes = [
        SchemaChange(f"/{name}", f"{name!r} is newly required.")
        for name in sorted(_required(new) - _required(old))
    ]
    for name, before in old_properties.items():
        if name not in new_properties:
            changes.append(SchemaChange(f"/{name}", f"{name!r} was removed."))
        elif not _covers(_resolved(new, new_properties[name]), _resolved(old, before)):
            changes.append(SchemaChange(f"/{name}", f"{name!r} accepts less than before."))
    if not old_properties and not new_properties and not _covers(new, old):
        changes.append(SchemaChange("", "The input accepts less than before."))
    return tuple(changes)


def breaking_output_changes(
    old: JsonSchema | None, new: JsonSchema | None
) -> tuple[SchemaChange, ...]:
    """What ``new`` may answer that a reader of ``old`` does not expect.

    Breaking are: an output removed, no longer promised, or widened.
    """
    if old is None:
        return ()
    if new is None:
        return (SchemaChange("", "The output is no longer described."),)
    old_properties, new_properties = _properties(old), _properties(new)
    changes = [
        SchemaChange(f"/{name}", f"{name!r} is no longer always present.")
        for name in sorted(_required(old) - _required(new))
    ]
    for name, before in old_properties.items():
        if name not in new_properties:
            changes.append(SchemaChange(f"/{name}", f"{name!r} was removed."))
        elif not _covers(_resolved(old, before), _resolved(new, new_properties[name])):
            changes.append(SchemaChange(f"/{name}", f"{name!r} may hold more than before."))
    if not old_properties and not new_properties and not _covers(old, new):
        changes.append(SchemaChange("", "The output may hold more than before."))
    return tuple(changes)


def _properties(schema: JsonSchema) -> dict[str, Any]:
    found = schema.get("properties") if isinstance(schema, dict) else None
    return found if isinstance(found, dict) else {}


def _required(schema: JsonSchema) -> set[str]:
    found = schema.get("required") if isinstance(schema, dict) else None
    return {name for name in found if isinstance(name, str)} if isinstance(found, list) else set()


def _resolved(document: JsonSchema, part: JsonSchema) -> JsonSchema:
    """The part with the definitions that its references may point to."""
    if not isinstance(part, dict) or not isinstance(document, dict):
        return part
    definitions: dict[str, Any] = {
        key: document[key] for key in ("$defs", "definitions") if key in document
    }
    return {**definitions, **part}


def _covers(wider: JsonSchema, narrower: JsonSchema) -> bool:
    """Whether ``wider`` surely accepts all that ``narrower`` accepts."""
    if wider == narrower:
        return True
    try:
        verdict = jsonschema_rs.canonicalize(wider, offline=True).covers(
            jsonschema_rs.canonicalize(narrower, offline=True)
        )
    except ValueError:
        return False
    return str(verdict) == "yes"
