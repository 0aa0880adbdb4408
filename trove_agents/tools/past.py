"""``snapshot``, ``restore`` and ``diff``: the workspace as it was."""

from typing import Annotated, Final

import msgspec

from trove_agents.client.call import Flow
from trove_agents.client.history import diff
from trove_agents.client.restores import restore_to
from trove_agents.client.snapshots import create_snapshot, restore_snapshot
from trove_agents.tools.spec import ToolContext, ToolSpec
from trove_agents.tools.text import listed
from trove_agents.wire import limits
from trove_agents.wire.history import Difference, Side
from trove_agents.wire.snapshots import SNAPSHOT, Snapshot

_STATE: Final = "A snapshot's id, a version, or an ISO 8601 time in UTC"

_SNAPSHOT: Final = """\
Keep the whole workspace as it is now, to be able to go back. Takes no time and no space, whatever there is. You get the id \
that restore and diff take."""

_RESTORE: Final = """\
Make the whole workspace what it was in a state of the past. Files made since are gone from it; but what was before is a \
state, too."""

_DIFF: Final = """\
List what differs between two states of the workspace: the paths that were added, removed or changed."""


_Label = Annotated[str, msgspec.Meta(max_length=limits.SNAPSHOT_LABEL_CHARACTERS)]
_State = Annotated[str, msgspec.Meta(min_length=1)]


class SnapshotArguments(msgspec.Struct, frozen=True):
    """What the model sends."""

    label: Annotated[_Label | None, msgspec.Meta(description="What it is of, in a few words.")] = None


class RestoreArguments(msgspec.Struct, frozen=True):
    """What the model sends."""

    to: Annotated[_State, msgspec.Meta(description=f"{_STATE}.")]


class DiffArguments(msgspec.Struct, frozen=True):
    """What the model sends."""

    since: Annotated[_State, msgspec.Meta(description=f"{_STATE}.")]
    until: Annotated[
        _State | None, msgspec.Meta(description="As since; left out: the workspace as it is now.")
    ] = None


class Restored(msgspec.Struct, frozen=True):
    """What a restore did."""

    to: str
    files: int
    """Files and links in the workspace afterwards."""


class Compared(msgspec.Struct, frozen=True):
    """What differs."""

    differences: list[Difference]


def restore(arguments: RestoreArguments, context: ToolContext) -> Flow[Restored]:
    """Goes back: to a snapshot on every server, to any state where the server can."""
    if SNAPSHOT.fullmatch(arguments.to):
        return Restored(arguments.to, (yield from restore_snapshot(arguments.to)))
    found = yield from context.need("restore", restore_to(arguments.to))
    return Restored(arguments.to, found.files_restored)


def compare(arguments: DiffArguments, context: ToolContext) -> Flow[Compared]:
    """All that differs."""
    return Compared((yield from context.need("diff", diff(arguments.since, arguments.until))))


def _kept(result: Snapshot, _: int) -> str:
    return f"{result.snapshot_id} keeps the workspace as it is now ({result.size_bytes:,} bytes)."


def _gone_back(result: Restored, _: int) -> str:
    return f"The workspace is what it was at {result.to}; files in it: {result.files:,}."


def _compared(result: Compared, max_characters: int) -> str:
    return listed(map(_line, result.differences), max_characters, truncated=False) or "(no difference)"


def _line(difference: Difference) -> str:
    sides = [_size(side) for side in (difference.before, difference.after) if side is not None]
    if any(side is not None and side.is_dir for side in (difference.before, difference.after)):
        return f"{difference.change} {difference.path}/"
    return f"{difference.change} {difference.path} ({' -> '.join(sides)} bytes)"


def _size(side: Side) -> str:
    return "0" if side.size_bytes is None else f"{side.size_bytes:,}"


SNAPSHOT_TOOL: Final = ToolSpec(
    name="snapshot",
    description=_SNAPSHOT,
    arguments=SnapshotArguments,
    action=lambda arguments, _: create_snapshot(arguments.label),
    render=_kept,
    changes_files=False,
)
RESTORE: Final = ToolSpec(
    name="restore",
    description=_RESTORE,
    arguments=RestoreArguments,
    action=restore,
    render=_gone_back,
)
DIFF: Final = ToolSpec(
    name="diff",
    description=_DIFF,
    arguments=DiffArguments,
    action=compare,
    render=_compared,
    changes_files=False,
)
