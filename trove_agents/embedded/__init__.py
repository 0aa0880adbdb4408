"""A whole server inside the caller's process: no socket, no account, nothing to start.

The clients it hands out go through the same routes, keys, checks and events as clients over a network.
"""

from trove_agents.embedded.connect import Connection, Remote, connect
from trove_agents.embedded.trove import Trove

__all__ = ["Connection", "Remote", "Trove", "connect"]
