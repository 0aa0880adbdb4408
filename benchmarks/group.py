"""Group commit against a plain lock with one commit each, on the same statement and the same kind of connection."""

import statistics
import threading
from pathlib import Path

from race import race, throughput
from report import Row, duration
from sqlalchemy import insert
from sqlalchemy.dialects import sqlite

from trove_agents.server.db import Database
from trove_agents.server.db.connection import FileConnection, Statements
from trove_agents.server.db.tables import workspaces
from trove_agents.server.db.writer import connect

SECTION = "group commit"
_ADD = insert(workspaces)


class Locked:
    """A connection under a lock; every call is a transaction of its own."""

    def __init__(self, folder: Path) -> None:
        Database.open(folder).close()
        self._raw = connect(folder)
        self._raw.execute("PRAGMA wal_autocheckpoint=1000")
        self._connection = FileConnection(
            self._raw, Statements(sqlite.dialect(paramstyle="named"), sqlite.insert)
        )
        self._lock = threading.Lock()

    def add(self, identity: str) -> None:
        with self._lock:
            self._raw.execute("BEGIN IMMEDIATE")
            self._connection.run(_ADD, id=identity, name="bench", created_us=0)
            self._raw.execute("COMMIT")

    def close(self) -> None:
        self._raw.close()


class Grouped:
    """The server's database."""

    def __init__(self, folder: Path) -> None:
        self._database = Database.open(folder)

    def add(self, identity: str) -> None:
        self._database.write(lambda tx: tx.run(_ADD, id=identity, name="bench", created_us=0))

    def close(self) -> None:
        self._database.close()


def rows(folder: Path, *, settle: int, turns: int, slices: int, seconds: float) -> list[Row]:
    contenders = {"lock": Locked(folder / "locked"), "group": Grouped(folder / "grouped")}
    for contender in contenders.values():  # a log that still grows is synced more slowly
        for turn in range(settle):
            contender.add(f"settle-{turn}")
    found = [_alone(contenders, turns)]
    found += [_together(contenders, writers, slices, seconds) for writers in (16, 64)]
    for contender in contenders.values():
        contender.close()
    return found


def _alone(contenders: dict[str, Locked | Grouped], turns: int) -> Row:
    """One writer, whose calls alternate between the two."""
    times = race(
        turns,
        {name: lambda turn, add=each.add: add(f"alone-{turn}") for name, each in contenders.items()},
    )
    own, lock = times["group"], times["lock"]
    ratio = lock.median / own.median
    return Row(
        SECTION,
        "1 writer, each call",
        duration(own.median),
        own.median,
        f"a plain lock {duration(lock.median)}",
        ratio,
        "no slower (≥ 0.9x)",
        ratio >= 0.9,
        {"p99 with a plain lock": lock.p99},
        own.p99,
        own.turns,
    )


def _together(contenders: dict[str, Locked | Grouped], writers: int, slices: int, seconds: float) -> Row:
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    waits: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for part in range(slices):
        for name in names if part % 2 else reversed(names):
            rate, wait = throughput(
                lambda writer, turn, add=contenders[name].add, part=part: add(
                    f"{writers}-{part}-{writer}-{turn}"
                ),
                writers=writers,
                seconds=seconds,
            )
            rates[name].append(rate)
            waits[name].append(wait.p99)
    lock, group = (statistics.median(rates[name]) for name in ("lock", "group"))
    least = 3.0 if writers == 16 else None
    return Row(
        SECTION,
        f"{writers} writers, all calls",
        f"{group:,.0f}/s",
        group,
        f"a plain lock {lock:,.0f}/s",
        group / lock,
        "" if least is None else f"≥ {least:g}x",
        None if least is None else group / lock >= least,
        {"p99 with a plain lock": statistics.median(waits["lock"])},
        statistics.median(waits["group"]),
    )
