"""Rewindable trove-agents workspaces for Pydantic AI."""
