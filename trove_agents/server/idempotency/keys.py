"""The key of a call, and what tells one call from another."""

import re
from dataclasses import dataclass
from typing import Final

from blake3 import blake3

_BARE: Final = re.compile(r"[\x21\x23-\x7e]{1,255}")
_QUOTED: Final = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\]){1,510})"')
_LENGTH: Final = 255


@dataclass(frozen=True, slots=True)
class Keyed:
    """What a call with a key is known by."""

    key: str
    fingerprint: bytes
    """Of the request: the same key with another one is another call."""
    status: int
    """Of the answer when it succeeds."""


def parse(header: str) -> str:
    """The key in a header: a string in quotes (RFC 9651), or plain.

    Raises:
        ValueError: it is neither, is empty, or over 255 characters.
    """
    if match := _QUOTED.fullmatch(header):
        key = re.sub(r"\\(.)", r"\1", match[1])
        if len(key) <= _LENGTH:
            return key
    elif _BARE.fullmatch(header):
        return header
    raise ValueError("a key is 1 to 255 printable characters of ASCII, best in quotes")


def fingerprint(*parts: bytes) -> bytes:
    """A digest of a request's parts, each told apart from the next."""
    hasher = blake3()
    for part in parts:
        hasher.update(len(part).to_bytes(8, "big"))
        hasher.update(part)
    return hasher.digest()
