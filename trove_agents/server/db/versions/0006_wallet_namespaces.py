"""The namespaces of the agents that wallets are for."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column."""
    op.add_column("wallets", sa.Column("namespace", sa.Text(), nullable=True))
