"""Reading a state: one path, one directory, a whole tree."""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import bindparam, select, union_all

from trove_agents.server.db import Connection
from trove_agents.server.db.tables import entries
from trove_agents.server.timelines.chain import CHAIN, ONE, ZERO, lineage, newest, newest_of, visible
from trove_agents.server.timelines.values import At, Entry, Kind
from trove_agents.wire import names

Row = tuple[Any, ...]
_e = entries.c
STAT: Final = (_e.kind, _e.mode, _e.size, _e.mtime_ns, _e.content, _e.since)
NO_LIMIT: Final = 2**62
_KINDS: Final = tuple(Kind)
PAGE: Final = 1000
"""Entries read at once; a directory that holds fewer takes one statement."""

_DECIDING: Final = (
    select(*STAT, _e.timeline).where(newest(CHAIN)).order_by(CHAIN.c.depth).limit(ONE).subquery("deciding")
)
# The state's own timeline decides nearly every path, at half the cost; only where it is silent the chain is walked
POINT: Final = union_all(
    select(*STAT, _e.timeline).where(newest_of(bindparam("t"), bindparam("v"))), select(_DECIDING)
).limit(ONE)
# Unsorted, so that the limit stops it early
LIST: Final = (
    select(CHAIN.c.depth, _e.name, *STAT, _e.timeline)
    .where(visible(CHAIN), _e.dir == bindparam("d"))
    .limit(bindparam("most"))
    .offset(ZERO)
)
TREE: Final = select(CHAIN.c.depth, _e.name, *STAT, _e.timeline, _e.dir).where(
    visible(CHAIN), _e.dir >= bindparam("lo"), _e.dir < bindparam("hi")
)
SHOWN = (_e.timeline == bindparam("t"), _e.dir == bindparam("d"), _e.until > bindparam("v"))
# One timeline's part of a directory by name, from the primary key; ``+ 0`` as in chain.visible
PART: Final = (
    select(_e.name, *STAT, _e.timeline)
    .where(*SHOWN, _e.since + ZERO <= bindparam("v"), _e.name > bindparam("after"))
    .order_by(_e.name)
    .limit(bindparam("most"))
    .offset(ZERO)
)


def split(path: str) -> tuple[bytes, bytes]:
    """A path's directory and name, as the tables have them."""
    head, _, name = names.to_bytes(path).rpartition(b"/")
    return head, name


def entry(path: str, row: Row) -> Entry:
    """An entry from ``STAT`` columns."""
    return Entry(path, _KINDS[row[0]], *row[1:6])


def root() -> Entry:
    """Every namespace has one, and no row for it."""
    return Entry("", Kind.DIRECTORY, 0o755, 0, 0, None, 0)


def lookup(db: Connection, at: At, path: str) -> Row | None:
    """The row that decides a path, ``(*STAT, timeline)``, which may say that it is gone."""
    directory, name = split(path)
    return db.one(POINT, t=at.timeline, v=at.version, d=directory, n=name)


def lookups(db: Connection, at: At, paths: list[str]) -> list[Row | None]:
    """``lookup`` of each path."""
    split_paths = map(split, paths)
    return db.each(POINT, [{"t": at.timeline, "v": at.version, "d": d, "n": n} for d, n in split_paths])


def find(db: Connection, at: At, path: str) -> Entry | None:
    """What is at a path; None for nothing. The root is always there."""
    if not path:
        return root()
    row = lookup(db, at, path)
    return None if row is None or row[0] == Kind.GONE else entry(path, row)


def children(
    db: Connection, at: At, path: str, *, limit: int | None = None, after: str | None = None
) -> list[Entry]:
    """A directory's entries by name, in order of code points: of those after the name ``after`` the first ``limit``.

    Empty for anything that is not a directory. With a limit only about that many rows are read.
    """
    directory = names.to_bytes(path)
    if limit is None and after is None:
        rows = nearest(db.all(LIST, t=at.timeline, v=at.version, d=directory, most=NO_LIMIT))
    else:
        start = b"" if after is None else names.to_bytes(after)
        rows = []
        while limit is None or len(rows) < limit:
            most = PAGE if limit is None else min(limit - len(rows), PAGE)
            found, more = page(db, at, directory, start, most)
            rows += found
            if more is None:
                break
            start = more
        rows = rows[:limit]
    return under(path, rows)


def tree(db: Connection, at: At, path: str) -> Iterator[tuple[str, Row]]:
    """Everything below a directory as ``(path, (*STAT, timeline))``, in no order."""
    directory = names.to_bytes(path)
    for row in nearest(db.all(LIST, t=at.timeline, v=at.version, d=directory, most=NO_LIMIT)):
        yield _join(path, row[0]), row[1:]
    low, high = (
        (directory + b"/", directory + b"0") if path else (b"\x01", b"\xff" * 256)
    )  # a name has at most 255 bytes
    found: dict[tuple[bytes, bytes], Row] = {}
    for row in sorted(db.all(TREE, t=at.timeline, v=at.version, lo=low, hi=high), key=_depth):
        found.setdefault((row[9], row[1]), row)
    for (head, name), row in found.items():
        if row[2] != Kind.GONE:
            yield names.from_bytes(head + b"/" + name), row[2:9]


def nearest(rows: list[Row]) -> list[Row]:
    """Of rows ``(depth, name, *STAT, ...)`` those that decide and are there, by name and without their depth."""
    rows.sort()  # by depth, then name: no two rows agree in both
    if rows and rows[-1][0] == 0:
        return [row[1:] for row in rows if row[2]]
    found: dict[bytes, Row] = {}
    for row in rows:
        found.setdefault(row[1], row)
    return [row[1:] for _, row in sorted(found.items()) if row[2]]


def _depth(row: Row) -> int:
    depth: int = row[0]
    return depth


def page(db: Connection, at: At, directory: bytes, after: bytes, most: int) -> tuple[list[Row], bytes | None]:
    """At most a few more than ``most`` entries after a name, and the name to go on after, if there may be more."""
    rows: list[Row] = []
    horizon: bytes | None = None  # no timeline was read beyond this name
    for depth, part in enumerate(lineage(db, at)):
        found = db.all(PART, t=part.timeline, v=part.version, d=directory, after=after, most=most)
        if len(found) == most and (horizon is None or found[-1][0] < horizon):
            horizon = found[-1][0]
        rows += [(depth, *row) for row in found]
    shown = nearest(rows if horizon is None else [row for row in rows if row[1] <= horizon])
    return shown, horizon


def under(path: str, rows: list[Row]) -> list[Entry]:
    """Entries of a directory from rows ``(name, *STAT, ...)``."""
    prefix = f"{path}/" if path else ""
    return [Entry(prefix + names.from_bytes(row[0]), _KINDS[row[1]], *row[2:7]) for row in rows]


def _join(path: str, name: bytes) -> str:
    return f"{path}/{names.from_bytes(name)}" if path else names.from_bytes(name)
