"""Rewindable trove-agents workspaces for LangChain."""
