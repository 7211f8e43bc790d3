"""Migrations of legacy tools: their journal, and the tools that they brought."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables of migrations."""
    op.create_table(
        "migrations",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("config", sa.Text, nullable=False),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("going_back", sa.Boolean, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("backup", sa.Text),
        sa.Column("report", sa.Text),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("completed_at", sa.Double),
    )
    op.create_index("migrations_by_time", "migrations", ["started_at"])
    op.create_table(
        "migration_steps",
        sa.Column("migration_id", sa.Text, primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("tool", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("source_hash", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("warnings", sa.Text, nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("settled_at", sa.Double),
        sqlite_with_rowid=False,
    )
    op.create_index("migration_steps_by_tool", "migration_steps", ["tool"])
    op.create_table(
        "migrated_tools",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("script_id", sa.Text, nullable=False),
        sa.Column("capability_id", sa.Text, nullable=False, unique=True),
        sa.Column("migration_id", sa.Text, nullable=False),
        sa.Column("source_hash", sa.Text, nullable=False),
        sa.Column("level", sa.Text, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("migrated_at", sa.Double, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("definition", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("migrated_tools", "migration_steps", "migrations"):
        op.drop_table(table)
