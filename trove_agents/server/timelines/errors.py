"""What the tree refuses. Services translate these; none of them knows of HTTP."""

from trove_agents.server.db import Stale


class TimelineError(Exception):
    """Anything the tree refuses."""


class _PathError(TimelineError):
    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class BadPath(_PathError):
    """No file system could have a file there. Callers check what they are given; this is the last look."""


class Missing(_PathError):
    """Nothing is at that path."""


class IsADirectory(_PathError):
    """A directory is where a file or a link was to be put."""


class NotADirectory(_PathError):
    """A file or a link is where a directory must be; ``path`` is its path, which may be a parent of what was asked."""


class AlreadyExists(TimelineError):
    """The workspace has a namespace of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class NotFound(TimelineError):
    """The namespace did not exist at that version, or there is no such content."""


class Conflict(TimelineError, Stale):
    """The head moved since the namespace was read."""
