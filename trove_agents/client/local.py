"""A local directory as it is sent: what it holds, in a stable order, and its archive made piece by piece."""

import os
import stat
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple

from trove_agents.errors import TroveError
from trove_agents.wire import names, tars
from trove_agents.wire.files import FileKind
from trove_agents.wire.tars import Member

_PIECE: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Node:
    """One entry, as it was when the directory was looked through."""

    member: Member
    source: Path
    """What to read of a file."""


class Ignored:
    """Globs in the manner of ``.gitignore``, without its ``!``.

    A pattern without a slash is looked for in every directory; with one, it counts from the top. ``**`` stands for any
    number of directories. With a slash at its end it means directories only. What an ignored directory holds is
    ignored too.

    Raises:
        ValueError: a pattern is empty or begins with ``!``.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        if isinstance(patterns, str):
            raise TypeError("ignore is a list of patterns, not one text")
        self._patterns: list[tuple[list[str], bool]] = []
        for pattern in patterns:
            segments = [each for each in pattern.split("/") if each]
            if not segments or pattern.startswith("!"):
                raise ValueError(f"{pattern!r} is no pattern of what to ignore")
            if "/" not in pattern.rstrip("/"):
                segments.insert(0, "**")
            self._patterns.append((segments, pattern.endswith("/")))

    def match(self, path: str, *, is_dir: bool) -> bool:
        """Whether a path relative to the top is ignored by itself."""
        parts = path.split("/")
        return any(_matches(parts, segments) for segments, only in self._patterns if is_dir or not only)


def _matches(parts: list[str], pattern: list[str]) -> bool:
    """Greedy, as for globs: only the last ``**`` can need another try."""
    at = of = 0
    retry: tuple[int, int] | None = None
    while at < len(parts):
        if of < len(pattern) and pattern[of] == "**":
            of += 1
            retry = (at, of)
        elif of < len(pattern) and fnmatchcase(parts[at], pattern[of]):
            at, of = at + 1, of + 1
        elif retry is not None:
            at, of = retry[0] + 1, retry[1]
            retry = (at, of)
        else:
            return False
    return all(each == "**" for each in pattern[of:])


def nodes(top: Path, *, ignore: Iterable[str] = (), follow_symlinks: bool = False) -> list[Node]:
    """What a directory holds: depth first, by the bytes of the names, a directory before its content.

    Raises:
        OSError: something cannot be read; of files it is tried.
        TroveError: something is neither a file nor a directory nor a link, or links that are followed go round.
    """
    ignored = Ignored(ignore)
    found: list[Node] = []
    stack = [_entered(top, "", ())]  # no recursion: depth is only bounded by the length of a path
    while stack:
        level = stack[-1]
        entry = next(level.entries, None)
        if entry is None:
            stack.pop()
            continue
        path = level.prefix + entry.name
        if ignored.match(path, is_dir=entry.is_dir(follow_symlinks=follow_symlinks)):
            continue
        node = _node(Path(entry.path), path, entry.stat(follow_symlinks=follow_symlinks))
        found.append(node)
        if node.member.kind == "directory":
            stack.append(_entered(node.source, path + "/", level.places))
    return found


class _Level(NamedTuple):
    prefix: str
    entries: Iterator[os.DirEntry[str]]
    places: tuple[tuple[int, int], ...]
    """Device and inode of the directory and of those above it."""


def _entered(directory: Path, prefix: str, above: tuple[tuple[int, int], ...]) -> _Level:
    own = directory.stat()
    place = (own.st_dev, own.st_ino)
    if place in above:
        raise TroveError(f"{directory} leads back to a directory above it", recovery="fix-arguments")
    with os.scandir(directory) as entries:
        ordered = sorted(entries, key=lambda entry: os.fsencode(entry.name))
    return _Level(prefix, iter(ordered), (*above, place))


def _node(source: Path, path: str, there: os.stat_result) -> Node:
    kind: FileKind
    size, target = 0, b""
    if stat.S_ISDIR(there.st_mode):
        kind = "directory"
    elif stat.S_ISLNK(there.st_mode):
        kind, target = "link", os.fsencode(os.readlink(source))  # noqa: PTH115 - that tidies it up
    elif stat.S_ISREG(there.st_mode):
        kind, size = "file", there.st_size
        source.open("rb").close()  # who may not read it is told before anything is sent
    else:
        raise TroveError(
            f"{source} is neither a file nor a directory nor a link; ignore it", recovery="fix-arguments"
        )
    name = names.from_bytes(os.fsencode(path))
    mode = stat.S_IMODE(there.st_mode) & tars.PERMISSIONS
    return Node(Member(name, kind, mode, there.st_mtime_ns, size, target), source)


class Archive:
    """The archive of a directory, made anew each time that it is iterated."""

    def __init__(self, found: list[Node]) -> None:
        self._nodes = found
        self.length = len(tars.END) + sum(
            len(tars.head(node.member)) + node.member.size + -node.member.size % tars.BLOCK for node in found
        )

    def __iter__(self) -> Iterator[bytes]:
        """Pieces of at least 256 KB, but for the last.

        Raises:
            TroveError: a file became shorter since.
        """
        pending = bytearray()
        for node in self._nodes:
            pending += tars.head(node.member)
            if node.member.kind == "file":
                for piece in _read(node):
                    pending += piece
                    if len(pending) >= _PIECE:
                        yield bytes(pending)
                        pending.clear()
                pending += tars.padding(node.member.size)
            if len(pending) >= _PIECE:
                yield bytes(pending)
                pending.clear()
        yield bytes(pending) + tars.END


class AsyncArchive:
    """As ``Archive``, read in a thread, so that a slow disk does not hold up the event loop."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    async def __aiter__(self) -> AsyncIterator[bytes]:
        import asyncio

        pieces = iter(self._archive)
        while piece := await asyncio.to_thread(next, pieces, b""):
            yield piece


def _read(node: Node) -> Iterator[bytes]:
    """As much as was announced: what a file grew by meanwhile is left out."""
    left = node.member.size
    with node.source.open("rb") as file:
        while left:
            piece = file.read(min(_PIECE, left))
            if not piece:
                raise TroveError(
                    f"{node.source} became {left} bytes shorter while it was uploaded", recovery="retry"
                )
            left -= len(piece)
            yield piece
