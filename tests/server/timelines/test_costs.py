"""What an operation costs does not depend on how much there is: counted in rows and bytes, not in seconds."""

import pytest

from trove_agents.server import timelines
from trove_agents.server.timelines import reads

WORKSPACE = "ws-0000000000000001"


@pytest.fixture
def store(sqlite_store):
    return sqlite_store


def filled(store, count):
    payload = timelines.payload(store.blobs, WORKSPACE, b"data")

    def fill(change):
        for number in range(count):
            change.put_file(f"d{number // 100}/f{number % 100}", payload)

    store.create()
    return store.change("main", fill)


class Costs:
    """Rows changed and bytes added to the write-ahead log by each step."""

    def __init__(self, store):
        self.store = store
        self.file = next(store.database._writer._folder.glob("trove.db-wal"))

    def of(self, action):
        # A log that starts anew for each step: its size is what the step wrote
        self.store.database._writer._opened().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        rows = self.rows()
        action()
        return self.rows() - rows, self.file.stat().st_size

    def rows(self):
        return self.store.database._writer._opened().total_changes


def costs(store, count):
    space = filled(store, count)
    measure = Costs(store)
    taken = {}
    taken["snapshot"] = measure.of(store.snapshot)
    snapshot = store.head().at
    taken["fork"] = measure.of(lambda: store.create("fork", at=snapshot))
    taken["restore"] = measure.of(lambda: store.restore(space.at))
    taken["write"] = measure.of(lambda: store.put("d0/f0", b"other"))
    taken["restore again"] = measure.of(lambda: store.restore(snapshot))
    assert store.head().files == store.head("fork").files == count
    assert len(store.paths(store.head().at)) == count + count // 100
    return taken


def test_snapshot_fork_and_restore_cost_the_same_at_any_size(tmp_path, store):
    taken = []
    for count in (100, 10_000):
        store = type(store)(tmp_path / str(count))
        taken.append(costs(store, count))
        store.close()
    small, large = taken
    for step in ("snapshot", "fork", "restore", "restore again"):
        assert small[step] == large[step], step
        assert small[step][0] <= 5
    assert small["write"][0] == large["write"][0]


class Counted:
    """A connection that counts the rows it hands out."""

    def __init__(self, db):
        self.db, self.rows = db, 0

    def one(self, statement, /, **values):
        row = self.db.one(statement, **values)
        self.rows += row is not None
        return row

    def all(self, statement, /, **values):
        rows = self.db.all(statement, **values)
        self.rows += len(rows)
        return rows


@pytest.fixture
def wide(store):
    """6,000 files and 3 directories side by side, the last of them over a fork."""
    payload = timelines.payload(store.blobs, WORKSPACE, b"data")

    def fill(change):
        for number in range(6000):
            change.put_file(f"f{number:05}", payload)
        change.put_directory("z1")
        change.put_file("z2/inside", payload)

    store.create()
    at = store.change("main", fill).at
    store.create("fork", at=at)
    store.remove("z1", name="fork")
    store.put("f00003", b"other", name="fork")
    return store.put("a-directory/x", name="fork")


def test_a_page_of_a_huge_directory_reads_about_a_page(store, wide):
    with store.database.read() as db:
        counted = Counted(db)
        page = timelines.children(counted, wide.at, "", limit=10, after="f00002")
        assert [entry.name for entry in page] == [f"f{number:05}" for number in range(3, 13)]
        assert counted.rows < 100


def test_a_walk_of_a_huge_directory_stops_early(store, wide):
    with store.database.read() as db:
        counted = Counted(db)
        found = [entry.path for entry in timelines.walk(counted, wide.at, limit=50)]
        assert found[:4] == ["a-directory", "a-directory/x", "z2", "z2/inside"]
        assert found[4:] == [f"f{number:05}" for number in range(46)]
        assert counted.rows < 4 * reads.PAGE
        whole = list(timelines.walk(db, wide.at))
        assert len(whole) == 6004
        assert [entry.path for entry in whole[4:]] == [f"f{number:05}" for number in range(6000)]


def test_a_difference_reads_what_changed(store):
    space = filled(store, 2000)
    store.put("d3/f3", b"other")
    store.remove("d5/f5")
    store.create("fork", at=space.at)
    fork = store.put("new", name="fork")
    with store.database.read() as db:
        counted = Counted(db)
        found = timelines.differences(counted, store.head().at, fork.at)
        assert [(d.path, d.change) for d in found] == [
            ("d3/f3", "changed"),
            ("d5/f5", "added"),
            ("new", "added"),
        ]
        assert counted.rows < 30
