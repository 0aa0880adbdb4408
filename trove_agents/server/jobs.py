"""Work that is due by the clock: a registry that rooms put their jobs into. It knows none of them.

When a job is due stands in a row, so that nothing depends on a process that keeps running: an embedded server looks
when it opens, a served one every half minute. Whoever claims the row does the work; a claim ends with the turn, or by
itself when its process died. A turn is short. What it does not finish goes on in the next one, from the place that the
row remembers. A claim may run out under a process that was suspended, so two turns of a job must not harm each other.

A job that fails is logged and tried again later; the others go on.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import bindparam, or_, select, update

from trove_agents.server.db import Connection, Database
from trove_agents.server.db.tables import jobs as rows

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 24 * HOUR
TURN_SECONDS: Final = 20.0
"""After which a turn should end; steps of a job are much shorter."""
_CLAIM_US: Final = 600 * 1_000_000
_AGAIN_US: Final = 60 * 1_000_000
"""Between two turns of a job that was not finished."""
_RETRY_US: Final = 900 * 1_000_000
"""After a failure."""
_LOOK_SECONDS: Final = 30.0

_j = rows.c
_ALL = select(_j.name, _j.due_us, _j.claimed_until_us)
_PLACE = select(_j.place).where(_j.name == bindparam("key"))
_CLAIM = (
    update(rows)
    .where(
        _j.name == bindparam("key"),
        _j.due_us == bindparam("was"),
        or_(_j.claimed_until_us <= bindparam("now"), _j.claimed_until_us > bindparam("until")),
    )
    .values(holder=bindparam("by"), claimed_until_us=bindparam("until"))
)
_FINISH = (
    update(rows)
    .where(_j.name == bindparam("key"), _j.holder == bindparam("by"))
    .values(holder="", claimed_until_us=0, due_us=bindparam("next"), place=bindparam("at"))
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Turn:
    """One bounded run of a job."""

    now_ns: int
    """The time to go by, for the whole turn."""
    place: str | None = None
    """Where the last turn stopped; None for a start from the beginning."""
    ends: float = float("inf")
    """By ``time.monotonic``."""
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def now_us(self) -> int:
        return self.now_ns // 1000

    @property
    def over(self) -> bool:
        """Whether to stop after this step: time is up, or the server closes."""
        return self.stopping.is_set() or time.monotonic() >= self.ends


Work = Callable[[Turn], str | None]
"""Does a part of a job and returns the place to go on from, or None when nothing is left for this time."""


@dataclass(frozen=True, slots=True)
class _Job:
    name: str
    period_us: int
    work: Work

    def next_us(self, now_us: int) -> int:
        """Periods begin at whole ones since 1970: what is daily is due at midnight UTC."""
        return (now_us // self.period_us + 1) * self.period_us


class Jobs:
    """The jobs of one server."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._jobs: dict[str, _Job] = {}
        self._holder = secrets.token_hex(8)
        self._busy = threading.Lock()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._running = False

    def add(self, name: str, work: Work, *, every_seconds: int) -> None:
        """Registers a job under a name that stays the same over releases. Jobs run in the order of registration."""
        self._jobs[name] = _Job(name, every_seconds * 1_000_000, work)

    def run_due(self, *, seconds: float = TURN_SECONDS) -> list[str]:
        """Gives each job that is due one turn of at most about ``seconds``; the names of those that ran.

        What another process is doing is left to it. A job that was never seen waits for the start of its next
        period.
        """
        with self._busy:
            now_us = self._database.now_ns() // 1000
            return [job.name for job, was in self._due(now_us) if self._run(job, was, now_us, seconds)]

    def run_in_background(self) -> None:
        """``run_due`` once, on a thread of its own."""
        self._start(self._once)

    def keep_running(self) -> None:
        """Looks for due work from now on until ``close``. A second call does nothing."""
        if not self._running:
            self._running = True
            self._start(self._always)

    def close(self) -> None:
        """Ends turns after the step they are at."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _start(self, target: Callable[[], None]) -> None:
        # A daemon: a program may end without closing, and whatever a job is at can be cut off
        thread = threading.Thread(target=target, name="trove-jobs", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _always(self) -> None:
        while not self._stopping.is_set():
            self._once()
            self._stopping.wait(_LOOK_SECONDS)

    def _once(self) -> None:
        try:
            self.run_due()
        except Exception:  # noqa: BLE001 - logged
            if not self._stopping.is_set():
                _log.exception("could not look for due work")

    def _due(self, now_us: int) -> list[tuple[_Job, int]]:
        """The jobs to run, with the due time that their row shows."""
        with self._database.read() as db:
            found = {name: (due, until) for name, due, until in db.all(_ALL)}
        unknown = [job for job in self._jobs.values() if job.name not in found]
        if unknown:
            self._database.write(lambda tx: _announce(tx, unknown, now_us))
        due = []
        for job in self._jobs.values():
            when, until = found.get(job.name, (job.next_us(now_us), 0))
            # More than a period ahead: the clock was set back
            if (when <= now_us or when > now_us + job.period_us) and not now_us < until <= now_us + _CLAIM_US:
                due.append((job, when))
        return due

    def _run(self, job: _Job, was: int, now_us: int, seconds: float) -> bool:
        if self._stopping.is_set():
            return False

        def claim(tx: Connection) -> tuple[str | None] | None:
            values = {"key": job.name, "was": was, "now": now_us, "until": now_us + _CLAIM_US}
            if tx.run(_CLAIM, by=self._holder, **values) != 1:
                return None
            row = tx.one(_PLACE, key=job.name)
            return None if row is None else (row[0],)

        claimed = self._database.write(claim)
        if claimed is None:
            return False
        (place,) = claimed
        try:
            turn = Turn(now_us * 1000, place, time.monotonic() + seconds, self._stopping)
            place = job.work(turn)
            following = job.next_us(now_us) if place is None else now_us + _AGAIN_US
        except Exception:  # noqa: BLE001 - logged
            _log.exception("the job %r failed; it will be tried again", job.name)
            place, following = None, now_us + min(job.period_us, _RETRY_US)
        self._database.write(
            lambda tx: tx.run(_FINISH, key=job.name, by=self._holder, next=following, at=place)
        )
        return True


def _announce(tx: Connection, unknown: list[_Job], now_us: int) -> None:
    for job in unknown:
        tx.upsert(rows, name=job.name, due_us=job.next_us(now_us), holder="", claimed_until_us=0, place=None)
