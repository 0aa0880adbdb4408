"""A fork of the process waits until no other thread is inside SQLite.

What SQLite knows of a file's locks belongs to the process and is inherited, but the locks are not: a child that is
forked while a connection is open believes that it holds them, and two such processes destroy the file. Its locks of
memory are inherited too, and what another thread held stays held for good.
https://sqlite.org/howtocorrupt.html, "Carrying an open database connection across a fork".
"""

import threading
import time
from threading import get_ident
from typing import Final

SECONDS: Final = 5.0
"""How long a fork waits."""
_inside: Final[set[int]] = set()
_door = threading.Lock()
_forker = 0
"""The thread that forks, and may enter; 0 when none does."""


def enter() -> int:
    """Before a connection is taken or closed; to be given back to ``leave``. A thread may enter again."""
    me = get_ident()
    if me in _inside:
        return 0
    _inside.add(me)
    while _forker not in {
        0,
        me,
    }:  # looked at once this one can be seen inside: one of both waits for the other
        _inside.discard(me)
        with _door:
            _inside.add(me)
    return me


def leave(entered: int) -> None:
    """Ends ``enter``."""
    _inside.discard(entered)


def keep_out() -> bool:
    """Before a fork: lets nobody in until ``let_in``. Whether all who were inside left."""
    global _forker  # noqa: PLW0603 - a fork is the whole process's
    _door.acquire()
    _forker = get_ident()
    deadline = time.monotonic() + SECONDS
    while _inside and time.monotonic() < deadline and _inside != {_forker}:
        time.sleep(0.0002)
    return not _inside


def let_in() -> None:
    """After the fork, in the parent."""
    global _forker  # noqa: PLW0603
    _forker = 0
    _door.release()


def begin_anew() -> None:
    """After the fork, in the child, which has one thread."""
    global _forker, _door
    _inside.clear()
    _forker, _door = 0, threading.Lock()
