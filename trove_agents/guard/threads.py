"""Threads beside an event loop: what may wait for a disk is done there, and is never cut short."""

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Final, TypeAlias, TypeVar

T = TypeVar("T")

Work: TypeAlias = Callable[[], None]
"""It raises nothing."""
Hand: TypeAlias = Callable[[Work], object]
"""Gives work to a thread, and returns at once."""


class Threads:
    """Threads of one's own, which are there from the first work on and do what they are handed.

    The loop's own pool may be full of tools, some of which wait for a payment; and it takes twice as long.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._lock = threading.Lock()
        self._handed: SimpleQueue[Work] = SimpleQueue()
        self._process = 0
        """In which they run: a process that was forked off has no threads."""

    def hand(self, work: Work) -> None:
        """See ``Hand``."""
        if self._process != os.getpid():
            self._begin()
        self._handed.put(work)

    def _begin(self) -> None:
        with self._lock:
            if self._process == os.getpid():
                return
            handed: SimpleQueue[Work] = SimpleQueue()
            self._handed = handed
            for _ in range(self._number):
                # As daemons: a program that ends does not wait for them, and a journal bears the end of a program
                threading.Thread(target=_works, args=(handed,), name="trove-guard", daemon=True).start()
            self._process = os.getpid()


def _works(handed: SimpleQueue[Work]) -> None:
    while True:
        handed.get()()


JOURNALS: Final = Threads(6)
"""What guards write down, all of this process together.

Several, though each journal is written by one at a time: where there is more to run than there are processors, Linux lets a
thread wait for its turn that was away for the moment of one sync, and not one that was away for longer. So they take turns.
"""


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

    (hand or partial(loop.run_in_executor, None))(work)
    cancelled = False
    while True:  # also where it has ended by now: what was asked of the loop before, such as a cancellation, comes first
        try:
            await waits
        except asyncio.CancelledError:
            cancelled, waits = True, loop.create_future()
        if ended:
            break
    [end] = ended
    if isinstance(end, BaseException):
        if cancelled:
            raise asyncio.CancelledError from end
        raise end
    return end[0], cancelled
