"""Contents: small ones in the database, so that they cost one commit and nothing to sweep; larger ones as blobs."""

from collections.abc import Iterable
from typing import Final

from blake3 import blake3
from sqlalchemy import BigInteger, LargeBinary, bindparam, cast, exists, insert, select

from trove_agents.server.blobs import BlobStore, Expired, Stored
from trove_agents.server.db import Connection
from trove_agents.server.db.lists import Among, integers
from trove_agents.server.db.tables import blobs as blob_rows
from trove_agents.server.db.tables import content_parts, contents
from trove_agents.server.jobs import DAY
from trove_agents.server.timelines.errors import NotFound
from trove_agents.server.timelines.values import Payload

INLINE_BYTES: Final = 16 * 1024
"""The largest content that is kept in the database."""

KEPT_SECONDS: Final = DAY / 2
"""In which the row must follow its blob: half of what collection waits for, whatever the clock did in between."""

CONTENT: Final = select(contents.c.digest, contents.c.size, contents.c.data).where(
    contents.c.id == bindparam("id")
)
PARTS: Final = (
    select(content_parts.c.digest, content_parts.c.size)
    .where(content_parts.c.content == bindparam("id"))
    .order_by(content_parts.c.position)
)
_DIGESTS = select(contents.c.id, contents.c.digest).where(Among(contents.c.id, "ids"))
_CONTENTS = select(contents.c.id, contents.c.digest, contents.c.size, contents.c.data).where(
    Among(contents.c.id, "ids")
)
_ADD = insert(contents)
ADD_OTHER: Final = (
    insert(contents)
    .from_select(
        ["digest", "size", "data"],
        select(
            bindparam("hash", type_=LargeBinary),
            bindparam("length", type_=BigInteger),
            cast(bindparam("bytes"), LargeBinary),
        ).where(~exists().where(contents.c.id == bindparam("known"), contents.c.digest == bindparam("hash"))),
    )
    .returning(contents.c.id)
)
_ADD_PART = insert(content_parts)


def payload(blobs: BlobStore, workspace: str, data: bytes) -> Payload:
    """Bytes as a content, larger ones stored as a blob. Not for use in a transaction: it may write a file."""
    if len(data) <= INLINE_BYTES:
        return Payload(blake3(data).digest(), len(data), data, ())
    return payload_of(blobs.put(workspace, data))


def payload_of(stored: Stored) -> Payload:
    """A stored blob as a content."""
    return Payload(stored.digest, stored.size, None, (stored,))


def add_content(
    db: Connection, workspace: str, payload: Payload, *, now_us: int, known: int | None = None
) -> int:
    """The key of a new content, or of the ``known`` one if that is the same bytes. The blobs of a new one are marked as
    used, in this transaction.

    Raises:
        Expired: one of them is so old by now that it may have been swept.
    """
    if any(part.new_at is not None and now_us / 1e6 - part.new_at > KEPT_SECONDS for part in payload.parts):
        raise Expired("a blob was stored long before the row that was to refer to it")
    if known is None:
        key = db.insert(_ADD, digest=payload.digest, size=payload.size, data=payload.data)
    else:
        row = db.one(ADD_OTHER, hash=payload.digest, length=payload.size, bytes=payload.data, known=known)
        if row is None:
            return known
        key = row[0]
    for position, part in enumerate(payload.parts):
        db.later(_ADD_PART, content=key, position=position, digest=part.digest, size=part.size)
        db.upsert(blob_rows, workspace=workspace, digest=part.digest, size=part.size, touched_us=now_us)
    return key


def read_content(db: Connection, content_id: int) -> Payload:
    """A content: its bytes, or the blobs to stream.

    Raises:
        NotFound: there is no such content.
    """
    row = db.one(CONTENT, id=content_id)
    if row is None:
        raise NotFound(f"content {content_id}")
    return stored_payload(db, content_id, row)


def read_contents(db: Connection, ids: Iterable[int]) -> dict[int, Payload]:
    """Many contents by key, as ``read_content``; those that are not there are left out."""
    wanted = integers(ids)
    return {
        row[0]: stored_payload(db, row[0], (row[1], row[2], row[3])) for row in db.all(_CONTENTS, ids=wanted)
    }


def stored_payload(db: Connection, content_id: int, row: tuple[bytes, int, bytes | None]) -> Payload:
    """A content from its row ``(digest, size, data)``."""
    digest, size, data = row
    if data is not None:
        return Payload(digest, size, data, ())
    return Payload(digest, size, None, tuple(Stored(*part) for part in db.all(PARTS, id=content_id)))


def digests(db: Connection, ids: Iterable[int]) -> dict[int, bytes]:
    """The digests of many contents, by key."""
    wanted = integers(ids)
    return {row[0]: row[1] for row in db.all(_DIGESTS, ids=wanted)}
