"""The lease of a workspace: waited for with a word to the user, and renewed for as long as a step works."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import Any, Final, TypeVar

from langgraph_trove import holders
from langgraph_trove.flows import Ask, Clients, Flow, arun, run
from trove_agents import (
    AsyncHeldLease,
    HeldLease,
    LeaseHolder,
    NotSupported,
    TroveError,
    WorkspaceLeased,
)

T = TypeVar("T")
_log: Final = logging.getLogger("langgraph_trove")
Lease = HeldLease[Any] | AsyncHeldLease[Any]


class Leasing:
    """How the steps of one binding take leases.

    Args:
        ttl: Seconds after which the lease of a process that died is free.
        wait: Seconds to wait for another's.
    """

    def __init__(self, ttl: int, wait: float) -> None:
        self.ttl = ttl
        self._wait = wait
        self._renewals = _Renewals(ttl / 3)

    @contextmanager
    def held(self, clients: Clients, thread: str) -> Iterator[tuple[Clients, Lease]]:
        """Clients under the workspace's lease, as soon as it can be had, and until the end.

        Raises:
            WorkspaceLeased: another held it all that time.
        """
        waiting = _Waiting(clients, self._wait)
        with ExitStack() as stack:
            while True:
                lease = clients.needed().lease(ttl=self.ttl, holder=holders.name(thread))
                try:
                    stack.enter_context(lease)
                except WorkspaceLeased as error:
                    if not run(waiting.ended(error)):
                        time.sleep(waiting.pause(error))
                else:
                    break
            self._renewals.add(lease)
            stack.callback(self._renewals.remove, lease)
            yield Clients(lease.client, None), lease

    @asynccontextmanager
    async def aheld(self, clients: Clients, thread: str) -> AsyncIterator[tuple[Clients, Lease]]:
        """As ``held``. With a synchronous client alone, the lease is held by a thread."""
        if clients.asynchronous is None:
            async with _in_thread(self.held(clients, thread)) as found:
                yield found
            return
        waiting = _Waiting(clients, self._wait)
        async with AsyncExitStack() as stack:
            while True:
                lease = clients.aneeded().lease(ttl=self.ttl, holder=holders.name(thread))
                try:
                    await stack.enter_async_context(lease)
                except WorkspaceLeased as error:
                    if not await arun(waiting.ended(error)):
                        await asyncio.sleep(waiting.pause(error))
                else:
                    break
            renewing = asyncio.create_task(_renewed(lease, self.ttl / 3))
            stack.callback(renewing.cancel)
            yield Clients(None, lease.client), lease


@asynccontextmanager
async def _in_thread(context: AbstractContextManager[T]) -> AsyncIterator[T]:
    """Enters and leaves in threads what waits. Whoever is cancelled while entering leaves as soon as it is entered."""
    entering = asyncio.ensure_future(asyncio.to_thread(context.__enter__))
    try:
        found = await asyncio.shield(entering)
    except asyncio.CancelledError:
        entering.add_done_callback(lambda done: done.exception() or context.__exit__(None, None, None))
        raise
    try:
        yield found
    finally:
        await asyncio.shield(asyncio.to_thread(context.__exit__, None, None, None))


class _Waiting:
    """Somebody waits, and is told so once."""

    def __init__(self, clients: Clients, seconds: float) -> None:
        self._clients = clients
        self._namespace = clients.namespace
        self._until = time.monotonic() + seconds
        self._told = False

    def ended(self, error: WorkspaceLeased) -> Flow[bool]:
        """Ends the lease of a process of this machine that is gone, so that nobody waits for it; whether it did."""
        if not holders.is_gone(error.holder or ""):
            return False
        try:
            held: LeaseHolder | None = yield Ask(self._clients, lambda client: client.lease_holder())
            if held is None or held.token is None or held.holder != error.holder:
                return True  # it ended by itself, or another was faster
            token = held.token
            ended: bool = yield Ask(self._clients, lambda client: client.end_lease(token))
        except NotSupported:
            return False
        if ended:
            _log.info("the workspace '%s' was held by a process that is gone", self._namespace)
        return True

    def pause(self, error: WorkspaceLeased) -> float:
        """Seconds until to ask again."""
        left = self._until - time.monotonic()
        if left <= 0:
            error.add_note(f"the step waited for the workspace '{self._namespace}': see lease_wait of bind")
            raise error
        if not self._told:
            _log.warning("waiting for the workspace '%s': %s", self._namespace, error)
            self._told = True
        return min(1.0 if error.retry_after is None else error.retry_after, left)


class _Renewals:
    """A thread that renews the leases of the steps that take long. It runs while there are steps, and not for each."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._lock = threading.Lock()
        self._held: dict[int, tuple[HeldLease[Any], float]] = {}
        self._thread: threading.Thread | None = None

    def add(self, lease: HeldLease[Any]) -> None:
        with self._lock:
            self._held[id(lease)] = lease, time.monotonic()
            if self._thread is None or not self._thread.is_alive():  # also in a process that was forked
                self._thread = threading.Thread(
                    target=self._renew, name="langgraph-trove leases", daemon=True
                )
                self._thread.start()

    def remove(self, lease: HeldLease[Any]) -> None:
        with self._lock:
            self._held.pop(id(lease), None)

    def _renew(self) -> None:
        while True:
            time.sleep(self._every / 2)
            with self._lock:
                if not self._held:
                    self._thread = None
                    return
                held = list(self._held.values())
            for lease, since in held:
                if time.monotonic() - since >= self._every / 2:
                    _try(lease)


def _try(lease: HeldLease[Any]) -> None:
    try:
        lease.renew()
    except TroveError as error:
        _log.info("a lease was not renewed: %s", error)


async def _renewed(lease: AsyncHeldLease[Any], every: float) -> None:
    while True:
        await asyncio.sleep(every)
        try:
            await lease.renew()
        except TroveError as error:
            _log.info("a lease was not renewed: %s", error)
