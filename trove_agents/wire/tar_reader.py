"""Reading tar archives as they come: docs/wire.md, "Trees as archives". No I/O: bytes in, entries out.

What is read is POSIX.1-2001 (pax) and plain ustar, also where GNU tar wrote it, and nothing else: the standard library's
reader takes much more, and guesses where an archive is broken.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from trove_agents.wire import limits, names
from trove_agents.wire.files import FileKind
from trove_agents.wire.tars import BLOCK, END, PERMISSIONS, USTAR, Member

_EXTENSION_BYTES: Final = 64 * 1024
_TIMES: Final = range(-(2**63), 2**63)
_ZEROS: Final = bytes(BLOCK)
_GNU: Final = b"ustar  \0"
_TYPES: Final[dict[bytes, FileKind]] = {b"0": "file", b"\0": "file", b"5": "directory", b"2": "link"}
_FOREIGN: Final = {
    b"1": "a hard link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a FIFO",
    b"K": "a long name in GNU's form",
    b"L": "a long name in GNU's form",
    b"S": "a sparse file",
}
_COMPRESSED: Final = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")
_OCTAL: Final = re.compile(rb"[0-7]*")
_SIZE: Final = re.compile(rb"\d{1,18}")
_TIME: Final = re.compile(rb"(-?)(\d{1,18})(?:\.(\d{1,9})\d{0,32})?")
_SHOWN: Final = 200


class BadArchive(Exception):
    """This is no archive that is taken; the text says why, and names the entry."""


class BrokenOff(BadArchive):
    """The archive has no end."""


class TooManyEntries(BadArchive):
    """There are more entries than the reader was told to take, or longer paths."""


class _Extension(NamedTuple):
    type: bytes
    size: int


class Reader:
    """Reads one archive as it comes, holding no content.

    Nothing is taken that could surprise who puts the entries into a tree one by one: no name comes twice, and what is
    below another entry is below a directory.

    Args:
        most: Entries to take, the directories that are only implied by names counted; None: any number.
        most_bytes: Of the paths of them all together.
    """

    def __init__(self, *, most: int | None = None, most_bytes: int | None = None) -> None:
        self.paths: dict[str, FileKind | None] = {}
        """Every path so far; None for a directory that only stands above others."""
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._content = 0
        self._padding = 0
        self._block = bytearray()
        self._wanted = BLOCK
        self._extension: _Extension | None = None
        self._said: dict[bytes, bytes] = {}
        self._begun = False
        self._zeros = 0

    def feed(self, data: bytes) -> Iterator[Member | bytes]:
        """Entries, and after each file the pieces of its content. To be driven to its end.

        Raises:
            BadArchive: as the class says; nothing can be fed any more.
        """
        view = memoryview(data)
        at = 0
        while at < len(view):
            if self._content:
                piece = bytes(view[at : at + self._content])
                self._content -= len(piece)
                at += len(piece)
                yield piece
            elif self._padding:
                step = min(self._padding, len(view) - at)
                self._padding -= step
                at += step
            else:
                taken = view[at : at + self._wanted - len(self._block)]
                self._block += taken
                at += len(taken)
                if len(self._block) == self._wanted:
                    block = bytes(self._block)
                    self._block.clear()
                    if (member := self._take(block)) is not None:
                        yield member

    def close(self) -> None:
        """Says that nothing more comes.

        Raises:
            BrokenOff: the end of the archive did not come before.
        """
        if self._zeros < len(END) // BLOCK:
            raise BrokenOff("the archive breaks off before its end")
        if any(self._block):
            raise BadArchive("bytes follow the end of the archive")

    def _take(self, block: bytes) -> Member | None:
        if self._extension is not None:
            self._extend(block)
            return None
        if block == _ZEROS:
            if self._said:
                raise BadArchive("an extended header is the last of the archive")
            self._zeros += 1
            return None
        if self._zeros:
            raise BadArchive("bytes follow the end of the archive")
        letter = self._checked(block)
        name = self._name(block)
        size = self._size(block, name)
        if letter in {b"x", b"g"}:
            self._begin_extension(letter, size)
            return None
        said, self._said = self._said, {}
        if letter not in _TYPES:
            raise _bad(
                name, f"is {_FOREIGN.get(letter, f'of the unknown type {letter!r}')}, which is not taken"
            )
        if any(key.startswith(b"GNU.sparse.") for key in said):
            raise _bad(name, "is a sparse file, which is not taken")
        return self._member(block, name, _TYPES[letter], size, said)

    def _member(
        self, block: bytes, name: bytes, kind: FileKind, size: int, said: dict[bytes, bytes]
    ) -> Member | None:
        if size and kind != "file":
            raise _bad(name, "has content and is no file")
        path = _path(name, kind)
        if path:
            self._enter(path, kind)
        target = said.get(b"linkpath", _text(block[157:257])) if kind == "link" else b""
        if kind == "link" and (not target or b"\0" in target or len(target) > limits.PATH_BYTES):
            raise _bad(name, "is a link whose target is empty, too long or holds a NUL")
        mode = _number(block[100:108], name) & PERMISSIONS
        mtime = _time(said[b"mtime"], name) if b"mtime" in said else _number(block[136:148], name) * 10**9
        if mtime not in _TIMES:
            raise _bad(name, "has a time that is out of range")
        self._content, self._padding = size, -size % BLOCK
        return Member(path, kind, mode, mtime, size, target) if path else None

    def _checked(self, block: bytes) -> bytes:
        """The type of the entry that a block begins."""
        if block[257:265] not in {USTAR, _GNU}:
            if not self._begun and block.startswith(_COMPRESSED):
                raise BadArchive("the archive is compressed; send it as it is")
            raise BadArchive("this is no tar archive" if not self._begun else "the archive is damaged")
        self._begun = True
        stored = block[148:156].strip(b" \0")
        found = sum(block) - sum(block[148:156]) + 8 * ord(" ")
        if not stored or not _OCTAL.fullmatch(stored) or int(stored, 8) != found:
            raise BadArchive("the archive is damaged: a checksum does not hold")
        return block[156:157]

    def _name(self, block: bytes) -> bytes:
        if b"path" in self._said:
            return self._said[b"path"]
        prefix = _text(block[345:500]) if block[257:265] == USTAR else b""
        return prefix + b"/" + _text(block[:100]) if prefix else _text(block[:100])

    def _size(self, block: bytes, name: bytes) -> int:
        said = self._said.get(b"size")
        if said is None:
            return _number(block[124:136], name)
        if not _SIZE.fullmatch(said):
            raise _bad(name, "has a size that is no number")
        return int(said)

    def _begin_extension(self, letter: bytes, size: int) -> None:
        if self._said:
            raise BadArchive("two extended headers follow each other")
        if not 0 < size <= _EXTENSION_BYTES:
            raise BadArchive(f"an extended header has {size:,} bytes; at most {_EXTENSION_BYTES:,} are taken")
        self._extension = _Extension(letter, size)
        self._wanted = size + -size % BLOCK

    def _extend(self, data: bytes) -> None:
        assert self._extension is not None
        letter, size = self._extension
        self._extension, self._wanted = None, BLOCK
        said = _records(data[:size])
        if letter == b"x":
            self._said = said
        elif not {b"path", b"linkpath", b"size", b"mtime"}.isdisjoint(said):
            raise BadArchive("a global header names, sizes or dates entries, which is not taken")

    def _enter(self, path: str, kind: FileKind) -> None:
        there = self.paths.get(path, kind)
        if path in self.paths and (there is not None or kind != "directory"):
            what = "is there twice" if there is not None else f"is a {kind}, and others are below it"
            raise _bad(names.to_bytes(path), what)
        self._add(path, kind)
        above = path.rpartition("/")[0]
        while above and self.paths.get(above) != "directory":
            if above in self.paths:
                if self.paths[above] is not None:
                    raise _bad(names.to_bytes(path), f"is below a {self.paths[above]}")
                break
            self._add(above, None)
            above = above.rpartition("/")[0]

    def _add(self, path: str, kind: FileKind | None) -> None:
        if path not in self.paths:
            self._bytes += len(path)
        self.paths[path] = kind
        if self._most is not None and len(self.paths) > self._most:
            raise TooManyEntries(f"the archive has more than {self._most:,} entries")
        if self._most_bytes is not None and self._bytes > self._most_bytes:
            raise TooManyEntries(
                f"the paths in the archive are longer than {self._most_bytes:,} bytes together"
            )


def _path(name: bytes, kind: FileKind) -> str:
    if not name or b"\0" in name:
        raise _bad(name, "is no name: it is empty or holds a NUL")
    if name.startswith(b"/"):
        raise _bad(name, "is an absolute name")
    if name.endswith(b"/") and kind != "directory":
        raise _bad(name, f"ends in a slash and is a {kind}")
    segments = [segment for segment in name.split(b"/") if segment not in {b"", b"."}]
    if b".." in segments:
        raise _bad(name, "holds '..'")
    path = b"/".join(segments)
    if len(path) > limits.PATH_BYTES or any(len(each) > limits.SEGMENT_BYTES for each in segments):
        raise _bad(name, f"is over {limits.PATH_BYTES:,} bytes, or a part of it over {limits.SEGMENT_BYTES}")
    if not path and kind != "directory":
        raise _bad(name, f"is a {kind} in place of the whole tree")
    return names.from_bytes(path)


def _records(data: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        length, space, _ = data[at : at + 8].partition(b" ")
        stop = at + int(length) if space and length.isdigit() else 0
        key, equals, value = data[at + len(length) + 1 : stop].partition(b"=")
        if not at + len(length) < stop <= len(data) or not equals or not value.endswith(b"\n"):
            raise BadArchive("an extended header is damaged")
        found[key] = value[:-1]
        at = stop
    return found


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes, name: bytes) -> int:
    digits = field.strip(b" \0")
    if not _OCTAL.fullmatch(digits):
        raise _bad(name, "has a number in its header that is none")
    return int(digits or b"0", 8)


def _time(text: bytes, name: bytes) -> int:
    if (found := _TIME.fullmatch(text)) is None:
        raise _bad(name, "has a time that is none")
    sign, seconds, rest = found.groups()
    whole = int(seconds) * 10**9 + int((rest or b"").ljust(9, b"0"))
    return -whole if sign else whole


def _bad(name: bytes, what: str) -> BadArchive:
    return BadArchive(f"{names.to_wire(names.from_bytes(name))[:_SHOWN]!r} {what}")
