"""An archive on its way in: contents go to where they can stay while the rest arrives, and nothing is anywhere by name."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from trove_agents.server import paths, timelines
from trove_agents.server.blobs import BlobStore, BlobWriter
from trove_agents.server.errors import TooLarge, Unprocessable
from trove_agents.server.timelines import Payload
from trove_agents.wire import limits, tar_reader
from trove_agents.wire.tars import Member


class _Kept(NamedTuple):
    """A small content in the spool."""

    digest: bytes
    offset: int


class Arrival:
    """One archive. Larger contents become blobs; small ones wait in a file without a name, since together they may be
    as large as the archive. Ends with ``close``.

    Args:
        blobs: Where larger contents go.
        workspace: Whose.
        target: The canonical path of the directory that it is for.
        folder: Where the nameless file lies.
    """

    def __init__(self, blobs: BlobStore, workspace: str, target: str, folder: Path) -> None:
        self.target = target
        self.files = 0
        """Links too."""
        self.bytes = 0
        """Of files."""
        self._blobs = blobs
        self._workspace = workspace
        self._reader = tar_reader.Reader(most=limits.TREE_ENTRIES, most_bytes=limits.TREE_PATHS_BYTES)
        self._hash = blake3()
        self._size = 0
        self._spool = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - until ``close``
        self._spooled = 0
        self._members: list[tuple[Member, _Kept | Payload | None]] = []
        self._member = Member("", "directory", 0, 0)
        self._left = 0
        self._small = bytearray()
        self._writer: BlobWriter | None = None

    @property
    def digest(self) -> bytes:
        """Of the whole archive."""
        return self._hash.digest()

    @property
    def names(self) -> Iterable[str]:
        """All paths that the archive names or implies, relative to the directory."""
        return self._reader.paths

    def feed(self, data: bytes) -> None:
        """Takes a piece.

        Raises:
            TooLarge: there are too many bytes or entries.
            Unprocessable: this is no archive that is taken.
            BadRequest: an entry's path cannot be one.
        """
        self._size += len(data)
        if self._size > limits.TREE_BYTES:
            raise too_large()
        self._hash.update(data)
        try:
            for each in self._reader.feed(data):
                if isinstance(each, Member):
                    self._begin(each)
                else:
                    self._take(each)
        except tar_reader.TooManyEntries as error:
            raise TooLarge(str(error)) from None
        except tar_reader.BadArchive as error:
            raise _refused(error) from None

    def finish(self) -> None:
        """Says that all has come.

        Raises:
            Unprocessable: the archive is not whole.
        """
        try:
            self._reader.close()
        except tar_reader.BadArchive as error:
            raise _refused(error) from None
        self._spool.flush()

    def entries(self) -> Iterator[tuple[Member, Payload | None]]:
        """Each entry, a file with its content, in their order; as often as asked for."""
        for member, content in self._members:
            if isinstance(content, _Kept):
                data = os.pread(self._spool.fileno(), member.size, content.offset)
                yield member, Payload(content.digest, member.size, data, ())
            else:
                yield member, content

    def close(self) -> None:
        """Leaves nothing behind but what was finished, which is collected if nobody refers to it."""
        if self._writer is not None:
            self._writer.abort()
        self._spool.close()

    def _begin(self, member: Member) -> None:
        paths.inside(self.target, member.path)
        self.files += member.kind != "directory"
        if member.kind != "file":
            self._members.append((member, None))
            return
        self.bytes += member.size
        if self.bytes > limits.TREE_BYTES:
            raise too_large()
        self._member, self._left = member, member.size
        if member.size > timelines.INLINE_BYTES:
            self._writer = self._blobs.writer(self._workspace)
        elif not member.size:
            self._end()

    def _take(self, piece: bytes) -> None:
        self._left -= len(piece)
        if self._writer is not None:
            self._writer.write(piece)
        else:
            self._small += piece
        if not self._left:
            self._end()

    def _end(self) -> None:
        content: Payload | _Kept
        if self._writer is not None:
            content = timelines.payload_of(self._writer.finish())
            self._writer = None
        else:
            content = _Kept(blake3(self._small).digest(), self._spooled)
            self._spool.write(self._small)
            self._spooled += len(self._small)
            self._small.clear()
        self._members.append((self._member, content))


def too_large() -> TooLarge:
    return TooLarge("an archive is at most 1 GB")


def _refused(error: tar_reader.BadArchive) -> Unprocessable:
    return Unprocessable(str(error), errors=[{"field": "$", "message": str(error)}])
