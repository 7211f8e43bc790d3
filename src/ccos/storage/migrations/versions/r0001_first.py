"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table and the full-text index of the marketplace."""
    op.create_table(
        "capabilities",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("version", sa.Text, primary_key=True),
        sa.Column("definition_hash", sa.Text, nullable=False),
        sa.Column("manifest", sa.Text, nullable=False),
        sa.Column("standing", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False, server_default=""),
        sa.Column("registered_at", sa.Double, nullable=False),
        sa.Column("previous_version", sa.Text),
    )
    op.create_index("capabilities_by_standing", "capabilities", ["standing", "id"])
    op.create_table(
        "aliases",
        sa.Column("alias", sa.Text, primary_key=True),
        sa.Column("capability_id", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_index("aliases_by_capability", "aliases", ["capability_id"])
    op.create_table(
        "counters",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "executions",
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
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )
    not_ended = sa.text("state IN ('running', 'parked', 'outcome_unknown')")
    op.create_index(
        "executions_not_ended",
        "executions",
        ["state", "created_at"],
        sqlite_where=not_ended,
        postgresql_where=not_ended,
    )
    op.create_table(
        "waits",
        sa.Column("execution_id", sa.Text, primary_key=True),
        sa.Column("capability_id", sa.Text, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("waits_by_capability", "waits", ["capability_id"])
    op.create_table(
        "journal",
        sa.Column("execution_id", sa.Text, primary_key=True),
        sa.Column("sequence", sa.Integer, primary_key=True),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("arguments", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("repeatable", sa.Boolean, nullable=False),
        sa.Column("outcome", sa.Text),
        sa.Column("delivery", sa.Integer),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("settled_at", sa.Double),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "resolutions",
        sa.Column("capability_id", sa.Text, primary_key=True),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("risk", sa.Text),
        sa.Column("arguments", sa.Text, nullable=False),
        sa.Column("context", sa.Text, nullable=False),
        sa.Column("requested_at", sa.Double, nullable=False),
        sa.Column("last_seen_at", sa.Double, nullable=False),
        sa.Column("seen_count", sa.Integer, nullable=False),
        sa.Column("attempt_count", sa.Integer, nullable=False),
        sa.Column("run_count", sa.Integer, nullable=False),
        sa.Column("last_attempt", sa.Double),
        sa.Column("next_attempt", sa.Double),
        sa.Column("backoff_seconds", sa.Double),
        sa.Column("last_error", sa.Text),
        sa.Column("methods_tried", sa.Text, nullable=False),
        sa.Column("approval_id", sa.Text),
        sa.Column("override_reason", sa.Text),
        sa.Column("resolution", sa.Text),
        sa.Column("worker_id", sa.Text),
        sa.Column("finished_at", sa.Double),
        sqlite_with_rowid=False,
    )
    op.create_index("resolutions_by_status", "resolutions", ["status", "next_attempt"])
    op.create_table(
        "approvals",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("category", sa.Text, nullable=False),
        sa.Column("capability_id", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("risk", sa.Text, nullable=False),
        sa.Column("candidate", sa.Text),
        sa.Column("candidate_hash", sa.Text),
        sa.Column("requested_at", sa.Double, nullable=False),
        sa.Column("requested_by", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("decided_at", sa.Double),
        sa.Column("decided_by", sa.Text),
        sa.Column("reason", sa.Text),
    )
    op.create_index("approvals_by_status", "approvals", ["status", "expires_at"])
    op.create_index("approvals_by_capability", "approvals", ["capability_id", "status"])
    op.create_table(
        "workers",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("process_id", sa.Integer, nullable=False),
        sa.Column("process_started", sa.Text, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("heartbeat_at", sa.Double, nullable=False),
    )
    op.create_table(
        "audit_entries",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("timestamp", sa.Text, nullable=False),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("capability_id", sa.Text, nullable=False),
        sa.Column("execution_id", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("prev_hash", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
    )
    op.create_index("audit_entries_by_execution", "audit_entries", ["execution_id"])
    op.execute("INSERT INTO counters (name, value) VALUES ('marketplace', 0)")
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE capability_search USING fts5("
            "id UNINDEXED, words, description, tokenize = 'porter unicode61')"
        )
    else:
        op.execute(
            "CREATE TABLE capability_search (id TEXT PRIMARY KEY, words TEXT NOT NULL, "
            "description TEXT NOT NULL, document TSVECTOR GENERATED ALWAYS AS ("
            "setweight(to_tsvector('english', words), 'A') || "
            "setweight(to_tsvector('english', description), 'B')) STORED)"
        )
        op.execute(
            "CREATE INDEX capability_search_document ON capability_search USING gin (document)"
        )


def downgrade() -> None:
    """Drop everything."""
    op.execute("DROP TABLE capability_search")
    for table in (
        "audit_entries",
        "workers",
        "approvals",
        "resolutions",
        "journal",
        "waits",
        "executions",
        "counters",
        "aliases",
        "capabilities",
    ):
        op.drop_table(table)
