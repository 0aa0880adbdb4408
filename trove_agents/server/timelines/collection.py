"""Collection: contents that no entry refers to, and blobs that no content refers to.

Why a content that is found unreferenced stays so: an entry takes a content over only from an entry that some reachable
state shows, or with a content of its own transaction. The contents are listed before the entries are read, so each
was committed by then, with the first entry that refers to it.

Why a blob that somebody uses is never deleted. A writer makes the object new (it writes it, or renews its time, which
is refused once it is deleted) and then commits the row that refers to it, well within ``GRACE_SECONDS``: a later
one is refused (``contents.KEPT_SECONDS``). The sweep
deletes the blob's row, in a transaction that sees no reference, and then the object if its time is older than the
grace period; look and deletion exclude a renewal.

- A reference committed before the sweep's transaction is seen by it.
- A reference committed after it was preceded, by less than the grace period, by making the object new. If that was
  before the object's deletion, the time is too young and nothing is deleted. If it was after, the writer found nothing
  and wrote the bytes again.

A crash between the two, or between a blob and its row, leaves an object without a row: those are found by listing the
objects, and deleted by the same rule.

An object store cannot look and delete in one step. There a writer may have made the object new after the look: it is
laid aside, still read by those who miss it, and looked at again a grace period later. By then every such writer has
committed its reference, with the blob's row, or never will: with a row it is put back, without one it goes.

Digests are compared over all workspaces, so a blob also stays for as long as
another workspace refers to the same bytes of its own.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Final, TypeVar

from sqlalchemy import bindparam, delete, exists, func, select, tuple_, union

from trove_agents.server.blobs import BlobStore, Stored
from trove_agents.server.db import Connection, Database
from trove_agents.server.db.lists import Among, integers
from trove_agents.server.db.tables import blobs as blob_rows
from trove_agents.server.db.tables import content_parts, contents, entries, namespaces, workspaces
from trove_agents.server.jobs import DAY, Turn

T = TypeVar("T")
GRACE_SECONDS: Final = DAY
"""What is younger may belong to a request that is not finished."""
_SPAN: Final = 200_000
"""Contents that are compared with all entries at once."""
_BATCH: Final = 500
_PARTS: Final = tuple(f"{number:02x}" for number in range(256))
"""Of a workspace's blobs, by the start of their digests: as much as is listed in one go."""

_b, _c, _e, _p = blob_rows.c, contents.c, entries.c, content_parts.c
_NEWEST = select(func.max(_c.id))
# The newest stays: SQLite would give its key to the next content
_CONTENTS = select(_c.id).where(
    _c.id > bindparam("lo"), _c.id <= bindparam("hi"), _c.id < bindparam("newest")
)
_REFERRED = select(_e.content).where(_e.content > bindparam("lo"), _e.content <= bindparam("hi")).distinct()
_DELETE_CONTENTS = delete(contents).where(Among(_c.id, "ids"))
_DELETE_PARTS = delete(content_parts).where(Among(_p.content, "ids"))
_USED = exists().where(_p.digest == _b.digest)
_UNUSED = (
    select(_b.workspace, _b.digest)
    .where(
        tuple_(_b.workspace, _b.digest) > tuple_(bindparam("workspace"), bindparam("digest")),
        _b.touched_us < bindparam("before"),
        ~_USED,
    )
    .order_by(_b.workspace, _b.digest)
    .limit(_BATCH)
)
_DELETE_BLOB = delete(blob_rows).where(
    _b.workspace == bindparam("owner"),
    _b.digest == bindparam("key"),
    _b.touched_us < bindparam("before"),
    ~_USED,
)
_KNOWN = select(_b.digest).where(_b.workspace == bindparam("workspace"), _b.digest == bindparam("digest"))
_WORKSPACES = union(select(workspaces.c.id), select(namespaces.c.workspace))


class Collection:
    """Four jobs over everything that is stored."""

    def __init__(self, database: Database, blobs: BlobStore) -> None:
        self._database = database
        self._blobs = blobs

    def sweep_contents(self, turn: Turn) -> str | None:
        """Deletes contents that no entry refers to, with their lists of blobs."""
        low = int(turn.place or 0)
        while True:
            with self._database.read() as db:
                (newest,) = db.one(_NEWEST) or (None,)
                if newest is None or low >= newest:
                    return None
                span = {"lo": low, "hi": low + _SPAN}
                found = {key for (key,) in db.all(_CONTENTS, newest=newest, **span)}
                found.difference_update(key for (key,) in db.all(_REFERRED, **span))
            for batch in _batches(iter(sorted(found))):
                ids = integers(batch)
                self._database.write(lambda tx, ids=ids: _forget(tx, ids))  # type: ignore[misc]
            low += _SPAN
            if turn.over:
                return str(low)

    def sweep_blobs(self, turn: Turn) -> str | None:
        """Deletes blobs that no content refers to and that nobody used for the grace period."""
        before = turn.now_us - GRACE_SECONDS * 1_000_000
        last: tuple[str, bytes] = ("", b"")
        while True:
            with self._database.read() as db:
                found = db.all(_UNUSED, workspace=last[0], digest=last[1], before=before)
            if not found:
                return None

            def forget(tx: Connection, found: list[tuple[str, bytes]] = found) -> list[tuple[str, bytes]]:
                return [row for row in found if tx.run(_DELETE_BLOB, owner=row[0], key=row[1], before=before)]

            for workspace, digest in self._database.write(forget):
                self._blobs.delete(workspace, digest, unused_since=before / 1e6)
            last = found[-1]
            if turn.over:
                return "more"

    def sweep_objects(self, turn: Turn) -> str | None:
        """Deletes objects that have no row: what a crash left."""
        before = turn.now_us / 1e6 - GRACE_SECONDS
        with self._database.read() as db:
            owners = sorted(key for (key,) in db.all(_WORKSPACES))
        for workspace in owners:
            for part in _PARTS:
                place = f"{workspace}/{part}"
                if turn.place is not None and place < turn.place:
                    continue
                if turn.over and place != turn.place:
                    return place
                for batch in _batches(self._blobs.list(workspace, part)):
                    for stored in self._without_row(workspace, batch):
                        self._blobs.delete(workspace, stored.digest, unused_since=before)
        return None

    def sweep_aside(self, turn: Turn) -> str | None:
        """Ends for good what an object store laid aside, or puts it back if it was used again."""
        for blob in self._blobs.aside(before=turn.now_us / 1e6 - GRACE_SECONDS):
            if self._without_row(blob.workspace, [Stored(blob.digest, 0)]):
                self._blobs.discard(blob)
            else:
                self._blobs.put_back(blob)
            if turn.over:
                return "more"
        return None

    def _without_row(self, workspace: str, found: list[Stored]) -> list[Stored]:
        with self._database.read() as db:
            return [s for s in found if db.one(_KNOWN, workspace=workspace, digest=s.digest) is None]


def _forget(tx: Connection, ids: str) -> None:
    tx.later(_DELETE_PARTS, ids=ids)
    tx.later(_DELETE_CONTENTS, ids=ids)


def _batches(items: Iterator[T]) -> Iterator[list[T]]:
    while batch := list(islice(items, _BATCH)):
        yield batch
