"""From files of a working copy to contents of the store: hashed, small ones in memory, large ones to the blob store."""

import os
from collections.abc import Iterator
from typing import Final

from blake3 import blake3

from trove_agents.server import timelines
from trove_agents.server.blobs import BlobStore
from trove_agents.server.timelines import Payload

_PIECE: Final = 1024 * 1024


class Contents:
    """The contents of one workspace, on their way in. What is large is durable before a row refers to it."""

    def __init__(self, blobs: BlobStore, workspace: str) -> None:
        self._blobs = blobs
        self._workspace = workspace

    def take(self, descriptor: int, size: int, known: bytes | None) -> tuple[bytes, Payload | None]:
        """The digest of an open file's first ``size`` bytes, and their payload unless that digest is ``known``."""
        if size <= timelines.INLINE_BYTES:
            payload = timelines.payload(self._blobs, self._workspace, b"".join(_pieces(descriptor, size)))
            return payload.digest, None if payload.digest == known else payload
        if known is not None:  # hashing is much cheaper than writing what the store has
            digest = blake3()
            for piece in _pieces(descriptor, size):
                digest.update(piece)
            if digest.digest() == known:
                return known, None
            os.lseek(descriptor, 0, os.SEEK_SET)
        writer = self._blobs.writer(self._workspace)
        try:
            for piece in _pieces(descriptor, size):
                writer.write(piece)
            stored = writer.finish()
        except BaseException:
            writer.abort()
            raise
        return stored.digest, timelines.payload_of(stored)

    def stream(self, payload: Payload) -> Iterator[bytes]:
        """A content's bytes."""
        if payload.data is not None:
            yield payload.data
            return
        for part in payload.parts:
            yield from self._blobs.stream(self._workspace, part.digest)


def _pieces(descriptor: int, size: int) -> Iterator[bytes]:
    """At most ``size`` bytes: a file that still grows must not be followed for ever."""
    while size > 0 and (piece := os.read(descriptor, min(size, _PIECE))):
        size -= len(piece)
        yield piece
