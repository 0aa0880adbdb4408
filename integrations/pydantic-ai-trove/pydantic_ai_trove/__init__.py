"""Rewindable workspaces from trove-agents for Pydantic AI."""

from pydantic_ai_trove.backend import TroveWorkspaceBackend
from pydantic_ai_trove.toolset import bash_toolset

__all__ = ["TroveWorkspaceBackend", "bash_toolset"]
