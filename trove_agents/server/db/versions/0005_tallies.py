"""What was taken from wallets, for their limits."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Adds the table, and to an index what calls are counted by."""
    op.create_table(
        "wallet_tallies",
        sa.Column("wallet", _INT, autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("amount", _INT, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("wallet", "kind", "name", name="wallet_tallies_key"),
        sqlite_with_rowid=False,
    )
    op.drop_index("wallet_entries_by_time", table_name="wallet_entries")
    op.create_index(
        "wallet_entries_by_time", "wallet_entries", ["wallet", "authorised_us", "kind"], unique=False
    )
