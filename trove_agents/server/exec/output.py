"""What a command prints on its way to a reader, who may be much slower than the command."""

import asyncio
from collections import deque
from typing import Final

from trove_agents.server.exec.shell import Shown
from trove_agents.server.sandbox import Stream
from trove_agents.wire.exec import ExecChunk

_CHUNK_BYTES: Final = 64 * 1024
_RUNS: Final = 1024
"""Changes between the streams that a reader may be behind and still get in order."""


class Output:
    """Takes pieces from a command and gives chunks to one reader, both on the same loop; neither waits for the other.

    It never holds more than what the result keeps of each stream. A reader who has fallen far behind gets all of a
    stream, in order, but the two streams no longer as they came to alternate.
    """

    def __init__(self) -> None:
        self.news = asyncio.Event()
        """Set when there may be more to take; the reader clears it."""
        self._shown: dict[Stream, Shown] = {}
        self._pieces: dict[Stream, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self._runs: deque[tuple[Stream, int]] = deque()
        self._ends: deque[tuple[Stream, bool]] = deque()

    @property
    def begun(self) -> bool:
        """Whether the command is about to run, or runs, or has ended."""
        return bool(self._shown)

    def begin(self, root: str, *, init: bool) -> None:
        """The command begins; ``root`` and ``init`` are as in ``shell.shown``."""
        self._shown = {"stdout": Shown(root), "stderr": Shown(root, init=init)}
        self.news.set()

    def hear(self, stream: Stream, piece: bytes) -> None:
        """Takes a piece."""
        self._pieces[stream] += piece
        runs = self._runs  # of both streams in turn
        if runs and runs[-1][0] == stream:
            runs[-1] = (stream, runs[-1][1] + len(piece))
        elif len(runs) >= _RUNS:
            runs[-2] = (stream, runs[-2][1] + len(piece))
        else:
            runs.append((stream, len(piece)))
        self.news.set()

    def end(self, *, stdout_cut: bool, stderr_cut: bool) -> None:
        """Nothing more will come. A stream is cut when the command had more to say."""
        self._ends.extend((("stdout", stdout_cut), ("stderr", stderr_cut)))
        self.news.set()

    def take(self) -> ExecChunk | None:
        """The next chunk, if there is something to say now."""
        while self._runs:
            stream, size = self._runs.popleft()
            if size > _CHUNK_BYTES:
                self._runs.appendleft((stream, size - _CHUNK_BYTES))
                size = _CHUNK_BYTES
            piece = self._pieces[stream]
            text = self._shown[stream].feed(bytes(piece[:size]))
            del piece[:size]
            if text:
                return ExecChunk(stream, text)
        while self._ends:
            stream, cut = self._ends.popleft()
            if text := self._shown[stream].end(cut=cut):
                return ExecChunk(stream, text)
        return None
