"""Snapshots of a namespace, and going back to one or to any other state."""
