"""Step references, step leases, stored answers of idempotent calls, and what is set for one namespace."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Adds the tables and the columns."""
    op.add_column("namespaces", sa.Column("quota_files", _INT, nullable=True))
    op.add_column("namespaces", sa.Column("quota_bytes", _INT, nullable=True))
    op.add_column("namespaces", sa.Column("workdir", sa.Text(), nullable=True))
    op.add_column("namespaces", sa.Column("leased_until_us", _INT, nullable=True))
    op.add_column("events", sa.Column("step", sa.Text(), nullable=True))
    op.create_table(
        "step_references",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("namespace", _INT, autoincrement=False, nullable=False),
        sa.Column("timeline", _INT, autoincrement=False, nullable=False),
        sa.Column("version", _INT, autoincrement=False, nullable=False),
        sa.Column("thread", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("files", _INT, autoincrement=False, nullable=False),
        sa.Column("bytes", _INT, autoincrement=False, nullable=False),
        sa.Column("created_us", _INT, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_index("references_by_namespace", "step_references", ["namespace", "created_us"], unique=False)
    op.create_index(
        "references_by_thread", "step_references", ["namespace", "thread", "created_us"], unique=False
    )
    op.create_index(
        "references_by_state", "step_references", ["timeline", "version", "thread", "step"], unique=True
    )
    op.create_table(
        "leases",
        sa.Column("namespace", _INT, autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("token", _INT, autoincrement=False, nullable=False),
        sa.Column("expires_us", _INT, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("namespace"),
    )
    op.create_table(
        "idempotent_answers",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("status", _INT, autoincrement=False, nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("created_us", _INT, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("workspace", "actor", "key", name="answers_key"),
        sqlite_with_rowid=False,
    )
    op.create_index("answers_by_time", "idempotent_answers", ["created_us"], unique=False)
