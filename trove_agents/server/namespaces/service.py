"""Namespaces come into being with the first call that needs one (wire 1.4)."""

from typing import Final

from sqlalchemy import bindparam, select

from trove_agents.server import timelines
from trove_agents.server.db import Connection
from trove_agents.server.db.tables import namespaces
from trove_agents.server.timelines import AlreadyExists, Namespace

WORKDIR: Final = select(namespaces.c.workdir).where(namespaces.c.id == bindparam("id"))


def ensure(tx: Connection, workspace: str, name: str, *, now_ns: int) -> Namespace:
    """The namespace of that name, created when this is its first use. For use in a transaction."""
    found = timelines.namespace(tx, workspace, name)
    if found is not None:
        return found
    try:
        return timelines.create_namespace(tx, workspace, name, now_ns=now_ns)
    except AlreadyExists:
        # Where transactions run beside each other, another one committed it between the two looks
        found = timelines.namespace(tx, workspace, name)
        if found is None:
            raise
        return found


def wants_copy(db: Connection, namespace_id: int) -> bool:
    """Whether commands are to find their files in a plain folder, whatever else the machine can do."""
    row = db.one(WORKDIR, id=namespace_id)
    return row is not None and row[0] == "copy"
