"""The files that are measured: 1 KB each, in directories of 100, two levels deep. The same for everybody."""

import hashlib
from collections.abc import Iterator

LISTED = "p0/d0"
"""The directory of 100 entries (fewer only when there are fewer files)."""


def path(number: int) -> str:
    return f"p{number // 1000}/d{number // 100 % 10}/f{number % 100}"


def scattered(turn: int, files: int) -> str:
    """A file that is there, another one each turn, far from the last."""
    return path(turn * 7919 % files)


def content(number: int, salt: str = "") -> str:
    """1,024 characters of text that no other number or salt has."""
    digest = hashlib.blake2b(f"{salt}{number}".encode(), digest_size=32).hexdigest()
    return digest * 16


def every(files: int) -> Iterator[tuple[str, str]]:
    for number in range(files):
        yield path(number), content(number)
