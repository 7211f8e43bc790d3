"""The tables. Times are seconds since the Unix epoch, UTC; JSON is kept as text."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

Time = sa.Double

NOT_ENDED = "state IN ('running', 'parked', 'outcome_unknown')"
"""Executions that something is still done about; most have ended and need no place in an index."""

capabilities = sa.Table(
    "capabilities",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("definition_hash", sa.Text, nullable=False),
    sa.Column("manifest", sa.Text, nullable=False),
    sa.Column("standing", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("registered_at", Time, nullable=False),
    sa.Column("previous_version", sa.Text),
    sa.Index("capabilities_by_standing", "standing", "id"),
)

aliases = sa.Table(
    "aliases",
    metadata,
    sa.Column("alias", sa.Text, primary_key=True),
    sa.Column("capability_id", sa.Text, nullable=False),
    sa.Column("created_at", Time, nullable=False),
    sa.Index("aliases_by_capability", "capability_id"),
)

counters = sa.Table(
    "counters",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)

executions = sa.Table(
    "executions",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("program", sa.Text, nullable=False),
    sa.Column("program_hash", sa.Text, nullable=False),
    sa.Column("arguments", sa.Text, nullable=False),
    sa.Column("principal", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("result", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("snapshot", sa.LargeBinary),
    sa.Column("worker_id", sa.Text),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("updated_at", Time, nullable=False),
    sa.Column("claims", sa.Integer, nullable=False, server_default="0"),
    sa.Column("function", sa.Text),
    sa.Index(
        "executions_not_ended",
        "state",
        "created_at",
        sqlite_where=sa.text(NOT_ENDED),
        postgresql_where=sa.text(NOT_ENDED),
    ),
    sqlite_with_rowid=False,
)

waits = sa.Table(
    "waits",
    metadata,
    sa.Column("execution_id", sa.Text, primary_key=True),
    sa.Column("capability_id", sa.Text, primary_key=True),
    sa.Index("waits_by_capability", "capability_id"),
    sqlite_with_rowid=False,
)

journal = sa.Table(
    "journal",
    metadata,
    sa.Column("execution_id", sa.Text, primary_key=True),
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("arguments", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("repeatable", sa.Boolean, nullable=False),
    sa.Column("outcome", sa.Text),
    sa.Column("delivery", sa.Integer),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("settled_at", Time),
    sqlite_with_rowid=False,
)

resolutions = sa.Table(
    "resolutions",
    metadata,
    sa.Column("capability_id", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("risk", sa.Text),
    sa.Column("arguments", sa.Text, nullable=False),
    sa.Column("context", sa.Text, nullable=False),
    sa.Column("requested_at", Time, nullable=False),
    sa.Column("last_seen_at", Time, nullable=False),
    sa.Column("seen_count", sa.Integer, nullable=False),
    sa.Column("attempt_count", sa.Integer, nullable=False),
    sa.Column("run_count", sa.Integer, nullable=False),
    sa.Column("last_attempt", Time),
    sa.Column("next_attempt", Time),
    sa.Column("backoff_seconds", sa.Double),
    sa.Column("last_error", sa.Text),
    sa.Column("methods_tried", sa.Text, nullable=False),
    sa.Column("approval_id", sa.Text),
    sa.Column("override_reason", sa.Text),
    sa.Column("resolution", sa.Text),
    sa.Column("worker_id", sa.Text),
    sa.Column("finished_at", Time),
    sa.Index("resolutions_by_status", "status", "next_attempt"),
    sqlite_with_rowid=False,
)

approvals = sa.Table(
    "approvals",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("category", sa.Text, nullable=False),
    sa.Column("capability_id", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("risk", sa.Text, nullable=False),
    sa.Column("candidate", sa.Text),
    sa.Column("candidate_hash", sa.Text),
    sa.Column("requested_at", Time, nullable=False),
    sa.Column("requested_by", sa.Text, nullable=False),
    sa.Column("expires_at", Time, nullable=False),
    sa.Column("decided_at", Time),
    sa.Column("decided_by", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Index("approvals_by_status", "status", "expires_at"),
    sa.Index("approvals_by_capability", "capability_id", "status"),
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("process_id", sa.Integer, nullable=False),
    sa.Column("process_started", sa.Text, nullable=False),
    sa.Column("started_at", Time, nullable=False),
    sa.Column("heartbeat_at", Time, nullable=False),
)

audit_entries = sa.Table(
    "audit_entries",
    metadata,
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("timestamp", sa.Text, nullable=False),
    sa.Column("event_type", sa.Text, nullable=False),
    sa.Column("capability_id", sa.Text, nullable=False),
    sa.Column("execution_id", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.Column("prev_hash", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Index("audit_entries_by_execution", "execution_id"),
)

scripts = sa.Table(
    "scripts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("language", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("level", sa.Text, nullable=False),
    sa.Column("options", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("tags", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("updated_at", Time, nullable=False),
    sa.Column("metadata", sa.Text, nullable=False),
    # Last, since SQLite reads a row from its beginning to the column that is asked for.
    sa.Column("source", sa.Text, nullable=False),
    sa.Index("scripts_by_name", "name"),
)

script_usage = sa.Table(
    "script_usage",
    metadata,
    sa.Column("script_id", sa.Text, primary_key=True),
    sa.Column("execution_count", sa.BigInteger, nullable=False),
    sa.Column("failure_count", sa.BigInteger, nullable=False),
    sa.Column("total_seconds", sa.Double, nullable=False),
    sa.Column("total_memory", sa.BigInteger, nullable=False),
    sa.Column("last_executed", Time),
    sqlite_with_rowid=False,
)

script_tools = sa.Table(
    "script_tools",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("script_id", sa.Text, nullable=False),
    sa.Column("definition", sa.Text, nullable=False),
    sa.Column("registered_at", Time, nullable=False),
    sa.Index("script_tools_by_script", "script_id"),
)

compiled_scripts = sa.Table(
    "compiled_scripts",
    metadata,
    sa.Column("script_id", sa.Text, primary_key=True),
    sa.Column("format", sa.Text, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("stored_at", Time, nullable=False),
    sa.Column("last_used", Time, nullable=False),
    sa.Column("unit", sa.LargeBinary, nullable=False),
)

migrations = sa.Table(
    "migrations",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("config", sa.Text, nullable=False),
    sa.Column("phase", sa.Text, nullable=False),
    sa.Column("going_back", sa.Boolean, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("backup", sa.Text),
    sa.Column("report", sa.Text),
    sa.Column("started_at", Time, nullable=False),
    sa.Column("completed_at", Time),
    sa.Index("migrations_by_time", "started_at"),
)

migration_steps = sa.Table(
    "migration_steps",
    metadata,
    sa.Column("migration_id", sa.Text, primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("tool", sa.Text, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("source_hash", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("warnings", sa.Text, nullable=False),
    sa.Column("before", sa.Text),
    sa.Column("settled_at", Time),
    sa.Index("migration_steps_by_tool", "tool"),
    sqlite_with_rowid=False,
)

migrated_tools = sa.Table(
    "migrated_tools",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("script_id", sa.Text, nullable=False),
    sa.Column("capability_id", sa.Text, nullable=False, unique=True),
    sa.Column("migration_id", sa.Text, nullable=False),
    sa.Column("source_hash", sa.Text, nullable=False),
    sa.Column("level", sa.Text, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("migrated_at", Time, nullable=False),
    sa.Column("metadata", sa.Text, nullable=False),
    sa.Column("definition", sa.Text, nullable=False),
)
