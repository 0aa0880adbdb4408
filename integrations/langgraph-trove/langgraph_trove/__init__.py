"""Graphs of LangGraph whose files follow their checkpoints, in rewindable workspaces from trove-agents."""

from langgraph_trove.barrier import Barrier, NotDurable
from langgraph_trove.bind import bind
from langgraph_trove.errors import (
    ForeignChange,
    ForeignChangeWarning,
    NoCheckpointer,
    NoReference,
    NotBindable,
    NotBound,
    RunOver,
    UndoneFilesWarning,
    UnknownReference,
    WorkspaceError,
    WorkspaceTaken,
)
from langgraph_trove.history import (
    AsyncFilesAt,
    FilesAt,
    StepFiles,
    afiles_at,
    ahistory,
    aworkspace_of,
    files_at,
    history,
    workspace_of,
)
from langgraph_trove.nodes import (
    acurrent_workspace,
    aworkspace_step,
    current_workspace,
    workspace_node,
    workspace_step,
)
from langgraph_trove.paid import PaidNode
from langgraph_trove.ready import CommandResult, ExecNode, WriteNode
from langgraph_trove.retention import adelete_thread, aprune, delete_thread, prune
from langgraph_trove.state import WorkspaceRef, WorkspaceState

__all__ = [
    "AsyncFilesAt",
    "Barrier",
    "CommandResult",
    "ExecNode",
    "FilesAt",
    "ForeignChange",
    "ForeignChangeWarning",
    "NoCheckpointer",
    "NoReference",
    "NotBindable",
    "NotBound",
    "NotDurable",
    "PaidNode",
    "RunOver",
    "StepFiles",
    "UndoneFilesWarning",
    "UnknownReference",
    "WorkspaceError",
    "WorkspaceRef",
    "WorkspaceState",
    "WorkspaceTaken",
    "WriteNode",
    "acurrent_workspace",
    "adelete_thread",
    "afiles_at",
    "ahistory",
    "aprune",
    "aworkspace_of",
    "aworkspace_step",
    "bind",
    "current_workspace",
    "delete_thread",
    "files_at",
    "history",
    "prune",
    "workspace_node",
    "workspace_of",
    "workspace_step",
]
