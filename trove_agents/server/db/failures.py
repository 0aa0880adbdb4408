"""Why the database could not do something, in words that do not say which database it is."""

import errno
import sqlite3
from typing import Final, Literal, TypeAlias

from trove_agents.server.db.commit import Closed, CommitFailed, Unreachable

Reason: TypeAlias = Literal["closed", "full", "busy", "long", "failed"]
"""Closed; no room left; kept by another process for too long; a key that is longer than an index takes; anything else
that is not the statement's fault.
"""

_PRIMARY: Final = 0xFF
"""The part of an extended result code that names the error (https://sqlite.org/rescode.html)."""
_REASONS: Final[dict[int, Reason]] = {
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_BUSY: "busy",
    sqlite3.SQLITE_LOCKED: "busy",
    sqlite3.SQLITE_IOERR: "failed",
    sqlite3.SQLITE_CORRUPT: "failed",
    sqlite3.SQLITE_NOTADB: "failed",
    sqlite3.SQLITE_CANTOPEN: "failed",
    sqlite3.SQLITE_READONLY: "failed",
    sqlite3.SQLITE_PERM: "failed",
}

_STATES: Final[tuple[tuple[str, Reason], ...]] = (
    ("53100", "full"),
    ("53", "busy"),  # of connections, of memory
    ("40", "busy"),  # lost races, again and again
    ("55P03", "busy"),
    ("54000", "long"),  # a third of a page, after compression: of all keys only paths come near it
    ("08", "failed"),
    ("57P", "failed"),  # the server is going or coming
    ("58", "failed"),
    ("XX", "failed"),
    ("25006", "failed"),  # a server that only reads
)
"""PostgreSQL's: the first that a state begins with (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""


def reason(error: BaseException) -> Reason | None:
    """Why a transaction or a statement failed; None for what is no failure of the storage, but of a program.

    The disk's own errors count too, since blobs and files beside the database meet the same full disk. After
    ``closed``, ``full``, ``busy`` and ``long`` nothing of the transaction was kept; after ``failed`` it is uncertain.
    """
    if isinstance(error, Closed):
        return "closed"
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "full"
    if isinstance(error, sqlite3.Error):
        return _REASONS.get(getattr(error, "sqlite_errorcode", 0) & _PRIMARY)
    if isinstance(error, Unreachable):
        return "failed"
    if (state := getattr(error, "sqlstate", None)) is not None:  # of psycopg, which need not be there
        return next((why for start, why in _STATES if state.startswith(start)), None)
    if isinstance(error, CommitFailed):
        return (reason(error.__cause__) if error.__cause__ is not None else None) or "failed"
    return None
