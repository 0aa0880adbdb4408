"""Graphs of LangGraph whose files follow their checkpoints, in rewindable workspaces from trove-agents."""

from langgraph_trove.bind import bind
from langgraph_trove.errors import (
    ForeignChange,
    ForeignChangeWarning,
    NoCheckpointer,
    NoReference,
    NotBindable,
    NotBound,
    UnknownReference,
    WorkspaceError,
    WorkspaceTaken,
)
from langgraph_trove.nodes import workspace_node
from langgraph_trove.ready import CommandResult, ExecNode, WriteNode
from langgraph_trove.state import WorkspaceRef, WorkspaceState

__all__ = [
    "CommandResult",
    "ExecNode",
    "ForeignChange",
    "ForeignChangeWarning",
    "NoCheckpointer",
    "NoReference",
    "NotBindable",
    "NotBound",
    "UnknownReference",
    "WorkspaceError",
    "WorkspaceRef",
    "WorkspaceState",
    "WorkspaceTaken",
    "WriteNode",
    "bind",
    "workspace_node",
]
