"""What an upload sends: bytes, a file, or pieces made on the way. Files and pieces are never whole in memory."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack
from io import SEEK_END, TextIOBase
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias, TypeGuard

from trove_agents.errors import TroveError

Progress: TypeAlias = Callable[[int, int | None], None]
"""Called with the bytes moved so far and the total, None when unknown. A retry starts again from 0."""

Source: TypeAlias = bytes | bytearray | memoryview | BinaryIO | Path | Iterable[bytes]
"""What can be uploaded. An open file is read from where it stands, and stays open."""

AsyncSource: TypeAlias = Source | AsyncIterable[bytes]

_PIECE: Final = 256 * 1024


class Upload:
    """The body of one upload. It can be sent again while it ``can_restart``."""

    def __init__(self, source: AsyncSource, progress: Progress | None = None) -> None:
        if isinstance(source, str | TextIOBase):
            raise TypeError("upload sends bytes, not text: use write(), or open the file in binary mode")
        self._source = (
            memoryview(source).cast("B") if isinstance(source, bytes | bytearray | memoryview) else source
        )
        self._progress = progress
        self._begun = False
        self._start = 0
        self.length = self._measure()

    @property
    def can_restart(self) -> bool:
        """Whether the whole body can be sent from its beginning (again)."""
        source = self._source
        if not self._begun or isinstance(source, Path | memoryview):
            return True
        if hasattr(source, "read"):
            return self.length is not None
        # A list gives a new iterator each time, a generator itself
        return not isinstance(source, Iterator | AsyncIterator)

    def chunks(self) -> Iterator[bytes]:
        """The body from its beginning, in pieces."""
        if isinstance(self._source, AsyncIterable):
            raise TypeError("an async iterable needs the async client")
        self._begun = True
        with ExitStack() as opened:
            yield from self._told(self._pieces(self._source, opened))

    async def achunks(self) -> AsyncIterator[bytes]:
        """As ``chunks``; files are read in a thread, so that a slow disk does not hold up the event loop."""
        self._begun = True
        sent = 0
        with ExitStack() as opened:
            if isinstance(self._source, AsyncIterable):
                async for piece in self._source:
                    sent = self._tell(sent, piece)
                    yield piece
                return
            pieces = self._told(self._pieces(self._source, opened))
            if isinstance(self._source, Path) or hasattr(self._source, "read"):
                import asyncio

                while (read := await asyncio.to_thread(next, pieces, None)) is not None:
                    yield read
                return
            for piece in pieces:
                yield piece

    def _measure(self) -> int | None:
        source = self._source
        if isinstance(source, memoryview):
            return len(source)
        if isinstance(source, Path):
            return source.stat().st_size
        if not _is_file(source):
            return None
        if not source.seekable():
            return None
        self._start = source.tell()
        end = source.seek(0, SEEK_END)
        source.seek(self._start)
        return max(end - self._start, 0)

    def _pieces(
        self, source: memoryview | BinaryIO | Path | Iterable[bytes], opened: ExitStack
    ) -> Iterator[bytes]:
        if isinstance(source, memoryview):
            return (bytes(source[at : at + _PIECE]) for at in range(0, len(source), _PIECE))
        if isinstance(source, Path):
            return self._read(opened.enter_context(source.open("rb")))
        if _is_file(source):
            if self.length is not None:
                source.seek(self._start)
            return self._read(source)
        return iter(source)

    def _read(self, file: BinaryIO) -> Iterator[bytes]:
        """As much as was announced: a file that grows meanwhile would break the request."""
        left = self.length
        while left is None or left > 0:
            piece = file.read(_PIECE if left is None else min(_PIECE, left))
            if not piece:
                break
            if left is not None:
                left -= len(piece)
            yield piece
        if left:
            raise TroveError(f"the file became {left} bytes shorter while it was uploaded", recovery="retry")

    def _told(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        sent = 0
        for piece in pieces:
            sent = self._tell(sent, piece)
            yield piece

    def _tell(self, sent: int, piece: bytes) -> int:
        sent += len(piece)
        if self._progress is not None:
            self._progress(sent, self.length)
        return sent


def _is_file(source: object) -> TypeGuard[BinaryIO]:
    """Whether it can be read. What has ``read`` and nothing more, as the public SDK accepts, will do."""
    return hasattr(source, "read")
