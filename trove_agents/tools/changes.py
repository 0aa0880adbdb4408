"""Which files a command changed, for the program: models see it in what they do next."""

from typing import Literal

import msgspec

from trove_agents.client import files
from trove_agents.client.call import Flow
from trove_agents.client.files import optional
from trove_agents.client.history import diff_page, history_page
from trove_agents.errors import TroveError
from trove_agents.tools.spec import ToolContext
from trove_agents.wire.history import Difference


class FileChange(msgspec.Struct, frozen=True):
    """What became of one file or link."""

    path: str
    """``workspace/...``"""
    change: Literal["added", "removed", "changed"]


class Watch:
    """Compares the workspace after a call with what it was before: what others did meanwhile is among it.

    Begins with the version of the moment, which costs the server little at any size. Nothing it fails at is raised:
    it is no part of what was asked for.
    """

    def __init__(self, context: ToolContext) -> None:
        self._context = context
        self._looks = False
        self._version: int | None = None
        self.files_changed: list[FileChange] | None = None
        """At most 1,000; None where it was not found out."""
        self.more_changed = False

    def begin(self) -> Flow[None]:
        """Before the call."""
        if not self._context.changes:
            return
        try:
            if not (yield from self._context.has("history", "diff")):
                return
            page = yield from optional(history_page(limit=1))
        except TroveError:  # the call itself will tell
            return
        self._looks = True
        self._version = page.entries[0].version if page is not None and page.entries else None

    def end(self) -> Flow[None]:
        """After it."""
        if not self._looks:
            return
        try:
            if self._version is None:  # a namespace that was never used before
                listing = yield from files.list_dir(recursive=True)
                paths = sorted((each.path for each in listing if not each.is_dir), key=str.encode)
                self.files_changed = [FileChange(path, "added") for path in paths]
                self.more_changed = listing.truncated
                return
            page = yield from diff_page(self._version)
        except TroveError:
            return
        self.files_changed = [FileChange(each.path, each.change) for each in page.entries if _is_file(each)]
        self.more_changed = page.next_cursor is not None


def _is_file(difference: Difference) -> bool:
    sides = (difference.before, difference.after)
    return any(side is not None and not side.is_dir for side in sides)
