"""Forks: a new namespace over a state of another, in the same time whatever its size."""
