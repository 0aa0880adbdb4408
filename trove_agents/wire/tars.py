"""Trees as tar archives: docs/wire.md, "Trees as archives". No I/O: entries in, bytes out.

What is written is POSIX.1-2001 (pax), which every tar reads; ``tar_reader.py`` reads it.
"""

import struct
from typing import Final

import msgspec

from trove_agents.wire import names
from trove_agents.wire.files import FileKind

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)
"""Of an archive: without it, it broke off."""
PERMISSIONS: Final = 0o1777
USTAR: Final = b"ustar\x0000"
"""The magic of POSIX, with its version."""

_NAME_BYTES: Final = 100
_LARGEST: Final = 8**11 - 1
"""What eleven octal digits can say."""
_HEAD: Final = struct.Struct("100s8s8s8s12s12s8sc100s8s64x8s8s167x")
_NOBODY: Final = b"0000000\0"
_LETTERS: Final[dict[FileKind, bytes]] = {"file": b"0", "directory": b"5", "link": b"2"}


class Member(msgspec.Struct, frozen=True, gc=False):
    """One entry."""

    path: str
    """Relative, in ``surrogateescape`` form as in ``names``; never empty, never with ``.`` or ``..``."""
    kind: FileKind
    mode: int
    """Permission bits; a link's say nothing."""
    mtime_ns: int
    size: int = 0
    """Bytes of content that follow a file."""
    target: bytes = b""
    """Of a link."""


def head(member: Member) -> bytes:
    """What stands before a file's content; all there is of a directory and of a link."""
    name = names.to_bytes(member.path) + (b"/" if member.kind == "directory" else b"")
    seconds, nanoseconds = divmod(member.mtime_ns, 10**9)
    records: dict[bytes, bytes] = {}
    if len(name) > _NAME_BYTES or not name.isascii():
        records[b"path"] = name
    if len(member.target) > _NAME_BYTES or not member.target.isascii():
        records[b"linkpath"] = member.target
    if member.size > _LARGEST:
        records[b"size"] = b"%d" % member.size
    if nanoseconds or not 0 <= seconds <= _LARGEST:
        sign, (whole, rest) = "-" if member.mtime_ns < 0 else "", divmod(abs(member.mtime_ns), 10**9)
        records[b"mtime"] = f"{sign}{whole}.{rest:09d}".encode()
    if not all(_is_utf8(text) for text in records.values()):
        records = {b"hdrcharset": b"BINARY", **records}
    before = b""
    if records:
        data = b"".join(_record(key, value) for key, value in records.items())
        before = _block(b"x", b"PaxHeader", mode=0o644, size=len(data)) + data + padding(len(data))
    return before + _block(
        _LETTERS[member.kind],
        name,
        mode=member.mode & PERMISSIONS,
        size=member.size if member.size <= _LARGEST else 0,
        seconds=min(max(seconds, 0), _LARGEST),
        target=member.target,
    )


def padding(size: int) -> bytes:
    """What stands after a content of that many bytes."""
    return bytes(-size % BLOCK)


def _block(
    letter: bytes, name: bytes, *, mode: int, size: int, seconds: int = 0, target: bytes = b""
) -> bytes:
    block = bytearray(
        _HEAD.pack(
            name[:_NAME_BYTES],
            b"%07o\0" % mode,
            _NOBODY,
            _NOBODY,
            b"%011o\0" % size,
            b"%011o\0" % seconds,
            b" " * 8,
            letter,
            target[:_NAME_BYTES],
            USTAR,
            _NOBODY,
            _NOBODY,
        )
    )
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _record(key: bytes, value: bytes) -> bytes:
    """``length key=value``, where the length counts its own digits too."""
    rest = b" %b=%b\n" % (key, value)
    length = len(rest) + len(b"%d" % len(rest))
    if len(b"%d" % length) + len(rest) != length:
        length += 1
    return b"%d%b" % (length, rest)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
