"""File names are bytes on disk and text on the wire.

Inside, a path is a ``str`` in Python's ``surrogateescape`` form, as ``os.fsdecode`` gives it. JSON cannot carry
lone surrogates, so each byte that is not UTF-8 travels as one character of U+F780 to U+F7FF (a private range),
and a name that really holds such a character has its bytes sent that way too. The mapping is reversible.
"""

import re
from typing import Final

_BASE: Final = 0xF700
_FOR_WIRE = re.compile("[\udc80-\udcff\uf780-\uf7ff]")
_FROM_WIRE = re.compile("[\uf780-\uf7ff]+")


def to_wire(path: str) -> str:
    """A path as JSON text."""
    return path if path.isascii() else _FOR_WIRE.sub(_escape, path)


def from_wire(path: str) -> str:
    """The path that ``to_wire`` wrote."""
    return path if path.isascii() else _FROM_WIRE.sub(_unescape, path)


def to_bytes(path: str) -> bytes:
    """A path as the file system has it."""
    return path.encode("utf-8", "surrogateescape")


def from_bytes(path: bytes) -> str:
    """A path as ``to_bytes`` wrote it."""
    return path.decode("utf-8", "surrogateescape")


def _escape(match: re.Match[str]) -> str:
    return "".join(chr(_BASE + byte) for byte in to_bytes(match[0]))


def _unescape(match: re.Match[str]) -> str:
    return from_bytes(bytes(ord(character) - _BASE for character in match[0]))
