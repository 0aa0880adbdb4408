"""Snapshots of a namespace, and going back to one."""
