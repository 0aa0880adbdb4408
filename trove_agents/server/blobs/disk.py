"""Objects in a folder of this machine, with plain files.

Not through obstore: its runtime's threads do not survive a fork, so every call of a forked child would hang, and it
syncs nothing (docs/decisions).
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

INCOMING: Final = "incoming"
"""Temporary keys; no workspace can have that name, theirs start with ``ws-``."""


class Disk:
    """Keys are paths below a folder, which only its owner may enter."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._known: set[Path] = set()

    def now(self) -> float:
        return self._clock()

    def size(self, key: str) -> int:
        return (self._folder / key).stat().st_size

    def read(self, key: str, start: int, stop: int) -> bytes:
        with (self._folder / key).open("rb", buffering=0) as file:
            return os.pread(file.fileno(), stop - start, start)

    def create(self, key: str) -> "DiskFile":
        path = self._folder / key
        path.parent.mkdir(mode=0o700, exist_ok=True)
        return DiskFile(self, key, path)

    def publish(self, temporary: str, key: str) -> None:
        target = self._folder / key
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._folder / temporary).rename(target)

    def settle(self, key: str) -> None:
        directory = (self._folder / key).parent
        _sync(directory)
        while directory not in self._known and directory != self._folder:
            self._known.add(directory)
            directory = directory.parent
            _sync(directory)

    def renew(self, key: str) -> bool:
        try:
            file = os.open(self._folder / key, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_SH)
            if os.fstat(file).st_nlink == 0:  # deleted since it was opened
                return False
            now = self._clock()
            os.utime(file, (now, now))
            return True
        finally:
            os.close(file)

    def delete(self, key: str, *, unused_since: float) -> bool:
        path = self._folder / key
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            # Nobody renews a file while its time is looked at and it is unlinked
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.fstat(file)
            old = found.st_nlink > 0 and found.st_mtime < unused_since
            if old:
                path.unlink()
        except BlockingIOError:  # somebody renews it now
            return False
        else:
            return old
        finally:
            os.close(file)

    def aside(self, *, before: float) -> Iterator[tuple[str, str]]:  # noqa: ARG002 - the port's
        """Nothing: a file is deleted in one step with the look at its time."""
        return iter(())

    def put_back(self, place: str, key: str) -> None:
        raise AssertionError(f"nothing is ever laid aside on a disk: {key} at {place}")

    def discard(self, place: str) -> None:
        raise AssertionError(f"nothing is ever laid aside on a disk: {place}")

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        for path in (self._folder / prefix).rglob("*"):
            if path.is_file():
                yield str(path.relative_to(self._folder)), path.stat().st_size

    def sweep(self, *, older_than_seconds: float) -> None:
        oldest = self._clock() - older_than_seconds
        with contextlib.suppress(FileNotFoundError):
            for found in os.scandir(self._folder / INCOMING):
                with contextlib.suppress(FileNotFoundError):  # another process was faster
                    if found.stat().st_mtime < oldest:
                        Path(found.path).unlink()


class DiskFile:
    """One file on its way in."""

    def __init__(self, disk: Disk, key: str, path: Path) -> None:
        self._disk = disk
        self._key = key
        self._path = path
        self._file = path.open("xb", buffering=0)

    def write(self, piece: memoryview) -> None:
        view = piece
        while view:
            view = view[self._file.write(view) :]

    def publish(self, key: str) -> None:
        if self._disk.renew(key):
            self.drop()
        else:
            self.close()
            self._disk.publish(self._key, key)

    def close(self) -> None:
        os.fsync(self._file.fileno())
        self._file.close()

    def drop(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
