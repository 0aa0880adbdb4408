"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Makes every table."""
    op.create_table(
        "blobs",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("size", _INT, autoincrement=False, nullable=False),
        sa.Column("touched_us", _INT, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("workspace", "digest", name="blobs_key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "content_parts",
        sa.Column("content", _INT, autoincrement=False, nullable=False),
        sa.Column("position", _INT, autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("size", _INT, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("content", "position", name="content_parts_key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "contents",
        sa.Column("id", _INT, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("size", _INT, autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "entries",
        sa.Column("timeline", _INT, autoincrement=False, nullable=False),
        sa.Column("dir", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("since", _INT, autoincrement=False, nullable=False),
        sa.Column("until", _INT, autoincrement=False, nullable=False),
        sa.Column("kind", _INT, autoincrement=False, nullable=False),
        sa.Column("mode", _INT, autoincrement=False, nullable=False),
        sa.Column("size", _INT, autoincrement=False, nullable=False),
        sa.Column("mtime_ns", _INT, autoincrement=False, nullable=False),
        sa.Column("content", _INT, autoincrement=False, nullable=True),
        sa.Column("media_type", sa.Text(), nullable=True),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("attributes", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("timeline", "dir", "name", "since", name="entries_key"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "entries_by_until",
        "entries",
        ["timeline", "dir", "until", "name", "since", "kind", "mode", "size", "mtime_ns", "content"],
        unique=False,
    )
    op.create_index("entries_by_version", "entries", ["timeline", "since"], unique=False)
    op.create_table(
        "events",
        sa.Column("seq", _INT, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("created_us", _INT, autoincrement=False, nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=True),
        sa.Column("actor_name", sa.Text(), nullable=True),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("workspace", "created_us", name="events_time"),
    )
    op.create_index("events_by_namespace", "events", ["workspace", "namespace", "created_us"], unique=False)
    op.create_table(
        "heads",
        sa.Column("namespace", _INT, autoincrement=False, nullable=False),
        sa.Column("since", _INT, autoincrement=False, nullable=False),
        sa.Column("timeline", _INT, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("namespace", "since", name="heads_key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=True),
        sa.Column("created_us", _INT, autoincrement=False, nullable=False),
        sa.Column("revoked_us", _INT, autoincrement=False, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest", name="keys_digest"),
    )
    op.create_index("keys_by_workspace", "keys", ["workspace", "created_us"], unique=False)
    op.create_table(
        "locks",
        sa.Column("namespace", _INT, autoincrement=False, nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("token", _INT, autoincrement=False, nullable=False),
        sa.Column("expires_us", _INT, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("namespace"),
    )
    op.create_table(
        "log",
        sa.Column("namespace", _INT, autoincrement=False, nullable=False),
        sa.Column("version", _INT, autoincrement=False, nullable=False),
        sa.Column("timeline", _INT, autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=True),
        sa.Column("step", sa.Text(), nullable=True),
        sa.Column("files", _INT, autoincrement=False, nullable=False),
        sa.Column("bytes", _INT, autoincrement=False, nullable=False),
        sa.Column("at_us", _INT, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("namespace", "version", name="log_key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "namespaces",
        sa.Column("id", _INT, nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("timeline", _INT, autoincrement=False, nullable=False),
        sa.Column("version", _INT, autoincrement=False, nullable=False),
        sa.Column("files", _INT, autoincrement=False, nullable=False),
        sa.Column("bytes", _INT, autoincrement=False, nullable=False),
        sa.Column("created_us", _INT, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("workspace", "name", name="namespaces_name"),
    )
    op.create_table(
        "snapshots",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("namespace", _INT, autoincrement=False, nullable=False),
        sa.Column("timeline", _INT, autoincrement=False, nullable=False),
        sa.Column("version", _INT, autoincrement=False, nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("files", _INT, autoincrement=False, nullable=False),
        sa.Column("bytes", _INT, autoincrement=False, nullable=False),
        sa.Column("automatic", sa.Boolean(), nullable=False),
        sa.Column("created_us", _INT, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_index("snapshots_by_namespace", "snapshots", ["namespace", "created_us"], unique=False)
    op.create_table(
        "timelines",
        sa.Column("id", _INT, nullable=False),
        sa.Column("namespace", _INT, autoincrement=False, nullable=False),
        sa.Column("base", _INT, autoincrement=False, nullable=True),
        sa.Column("base_version", _INT, autoincrement=False, nullable=True),
        sa.Column("origin", _INT, autoincrement=False, nullable=True),
        sa.Column("origin_version", _INT, autoincrement=False, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "workspaces",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_us", _INT, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
