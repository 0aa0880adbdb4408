"""The ends of a command's pipes, served from the running event loop without ever holding more than a cap."""

import asyncio
import os
from collections.abc import Callable

PIECE = 1 << 18


class Drain:
    """Reads one output to its end; keeps the first `cap` bytes, which `hear` is told of, and drops the rest."""

    def __init__(self, cap: int, hear: Callable[[bytes], None] | None = None) -> None:
        self.kept = bytearray()
        self.truncated = False
        self._cap = cap
        self._hear = hear
        self._loop = asyncio.get_running_loop()
        self._fd, self.writer = os.pipe()
        os.set_blocking(self._fd, False)
        self._loop.add_reader(self._fd, self._read)

    def started(self) -> None:
        """The process has its end: gives up ours."""
        os.close(self.writer)
        self.writer = -1

    def close(self) -> None:
        """Takes what is in the pipe and leaves: a process that still holds the other end is not waited for."""
        if self.writer >= 0:
            self.started()
        # A pipe holds at most 1 MB: reading on would be following a writer that is still alive.
        for _ in range(16):
            if not self._read():
                break
        if self._fd >= 0:
            self._end()

    def _read(self) -> bool:
        if self._fd < 0:
            return False
        try:
            piece = os.read(self._fd, PIECE)
        except BlockingIOError:
            return False
        if not piece:
            self._end()
            return False
        room = self._cap - len(self.kept)
        kept = piece[:room]
        self.kept += kept
        self.truncated = self.truncated or len(piece) > room
        if kept and self._hear is not None:
            self._hear(kept)
        return True

    def _end(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1


class Feed:
    """Writes a command's standard input; a reader that leaves early is no error."""

    def __init__(self, content: bytes | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._writer = -1
        if content is None:
            self.reader = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            return
        self.reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._rest = memoryview(content)
        self._write()

    def started(self) -> None:
        """The process has its end: gives up ours, and goes on writing."""
        os.close(self.reader)
        self.reader = -1
        if self._writer >= 0:
            self._loop.add_writer(self._writer, self._write)

    def close(self) -> None:
        """Stops writing."""
        if self.reader >= 0:
            os.close(self.reader)
            self.reader = -1
        if self._writer >= 0:
            self._loop.remove_writer(self._writer)
            os.close(self._writer)
            self._writer = -1

    def _write(self) -> None:
        try:
            while self._rest:
                self._rest = self._rest[os.write(self._writer, self._rest[:PIECE]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._rest = self._rest[:0]
        self._loop.remove_writer(self._writer)
        os.close(self._writer)
        self._writer = -1


async def readable(fd: int) -> None:
    """Returns once `fd` can be read: data, the end, or (a pidfd) the end of the process."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(fd, wake)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


def memory_file(content: bytes, name: str = "options") -> int:
    """A descriptor from which `content` can be read: for a program that takes its options from one."""
    fd = os.memfd_create(name)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
