"""What can go wrong between a graph and its workspace.

WorkspaceError              the graph and its workspace do not go together; catches all below
├── NotBound                    a node ran in a graph that nobody bound to a workspace
├── NotBindable                 the graph lacks what a workspace needs
├── NoCheckpointer              there is nothing to keep references in
├── NoReference                 the checkpoint says nothing of the workspace
├── UnknownReference            the checkpoint's reference is not there any more
├── WorkspaceTaken              another thread works in the workspace
└── ForeignChange               somebody else changed the workspace, and that was to be refused
"""

from collections.abc import Sequence


class WorkspaceError(Exception):
    """A graph and its workspace do not go together."""


class NotBound(WorkspaceError):
    """A node that works in a workspace ran in a graph without one: ``bind(graph, client)`` gives it one."""


class NotBindable(WorkspaceError):
    """The graph cannot be bound as it is; the message says what it lacks."""


class NoCheckpointer(WorkspaceError):
    """The graph was compiled without a checkpointer, or no thread is named: its workspace has nothing to follow."""


class NoReference(WorkspaceError):
    """The run was to go on from a checkpoint that says nothing of the workspace: it was made without ``bind``."""


class UnknownReference(WorkspaceError):
    """The checkpoint's reference, or its workspace, is not on this server: deleted, or made on another."""


class WorkspaceTaken(WorkspaceError):
    """A new thread came to a workspace that another thread works in.

    ``thread`` names that one. Give each thread a workspace of its own, or let ``bind(..., on_taken="fork")`` fork it.
    """

    def __init__(self, message: str, thread: str) -> None:
        super().__init__(message)
        self.thread = thread


class ForeignChange(WorkspaceError):
    """Somebody else changed the workspace since the graph's last step, and ``on_foreign_change`` is ``"refuse"``.

    ``paths`` are what differs, the first hundred. Nothing was done.
    """

    def __init__(self, message: str, paths: Sequence[str]) -> None:
        super().__init__(message)
        self.paths = tuple(paths)


class RunOver(WorkspaceError):
    """The run ended while this step waited or worked, in a thread that could not be stopped. What it did is undone."""


class UndoneFilesWarning(UserWarning):
    """A graph that a step calls goes on where it was, though the step was undone, and what it had changed was not recorded: its
    own steps do not work in the workspace by themselves. The message names the files, and the version that had them, for
    ``client.restore_to`` and what reads ``at`` a version.
    """


class ForeignChangeWarning(UserWarning):
    """Somebody else's changes were taken out of the workspace, since the run goes on from before them.

    Nothing is lost: the message names the reference that has them, for ``client.restore_to`` and ``files_at``.
    """
