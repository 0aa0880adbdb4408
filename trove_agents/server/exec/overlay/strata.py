"""Strata: folders that are never written again. Each, with those under it, is one state of the store."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from trove_agents.server.exec.overlay.marks import Looker, Seen
from trove_agents.server.exec.tree import Tree
from trove_agents.server.timelines import At

MOST: Final = 16
"""Folders under a command's own; a copy with more is laid anew over the lowest of them."""
_OPTION_BYTES: Final = 3500
"""The kernel takes one page of options for a mount, the paths of all its folders among them."""
_ROOT_BYTES: Final = len("/oldroot:")
"""What bwrap puts before each of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Stratum:
    """One such folder, and those under it."""

    folder: Path
    workspace: str
    """Whose files these are; nobody else's copies stand on them. A name that says nothing."""
    at: At
    below: "Stratum | None"
    bytes: int
    """About what it takes on disk."""

    def downwards(self) -> Iterator["Stratum"]:
        here: Stratum | None = self
        while here is not None:
            yield here
            here = here.below

    @property
    def depth(self) -> int:
        return sum(1 for _ in self.downwards())

    @property
    def lowest(self) -> "Stratum":
        return list(self.downwards())[-1]

    @property
    def bears(self) -> bool:
        """Whether a private folder and a command's own may stand on it."""
        depth = self.depth
        room = (depth + 3) * (len(str(self.folder)) + _ROOT_BYTES)
        return depth + 1 < MOST and room < _OPTION_BYTES


class Ground:
    """What is to be seen of some strata, for as long as it is open."""

    def __init__(self, top: Stratum) -> None:
        self._stack = contextlib.ExitStack()
        with self._stack:
            trees = [self._stack.enter_context(Tree(each.folder)) for each in top.downwards()]
            self._stack = self._stack.pop_all()
        self._lookers = [Looker(tree) for tree in trees]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def shows(self, path: str) -> Seen:
        """``OTHER`` or ``DIRECTORY`` for what is to be seen, ``NOTHING`` else."""
        for looker in self._lookers:
            seen = looker.look(path)
            if seen.is_directory:
                return Seen.DIRECTORY
            if seen is not Seen.NOTHING:
                return seen if seen is Seen.OTHER else Seen.NOTHING
        return Seen.NOTHING
