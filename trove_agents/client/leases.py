"""Leases: a namespace to oneself for some time, over many calls."""

import contextlib
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from trove_agents.client.acting import Acting
from trove_agents.client.call import Call, get, post, value
from trove_agents.client.drive import AsyncDriver, Driver
from trove_agents.errors import TroveError, WorkspaceLeased
from trove_agents.wire import headers
from trove_agents.wire.leases import Lease, LeaseHolder, LeaseReleased, LeaseRenewal, LeaseRequest

if TYPE_CHECKING:
    import asyncio

_PATH = ("v1", "leases")
D = TypeVar("D", bound=Driver)
A = TypeVar("A", bound=AsyncDriver)


def acquire(ttl: int = 60, holder: str | None = None) -> Call[Lease]:
    """Asks for a lease. Not repeated: the first may have been given, and would stand in the way."""
    return post(_PATH, _LEASE, LeaseRequest(ttl, holder))


def renew(lease_id: str, ttl: int) -> Call[Lease]:
    """Lets a lease end ``ttl`` seconds from now."""
    return post((*_PATH, lease_id), _LEASE, LeaseRenewal(ttl), idempotent=True)


def release(lease_id: str) -> Call[LeaseReleased]:
    """Gives a lease back. Repeated, it says that it was not held."""
    return Call("DELETE", (*_PATH, lease_id), _RELEASED, idempotent=True)


def lease_holder() -> Call[LeaseHolder]:
    """Asks who holds the lease."""
    return get(_PATH, _HOLDER)


def end_lease(token: int) -> Call[LeaseReleased]:
    """Ends another's lease. Repeated, it says that it was not held."""
    return Call("DELETE", _PATH, _RELEASED, query=(("token", str(token)),), idempotent=True)


def under(acting: Acting, lease_id: str) -> Acting:
    """With a lease."""
    return acting.saying("leases", headers.LEASE, lease_id)


def pause(error: WorkspaceLeased, left: float) -> float:
    """Seconds to wait before asking again, of those that are left.

    Raises:
        WorkspaceLeased: none are left.
    """
    if left <= 0:
        raise error
    return min(1.0 if error.retry_after is None else error.retry_after, left)


class HeldLease(Generic[D]):
    """A lease, held inside ``with``. See ``TroveClient.lease``."""

    client: D
    """What it is held for: a client whose changes are made under the lease. It needs no closing."""
    lease: Lease
    """As the server gave it: its ``token``, ``holder`` and ``expires_at``."""

    def __init__(
        self, ask: Callable[[], Lease], client: Callable[[str], D], *, ttl: int, wait: float
    ) -> None:
        self._ask = ask
        self._client = client
        self._ttl = ttl
        self._wait = wait

    def __enter__(self) -> Self:
        until = time.monotonic() + self._wait
        while True:
            try:
                self.lease = self._ask()
            except WorkspaceLeased as error:
                time.sleep(pause(error, until - time.monotonic()))
            else:
                self.client = self._client(self.lease.lease_id)
                return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(TroveError):  # one that cannot be given back ends by itself
            self.client.send(release(self.lease.lease_id))

    def renew(self, ttl: int | None = None) -> None:
        """Lets it end later: as many seconds from now as it was asked for, or ``ttl``.

        Raises:
            LeaseLost: it is not held any more, and others may have changed the namespace.
        """
        self.lease = self.client.send(renew(self.lease.lease_id, self._ttl if ttl is None else ttl))


class AsyncHeldLease(Generic[A]):
    """As ``HeldLease``, inside ``async with``."""

    client: A
    lease: Lease

    def __init__(
        self, ask: Callable[[], Awaitable[Lease]], client: Callable[[str], A], *, ttl: int, wait: float
    ) -> None:
        self._ask = ask
        self._client = client
        self._ttl = ttl
        self._wait = wait

    async def __aenter__(self) -> Self:
        import asyncio

        until = time.monotonic() + self._wait
        while True:
            try:
                self.lease = await self._asked()
            except WorkspaceLeased as error:
                await asyncio.sleep(pause(error, until - time.monotonic()))
            else:
                self.client = self._client(self.lease.lease_id)
                return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(TroveError):
            await self._give_back(self.lease.lease_id)

    async def _asked(self) -> Lease:
        """What is asked for when the caller is cancelled may be given all the same, and nobody else would give it back."""
        import asyncio

        asking = asyncio.ensure_future(self._ask())
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            await _ended(asking)
            with contextlib.suppress(TroveError, asyncio.CancelledError):
                await self._give_back(asking.result().lease_id)
            raise

    async def _give_back(self, lease_id: str) -> None:
        """Does so even if the caller is cancelled meanwhile, which raises afterwards."""
        import asyncio

        giving = asyncio.ensure_future(self._client(lease_id).send(release(lease_id)))
        try:
            await asyncio.shield(giving)
        except asyncio.CancelledError:
            await _ended(giving)
            raise

    async def renew(self, ttl: int | None = None) -> None:
        """See :meth:`HeldLease.renew`."""
        self.lease = await self.client.send(renew(self.lease.lease_id, self._ttl if ttl is None else ttl))


class LeasesMethods(Driver):
    """Leases of one namespace. For servers that have them: others raise ``NotSupported``."""

    def lease(self, *, ttl: int = 60, wait: float = 0.0, holder: str | None = None) -> HeldLease[Self]:
        """Keeps the namespace to yourself over many calls: while it is held, changes of others are refused.

        Others are all that do not use the ``client`` of the result, in this process too::

            with client.lease(ttl=120, wait=30) as held:
                held.client.exec("make")
                held.client.write("done.txt", "yes")

        Reading, snapshots and forks stay free for all. The lease is asked for on entering and given back at the end.
        It runs out after ``ttl`` seconds unless ``renew()`` is called; from then on changes of ``held.client`` raise
        ``LeaseLost``, and a command that runs at that moment is not kept.

        Args:
            ttl: Seconds, 1 to 3,600.
            wait: Seconds to wait for the lease of another, who is asked about again now and then.
            holder: What others are told of you; None: the name of your key.

        Raises:
            WorkspaceLeased: on entering: another held it all that time. From the methods of other clients: this one
                holds it.
            NotSupported: on entering: the server has no leases.
        """

        def ask() -> Lease:
            return self.run(self._capabilities.need("leases", acquire(ttl, holder)))

        return HeldLease(ask, lambda found: self._saying(under(self._acting, found)), ttl=ttl, wait=wait)

    def lease_holder(self) -> LeaseHolder | None:
        """Who holds the lease now, and until when; None: nobody.

        Raises:
            NotSupported: the server has no leases.
        """
        return _some(self.run(self._capabilities.need("leases", lease_holder())))

    def end_lease(self, token: int) -> bool:
        """Ends a lease whose holder is known to be gone, such as a process that died, without waiting until it runs out.

        Should it be there all the same, its changes raise ``LeaseLost`` from then on.

        Args:
            token: Of the lease, from ``lease_holder()``: so that one that was given meanwhile is left alone.

        Returns:
            Whether it was held.

        Raises:
            NotSupported: the server has no such call.
        """
        return self.run(self._capabilities.need("leases.end", end_lease(token))).released


class AsyncLeasesMethods(AsyncDriver):
    """As ``LeasesMethods``."""

    def lease(self, *, ttl: int = 60, wait: float = 0.0, holder: str | None = None) -> AsyncHeldLease[Self]:
        """See :meth:`TroveClient.lease`; for ``async with``."""

        async def ask() -> Lease:
            return await self.run(self._capabilities.need("leases", acquire(ttl, holder)))

        return AsyncHeldLease(ask, lambda found: self._saying(under(self._acting, found)), ttl=ttl, wait=wait)

    async def lease_holder(self) -> LeaseHolder | None:
        """See :meth:`TroveClient.lease_holder`."""
        return _some(await self.run(self._capabilities.need("leases", lease_holder())))

    async def end_lease(self, token: int) -> bool:
        """See :meth:`TroveClient.end_lease`."""
        return (await self.run(self._capabilities.need("leases.end", end_lease(token)))).released


async def _ended(work: "asyncio.Future[Any]") -> None:
    """Waits until it has ended, however often the caller is cancelled, as frameworks do when they end tasks."""
    import asyncio

    while not work.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([work])


def _some(found: LeaseHolder) -> LeaseHolder | None:
    return None if found.holder is None else found


_LEASE = value(Lease)
_RELEASED = value(LeaseReleased)
_HOLDER = value(LeaseHolder)
