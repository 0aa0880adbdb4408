"""A workspace that AI agents can rewind."""
