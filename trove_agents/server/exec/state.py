"""The state file of a working copy: which version it equals, and the stat of each entry then.

It is a promise about files that are never synced, so it holds only within one boot of the machine; where a boot cannot
be told from another, copies are made anew after a restart of the server.
"""

import contextlib
import functools
import os
from pathlib import Path
from typing import Final

import msgspec

from trove_agents.server.exec.index import Index
from trove_agents.server.timelines import At

_FORM: Final = 1


class _State(msgspec.Struct, array_like=True, gc=False):
    form: int
    boot: str
    timeline: int
    version: int
    index: Index


_decode = msgspec.msgpack.Decoder(_State).decode
_encode = msgspec.msgpack.Encoder().encode


def load(path: Path) -> tuple[At, Index] | None:
    """What a state file says; None when there is none, or not for this boot."""
    try:
        found = _decode(path.read_bytes())
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    if found.form != _FORM or not found.boot or found.boot != boot():
        return None
    return At(found.timeline, found.version), found.index


def save(path: Path, at: At, index: Index) -> None:
    """Writes a state file; half of one is none. Without effect where a name is not UTF-8: such a copy is made anew
    after a restart.
    """
    if not boot():
        return
    try:
        data = _encode(_State(_FORM, boot(), at.timeline, at.version, index))
    except UnicodeEncodeError:
        return
    write(path, data)


def write(path: Path, data: bytes) -> None:
    """Writes a file in place: where it is not replaced, the file system does not hurry to write it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


@functools.cache
def boot() -> str:
    """What tells this boot of the machine from all others; empty where the system does not say."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""
