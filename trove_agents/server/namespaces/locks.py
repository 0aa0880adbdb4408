"""The exec lock: one command or restore at a time in a namespace (design 4).

A row with holder, fencing token and expiry. Waiters of the same process queue in memory; other processes are found
in the row. A holder also shows for as long as it lives that it does, by a file that it keeps locked in the state
directory, or to servers that share a database by a connection to it: so a lock which a killed server left behind is
taken over at once. One whose connection breaks counts as gone: what it then does under the lock is refused, by its token.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import secrets
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import bindparam, insert, select, update

from trove_agents.server.db import Connection, Database
from trove_agents.server.db.tables import locks
from trove_agents.server.errors import Busy
from trove_agents.server.waiting import whole

T = TypeVar("T")
Hop = Callable[..., Awaitable[Any]]
"""Runs a blocking function off the loop."""

WAIT_SECONDS: Final = 10.0
"""With a command's 30 s still under the 45 s after which public clients give up."""
_POLL_SECONDS: Final = (0.01, 0.25)
_log = logging.getLogger("trove_agents.server.namespaces")

_HELD = select(locks.c.holder, locks.c.token, locks.c.expires_us).where(locks.c.namespace == bindparam("ns"))
_NEW = insert(locks)
_TAKE = (
    update(locks)
    .where(locks.c.namespace == bindparam("ns"), locks.c.token == bindparam("was"))
    .values(holder=bindparam("by"), token=bindparam("next"), expires_us=bindparam("until"))
)
_RELEASE = (
    update(locks)
    .where(
        locks.c.namespace == bindparam("ns"),
        locks.c.holder == bindparam("by"),
        locks.c.token == bindparam("fence"),
    )
    .values(expires_us=0)
)


@dataclass(frozen=True, slots=True)
class Lease:
    """A lock that is held. Its token grows with every holder: a late commit of a former one is told apart by it."""

    namespace: int
    holder: str
    token: int

    @property
    def name(self) -> str:
        """Of this hold, among all there ever were on the namespace."""
        return f"{self.holder}/{self.token}"


def held(tx: Connection, lease: Lease, *, now_us: int) -> bool:
    """Whether the lease still stands: checked in the transaction that commits what was done under it."""
    row = tx.locked(_HELD, ns=lease.namespace)
    return row is not None and row[:2] == (lease.holder, lease.token) and row[2] > now_us


def release(tx: Connection, lease: Lease) -> None:
    """Gives the lock back, if it is still ours; may ride in the transaction of the holder's last commit."""
    tx.later(_RELEASE, ns=lease.namespace, by=lease.holder, fence=lease.token)


class ExecLocks:
    """The locks that this process takes."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.holder = secrets.token_hex(8)
        self._life = os.open(folder / self.holder, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._life, fcntl.LOCK_EX)
        database.announce(self.holder)
        self._stuck: set[tuple[int, int]] = set()
        """Namespace and token of own locks that could not be given back: as good as free, for this process."""
        self._ends: dict[Lease, Callable[[], None]] = {}
        """Of the locks that this process holds."""
        self._queues: weakref.WeakValueDictionary[tuple[int, int], asyncio.Lock] = (
            weakref.WeakValueDictionary()
        )

    def close(self) -> None:
        (self._folder / self.holder).unlink(missing_ok=True)
        os.close(self._life)

    @contextlib.asynccontextmanager
    async def hold(
        self,
        namespace: int,
        *,
        seconds: float,
        hop: Hop,
        wait: float = WAIT_SECONDS,
        begin: Callable[[Lease], None] = lambda _: None,
        end: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[Lease]:
        """Holds the lock of a namespace for at most ``seconds``, and gives it back in any case.

        The holder may release earlier, in a transaction of its own. ``begin`` is called as soon as the lock is held, and
        ``end`` before it is given back, whatever ``begin`` came to: both off the loop, on the way that takes the lock and
        gives it back.

        Raises:
            Busy: another holder kept it for ``wait`` seconds.
        """

        def take() -> Lease | None:
            lease = self._take(namespace, seconds)
            if lease is not None:
                self._ends[lease] = end
                try:
                    begin(lease)
                except BaseException:
                    self.give_back(lease)
                    raise
            return lease

        async with self._queued(namespace, wait) as deadline:
            lease = await self._until(deadline, lambda: self._claim(take, hop))
            try:
                yield lease
            finally:
                if lease in self._ends:
                    await whole(hop(self.give_back, lease))

    def give_back(self, lease: Lease) -> None:
        """Ends a hold early, for a holder who is off the loop anyway: it has nothing to do under the lock any more."""
        try:
            self._ends.pop(lease)()
        finally:
            self._give_back(lease)

    async def when_free(
        self, namespace: int, act: Callable[[], T | None], *, hop: Hop, wait: float = WAIT_SECONDS
    ) -> T:
        """The result of ``act``, which is tried again as long as it returns None because the lock is held.

        For what is one transaction: it looks with ``free`` itself, and needs no lock of its own.

        Raises:
            Busy: a holder kept the lock for ``wait`` seconds.
        """
        async with self._queued(namespace, wait) as deadline:
            return await self._until(deadline, lambda: hop(act))

    def free(self, tx: Connection, namespace: int) -> bool:
        """Whether nobody holds the lock of a namespace, in the transaction that relies on it."""
        tx.alone(_name(namespace))
        row = tx.one(_HELD, ns=namespace)
        return row is None or self._free(namespace, row)

    def works(self, db: Connection, namespace: int, name: str) -> bool:
        """Whether the hold of that name is still on."""
        row = db.one(_HELD, ns=namespace)
        return row is not None and f"{row[0]}/{row[1]}" == name and not self._free(namespace, row)

    @contextlib.asynccontextmanager
    async def _queued(self, namespace: int, wait: float) -> AsyncIterator[float]:
        """A place at the head of this process's waiters, and the time until which to wait for others."""
        deadline = time.monotonic() + wait
        # One queue for each loop, since its locks belong to it; waiters of other loops look at the row
        key = id(asyncio.get_running_loop()), namespace
        queue = self._queues.setdefault(key, asyncio.Lock())
        try:
            # Not wait_for: before Python 3.12 it can lose what was acquired while it was being cancelled
            async with asyncio.timeout(wait):
                await queue.acquire()
        except TimeoutError:
            raise _busy() from None
        try:
            yield deadline
        finally:
            queue.release()

    async def _until(self, deadline: float, attempt: Callable[[], Awaitable[T | None]]) -> T:
        pause, longest = _POLL_SECONDS
        while (result := await attempt()) is None:
            if time.monotonic() + pause > deadline:
                raise _busy()
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)
        return result

    async def _claim(self, take: Callable[[], Lease | None], hop: Hop) -> Lease | None:
        """The lock, if it is free. What was got for a caller who has left meanwhile goes back at once."""
        task: asyncio.Future[Lease | None] = asyncio.ensure_future(hop(take))
        try:
            return await whole(task)
        except asyncio.CancelledError:
            if not task.cancelled() and task.exception() is None and (lease := task.result()) is not None:
                await whole(hop(self.give_back, lease))
            raise

    def _take(self, namespace: int, seconds: float) -> Lease | None:
        with self._database.read() as db:  # a waiter costs no transaction
            row = db.one(_HELD, ns=namespace)
            if row is not None and not self._free(namespace, row):
                return None

        self._database.announce(self.holder)

        def take(tx: Connection) -> Lease | None:
            tx.alone(_name(namespace))
            row = tx.one(_HELD, ns=namespace)
            until = self._now_us() + int(seconds * 1e6)
            if row is None:
                tx.later(_NEW, namespace=namespace, holder=self.holder, token=1, expires_us=until)
                return Lease(namespace, self.holder, 1)
            if not self._free(namespace, row):
                return None
            token = row[1] + 1
            tx.later(_TAKE, ns=namespace, was=row[1], by=self.holder, next=token, until=until)
            return Lease(namespace, self.holder, token)

        # It keeps living processes apart: none of them survives the machine
        return self._database.write(take, durable=False)

    def _free(self, namespace: int, row: tuple[Any, ...]) -> bool:
        holder, token, expires = row
        if expires <= self._now_us():
            return True
        return (namespace, token) in self._stuck if holder == self.holder else self._dead(holder)

    def _dead(self, holder: str) -> bool:
        """Whether a holder's process is known to be gone: its file can be locked, or is no longer there, or its
        connection is.
        """
        if self._database.shared:
            return self._database.gone(holder)
        path = self._folder / holder
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            path.unlink(missing_ok=True)
            return True
        finally:
            os.close(file)

    def _give_back(self, lease: Lease) -> None:
        """Never fails: what was done under the lock is done, and its outcome is what the caller wants to know."""
        try:
            with self._database.read() as db:
                row = db.one(_HELD, ns=lease.namespace)
            if row is not None and row[:2] == (lease.holder, lease.token) and row[2] != 0:
                self._database.write(lambda tx: release(tx, lease), durable=False)
        except Exception as error:  # noqa: BLE001 - a full disk, for instance
            self._stuck.add((lease.namespace, lease.token))
            _log.warning("a lock could not be given back; this server goes on without it: %r", error)

    def _now_us(self) -> int:
        return self._database.now_ns() // 1000


def _name(namespace: int) -> str:
    return f"exec lock {namespace}"


def _busy() -> Busy:
    return Busy("another command is running in this namespace; try again shortly", retry_after=2)
