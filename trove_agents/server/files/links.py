"""Following symbolic links inside a namespace, in the store's own tree: no path of the host is ever opened by name.

A command may have made any link. One that leads out of the root leads nowhere here (wire 1.5).
"""

from collections.abc import Callable
from typing import Final, TypeVar

from trove_agents.server import timelines
from trove_agents.server.db import Connection
from trove_agents.server.errors import BadRequest
from trove_agents.server.paths import ROOT, check, shown
from trove_agents.server.timelines import At, Entry, Kind
from trove_agents.wire import names

T = TypeVar("T")
_INSIDE: Final = f"/{ROOT}"
"""The root's constant name inside a command."""
_MOST_LINKS: Final = 40
"""As Linux has it (path_resolution(7))."""
_MOST_STEPS: Final = 4096
"""Names that are looked up on the way, in the transaction of a change: more than any path has, and less than links can
give that lead to and fro.
"""


def follow(db: Connection, at: At, path: str) -> tuple[str, Entry | None]:
    """The path and the entry behind a path, links followed, the last one too; None where nothing is.

    Raises:
        BadRequest: a link leads out of the root, or too many in a row, or too far.
    """
    entry = timelines.find(db, at, path)
    if entry is not None and entry.kind is not Kind.LINK:
        return path, entry  # a path whose every part is real: nearly all are
    return _resolve(db, at, path)


def follow_parent(db: Connection, at: At, path: str) -> str:
    """The path with the links in its parents followed, but not its own: for calls that replace or remove a name.

    Raises:
        BadRequest: as ``follow``, or the links give a name that no file could have. Stored, it could not be laid out
            for a command.
    """
    head, _, name = path.rpartition("/")
    if not head:
        return path
    parent, _ = follow(db, at, head)
    if parent == head:
        return path
    real = f"{parent}/{name}" if parent else name
    check(real)
    return real


def find_itself(db: Connection, at: At, path: str) -> tuple[str, Entry | None]:
    """A path with the links in its parents followed, and what is there, which may be a link.

    Raises:
        BadRequest: as ``follow_parent``.
    """
    entry = timelines.find(db, at, path)
    if entry is not None:
        return path, entry
    real = follow_parent(db, at, path)
    return real, None if real == path else timelines.find(db, at, real)


def past_links(
    db: Connection, at: At, path: str, act: Callable[[str], T], blocked: type[timelines.TimelineError]
) -> T:
    """What ``act`` does at a path, or, where that is ``blocked``, at the path with the links of its parents followed.

    Hardly any path has links, and looking for them first would cost each write a lookup.
    """
    try:
        return act(path)
    except blocked:
        real = follow_parent(db, at, path)
        if real == path:
            raise
        return act(real)


def _resolve(db: Connection, at: At, path: str) -> tuple[str, Entry | None]:
    pending = path.split("/")[::-1]
    done: list[str] = []
    links = steps = 0
    while pending:
        segment = pending.pop()
        if segment in {"", "."}:
            continue
        if segment == "..":
            if not done:
                raise BadRequest(f"{shown(path)} leads out of the workspace")
            done.pop()
            continue
        steps += 1
        entry = timelines.find(db, at, "/".join([*done, segment]))
        if entry is None:
            rest = (later for later in reversed(pending) if later not in {"", "."})
            return "/".join([*done, segment, *rest]), None
        if entry.kind is not Kind.LINK:
            done.append(segment)
            continue
        links += 1
        if links > _MOST_LINKS or steps > _MOST_STEPS:
            raise BadRequest(f"{shown(path)} has too many levels of symbolic links")
        target = _target(db, entry)
        if target.startswith("/"):
            inside = target.removeprefix(_INSIDE)
            if inside == target or (inside and not inside.startswith("/")):
                raise BadRequest(f"{shown(path)} leads out of the workspace")
            done, target = [], inside
        pending.extend(target.split("/")[::-1])
    return "/".join(done), timelines.find(db, at, "/".join(done))


def _target(db: Connection, link: Entry) -> str:
    assert link.content is not None, "a link's target is its content"
    return names.from_bytes(timelines.read_content(db, link.content).data or b"")
