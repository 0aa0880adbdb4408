"""API keys, and the workspaces they belong to."""
