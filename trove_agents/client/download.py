"""Where a download goes: a file that appears whole or not at all, or an open file of the caller."""

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOBase
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from trove_agents.client.upload import Progress
from trove_agents.wire import headers

Target: TypeAlias = str | os.PathLike[str] | BinaryIO
"""A path, or a file open for writing bytes."""

_SIZE: Final = headers.SIZE.lower()
_TRUNCATED: Final = headers.TRUNCATED.lower()


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What a download brought."""

    bytes_written: int
    truncated: bool
    """The server stopped at its limit: the file is longer than what was written."""
    size_bytes: int | None
    """The file's full size; None when the server did not send it."""


class Sink:
    """The target of one download.

    A path is reached by a temporary file beside it, renamed at the end: readers never see half, and a failure
    leaves what was there. An open file is written as the bytes come.
    """

    def __init__(self, to: Target, progress: Progress | None = None) -> None:
        if isinstance(to, TextIOBase):
            raise TypeError("download writes bytes: open the file in binary mode")
        self._to = Path(to) if isinstance(to, str | os.PathLike) else to
        if isinstance(self._to, Path) and self._to.is_dir():
            raise IsADirectoryError(f"{self._to} is a directory: name the file to write")
        self._progress = progress
        self._file: BinaryIO | None = None
        self._total: int | None = None
        self.written = 0

    @property
    def can_restart(self) -> bool:
        """Whether the download can begin again: an open file may not go back."""
        return isinstance(self._to, Path) or self.written == 0

    @contextmanager
    def opened(self, head: Mapping[str, str]) -> Iterator[None]:
        """One attempt, given the headers of the answer. A path appears at its end, if nothing failed."""
        self.written = 0
        self._total = _number(head.get("content-length"))
        if not isinstance(self._to, Path):
            self._file = self._to
            yield
            return
        partial = self._to.with_name(f".{secrets.token_hex(8)}.part")
        try:
            with partial.open("xb") as self._file:
                yield
            partial.replace(self._to)
        finally:
            partial.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        """Takes one piece; may run in another thread than the rest."""
        assert self._file is not None
        self._file.write(chunk)
        self.written += len(chunk)

    def tell(self) -> None:
        """Reports the progress."""
        if self._progress is not None:
            self._progress(self.written, self._total)


def extent(head: Mapping[str, str]) -> tuple[bool, int | None]:
    """What the headers of a download say: whether it was cut, and the file's full size."""
    return head.get(_TRUNCATED) == "1", _number(head.get(_SIZE))


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() else None
