"""One event loop in a thread of its own, for the calls that really wait. Started by the first of them."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final, ParamSpec, TypeVar

from trove_agents.errors import TroveConnectionError

P = ParamSpec("P")
T = TypeVar("T")
_CLEANING_SECONDS: Final = 30.0
"""For what cancelled calls left running to give things back. It works on threads that end by themselves."""


class LoopThread:
    """The loop lives as long as the server: commands are started from its thread, and end with it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._calls: set[asyncio.Task[Any]] = set()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, started if it is not yet.

        Raises:
            TroveConnectionError: after ``close``.
        """
        with self._lock:
            return self._started()

    def start(
        self, function: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Runs a coroutine function there. Cancelling the future cancels it.

        When ``close`` cancels it, the future fails with TroveConnectionError: a cancellation would look to an
        asynchronous caller as if its own task had been meant.

        Raises:
            TroveConnectionError: after ``close``; the function was not called.
        """

        async def run() -> T:
            self._own(asyncio.current_task())
            try:
                return await function(*args, **kwargs)
            except asyncio.CancelledError:
                if self._closed:
                    raise TroveConnectionError(
                        "the server was closed while the call ran", may_have_committed=True
                    ) from None
                raise

        # Under the lock: what is started before ``close`` is seen by it, and nothing is left on a stopped loop
        with self._lock:
            loop = self._started()
            return asyncio.run_coroutine_threadsafe(run(), loop)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that ``close`` will cancel. Called on the loop."""
        task = asyncio.create_task(work)
        self._own(task)
        return task

    def wait(self, function: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a coroutine function there and waits; an interrupt of the waiting thread cancels it."""
        future = self.start(function, *args, **kwargs)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Cancels what runs, waits for it to end, and ends the thread. A second call does nothing."""
        with self._lock:
            self._closed = True
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._drain(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._closed:
            raise TroveConnectionError("the server was closed")
        if self._loop is None:
            loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=loop.run_forever, name="trove-loop", daemon=True)
            self._thread.start()
            self._loop = loop
        return self._loop

    def _own(self, task: asyncio.Task[Any] | None) -> None:
        if task is not None:
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)

    async def _drain(self) -> None:
        """Cancels the calls, and nothing that they themselves started: they know what must run to its end."""
        for call in list(self._calls):
            call.cancel()
        while self._calls:
            await asyncio.wait(self._calls)
        own = {asyncio.current_task()}
        if left := asyncio.all_tasks() - own:
            await asyncio.wait(left, timeout=_CLEANING_SECONDS)
        for task in asyncio.all_tasks() - own:
            task.cancel()
        await asyncio.gather(*(asyncio.all_tasks() - own), return_exceptions=True)
        await asyncio.get_running_loop().shutdown_asyncgens()
