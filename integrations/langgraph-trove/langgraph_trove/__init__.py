"""Rewindable workspaces from trove-agents in LangGraph graphs."""

from langgraph_trove.nodes import CommandResult, exec_node

__all__ = ["CommandResult", "exec_node"]
