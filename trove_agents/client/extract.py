"""An archive as a local directory: nothing is ever written outside of it, whatever the archive says."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from trove_agents.errors import TroveConnectionError, TroveServerError
from trove_agents.wire import names
from trove_agents.wire.tar_reader import BadArchive, BrokenOff, Reader
from trove_agents.wire.tars import Member


class Checked:
    """An archive of a server as it comes in; only one that is whole and well-formed passes."""

    def __init__(self) -> None:
        self._reader = Reader()

    def feed(self, data: bytes) -> Iterator[Member | bytes]:
        """As ``Reader.feed``.

        Raises:
            TroveServerError: it is no archive that this client takes.
        """
        try:
            yield from self._reader.feed(data)
        except BadArchive as error:
            raise _bad(error) from error

    def pass_over(self, data: bytes) -> None:
        """As ``feed``, for who only wants to know whether the archive is good."""
        for _ in self.feed(data):
            pass

    def close(self) -> None:
        """Says that nothing more comes.

        Raises:
            TroveConnectionError: it broke off.
        """
        try:
            self._reader.close()
        except BrokenOff as error:
            raise TroveConnectionError(str(error)) from error
        except BadArchive as error:
            raise _bad(error) from error


class Extraction:
    """One archive on its way to a directory. It is put together aside, and takes its place when it is whole: at once
    where nothing was, otherwise file by file.

    Args:
        local: The directory: not there, or empty, unless ``overwrite``. Then what is in both is replaced, and the rest of it stays.
        overwrite: See ``local``.

    Raises:
        FileExistsError: something is there, and not ``overwrite``; or it is no directory.
    """

    def __init__(self, local: Path, *, overwrite: bool) -> None:
        self.files = 0
        """Links too."""
        self.bytes = 0
        self._local = local.resolve()
        self._overwrite = overwrite
        self._check()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """One attempt; the directory is there at its end, if nothing failed."""
        self._check()
        self.files = self.bytes = 0
        self._archive = Checked()
        self._times: list[Member] = []
        self._file: BinaryIO | None = None
        # Where it can be renamed from: the directory may be a file system of its own
        beside = self._local if self._local.exists() else self._local.parent
        self._top = beside / f".{secrets.token_hex(8)}.part"
        self._top.mkdir(parents=True)
        try:
            try:
                yield
                self._archive.close()
            finally:
                self._end_file()
            self._place()
        finally:
            shutil.rmtree(self._top, ignore_errors=True)

    def write(self, data: bytes) -> None:
        """Takes one piece; may run in another thread than the rest."""
        for each in self._archive.feed(data):
            if isinstance(each, Member):
                self._end_file()
                self._begin(each)
            else:
                assert self._file is not None, "contents follow a file"
                self._file.write(each)
                self.bytes += len(each)

    def _begin(self, member: Member) -> None:
        # The reader lets nothing be below anything but a directory, and those were all made here
        target = self._top / _name(member)
        if member.kind == "directory":
            target.mkdir(parents=True, exist_ok=True)
            self._times.append(member)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        self.files += 1
        if member.kind == "link":
            target.symlink_to(os.fsdecode(member.target))
            os.utime(target, ns=(member.mtime_ns, member.mtime_ns), follow_symlinks=False)
            return
        self._file = target.open("xb")
        self._member = member

    def _end_file(self) -> None:
        if (file := self._file) is None:
            return
        self._file = None
        with file:
            os.fchmod(file.fileno(), self._member.mode)
        os.utime(file.name, ns=(self._member.mtime_ns, self._member.mtime_ns))

    def _place(self) -> None:
        if self._local.exists():
            pairs = list(_laid(self._top, self._local))
            for _, target in pairs:
                if target.is_dir() and not target.is_symlink():
                    raise FileExistsError(f"{target} is a directory, and no file can take its place")
            for source, target in pairs:
                _make(target.parent, self._local)
                source.replace(target)
            for member in self._times:
                _make(self._local / _name(member), self._local)
        else:
            self._top.replace(self._local)
        for member in reversed(self._times):
            target = self._local / _name(member)
            target.chmod(member.mode)
            os.utime(target, ns=(member.mtime_ns, member.mtime_ns))

    def _check(self) -> None:
        if self._local.exists() and not self._local.is_dir():
            raise FileExistsError(f"{self._local} is there and no directory")
        if not self._overwrite and self._local.is_dir() and any(self._local.iterdir()):
            raise FileExistsError(f"{self._local} is not empty: give overwrite=True to replace files in it")


def _laid(source: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    """Each file and link below a directory, and where it goes."""
    with os.scandir(source) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                yield from _laid(Path(entry.path), target / entry.name)
            else:
                yield Path(entry.path), target / entry.name


def _make(directory: Path, top: Path) -> None:
    """Makes a directory below one that is there. A link or a file on the way goes: nothing is written through it."""
    for each in reversed([directory, *directory.parents]):
        if each != top and each.is_relative_to(top) and (each.is_symlink() or not each.is_dir()):
            each.unlink(missing_ok=True)
            each.mkdir()


def _name(member: Member) -> str:
    return os.fsdecode(names.to_bytes(member.path))


def _bad(error: BadArchive) -> TroveServerError:
    return TroveServerError(f"the answer is not the archive it should be: {error}", code="bad-answer")
