"""What differs between two states, and what happened: to a path, to a namespace."""
