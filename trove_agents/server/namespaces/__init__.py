"""Namespaces: created on first use; who may run a command in one right now."""
