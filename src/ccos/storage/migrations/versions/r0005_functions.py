"""Which function of a plan is run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Let an execution name a function of its plan."""
    op.add_column("executions", sa.Column("function", sa.Text))


def downgrade() -> None:
    """Forget the functions; no execution with one may be unfinished."""
    op.drop_column("executions", "function")
