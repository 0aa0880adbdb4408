"""What every database offers, whichever it is."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from trove_agents.server.db.connection import Connection

T = TypeVar("T")


class Database(ABC):
    """Open until ``close``; safe to use from any thread, in several processes at once, and after a fork."""

    now_ns: Callable[[], int]
    """The clock: nanoseconds since 1970."""
    shared: bool = False
    """Whether servers on other machines may use it."""

    @staticmethod
    def open(place: Path | str, *, clock: Callable[[], int] = time.time_ns) -> "Database":
        """The database of a folder or behind a ``postgresql://`` URL, with the newest schema.

        A folder is made if it is not there; only the owner may enter it.

        Raises:
            UnknownSchema: a newer release wrote it.
            Unreachable: no server answers there, or it refuses.
            ImportError: the driver is missing: the extra ``postgres`` brings it.
        """
        if isinstance(place, str):
            try:
                from trove_agents.server.db.postgres import PostgresDatabase
            except ModuleNotFoundError as error:
                raise ImportError(
                    "a PostgreSQL database needs its driver: pip install 'trove-agents[postgres]'"
                ) from error

            return PostgresDatabase.of(place, clock)
        from trove_agents.server.db.folder import FileDatabase

        return FileDatabase.of(place, clock)

    @abstractmethod
    def read(self) -> AbstractContextManager[Connection]:
        """A connection for reading.

        Each statement sees what is committed when it runs; since rows carry versions, several statements about
        one version agree.

        Raises:
            Closed: after ``close``.
        """

    @abstractmethod
    def write(self, function: Callable[[Connection], T], *, durable: bool = True) -> T:
        """Runs ``function`` in one transaction and returns what it returned, once that is durable.

        What the function raises is raised here, and nothing it did is kept. It may run on another thread, together
        with other callers' functions in one commit, and again when that commit was interrupted or lost a race: so
        it works on the connection alone, is short, and never calls ``write``. An interrupt of the caller while it
        waits leaves it open whether the function ran.

        What need not be ``durable`` may be lost, whole, when the machine stops before the next durable write, and costs
        no wait for the disk. Every process sees it at once, and it outlives this one. For what only processes need
        that end with the machine; a database that others share keeps it anyway.

        Raises:
            CommitFailed: the database dropped the transaction.
            Closed: after ``close``.
        """

    def announce(self, name: str) -> None:  # noqa: B027 - nothing to do for who does not share
        """Lets other servers of a shared database know that this process is alive under a name, for as long as it is.

        A second call puts right what a broken connection took away.
        """

    def gone(self, name: str) -> bool:  # noqa: ARG002 - who shares the database knows
        """Whether a process that was announced under a name is known to have ended."""
        return False

    @abstractmethod
    def close(self) -> None:
        """Lets running transactions finish; a second call does nothing."""
