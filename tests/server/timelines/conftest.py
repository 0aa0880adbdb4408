import itertools

import pytest
import tests_objects as objects

from trove_agents.server import timelines
from trove_agents.server.blobs import BlobStore
from trove_agents.server.db import Database
from trove_agents.server.timelines import Change

WORKSPACE = "ws-0000000000000001"


class Store:
    """A database and blobs, and the shortest way to say what a test does with them."""

    def __init__(self, folder, place=lambda folder: folder):
        where = place(folder)
        self.database = Database.open(where)
        self.blobs = BlobStore.open(objects.bucket() if isinstance(where, str) else folder / "blobs")
        self.clock = itertools.count(1_000_000_000_000, 1_000_000)
        self.serial = itertools.count(1)

    def close(self):
        self.database.close()

    def create(self, name="main", at=None):
        now = next(self.clock)
        return self.database.write(
            lambda tx: timelines.create_namespace(tx, WORKSPACE, name, now_ns=now, at=at)
        )

    def change(self, name, edit, kind="write"):
        """``edit(change)`` as one version; the namespace after it."""
        now = next(self.clock)

        def commit(tx):
            change = Change(tx, timelines.namespace(tx, WORKSPACE, name), kind=kind, now_ns=now)
            edit(change)
            return change.commit()

        return self.database.write(commit)

    def put(self, path, data=b"data", name="main", **options):
        payload = timelines.payload(self.blobs, WORKSPACE, data)
        return self.change(name, lambda change: change.put_file(path, payload, **options))

    def remove(self, path, name="main"):
        return self.change(name, lambda change: change.remove(path), kind="delete")

    def head(self, name="main"):
        with self.database.read() as db:
            return timelines.namespace(db, WORKSPACE, name)

    def snapshot(self, name="main", **options):
        now, key = next(self.clock), f"snap-{next(self.serial)}"
        return self.database.write(
            lambda tx: timelines.snapshot(
                tx, timelines.namespace(tx, WORKSPACE, name), id=key, label=None, now_ns=now, **options
            )
        )

    def refer(self, name="main", thread=None, step=None):
        now, key = next(self.clock), f"ref-{next(self.serial)}"
        return self.database.write(
            lambda tx: timelines.refer(
                tx, timelines.namespace(tx, WORKSPACE, name), id=key, thread=thread, step=step, now_ns=now
            )
        )

    def restore(self, at, name="main"):
        now = next(self.clock)

        def commit(tx):
            files, size = timelines.totals(tx, at)
            return timelines.restore(
                tx, timelines.namespace(tx, WORKSPACE, name), at, files=files, bytes=size, now_ns=now
            )

        return self.database.write(commit)

    def read(self, function, *arguments, **options):
        with self.database.read() as db:
            return function(db, *arguments, **options)

    def paths(self, at, *arguments, **options):
        with self.database.read() as db:
            return [entry.path for entry in timelines.walk(db, at, *arguments, **options)]


@pytest.fixture
def sqlite_store(tmp_path):
    """For what is about this engine."""
    store = Store(tmp_path)
    yield store
    store.close()


@pytest.fixture
def store(tmp_path, place):
    store = Store(tmp_path, place)
    yield store
    store.close()
