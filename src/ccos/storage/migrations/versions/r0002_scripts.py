"""Scripts, the tools made of them, how often they ran, and their compiled forms."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the tables of the script engine."""
    op.create_table(
        "scripts",
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
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
    )
    op.create_index("scripts_by_name", "scripts", ["name"])
    op.create_table(
        "script_usage",
        sa.Column("script_id", sa.Text, primary_key=True),
        sa.Column("execution_count", sa.BigInteger, nullable=False),
        sa.Column("failure_count", sa.BigInteger, nullable=False),
        sa.Column("total_seconds", sa.Double, nullable=False),
        sa.Column("total_memory", sa.BigInteger, nullable=False),
        sa.Column("last_executed", sa.Double),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "script_tools",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("script_id", sa.Text, nullable=False),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("registered_at", sa.Double, nullable=False),
    )
    op.create_index("script_tools_by_script", "script_tools", ["script_id"])
    op.create_table(
        "compiled_scripts",
        sa.Column("script_id", sa.Text, primary_key=True),
        sa.Column("format", sa.Text, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("stored_at", sa.Double, nullable=False),
        sa.Column("last_used", sa.Double, nullable=False),
        sa.Column("unit", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("compiled_scripts", "script_tools", "script_usage", "scripts"):
        op.drop_table(table)
