"""Registering a tool, and taking that back: each as one part of a transaction.

What belongs together changes together: the script, the tool in the engine, the capability, the
migrated tool and the step of the journal. So there is no moment at which half of it is there.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from ccos.audit import AuditTrail
from ccos.capabilities import (
    Manifest,
    breaking_input_changes,
    breaking_output_changes,
    parse_version,
)
from ccos.engine.script_rows import RowWriter
from ccos.engine.store import ScriptStore
from ccos.errors import ScriptConflictError
from ccos.events import Event, EventType
from ccos.marketplace import Marketplace
from ccos.marketplace.snapshots import restore, state_of
from ccos.marketplace.store import Standing
from ccos.migration.definitions import shown_path
from ccos.migration.engine_tools import script_tool
from ccos.migration.manifests import manifest_of
from ccos.migration.outcomes import MigratedTool
from ccos.migration.staging import Staged
from ccos.resolution.risk import assess
from ccos.storage import Statement, Storage, Transaction
from ccos.storage.schema import (
    compiled_scripts,
    migrated_tools,
    script_tools,
    scripts,
)

MIGRATION_VERSION: Final = "5.1"
ACTOR: Final = "migration"

_TABLES: Final = {
    "migrated": (migrated_tools, migrated_tools.c.name),
    "tool": (script_tools, script_tools.c.name),
}
_ROWS: Final = {
    what: Statement(sa.select(table).where(key == sa.bindparam("name")))
    for what, (table, key) in _TABLES.items()
}
_SCRIPT: Final = Statement(sa.select(scripts).where(scripts.c.id == sa.bindparam("id")))
_INSERT: Final = Statement(sa.insert(migrated_tools))


@dataclass(frozen=True, slots=True)
class Prepared:
    """A tool with all that can be worked out before the transaction begins."""

    staged: Staged
    manifest: Manifest
    risk: str


@dataclass(frozen=True, slots=True)
class Registered:
    """A tool that was registered, and what was there before, JSON data."""

    migrated: MigratedTool
    before: dict[str, Any]
    touched: frozenset[str]
    """Scripts of which memory may hold an old form."""


class ToolRegistrar:
    """Puts tools where they are found, and puts back what was there before.

    Args:
        storage: Where everything is.
        audit: Where every change is recorded.
        marketplace: The registered capabilities.
        max_source_bytes: Of a script.
    """

    def __init__(
        self,
        storage: Storage,
        audit: AuditTrail,
        marketplace: Marketplace,
        *,
        max_source_bytes: int,
    ) -> None:
        self._audit = audit
        self._marketplace = marketplace
        self._store = ScriptStore(storage, max_source_bytes=max_source_bytes)
        self._rows = RowWriter(max_source_bytes=max_source_bytes)

    def prepared(self, staged: Staged, *, migration_id: str) -> Prepared:
        """Everything that can be refused before a transaction begins.

        Raises:
            InvalidManifestError: if the tool cannot be a capability.
            ScriptError: if anything of it is too long or cannot be stored.
        """
        manifest = manifest_of(staged, migration_id=migration_id)
        self._rows.script_row(staged.script)
        self._rows.tool_row(script_tool(staged.tool, staged.script.script_id))
        risk = assess(manifest.id, manifest, source="migration").level.value
        return Prepared(staged, manifest, risk)

    def register_in(
        self, transaction: Transaction, prepared: Prepared, *, migration_id: str, force: bool
    ) -> Registered:
        """Register a tool as part of ``transaction``, in place of an earlier version of it.

        Args:
            transaction: What it stands or falls with.
            prepared: The tool.
            migration_id: What brings it in.
            force: Whether it may break those who call the earlier version.

        Raises:
            ScriptConflictError: if something else has its name.
            CapabilityError: if the marketplace refuses it.
        """
        staged, name = prepared.staged, prepared.staged.tool.name
        connection = transaction.connection
        self._marketplace.hold_still(transaction)
        before = self._before(connection, name, staged.script.script_id, prepared.manifest.id)
        self._refuse_foreign(prepared, before)
        manifest = _with_free_version(before["capability"]["versions"], prepared.manifest)
        self._store.save_in(transaction, staged.script)
        if any(before["scripts"].values()):
            transaction.execute(
                sa.delete(compiled_scripts).where(
                    compiled_scripts.c.script_id.in_(before["scripts"])
                )
            )
        self._store.register_tool_in(
            transaction,
            script_tool(staged.tool, staged.script.script_id, migration_id=migration_id),
            replace=True,
        )
        made = self._marketplace.register_in(
            transaction, manifest, actor=ACTOR, allow_breaking=force
        )
        migrated = _migrated(prepared, made.manifest.version, migration_id)
        row = _migrated_row(migrated, staged)
        if before["migrated"] is None:
            _INSERT.change(transaction.connection, row)
        else:
            _replace_row(transaction, "migrated", name, row)
        self._drop_unused(transaction, before, keep=staged.script.script_id)
        return Registered(migrated, before, frozenset(before["scripts"]))

    def restore_in(
        self, transaction: Transaction, name: str, before: Mapping[str, Any], *, reason: str
    ) -> frozenset[str]:
        """Put back what :meth:`register_in` found, exactly; returns the scripts that changed.

        Args:
            transaction: What it stands or falls with.
            name: The tool.
            before: What was there.
            reason: Why, for the audit trail.
        """
        touched = set(before["scripts"])
        current = _row(transaction.connection, "migrated", name)
        if current is not None:
            touched.add(current["script_id"])
        for what in ("tool", "migrated"):
            _replace_row(transaction, what, name, before[what])
        transaction.execute(
            sa.delete(compiled_scripts).where(compiled_scripts.c.script_id.in_(touched))
        )
        for script_id in sorted(touched):
            row = before["scripts"].get(script_id)
            if row is None:
                self._delete_unused(transaction, script_id)
            else:
                self._put_script(transaction, row)
        restore(
            transaction,
            self._audit,
            before["capability_id"],
            before["capability"],
            actor=ACTOR,
            reason=reason,
        )
        return frozenset(touched)

    def remove_in(self, transaction: Transaction, migrated: MigratedTool, *, reason: str) -> None:
        """Take a tool out: script, tool and capability; the history of the capability stays."""
        name, script_id = migrated.original_name, migrated.migrated_script_id
        for what in ("tool", "migrated"):
            _replace_row(transaction, what, name, None)
        self._delete_unused(transaction, script_id)
        self._marketplace.remove_in(
            transaction, migrated.metadata["capability_id"], actor=ACTOR, reason=reason
        )

    def drop_in(self, transaction: Transaction, migrated: MigratedTool, *, reason: str) -> None:
        """As :meth:`remove_in`, for a tool of which some parts are lost already."""
        capability_id = migrated.metadata["capability_id"]
        for what in ("tool", "migrated"):
            _replace_row(transaction, what, migrated.original_name, None)
        self._delete_unused(transaction, migrated.migrated_script_id)
        if self._marketplace.is_registered_in(transaction, capability_id):
            self._marketplace.remove_in(transaction, capability_id, actor=ACTOR, reason=reason)

    def set_active_in(self, transaction: Transaction, name: str, active: bool) -> bool:
        """Let a tool be called, or not; False if there is none of this name."""
        changed = transaction.execute(
            sa.update(migrated_tools).where(migrated_tools.c.name == name).values(active=active)
        )
        return changed.rowcount == 1

    def told_in(self, transaction: Transaction, kind: EventType, **data: Any) -> None:
        """Record an event of the migration, as part of ``transaction``."""
        capability = str(data.pop("capability_id", ""))
        event = Event(kind, capability, actor=ACTOR, data=data, source=ACTOR)
        self._audit.record(transaction, event)

    def _before(
        self, connection: sa.Connection, name: str, script_id: str, capability_id: str
    ) -> dict[str, Any]:
        known = _row(connection, "migrated", name)
        ids = {script_id} | ({known["script_id"]} if known is not None else set())
        found = {one: _script_row(connection, one) for one in sorted(ids)}
        return {
            "migrated": known,
            "tool": _row(connection, "tool", name),
            "scripts": found,
            "capability_id": capability_id,
            "capability": state_of(connection, capability_id),
        }

    def _refuse_foreign(self, prepared: Prepared, before: Mapping[str, Any]) -> None:
        """Refuse names that belong to what was never migrated."""
        if before["migrated"] is not None:
            return
        name = prepared.staged.tool.name
        if before["tool"] is not None:
            raise ScriptConflictError(
                f"The engine has another tool called {name!r}, which was not migrated.",
                next_step="Unregister that one first, or rename the tool.",
                details={"tool": name},
            )
        gone = (Standing.SUPERSEDED, Standing.REMOVED)
        if any(row["standing"] not in gone for row in before["capability"]["versions"]):
            raise ScriptConflictError(
                f"There is a capability {prepared.manifest.id} already, which was not migrated.",
                next_step="Remove that one first, or rename the tool.",
                details={"tool": name, "capability_id": prepared.manifest.id},
            )

    def _drop_unused(self, transaction: Transaction, before: Mapping[str, Any], keep: str) -> None:
        """Delete the script of an earlier version, if nothing else uses it."""
        for script_id, row in before["scripts"].items():
            if script_id != keep and row is not None:
                self._delete_unused(transaction, script_id)

    def _delete_unused(self, transaction: Transaction, script_id: str) -> None:
        with contextlib.suppress(ScriptConflictError):
            self._store.delete_in(transaction, script_id)

    def _put_script(self, transaction: Transaction, row: dict[str, Any]) -> None:
        changed = transaction.execute(
            sa.update(scripts).where(scripts.c.id == row["id"]).values(row)
        )
        if not changed.rowcount:
            transaction.execute(sa.insert(scripts), row)


@contextlib.contextmanager
def savepoint(transaction: Transaction) -> Iterator[None]:
    """What the block does, or nothing of it; whatever it raises passes through."""
    connection = transaction.connection
    connection.exec_driver_sql("SAVEPOINT tool")
    try:
        yield
    except BaseException:
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT tool")
        connection.exec_driver_sql("RELEASE SAVEPOINT tool")
        raise
    connection.exec_driver_sql("RELEASE SAVEPOINT tool")


def _with_free_version(rows: Sequence[Mapping[str, Any]], manifest: Manifest) -> Manifest:
    """The manifest under a version that the marketplace can take for it.

    That is the declared one where it is newer than what is registered, and else the next one,
    by how much the change concerns callers. A version once used stays bound to its definition.
    """
    if not rows:
        return manifest
    taken = {row["version"]: row["definition_hash"] for row in rows}
    gone = (Standing.SUPERSEDED, Standing.REMOVED)
    current = next((row for row in rows if row["standing"] not in gone), None)
    wanted = manifest
    if current is not None:
        same = _at(manifest, current["version"])
        if same.definition_hash() == current["definition_hash"]:
            return same
        if parse_version(wanted.version).compare(current["version"]) <= 0:
            wanted = _at(manifest, _next_version(current, manifest))
    while taken.get(wanted.version, wanted.definition_hash()) != wanted.definition_hash():
        wanted = _at(manifest, str(parse_version(wanted.version).bump_patch()))
    return wanted


def _next_version(current: Mapping[str, Any], manifest: Manifest) -> str:
    before, now = json.loads(current["manifest"]), parse_version(current["version"])
    breaks = breaking_input_changes(before["input_schema"], manifest.input_schema)
    breaks += breaking_output_changes(before["output_schema"], manifest.output_schema)
    if breaks:
        return str(now.bump_major())
    schemas = (manifest.input_schema, manifest.output_schema)
    same = schemas == (before["input_schema"], before["output_schema"])
    return str(now.bump_patch() if same else now.bump_minor())


def _at(manifest: Manifest, version: str) -> Manifest:
    return manifest.model_copy(update={"version": version})


def _migrated(prepared: Prepared, version: str, migration_id: str) -> MigratedTool:
    staged, manifest = prepared.staged, prepared.manifest
    tool = staged.tool
    return MigratedTool(
        original_name=tool.name,
        migrated_script_id=staged.script.script_id,
        definition=tool.definition,
        migrated_at=datetime.now(UTC),
        active=tool.enabled,
        metadata={
            "migration_version": MIGRATION_VERSION,
            "original_file_path": "memory"
            if tool.file_path is None
            else shown_path(tool.file_path),
            "rune_version": staged.unit_format,
            "source_hash": tool.source_hash,
            "migration_id": migration_id,
            "capability_id": manifest.id,
            "capability_version": version,
            "content_id": staged.content_id,
            "language": tool.language,
            "security_level": staged.policy.level.value,
            "effect": manifest.effect_type.value,
            "risk": prepared.risk,
        },
    )


def _migrated_row(migrated: MigratedTool, staged: Staged) -> dict[str, Any]:
    definition = migrated.definition.as_dict()
    del definition["parameters"]
    return {
        "name": migrated.original_name,
        "script_id": migrated.migrated_script_id,
        "capability_id": migrated.metadata["capability_id"],
        "migration_id": migrated.metadata["migration_id"],
        "source_hash": migrated.metadata["source_hash"],
        "level": staged.policy.level.value,
        "active": migrated.active,
        "migrated_at": migrated.migrated_at.timestamp(),
        "metadata": json.dumps(dict(migrated.metadata), ensure_ascii=False),
        "definition": json.dumps(definition, ensure_ascii=False),
    }


def _row(connection: sa.Connection, what: str, name: str) -> dict[str, Any] | None:
    row = _ROWS[what].first(connection, {"name": name})
    return None if row is None else row._asdict()


def _script_row(connection: sa.Connection, script_id: str) -> dict[str, Any] | None:
    row = _SCRIPT.first(connection, {"id": script_id})
    return None if row is None else row._asdict()


def _replace_row(
    transaction: Transaction, what: str, name: str, row: dict[str, Any] | None
) -> None:
    table, key = _TABLES[what]
    transaction.execute(sa.delete(table).where(key == name))
    if row is not None:
        transaction.execute(sa.insert(table), row)
