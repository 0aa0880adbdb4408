"""Who holds a lease, written so that others on the same machine can tell whether it is still there."""

import functools
import hashlib
import os
import platform
import re
import uuid
from pathlib import Path
from typing import Final

_CHARACTERS: Final = 128
_NAME: Final = re.compile(r"langgraph (?P<pid>\d+)@(?P<machine>[0-9a-f]{16}) .*")


def name(thread: str) -> str:
    """What others are told of this process and the thread that it works for."""
    return f"langgraph {os.getpid()}@{_machine()} thread {thread}"[:_CHARACTERS]


def is_gone(holder: str) -> bool:
    """Whether a holder was a process of this machine that is not there any more. One whose number another process has
    by now counts as there.
    """
    found = _NAME.fullmatch(holder)
    if found is None or found["machine"] != _machine():
        return False
    try:
        os.kill(int(found["pid"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


@functools.cache
def _machine() -> str:
    """Where process numbers mean the same: a machine since its start, on Linux a container of it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii")
        where = boot + str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        where = f"{platform.node()} {uuid.getnode()}"
    return hashlib.sha256(where.encode()).hexdigest()[:16]
