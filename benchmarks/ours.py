"""The contender: the sync in-process client, and below it the store over the server's own database."""

import itertools
import time
from pathlib import Path

import sample
from race import Contender

from trove_agents.embedded import Trove
from trove_agents.server import timelines
from trove_agents.server.db import Connection
from trove_agents.server.settings import Settings
from trove_agents.server.timelines import Namespace

BATCH = 5_000
NAMESPACE = "bench"


class Ours:
    """A state directory with one namespace of so many files, put there through the store in a few large versions."""

    def __init__(self, folder: Path, files: int, *, database_url: str | None = None) -> None:
        self._files = files
        self.trove = Trove(Settings(folder / "state", database_url=database_url))
        self.client = self.trove.client(NAMESPACE)
        self.workspace = self.trove.credentials.workspace_id
        self.database = self.trove.server.database
        self.client.write("first", "made")
        start = time.perf_counter()
        rest = sample.every(files)
        while batch := list(itertools.islice(rest, BATCH)):
            self._fill(batch)
        self.fill_seconds = time.perf_counter() - start
        self._numbers = itertools.count()
        self._kept = self.client.create_snapshot("kept")
        assert len(self.client.list_dir(sample.LISTED)) == min(files, 100)
        assert self.client.read_text(sample.path(files - 1)) == sample.content(files - 1)

    def _fill(self, batch: list[tuple[str, str]]) -> None:
        blobs = self.trove.server.blobs
        payloads = [(name, timelines.payload(blobs, self.workspace, text.encode())) for name, text in batch]

        def commit(tx: Connection) -> None:
            change = timelines.Change(tx, self._space(tx), kind="fill", now_ns=self.database.now_ns())
            for name, payload in payloads:
                change.put_file(name, payload)
            change.commit()

        self.database.write(commit)

    def _space(self, db: Connection) -> Namespace:
        space = timelines.namespace(db, self.workspace, NAMESPACE)
        assert space is not None
        return space

    # End to end
    def write(self, turn: int) -> None:
        self.client.write(sample.scattered(turn, self._files), sample.content(turn, "ours"))

    def create(self, turn: int) -> None:
        self.client.write(f"new/f{turn}", sample.content(turn, "ours"))

    def read(self, turn: int) -> None:
        self.client.read_text(sample.scattered(turn, self._files))

    def list(self, turn: int) -> None:
        self.client.list_dir(sample.LISTED)

    def snapshot(self, turn: int) -> None:
        self.client.create_snapshot()

    def restore(self) -> Contender:
        """Back to the first snapshot, each time after one file changed."""
        return Contender(lambda turn: self.client.restore_snapshot(self._kept.snapshot_id), self.write)

    def fork(self, turn: int) -> None:
        self.client.fork(f"{NAMESPACE}-end-{next(self._numbers)}")

    def reference(self) -> Contender:
        """As a step of an agent ends: something was written, and the state is referred to."""

        def take(turn: int) -> None:
            self.client.create_reference(thread="t", step=str(turn))

        return Contender(take, self.write)

    def diff(self) -> Contender:
        """What changed since the snapshot: ten files, whatever the size of the workspace."""
        self.client.restore_snapshot(self._kept.snapshot_id)
        for turn in range(10):
            self.write(turn)
        return Contender(lambda turn: list(self.client.diff(self._kept.snapshot_id)))

    def history(self, turn: int) -> None:
        """Of one path, the newest page of its changes."""
        next(self.client.history(sample.scattered(0, self._files)))

    def exec(self, turn: int) -> None:
        self.client.exec("true")

    def fork_and_exec(self, turn: int) -> None:
        """From the call that forks to the end of the first command in the fork."""
        name = f"{NAMESPACE}-{next(self._numbers)}"
        self.client.fork(name)
        with self.trove.client(name) as fork:
            fork.exec("true")

    @property
    def overlays(self) -> bool:
        return self.trove.report().working_copies == "overlay"

    def copies_bytes(self) -> int:
        """What working copies take on disk."""
        root = self.trove.folder / "copies"
        return sum(path.lstat().st_blocks for path in root.rglob("*")) * 512

    # In the store: the transaction that such a call makes, without keys, events and answers
    def store_write(self, turn: int) -> None:
        payload = timelines.payload(
            self.trove.server.blobs, self.workspace, sample.content(turn, "store").encode()
        )

        def commit(tx: Connection) -> None:
            change = timelines.Change(tx, self._space(tx), kind="write", now_ns=self.database.now_ns())
            change.put_file(sample.scattered(turn, self._files), payload)
            change.commit()

        self.database.write(commit)

    def store_read(self, turn: int) -> None:
        with self.database.read() as db:
            entry = timelines.find(db, self._space(db).at, sample.scattered(turn, self._files))
            assert entry is not None and entry.content is not None
            timelines.read_content(db, entry.content)

    def store_list(self, turn: int) -> None:
        with self.database.read() as db:
            timelines.children(db, self._space(db).at, sample.LISTED)

    def store_snapshot(self, turn: int) -> None:
        identity = f"snap-{next(self._numbers):016x}"
        self.database.write(
            lambda tx: timelines.snapshot(
                tx, self._space(tx), id=identity, label=None, now_ns=self.database.now_ns()
            )
        )

    def store_fork(self, turn: int) -> None:
        name = f"fork-{next(self._numbers)}"
        self.database.write(
            lambda tx: timelines.create_namespace(
                tx, self.workspace, name, now_ns=self.database.now_ns(), at=self._space(tx).at
            )
        )

    def store_restore(self) -> Contender:
        def restore(tx: Connection) -> None:
            row = timelines.snapshot_by_id(tx, self._kept.snapshot_id)
            assert row is not None
            timelines.restore(
                tx,
                self._space(tx),
                row.at,
                files=row.files,
                bytes=row.bytes,
                now_ns=self.database.now_ns(),
                actor=None,
                step=None,
            )

        return Contender(lambda turn: self.database.write(restore), self.write)

    def close(self) -> None:
        self.client.close()
        self.trove.close()
