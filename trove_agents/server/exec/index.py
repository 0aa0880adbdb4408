"""What is known of a working copy: each entry as it was when the copy was last equal to the store."""

import os
from typing import Final

import msgspec

PERMISSIONS: Final = 0o777


class Known(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One entry."""

    mode: int
    """With the type of the entry; the rest is 0 for directories."""
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    inode: int = 0
    digest: bytes = b""
    """Of a file's bytes or a link's target."""


Names = dict[str, Known]
Index = dict[str, Names]
"""By directory, then by name; the root is ""."""


def known(found: os.stat_result, digest: bytes) -> Known:
    """A file or a link from its stat."""
    return Known(found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, digest)
