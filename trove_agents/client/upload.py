"""What an upload sends: bytes, a file, or pieces made on the way. Files and pieces are never whole in memory."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
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
    """The body of one upload. It can be sent again while it ``can_restart``.

    ``length`` is how many bytes an iterable will give, if that is known.
    """

    def __init__(
        self, source: AsyncSource, progress: Progress | None = None, *, length: int | None = None
    ) -> None:
        if isinstance(source, str | TextIOBase):
            raise TypeError("upload sends bytes, not text: use write(), or open the file in binary mode")
        if isinstance(source, bytes | bytearray | memoryview):
            source = memoryview(source).cast("B")
        self._source = source
        self._progress = progress
        self._begun = False
        self._start: int | None = None
        self.length = length
        """Bytes in all; None when only the end will tell."""
        if isinstance(source, memoryview):
            self.length = len(source)
        elif isinstance(source, Path):
            self.length = source.stat().st_size
        elif _is_file(source) and _is_seekable(source):
            self._start = source.tell()
            self.length = max(source.seek(0, SEEK_END) - self._start, 0)
            source.seek(self._start)

    @property
    def can_restart(self) -> bool:
        """Whether the whole body can be sent from its beginning (again)."""
        if not self._begun or self._start is not None or isinstance(self._source, memoryview | Path):
            return True
        # A list gives a new iterator each time, a generator itself; a pipe cannot go back
        return not (_is_file(self._source) or isinstance(self._source, Iterator | AsyncIterator))

    def chunks(self) -> Iterator[bytes]:
        """The body from its beginning, in pieces."""
        sent = 0
        with self._opened() as pieces:
            for piece in pieces:
                yield piece
                sent = self._tell(sent, piece)

    async def achunks(self) -> AsyncIterator[bytes]:
        """As ``chunks``; files are read in a thread, so that a slow disk does not hold up the event loop."""
        sent = 0
        async for piece in self._asynchronous():
            yield piece
            sent = self._tell(sent, piece)

    async def _asynchronous(self) -> AsyncIterator[bytes]:
        if isinstance(self._source, AsyncIterable):
            self._begun = True
            async for piece in self._source:
                yield piece
            return
        with self._opened() as pieces:
            if not isinstance(self._source, Path) and not _is_file(self._source):
                for piece in pieces:
                    yield piece
                return
            import asyncio

            while (read := await asyncio.to_thread(next, pieces, None)) is not None:
                yield read

    @contextmanager
    def _opened(self) -> Iterator[Iterator[bytes]]:
        source = self._source
        if isinstance(source, AsyncIterable):
            raise TypeError("an async iterable needs the async client")
        self._begun = True
        if isinstance(source, memoryview):
            yield (bytes(source[at : at + _PIECE]) for at in range(0, len(source), _PIECE))
        elif isinstance(source, Path):
            with source.open("rb") as file:
                yield self._read(file)
        elif _is_file(source):
            if self._start is not None:
                source.seek(self._start)
            yield self._read(source)
        else:
            yield iter(source)

    def _read(self, file: BinaryIO) -> Iterator[bytes]:
        """As much as was announced: a file that grew meanwhile would break the request."""
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

    def _tell(self, sent: int, piece: bytes) -> int:
        sent += len(piece)
        if self._progress is not None:
            self._progress(sent, self.length)
        return sent


def _is_file(source: object) -> TypeGuard[BinaryIO]:
    """Whether it can be read: as in the public SDK, whatever has ``read`` will do."""
    return hasattr(source, "read")


def _is_seekable(file: BinaryIO) -> bool:
    seekable: Callable[[], bool] | None = getattr(file, "seekable", None)
    return seekable is not None and seekable()
