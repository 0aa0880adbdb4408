"""A whole tree in the order of listings, from its beginning or from any place in it on."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from sqlalchemy import bindparam, select

from trove_agents.server.db import Connection
from trove_agents.server.db.tables import entries
from trove_agents.server.timelines.chain import ZERO, lineage
from trove_agents.server.timelines.reads import (
    LIST,
    NO_LIMIT,
    PAGE,
    POINT,
    SHOWN,
    nearest,
    page,
    under,
)
from trove_agents.server.timelines.values import At, Entry, Kind
from trove_agents.wire import names

_e = entries.c
_DIRECTORY: Final = Kind.DIRECTORY.value
"""A plain number: comparing it with one of a row costs a fraction."""
# One timeline's directories in a directory by name, from the primary key, as reads.PART
DIRECTORIES: Final = (
    select(_e.name)
    .where(*SHOWN, _e.since + ZERO <= bindparam("v"), _e.name > bindparam("after"), _e.kind == _DIRECTORY)
    .order_by(_e.name)
    .limit(bindparam("most"))
    .offset(ZERO)
)


class Place(NamedTuple):
    """Behind an entry of a walk, which may be gone by now."""

    path: str
    is_dir: bool


def walk(
    db: Connection,
    at: At,
    path: str = "",
    *,
    limit: int | None = None,
    levels: int | None = None,
    after: Place | None = None,
) -> Iterator[Entry]:
    """What is below a directory: depth first, a directory before its content; in each directory the directories
    come first, then the rest, both by name.

    ``levels`` is how deep to go: 1 gives the directory's own entries. ``after`` goes on behind a place below the
    directory. Reads as far as the iterator is driven, so the connection must stay open until then.
    """
    left = NO_LIMIT if limit is None else limit
    # A stack of iterators, not a recursion: depth is only bounded by the length of a path
    stack = _resumed(db, at, path, levels, after) if after is not None else [_ordered(db, at, path, b"", b"")]
    while stack and left > 0:
        found = next(stack[-1], None)
        if found is None:
            stack.pop()
            continue
        left -= 1
        yield found
        if found.kind is Kind.DIRECTORY and (levels is None or len(stack) < levels):
            stack.append(_ordered(db, at, found.path, b"", b""))


def _resumed(db: Connection, at: At, path: str, levels: int | None, after: Place) -> list[Iterator[Entry]]:
    """The stack of a walk that has just given an entry."""
    segments = after.path[len(path) + 1 if path else 0 :].split("/")
    stack = []
    above = path
    for index, segment in enumerate(segments):
        name = names.to_bytes(segment)
        if index < len(segments) - 1 or after.is_dir:
            stack.append(_ordered(db, at, above, name, b""))
        else:
            stack.append(_ordered(db, at, above, None, name))
        above = f"{above}/{segment}" if above else segment
    if after.is_dir and (levels is None or len(stack) < levels):
        stack.append(_ordered(db, at, above, b"", b""))
    return stack


def _ordered(db: Connection, at: At, path: str, directories: bytes | None, rest: bytes) -> Iterator[Entry]:
    """A directory's entries: its directories after a name, or none of them; then what else is after another name."""
    directory = names.to_bytes(path)
    rows = db.all(LIST, t=at.timeline, v=at.version, d=directory, most=PAGE + 1)
    if len(rows) <= PAGE:
        found = nearest(rows)
        if directories is not None:
            yield from under(path, [row for row in found if row[1] == _DIRECTORY and row[0] > directories])
        yield from under(path, [row for row in found if row[1] != _DIRECTORY and row[0] > rest])
        return
    # A large one, page by page: first its directories by their own query
    start = directories
    while start is not None:
        wanted, start = _directories(db, at, directory, start)
        for name in wanted:
            row = db.one(POINT, t=at.timeline, v=at.version, d=directory, n=name)
            if row is not None and row[0] == _DIRECTORY:
                yield from under(path, [(name, *row)])
    after: bytes | None = rest
    while after is not None:
        shown, after = page(db, at, directory, after, PAGE)
        yield from under(path, [row for row in shown if row[1] != _DIRECTORY])


def _directories(db: Connection, at: At, directory: bytes, after: bytes) -> tuple[list[bytes], bytes | None]:
    """Names after one that some timeline has a directory for, and the name to go on after, if there may be more."""
    found: set[bytes] = set()
    horizon: bytes | None = None
    for part in lineage(db, at):
        rows = db.all(DIRECTORIES, t=part.timeline, v=part.version, d=directory, after=after, most=PAGE)
        if len(rows) == PAGE and (horizon is None or rows[-1][0] < horizon):
            horizon = rows[-1][0]
        found.update(name for (name,) in rows)
    return sorted(name for name in found if horizon is None or name <= horizon), horizon
