"""Workspaces from trove-agents for Pydantic AI: files that follow the conversation."""

from pydantic_ai_trove.backend import TroveWorkspaceBackend
from pydantic_ai_trove.errors import ForeignChanges, ReferenceGone
from pydantic_ai_trove.events import FilesChanged, FilesFound
from pydantic_ai_trove.records import WorkspaceStep, without_references
from pydantic_ai_trove.toolset import TroveToolset
from pydantic_ai_trove.workspace import Forked, Rewound, TroveWorkspace

__all__ = [
    "FilesChanged",
    "FilesFound",
    "ForeignChanges",
    "Forked",
    "ReferenceGone",
    "Rewound",
    "TroveToolset",
    "TroveWorkspace",
    "TroveWorkspaceBackend",
    "WorkspaceStep",
    "without_references",
]
