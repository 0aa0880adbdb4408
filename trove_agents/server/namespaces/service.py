"""Namespaces come into being with the first call that needs one (wire 1.4)."""

from trove_agents.server import timelines
from trove_agents.server.db.connection import Connection
from trove_agents.server.timelines import Namespace


def ensure(tx: Connection, workspace: str, name: str, *, now_ns: int) -> Namespace:
    """The namespace of that name, created when this is its first use. For use in a transaction."""
    return timelines.namespace(tx, workspace, name) or timelines.create_namespace(
        tx, workspace, name, now_ns=now_ns
    )
