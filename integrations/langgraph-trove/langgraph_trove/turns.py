"""A queue for one workspace, in one process, of threads and asyncio tasks alike.

The server's lease keeps processes apart; but whoever waits for a lease has to ask again and again, and tasks that run in
parallel would mostly sleep. Here the next one begins as soon as the one before is done.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager


class Turns:
    """First come, first served."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy = False
        self._waiting: deque[Future[None]] = deque()

    @contextmanager
    def mine(self) -> Iterator[None]:
        """Waits for the caller's turn, and ends it."""
        turn = self._queue()
        try:
            turn.result()
        except BaseException:
            self._leave(turn)
            raise
        try:
            yield
        finally:
            self._next()

    @asynccontextmanager
    async def amine(self) -> AsyncIterator[None]:
        """As ``mine``."""
        turn = self._queue()
        try:
            await asyncio.wrap_future(turn)
        except BaseException:
            self._leave(turn)
            raise
        try:
            yield
        finally:
            self._next()

    def _queue(self) -> Future[None]:
        turn: Future[None] = Future()
        with self._lock:
            if self._busy:
                self._waiting.append(turn)
            else:
                self._busy = True
                turn.set_result(None)
        return turn

    def _leave(self, turn: Future[None]) -> None:
        """Gives up: a turn that came all the same is the next one's."""
        if not turn.cancel() and not turn.cancelled():
            self._next()

    def _next(self) -> None:
        with self._lock:
            while self._waiting:
                # From here on it cannot be cancelled any more
                if (turn := self._waiting.popleft()).set_running_or_notify_cancel():
                    turn.set_result(None)
                    return
            self._busy = False
