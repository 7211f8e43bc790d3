"""How often an execution was taken up."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Number the claims of every execution from now on."""
    op.add_column("executions", sa.Column("claims", sa.Integer, nullable=False, server_default="0"))


def downgrade() -> None:
    """Forget the numbers; nothing may run meanwhile."""
    op.drop_column("executions", "claims")
