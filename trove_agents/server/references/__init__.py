"""Step references: states of a namespace that programs keep for each of their steps."""
