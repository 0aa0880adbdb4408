"""Rewindable workspaces from trove-agents as Pydantic AI toolsets."""

from pydantic_ai_trove.toolset import bash_toolset

__all__ = ["bash_toolset"]
