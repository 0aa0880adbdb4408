"""Wallets: their keys, ledger and transactions."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Adds the tables."""
    op.create_table(
        "wallet_keys",
        sa.Column("id", _INT, nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("owner", _INT, autoincrement=False, nullable=True),
        sa.Column("wallet", _INT, autoincrement=False, nullable=True),
        sa.Column("created_us", _INT, autoincrement=False, nullable=False),
        sa.Column("revoked_us", _INT, autoincrement=False, nullable=True),
        sa.UniqueConstraint("digest", name="wallet_keys_digest"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("wallet_keys_by_owner", "wallet_keys", ["owner"], unique=False)
    op.create_table(
        "wallets",
        sa.Column("id", _INT, nullable=False),
        sa.Column("owner", _INT, autoincrement=False, nullable=False),
        sa.Column("ancestors", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("budget", _INT, autoincrement=False, nullable=False),
        sa.Column("spent", _INT, autoincrement=False, nullable=False),
        sa.Column("held", _INT, autoincrement=False, nullable=False),
        sa.Column("in_doubt", _INT, autoincrement=False, nullable=False),
        sa.Column("entries", _INT, autoincrement=False, nullable=False),
        sa.Column("transactions", _INT, autoincrement=False, nullable=False),
        sa.Column("frozen_us", _INT, autoincrement=False, nullable=True),
        sa.Column("limits", sa.Text(), nullable=True),
        sa.Column("created_us", _INT, autoincrement=False, nullable=False),
        sa.UniqueConstraint("owner", "agent", name="wallets_agent"),
        sa.CheckConstraint("spent >= 0 AND held >= 0 AND in_doubt >= 0", name="wallets_counters"),
        sa.CheckConstraint("spent + held + in_doubt <= budget", name="wallets_budget"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "wallet_transactions",
        sa.Column("id", _INT, nullable=False),
        sa.Column("wallet", _INT, autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount", _INT, autoincrement=False, nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("vendor", sa.Text(), nullable=True),
        sa.Column("hold", _INT, autoincrement=False, nullable=True),
        sa.Column("refunds", _INT, autoincrement=False, nullable=True),
        sa.Column("created_us", _INT, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("wallet_refunds", "wallet_transactions", ["refunds"], unique=False)
    op.create_table(
        "wallet_holds",
        sa.Column("id", _INT, nullable=False),
        sa.Column("wallet", _INT, autoincrement=False, nullable=False),
        sa.Column("root", _INT, autoincrement=False, nullable=False),
        sa.Column("amount", _INT, autoincrement=False, nullable=False),
        sa.Column("captured", _INT, autoincrement=False, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("on_expiry", sa.Text(), nullable=False),
        sa.Column("expires_us", _INT, autoincrement=False, nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("vendor", sa.Text(), nullable=True),
        sa.Column("tool", sa.Text(), nullable=True),
        sa.Column("metadata", sa.Text(), nullable=True),
        sa.Column("run", sa.Text(), nullable=True),
        sa.Column("thread", sa.Text(), nullable=True),
        sa.Column("created_us", _INT, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("wallet_holds_by_expiry", "wallet_holds", ["state", "expires_us"], unique=False)
    op.create_index("wallet_holds_by_root", "wallet_holds", ["root", "state", "expires_us"], unique=False)
    op.create_index("wallet_holds_by_wallet", "wallet_holds", ["wallet", "state"], unique=False)
    op.create_table(
        "wallet_approvals",
        sa.Column("id", _INT, nullable=False),
        sa.Column("wallet", _INT, autoincrement=False, nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("arguments", sa.Text(), nullable=False),
        sa.Column("amount", _INT, autoincrement=False, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("expires_us", _INT, autoincrement=False, nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("vendor", sa.Text(), nullable=True),
        sa.Column("tool", sa.Text(), nullable=True),
        sa.Column("created_us", _INT, autoincrement=False, nullable=False),
        sa.UniqueConstraint("wallet", "operation", "arguments", "amount", name="wallet_approvals_of_payment"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "wallet_answers",
        sa.Column("actor", _INT, autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("status", _INT, autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("actor", "key", name="wallet_answers_key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "wallet_entries",
        sa.Column("wallet", _INT, autoincrement=False, nullable=False),
        sa.Column("seq", _INT, autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("spent", _INT, autoincrement=False, nullable=False),
        sa.Column("held", _INT, autoincrement=False, nullable=False),
        sa.Column("in_doubt", _INT, autoincrement=False, nullable=False),
        sa.Column("spent_after", _INT, autoincrement=False, nullable=False),
        sa.Column("held_after", _INT, autoincrement=False, nullable=False),
        sa.Column("in_doubt_after", _INT, autoincrement=False, nullable=False),
        sa.Column("budget_after", _INT, autoincrement=False, nullable=False),
        sa.Column("transaction", _INT, autoincrement=False, nullable=True),
        sa.Column("hold", _INT, autoincrement=False, nullable=True),
        sa.Column("actor", _INT, autoincrement=False, nullable=True),
        sa.Column("step", sa.Text(), nullable=True),
        sa.Column("at_us", _INT, autoincrement=False, nullable=False),
        sa.Column("vendor", sa.Text(), nullable=True),
        sa.Column("tool", sa.Text(), nullable=True),
        sa.Column("run", sa.Text(), nullable=True),
        sa.Column("thread", sa.Text(), nullable=True),
        sa.Column("authorised_us", _INT, autoincrement=False, nullable=True),
        sa.PrimaryKeyConstraint("wallet", "seq", name="wallet_entries_key"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "wallet_entries_by_run",
        "wallet_entries",
        ["wallet", "run"],
        unique=False,
        sqlite_where=sa.text("run IS NOT NULL"),
        postgresql_where=sa.text("run IS NOT NULL"),
    )
    op.create_index(
        "wallet_entries_by_thread",
        "wallet_entries",
        ["wallet", "thread"],
        unique=False,
        sqlite_where=sa.text("thread IS NOT NULL"),
        postgresql_where=sa.text("thread IS NOT NULL"),
    )
    op.create_index("wallet_entries_by_time", "wallet_entries", ["wallet", "authorised_us"], unique=False)
    op.create_index(
        "wallet_entries_by_tool",
        "wallet_entries",
        ["wallet", "tool"],
        unique=False,
        sqlite_where=sa.text("tool IS NOT NULL"),
        postgresql_where=sa.text("tool IS NOT NULL"),
    )
    op.create_index(
        "wallet_entries_by_transaction", "wallet_entries", ["wallet", "transaction"], unique=False
    )
    op.create_index(
        "wallet_entries_by_vendor",
        "wallet_entries",
        ["wallet", "vendor"],
        unique=False,
        sqlite_where=sa.text("vendor IS NOT NULL"),
        postgresql_where=sa.text("vendor IS NOT NULL"),
    )
