"""Jobs: when each is due, how far back histories go, and the indexes that retention and collection look by."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Adds the tables and the indexes."""
    op.create_table(
        "jobs",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("due_us", _INT, autoincrement=False, nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("claimed_until_us", _INT, autoincrement=False, nullable=False),
        sa.Column("place", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "horizons",
        sa.Column("namespace", _INT, autoincrement=False, nullable=False),
        sa.Column("version", _INT, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("namespace"),
    )
    op.create_index("content_parts_by_digest", "content_parts", ["digest"], unique=False)
    op.create_index("heads_by_timeline", "heads", ["timeline"], unique=False)
    op.create_index("snapshots_by_timeline", "snapshots", ["timeline", "version"], unique=False)
    op.create_index("timelines_by_base", "timelines", ["base", "base_version"], unique=False)
    op.create_index("timelines_by_origin", "timelines", ["origin", "origin_version"], unique=False)
