"""Threads beside an event loop: what may wait for a disk is done there, and is never cut short."""

import asyncio
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from queue import SimpleQueue
from typing import TypeAlias, TypeVar

T = TypeVar("T")

Work: TypeAlias = Callable[[], None]
"""It raises nothing."""
Hand: TypeAlias = Callable[[Work], object]
"""Gives work to a thread, and returns at once."""


class Thread:
    """A thread of one's own that does what it is handed, in order, from its first work to the end of this object.

    The loop's own pool may be full of tools, some of which wait for a payment; and it takes twice as long.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handed: SimpleQueue[Work | None] = SimpleQueue()
        self._process = 0
        """In which it runs: a process that was forked off has no threads."""

    def hand(self, work: Work) -> None:
        """See ``Hand``."""
        if self._process != os.getpid():
            self._begin()
        self._handed.put(work)

    def _begin(self) -> None:
        with self._lock:
            if self._process == os.getpid():
                return
            handed: SimpleQueue[Work | None] = SimpleQueue()
            self._handed = handed
            # As a daemon: a program that ends does not wait for it, and a journal bears the end of a program
            threading.Thread(target=_works, args=(handed,), name="trove-guard", daemon=True).start()
            weakref.finalize(self, handed.put, None)
            self._process = os.getpid()


def _works(handed: SimpleQueue[Work | None]) -> None:
    while (work := handed.get()) is not None:
        work()
        del work  # it may hold the owner


async def whole(action: Callable[[], T], hand: Hand | None = None) -> tuple[T, bool]:
    """What an action returns, and whether a cancellation came meanwhile. Where it fails, that is raised instead.

    Args:
        action: Done in a thread, with the context of the caller.
        hand: To that thread; None: to one of the loop's pool.
    """
    loop, run = asyncio.get_running_loop(), copy_context().run
    ended: list[tuple[T] | BaseException] = []
    waits = loop.create_future()

    def tell() -> None:
        if not waits.done():
            waits.set_result(None)

    def work() -> None:
        try:
            ended.append((run(action),))
        except BaseException as error:  # noqa: BLE001 (raised where it is waited for)
            ended.append(error)
        with suppress(RuntimeError):  # the loop is closed, and nobody waits
            loop.call_soon_threadsafe(tell)

    if hand is None:
        loop.run_in_executor(None, work)
    else:
        hand(work)
    cancelled = False
    while not ended:
        try:
            await waits
        except asyncio.CancelledError:
            cancelled, waits = True, loop.create_future()
    [end] = ended
    if isinstance(end, BaseException):
        if cancelled:
            raise asyncio.CancelledError from end
        raise end
    return end[0], cancelled
