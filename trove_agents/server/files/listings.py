"""Listings page by page: docs/wire.md, "Listing in pages"."""

import msgspec

from trove_agents.server import cursors, paths, timelines
from trove_agents.server.auth import Principal
from trove_agents.server.db import Connection, Database
from trove_agents.server.errors import BadRequest, NotFound, Unprocessable
from trove_agents.server.files.links import follow
from trove_agents.server.namespaces.states import named, recheck, state
from trove_agents.server.timelines import At, Entry, Kind, Place
from trove_agents.wire import limits, names, times
from trove_agents.wire.files import FileInfo, Listing


class _Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Where a listing goes on."""

    state: str
    path: str
    """The directory, as it was asked for."""
    recursive: bool
    last: str
    """The path of the last entry that was given, below the directory."""
    is_dir: bool


class Listings:
    """Listings of all namespaces. A page reads about as many entries as it gives, wherever it begins."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def listing(
        self, principal: Principal, namespace: str, path: str, *, recursive: bool, at: str | None = None
    ) -> Listing:
        """A directory's entries, or its whole tree. The root of a namespace that was never used is empty.

        Raises:
            BadRequest: a file, or a bad path.
            NotFound: no such directory, or no such past.
        """
        target = paths.canonical(path)
        with self._database.read() as db:
            space = timelines.namespace(db, principal.workspace, namespace)
            if space is None:
                if target or at is not None:
                    raise _missing(target)
                return Listing(path=paths.shown(""))
            then = state(db, space, at)
            real, entry = follow(db, then, target)
            if entry is None:
                raise _missing(target)
            if entry.kind is not Kind.DIRECTORY:
                raise BadRequest(f"{paths.shown(target)} is a file, not a directory")
            found, truncated = (_deep if recursive else _flat)(db, then, real)
            recheck(db, space, at)
        # Below a link, entries carry the path that was asked for
        return Listing(_infos(found, real, target), truncated, paths.shown(target))

    def page(
        self,
        principal: Principal,
        namespace: str,
        path: str,
        *,
        recursive: bool,
        at: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Listing:
        """Entries of a directory, or of all below it at any depth. A cursor goes on where it was given, in the state
        that the first page was read in; nothing else that is asked counts then, but the limit.

        Raises:
            BadRequest: a file, a bad path, or a cursor that this server did not give.
            NotFound: no such directory, or no such past.
            Unprocessable: a limit below 1.
        """
        if limit is not None and limit < 1:
            raise Unprocessable("limit is at least 1", errors=[{"field": "limit", "message": "at least 1"}])
        most = min(limit or limits.LIST_PAGE, limits.LIST_PAGE)
        last = None
        if cursor is not None:
            last = cursors.decode(cursor, _Cursor)
            at, path, recursive = last.state, last.path, last.recursive
        target = paths.canonical(path)
        with self._database.read() as db:
            space = timelines.namespace(db, principal.workspace, namespace)
            if space is None:
                if target or at is not None:
                    raise _missing(target)
                return Listing(path=paths.shown(""), next_cursor=None)
            then = state(db, space, at)
            # What has an id stays readable by it, longer than history does
            pinned = at if at is not None and named(at) else str(then.version)
            real, entry = follow(db, then, target)
            if entry is None:
                raise _missing(target)
            if not entry.is_dir:
                raise BadRequest(f"{paths.shown(target)} is a file, not a directory")
            after = None if last is None else _behind(real, last)
            levels = None if recursive else 1
            found = list(timelines.walk(db, then, real, limit=most + 1, levels=levels, after=after))
            recheck(db, space, pinned)
        shown = found[:most]
        following = None
        if len(found) > most:
            below = names.to_wire(shown[-1].path[len(real) + 1 if real else 0 :])
            place = _Cursor(pinned, names.to_wire(target), recursive, below, shown[-1].is_dir)
            following = cursors.encode(place)
        return Listing(_infos(shown, real, target), path=paths.shown(target), next_cursor=following)


def _behind(directory: str, cursor: _Cursor) -> Place:
    last = names.from_wire(cursor.last)
    try:
        names.to_bytes(last)
    except UnicodeEncodeError:
        raise BadRequest("this cursor is not from this server") from None
    return Place(f"{directory}/{last}" if directory else last, cursor.is_dir)


def _flat(db: Connection, at: At, path: str) -> tuple[list[Entry], bool]:
    """At most ``limits.LIST_ENTRIES`` entries of a directory, and whether there are more."""
    found = list(timelines.walk(db, at, path, levels=1, limit=limits.LIST_ENTRIES + 1))
    return found[: limits.LIST_ENTRIES], len(found) > limits.LIST_ENTRIES


def _deep(db: Connection, at: At, path: str) -> tuple[list[Entry], bool]:
    """At most ``limits.LIST_ENTRIES`` entries below a directory, and whether there are more, or deeper ones."""
    depth = path.count("/") + (1 if path else 0)
    found: list[Entry] = []
    truncated = False
    for entry in timelines.walk(db, at, path, levels=limits.LIST_LEVELS + 1):
        if entry.path.count("/") - depth >= limits.LIST_LEVELS:
            truncated = True
        elif len(found) == limits.LIST_ENTRIES:
            return found, True
        else:
            found.append(entry)
    return found, truncated


def _infos(entries: list[Entry], real: str, asked: str) -> list[FileInfo]:
    """Entries of a listing for the wire, those below ``real`` shown below ``asked``."""
    cut = len(real) + 1 if real else 0
    prefix = paths.shown(asked) + "/"
    infos: list[FileInfo] = []
    for entry in entries:
        below = names.to_wire(entry.path[cut:])
        name = below.rpartition("/")[2] if "/" in below else below
        is_dir = entry.kind is Kind.DIRECTORY
        modified = times.from_micros(entry.mtime_ns // 1000)
        size = None if is_dir else entry.size
        infos.append(FileInfo(name, prefix + below, is_dir, size, modified, entry.kind is Kind.LINK))
    return infos


def _missing(path: str) -> NotFound:
    return NotFound(f"{paths.shown(path)} does not exist")
