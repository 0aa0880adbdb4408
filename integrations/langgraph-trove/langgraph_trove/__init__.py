"""Rewindable trove-agents workspaces for LangGraph."""
