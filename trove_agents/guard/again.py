"""The files of what was paid for, where it is not done again: the changes that it made are made once more.

Flows of a workspace's client, for whoever answers a payment that was made before with what came of it: ``client.run(...)``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final, NamedTuple

from trove_agents.client.call import Flow
from trove_agents.client.files import delete, optional, read_bytes_full, stat, upload
from trove_agents.client.history import diff, history_page
from trove_agents.client.restores import restore_to
from trove_agents.client.states import State
from trove_agents.client.trees import mkdir
from trove_agents.errors import LeaseLost, TroveError, TroveQuotaError, WorkspaceLeased
from trove_agents.wire.files import FileStat
from trove_agents.wire.history import Difference, Side
from trove_agents.wire.steps import Step

_PLAIN: Final = 0o644
"""The mode of what ``upload`` makes."""
_OTHERWISE: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT})
"""What is answered where a file is meant and a directory is there, or the other way round, or a link that leads out."""


class Span(NamedTuple):
    """Two states of a workspace between which one step alone changed it."""

    before: State
    after: State


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a path."""

    path: str
    before: Side | None
    after: Side | None
    was: bytes | None
    """The content before, and after, of what is a plain file."""
    content: bytes | None
    sound: bool
    """It is of one step alone, and what uploads, directories and deletions make: no mode, no link, no directory that goes."""


def spans_of(step: Step, since: int) -> Flow[list[Span] | None]:
    """The spans in which a step changed the workspace after a version, oldest first.

    None: the history does not go back to that version any more.
    """
    found: list[Span] = []
    goes_on = False
    cursor: str | None = None
    while True:
        page = yield from history_page(cursor=cursor)
        for entry in page.entries:  # newest first
            if entry.version <= since:
                return found[::-1]
            own = entry.step == step
            if own:
                before = entry.version - 1
                found.append(Span(before, found.pop().after if goes_on else entry.version))
            goes_on = own
        if (cursor := page.next_cursor) is None:
            return None


def changes(spans: Iterable[Span]) -> Flow[list[Change]]:
    """What became of each path, in all spans together.

    Raises:
        TroveNotFoundError: one of the states is not kept any more.
    """
    made: dict[str, Change] = {}
    for span in spans:
        for difference in (yield from diff(*span)):
            found = yield from _change(difference, span)
            if (first := made.get(found.path)) is not None:
                alone = first.sound and found.sound and first.content == found.was
                found = replace(found, before=first.before, was=first.was, sound=alone)
            made[found.path] = found
    return list(made.values())


def at_once(span: Span) -> Flow[bool]:
    """Whether the workspace is what it was after a span of its own. It is made that, if it is what it was before it.

    Raises:
        TroveNotFoundError: one of the states is not kept any more.
    """
    if not (yield from diff(span.after)):
        return True
    if (yield from diff(span.before)):
        return False
    yield from restore_to(span.after)
    return True


def make(wanted: Iterable[Change]) -> Flow[list[str]]:
    """Makes changes once more, in this workspace or another; which ones are missing then.

    Where one cannot be made, since others changed the same path or since it is not ``sound``, none is: all that are not
    there already are missing. Only where others come between, or the room ends, those before are made.
    """
    to_do: list[Change] = []
    all_fit = True
    for change in wanted:
        try:
            fits = yield from _fits(change)
        except TroveError as error:
            if not _otherwise(error):
                raise
            fits = None
        if fits is not False:
            to_do.append(change)
        all_fit = all_fit and fits is not None
    if not all_fit:
        return [each.path for each in to_do]
    for index, change in enumerate(to_do):
        try:
            yield from _make(change)
        except TroveError as error:
            if _otherwise(error) or isinstance(error, TroveQuotaError):
                return [each.path for each in to_do[index:]]
            raise
    return []


def _change(difference: Difference, span: Span) -> Flow[Change]:
    path, before, after = difference.path, difference.before, difference.after
    was = yield from _content(path, before, span.before)
    content = yield from _content(path, after, span.after)
    if after is not None and after.is_dir:
        sound = before is None or before.is_dir
    else:
        goes = before is not None and before.is_dir  # others may have put something into it
        sound = not goes and (after is None or content is not None)
    return Change(path, before, after, was, content, sound)


def _fits(change: Change) -> Flow[bool | None]:
    """Whether a change is to be made; False: it is there. None: something else is there, or it cannot be made."""
    there = yield from optional(stat(change.path))
    after = change.after
    if there is None:
        return False if after is None else True if change.before is None and change.sound else None
    if after is not None and after.is_dir:
        return False if there.kind == "directory" else None
    if after is not None and change.content is None:
        return False if _is(there, after) else None
    if there.kind != "file":
        return None
    now = (yield from read_bytes_full(change.path)).content
    if now == change.content:
        return False
    return True if now == change.was and change.sound else None


def _make(change: Change) -> Flow[None]:
    if change.after is None:
        yield from delete(change.path)
    elif change.content is None:
        yield from mkdir(change.path)
    else:
        yield from upload(change.path, change.content)


def _otherwise(error: TroveError) -> bool:
    """Whether it says that something of another kind is there, or above it."""
    return error.status_code in _OTHERWISE and not isinstance(error, WorkspaceLeased | LeaseLost)


def _is(there: FileStat, side: Side) -> bool:
    """Whether what is at a path is, as far as that can be told, the link or the file of another mode that was there."""
    found = (there.size_bytes, there.mode, there.modified_at, there.kind == "directory")
    return found == (side.size_bytes, side.mode, side.modified_at, side.is_dir)


def _content(path: str, side: Side | None, at: State) -> Flow[bytes | None]:
    """Of a plain file; None of all else, and of what is over 100 MB."""
    if side is None or side.is_dir or side.mode != _PLAIN:
        return None
    found = yield from read_bytes_full(path, at=at)
    return None if found.truncated else found.content
