"""Every table of the server. ``*_us`` are microseconds since 1970, ``*_ns`` nanoseconds; names and digests are bytes.

A change here needs a migration in ``versions/``; a test compares the two.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

LIVE: Final = 2**63 - 1
"""``until`` of an entry that nothing has replaced."""

metadata = MetaData()
_Int = BigInteger().with_variant(Integer, "sqlite")
"""64 bits on every database. SQLite makes a row's key of a column only if it is declared INTEGER."""


def _int(name: str, *, null: bool = False) -> Column[int]:
    return Column(name, _Int, nullable=null, autoincrement=False)


def _text(name: str, *, null: bool = False) -> Column[str]:
    return Column(name, Text, nullable=null)


def _bytes(name: str, *, null: bool = False) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=null)


def _key() -> Column[int]:
    return Column("id", _Int, primary_key=True)


def _where_known(name: str) -> Index:
    known = text(f"{name} IS NOT NULL")
    return Index(f"wallet_entries_by_{name}", "wallet", name, sqlite_where=known, postgresql_where=known)


workspaces = Table(
    "workspaces", metadata, Column("id", Text, primary_key=True), _text("name"), _int("created_us")
)
keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    _text("workspace"),
    _text("name"),
    _text("prefix"),
    _bytes("digest"),
    _text("scope"),
    _text("namespace", null=True),
    _int("created_us"),
    _int("revoked_us", null=True),
    UniqueConstraint("digest", name="keys_digest"),
    Index("keys_by_workspace", "workspace", "created_us"),
)
namespaces = Table(
    "namespaces",
    metadata,
    _key(),
    _text("workspace"),
    _text("name"),
    _int("timeline"),
    _int("version"),
    _int("files"),
    _int("bytes"),
    _int("created_us"),
    _int("quota_files", null=True),
    _int("quota_bytes", null=True),
    _text("workdir", null=True),
    _int("leased_until_us", null=True),
    UniqueConstraint("workspace", "name", name="namespaces_name"),
)
timelines = Table(
    "timelines",
    metadata,
    _key(),
    _int("namespace"),
    _int("base", null=True),
    _int("base_version", null=True),
    _int("origin", null=True),
    _int("origin_version", null=True),
    Index("timelines_by_base", "base", "base_version"),
    Index("timelines_by_origin", "origin", "origin_version"),
)
heads = Table(
    "heads",
    metadata,
    _int("namespace"),
    _int("since"),
    _int("timeline"),
    PrimaryKeyConstraint("namespace", "since", name="heads_key"),
    Index("heads_by_timeline", "timeline"),
    sqlite_with_rowid=False,
)
entries = Table(
    "entries",
    metadata,
    _int("timeline"),
    _bytes("dir"),
    _bytes("name"),
    _int("since"),
    _int("until"),
    _int("kind"),
    _int("mode"),
    _int("size"),
    _int("mtime_ns"),
    _int("content", null=True),
    _text("media_type", null=True),
    _text("etag", null=True),
    _text("attributes", null=True),
    PrimaryKeyConstraint("timeline", "dir", "name", "since", name="entries_key"),
    Index("entries_by_version", "timeline", "since"),
    # Serves listings whole: live rows sort last, so one range holds what is there at any version.
    Index(
        "entries_by_until",
        *("timeline", "dir", "until", "name", "since", "kind", "mode", "size", "mtime_ns", "content"),
    ),
    sqlite_with_rowid=False,
)
contents = Table("contents", metadata, _key(), _bytes("digest"), _int("size"), _bytes("data", null=True))
content_parts = Table(
    "content_parts",
    metadata,
    _int("content"),
    _int("position"),
    _bytes("digest"),
    _int("size"),
    PrimaryKeyConstraint("content", "position", name="content_parts_key"),
    Index("content_parts_by_digest", "digest"),
    sqlite_with_rowid=False,
)
blobs = Table(
    "blobs",
    metadata,
    _text("workspace"),
    _bytes("digest"),
    _int("size"),
    _int("touched_us"),
    PrimaryKeyConstraint("workspace", "digest", name="blobs_key"),
    sqlite_with_rowid=False,
)
snapshots = Table(
    "snapshots",
    metadata,
    Column("id", Text, primary_key=True),
    _int("namespace"),
    _int("timeline"),
    _int("version"),
    _text("label", null=True),
    _int("files"),
    _int("bytes"),
    Column("automatic", Boolean(create_constraint=False), nullable=False),
    _int("created_us"),
    Index("snapshots_by_namespace", "namespace", "created_us"),
    Index("snapshots_by_timeline", "timeline", "version"),
    sqlite_with_rowid=False,
)
log = Table(
    "log",
    metadata,
    _int("namespace"),
    _int("version"),
    _int("timeline"),
    _text("kind"),
    _text("actor", null=True),
    _text("step", null=True),
    _int("files"),
    _int("bytes"),
    _int("at_us"),
    PrimaryKeyConstraint("namespace", "version", name="log_key"),
    sqlite_with_rowid=False,
)
events = Table(
    "events",
    metadata,
    Column("seq", _Int, primary_key=True),
    _text("id"),
    _text("workspace"),
    _text("namespace", null=True),
    _text("type"),
    _int("created_us"),
    _text("actor_id", null=True),
    _text("actor_name", null=True),
    _text("data"),
    _text("step", null=True),
    UniqueConstraint("workspace", "created_us", name="events_time"),
    Index("events_by_namespace", "workspace", "namespace", "created_us"),
)
locks = Table(
    "locks",
    metadata,
    Column("namespace", _Int, primary_key=True, autoincrement=False),
    _text("holder"),
    _int("token"),
    _int("expires_us"),
)
references = Table(
    "step_references",
    metadata,
    Column("id", Text, primary_key=True),
    _int("namespace"),
    _int("timeline"),
    _int("version"),
    _text("thread"),
    _text("step"),
    _int("files"),
    _int("bytes"),
    _int("created_us"),
    Index("references_by_namespace", "namespace", "created_us"),
    Index("references_by_thread", "namespace", "thread", "created_us"),
    # A state has one of each step; without a thread or a step those are empty, since NULLs are all different
    Index("references_by_state", "timeline", "version", "thread", "step", unique=True),
    sqlite_with_rowid=False,
)
leases = Table(
    "leases",
    metadata,
    Column("namespace", _Int, primary_key=True, autoincrement=False),
    _text("id"),
    _text("holder"),
    _int("token"),
    _int("expires_us"),
)
answers = Table(
    "idempotent_answers",
    metadata,
    _text("workspace"),
    _text("actor"),
    _text("key"),
    _bytes("fingerprint"),
    _text("holder"),
    _int("status", null=True),
    _bytes("body", null=True),
    _int("created_us"),
    PrimaryKeyConstraint("workspace", "actor", "key", name="answers_key"),
    Index("answers_by_time", "created_us"),
    sqlite_with_rowid=False,
)
horizons = Table(
    "horizons", metadata, Column("namespace", _Int, primary_key=True, autoincrement=False), _int("version")
)
wallet_keys = Table(
    "wallet_keys",
    metadata,
    _key(),
    _text("workspace"),
    _text("name"),
    _bytes("digest"),
    _int("owner", null=True),
    _int("wallet", null=True),
    _int("created_us"),
    _int("revoked_us", null=True),
    UniqueConstraint("digest", name="wallet_keys_digest"),
    Index("wallet_keys_by_owner", "owner"),
)
wallets = Table(
    "wallets",
    metadata,
    _key(),
    _int("owner"),
    _text("ancestors"),
    _text("agent"),
    _text("name"),
    _int("budget"),
    _int("spent"),
    _int("held"),
    _int("in_doubt"),
    _int("entries"),
    _int("transactions"),
    _int("frozen_us", null=True),
    _text("limits", null=True),
    _int("created_us"),
    _text("namespace", null=True),
    UniqueConstraint("owner", "agent", name="wallets_agent"),
    # Whatever a statement says: a budget cannot be overdrawn
    CheckConstraint("spent >= 0 AND held >= 0 AND in_doubt >= 0", name="wallets_counters"),
    CheckConstraint("spent + held + in_doubt <= budget", name="wallets_budget"),
)
wallet_transactions = Table(
    "wallet_transactions",
    metadata,
    _key(),
    _int("wallet"),
    _text("kind"),
    _int("amount"),
    _text("description", null=True),
    _text("vendor", null=True),
    _int("hold", null=True),
    _int("refunds", null=True),
    _int("created_us"),
    Index("wallet_refunds", "refunds"),
)
wallet_holds = Table(
    "wallet_holds",
    metadata,
    _key(),
    _int("wallet"),
    _int("root"),
    _int("amount"),
    _int("captured"),
    _text("state"),
    _text("on_expiry"),
    _int("expires_us"),
    _text("description", null=True),
    _text("vendor", null=True),
    _text("tool", null=True),
    _text("metadata", null=True),
    _text("run", null=True),
    _text("thread", null=True),
    _int("created_us"),
    Index("wallet_holds_by_wallet", "wallet", "state"),
    Index("wallet_holds_by_expiry", "state", "expires_us"),
    Index("wallet_holds_by_root", "root", "state", "expires_us"),
)
wallet_approvals = Table(
    "wallet_approvals",
    metadata,
    _key(),
    _int("wallet"),
    _text("operation"),
    _text("arguments"),
    _int("amount"),
    _text("state"),
    _int("expires_us"),
    _text("description", null=True),
    _text("vendor", null=True),
    _text("tool", null=True),
    _int("created_us"),
    UniqueConstraint("wallet", "operation", "arguments", "amount", name="wallet_approvals_of_payment"),
)
wallet_answers = Table(
    "wallet_answers",
    metadata,
    _int("actor"),
    _text("key"),
    _bytes("fingerprint"),
    _int("status"),
    _bytes("body"),
    PrimaryKeyConstraint("actor", "key", name="wallet_answers_key"),
    sqlite_with_rowid=False,
)
wallet_entries = Table(
    "wallet_entries",
    metadata,
    _int("wallet"),
    _int("seq"),
    _text("kind"),
    _int("spent"),
    _int("held"),
    _int("in_doubt"),
    _int("spent_after"),
    _int("held_after"),
    _int("in_doubt_after"),
    _int("budget_after"),
    _int("transaction", null=True),
    _int("hold", null=True),
    _int("actor", null=True),
    _text("step", null=True),
    _int("at_us"),
    _text("vendor", null=True),
    _text("tool", null=True),
    _text("run", null=True),
    _text("thread", null=True),
    _int("authorised_us", null=True),
    PrimaryKeyConstraint("wallet", "seq", name="wallet_entries_key"),
    Index("wallet_entries_by_transaction", "wallet", "transaction"),
    # What tallies begin with, and calls are counted by
    Index("wallet_entries_by_time", "wallet", "authorised_us", "kind"),
    *(_where_known(name) for name in ("vendor", "tool", "run", "thread")),
    sqlite_with_rowid=False,
)
wallet_tallies = Table(
    "wallet_tallies",
    metadata,
    _int("wallet"),
    _text("kind"),
    _text("name"),
    _int("amount"),
    PrimaryKeyConstraint("wallet", "kind", "name", name="wallet_tallies_key"),
    sqlite_with_rowid=False,
)
jobs = Table(
    "jobs",
    metadata,
    Column("name", Text, primary_key=True),
    _int("due_us"),
    _text("holder"),
    _int("claimed_until_us"),
    _text("place", null=True),
)
