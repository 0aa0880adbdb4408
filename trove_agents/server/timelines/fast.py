"""From a namespace's name to a file's bytes in one statement: the read that an agent does most."""

from typing import Final

from sqlalchemy import bindparam, select, union_all

from trove_agents.server.db import Connection
from trove_agents.server.db.tables import contents, entries, namespaces
from trove_agents.server.timelines.chain import ONE, ZERO, below, newest, newest_of
from trove_agents.server.timelines.contents import stored_payload
from trove_agents.server.timelines.namespaces import HEAD, from_row
from trove_agents.server.timelines.reads import STAT, entry, split
from trove_agents.server.timelines.values import Entry, Kind, Namespace, Payload

_n = namespaces.c
_HEAD: Final = len(HEAD)
_NAMED = (_n.workspace == bindparam("workspace"), _n.name == bindparam("name"))
_BYTES = (contents.c.digest, contents.c.size, contents.c.data)
_chain = below(
    select(_n.timeline.label("id"), _n.version.label("v"), ZERO.label("depth")).where(*_NAMED), "named"
)
_deciding = (
    select(*HEAD, *STAT, *_BYTES)
    .select_from(
        _chain.join(entries, entries.c.timeline == _chain.c.id).outerjoin(
            contents, contents.c.id == entries.c.content
        )
    )
    .join(namespaces, _n.workspace == bindparam("workspace"))
    .where(newest(_chain), *_NAMED)
    .order_by(_chain.c.depth)
    .limit(ONE)
    .subquery("deciding")
)
# The head's own timeline first, as in reads.POINT
READ: Final = union_all(
    select(*HEAD, *STAT, *_BYTES)
    .select_from(
        namespaces.join(entries, entries.c.timeline == _n.timeline).outerjoin(
            contents, contents.c.id == entries.c.content
        )
    )
    .where(*_NAMED, newest_of(_n.timeline, _n.version, correlate=namespaces)),
    select(_deciding),
).limit(ONE)


def read_head(
    db: Connection, workspace: str, name: str, path: str
) -> tuple[Namespace, Entry, Payload | None] | None:
    """A namespace, what is at a path of its head, and the content; None where there is nothing, the root included.

    A directory has no content. A content in blobs takes a second statement. Links are not followed.
    """
    directory, last = split(path)
    row = db.one(READ, workspace=workspace, name=name, d=directory, n=last)
    if row is None or row[_HEAD] == Kind.GONE:
        return None
    found = entry(path, row[_HEAD : _HEAD + len(STAT)])
    payload = None if found.content is None else stored_payload(db, found.content, row[_HEAD + len(STAT) :])
    return from_row(row[:_HEAD]), found, payload
