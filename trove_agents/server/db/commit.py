"""Group commit by a leader: a caller that finds nobody committing commits for all that queued, then hands the lead on.

No thread of its own, so a lone writer pays nothing; many writers share one fsync. Each request runs in a savepoint:
its failure is its own. A failure of the transaction is everybody's.

An interrupt (SIGINT, or any exception that is thrown into a thread) may strike at every call below. Whoever is
interrupted withdraws the request and, if it had the lead, rolls back or completes what it led and hands on. For that
the lead, the batch and the outcome are kept in the object and not in local variables, every step can be repeated,
and the outcome of COMMIT is recorded in the same call that executes it.
"""

import threading
import time
from collections.abc import Callable
from typing import Protocol, TypeVar, cast

from trove_agents.server.db.connection import Connection

T = TypeVar("T")


class CommitFailed(Exception):
    """The database dropped a whole transaction (disk full, I/O error). The cause is attached; nothing was kept.

    Only when the failure came from the final sync of the disk is the outcome unknown until the next start.
    """


class Stale(Exception):
    """What a transaction had read was changed meanwhile. Where others write beside it, ``write`` runs it again."""


class Unreachable(Exception):
    """No database server answers, or it refuses the connection."""


class Closed(Exception):
    """The database was closed."""


class Transactions(Protocol):
    """One writing connection, used by one thread at a time. Every method but ``begin`` may be called twice."""

    def begin(self, *, durable: bool) -> Connection:
        """Starts a transaction. If it is not ``durable``, its commit need not reach the disk."""
        ...

    def open(self) -> bool:
        """Whether the transaction is still there."""
        ...

    def savepoint(self) -> None: ...
    def undo(self) -> None:
        """Back to the savepoint."""
        ...

    def keep(self) -> None:
        """Forgets the savepoint, not what was done since."""
        ...

    def commit(self, marks: list[object]) -> None:
        """Commits, and leaves a mark in the same breath."""
        ...

    def rollback(self) -> None: ...
    def release(self) -> None:
        """Ends what ``begin`` started, whatever came of it; time for upkeep."""
        ...


class _Item:
    __slots__ = ("_gate", "done", "durable", "error", "function", "value")

    def __init__(self, function: Callable[[Connection], object] | None, *, durable: bool = True) -> None:
        self.function = function
        self.durable = durable
        self.value: object = None
        self.error: Exception | None = None
        self.done = False
        self._gate = threading.Lock()
        self._gate.acquire()

    def wait(self) -> None:
        self._gate.acquire()

    def wake(self) -> None:
        """Lets the owner look again, at least once."""
        try:
            self._gate.release()
        except RuntimeError:  # it has not even gone to sleep since the last time
            return


class GroupCommit:
    """Runs functions in transactions of one ``Transactions``, from any number of threads."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._closed = False
        self.reset()

    def reset(self) -> None:
        """Forgets all requests: for a forked child, where none of the threads that made them exist."""
        self._mutex = threading.Lock()
        self._pending: list[_Item] = []
        self._leader: _Item | None = None
        self._leading_thread = 0
        self._batch: list[_Item] = []
        self._committed: list[object] = []
        self._failure: Exception | None = None
        self._interlude: _Item | None = None

    def write(self, function: Callable[[Connection], T], *, durable: bool = True) -> T:
        """What ``function`` returned, once that is durable. Its exception, if it raised one: nothing of it was kept.

        What need not be ``durable`` is so only if it shares its commit with something that must.

        Raises:
            CommitFailed: the transaction was lost, with all the requests in it.
            Closed: after ``close``.
        """
        if self._leading_thread == threading.get_ident():
            raise RuntimeError("write() inside a function that write() runs")
        item = _Item(function, durable=durable)
        try:
            self._queue(item)
            while not item.done and self._leader is not item:
                item.wait()
            if not item.done:
                self._lead(item)
        except BaseException:
            self._give_up(item)
            raise
        if item.error is not None:
            raise item.error
        return cast("T", item.value)

    def pause(self, *, seconds: float | None = None) -> object | None:
        """Keeps everybody from writing until ``resume`` of what is returned; None if that could not be had in time."""
        if self._leading_thread == threading.get_ident():
            return None
        item = _Item(None)
        deadline = None if seconds is None else time.monotonic() + seconds
        try:
            with self._mutex:
                if self._leader is None:
                    self._leader = item
                elif self._interlude is None:
                    self._interlude = item
            while self._leader is not item:
                if deadline is not None and time.monotonic() > deadline:
                    self._give_up(item)
                    return None
                time.sleep(0.0005)
        except BaseException:
            self._give_up(item)
            raise
        return item

    def resume(self, paused: object) -> None:
        """Ends a ``pause``."""
        self._give_up(cast("_Item", paused))

    def close(self) -> object | None:
        """Lets what was asked for finish, refuses what comes later, and pauses for good."""
        with self._mutex:
            self._closed = True
        return self.pause()

    def _queue(self, item: _Item) -> None:
        with self._mutex:
            if self._closed:
                raise Closed("the database was closed")
            self._pending.append(item)
            if self._leader is None:
                self._leader = item

    def _lead(self, own: _Item) -> None:
        self._leading_thread = threading.get_ident()
        with self._mutex:
            self._committed, self._failure = [], None
            self._batch = self._pending
            self._pending = []
        try:
            self._transact(self._batch)
        except Exception as error:  # noqa: BLE001 - told to every caller
            self._failure = error
        self._hand_on(own)

    def _transact(self, batch: list[_Item]) -> None:
        transactions = self._transactions
        connection = transactions.begin(durable=any(item.durable for item in batch))
        alone = len(batch) == 1
        for item in batch:
            if not alone:
                transactions.savepoint()
            assert item.function is not None
            try:
                item.value = item.function(connection)
            except Exception as error:
                if not transactions.open():
                    raise
                item.error = error
                if alone:
                    transactions.rollback()
                    return
                transactions.undo()
            if not alone:
                transactions.keep()
        if not transactions.open():
            raise RuntimeError("the database ended the transaction")
        transactions.commit(self._committed)

    def _hand_on(self, own: _Item) -> None:
        """Completes the leader's duty from whatever state it is in. Can be repeated."""
        transactions, batch = self._transactions, self._batch
        if batch:
            if not self._committed:
                transactions.rollback()
            for item in batch:
                self._tell(item, own)
            again = [item for item in batch if not item.done and item is not own]
            with self._mutex:
                queued = {id(item) for item in self._pending}
                self._pending = [item for item in again if id(item) not in queued] + self._pending
                self._batch = []
        transactions.release()
        with self._mutex:
            if self._leader is own:
                self._leading_thread = 0
                self._leader = self._next()
        self._wake_leader()

    def _tell(self, item: _Item, own: _Item) -> None:
        """The outcome to one caller; an interrupted leader leaves the others to be run again by the next."""
        if self._committed:
            item.done = True
        elif self._failure is not None:
            # Who was refused is told too: the refusal may rest on what others had done in what was lost
            if not isinstance(item.error, CommitFailed):
                item.error = _failed(self._failure)
            item.done = True
        elif item is own and item.error is not None:
            item.done = True
        else:
            item.error = None
        if item.done and item is not own:
            item.wake()

    def _next(self) -> _Item | None:
        interlude = self._interlude
        if interlude is not None and not (self._closed and self._pending):
            self._interlude = None
            return interlude
        return self._pending[0] if self._pending else None

    def _wake_leader(self) -> None:
        if (leader := self._leader) is not None:
            leader.wake()

    def _give_up(self, own: _Item) -> None:
        """Withdraws a request, and passes on the lead if it was there."""
        while True:
            try:
                with self._mutex:
                    if own in self._pending:
                        self._pending.remove(own)
                    if self._interlude is own:
                        self._interlude = None
                if self._leader is own:
                    self._hand_on(own)
                self._wake_leader()
            except Exception:
                raise
            except BaseException:  # noqa: BLE001, S112 - a second interrupt: the first is being raised already
                continue
            else:
                return


def _failed(cause: Exception) -> CommitFailed:
    error = CommitFailed(f"the transaction was lost: {cause}")
    error.__cause__ = cause
    return error
