"""Nothing that somebody uses is ever collected, whatever happens in between; everything else is, in the end.

``TROVE_SOAK=600`` runs that many, and longer ones.
"""

import os
import tempfile
import time
from pathlib import Path
from unittest import mock

import hypothesis.strategies as st
import tests_objects as objects
from blake3 import blake3
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from obstore.store import from_url
from sqlalchemy import bindparam, delete, select

from trove_agents.server import timelines
from trove_agents.server.blobs import BlobStore, Disk
from trove_agents.server.blobs.objects import ObjectBucket
from trove_agents.server.db import Database
from trove_agents.server.db.tables import LIVE, contents, entries
from trove_agents.server.jobs import DAY, HOUR, Turn
from trove_agents.server.timelines import Change, Collection
from trove_agents.server.timelines import collection as module

WORKSPACE = "ws-0000000000000001"
BYTES = [bytes([n]) * 20_000 for n in range(3)]
PATHS = ["a", "b", "c"]
BEGIN = 2_000_000_000
FORGET = delete(entries).where(entries.c.name == bindparam("path"), entries.c.until < LIVE)
KEYS = select(contents.c.id)


class ClockedDisk(Disk):
    """Whose files get their times from the test's clock."""

    def publish(self, temporary, key):
        super().publish(temporary, key)
        now = self._clock()
        os.utime(self._folder / key, (now, now))


class ClockedBucket(ObjectBucket):
    """Whose objects get their times from the test's clock; a writer comes between an object's look and its end."""

    def __init__(self, url, clock, between):
        super().__init__(from_url(url, client_options={"allow_http": True}), clock=clock)
        self.url, self.between, self.deleting = url, between, False

    def stamp(self):
        """What was written since the last time: the test's clock is ahead of this machine's."""
        for key in objects.keys(self.url):
            if super().written(key) < BEGIN:
                objects.age(self.url, key, self._clock())

    def delete(self, key, *, unused_since):
        self.deleting = True
        return super().delete(key, unused_since=unused_since)

    def written(self, key):
        self.stamp()
        seen = super().written(key)
        if self.deleting:
            self.deleting = False
            self.between(bytes.fromhex(key.rpartition("/")[2]))
        return seen


class Interrupted(BlobStore):
    """Lets a writer come between a row's deletion and its object's, and after it."""

    def __init__(self, objects, between):
        super().__init__(objects)
        self.between = between

    def delete(self, workspace, digest, *, unused_since):
        self.between(digest)
        deleted = super().delete(workspace, digest, unused_since=unused_since)
        self.between(digest)
        return deleted


class Hesitant:
    """A database whose transactions begin a while after what they rely on was read."""

    def __init__(self, database, between):
        self.read, self.commit, self.between = database.read, database.write, between

    def write(self, function):
        self.between()
        return self.commit(function)


class Collecting(RuleBasedStateMachine):
    @initialize()
    def start(self):
        self.folder = tempfile.TemporaryDirectory()
        self.seconds = BEGIN
        path = Path(self.folder.name)
        self.database = Database.open(path, clock=lambda: self.seconds * 10**9)
        self.objects = self.place(path)
        self.blobs = BlobStore(self.objects)
        self.database.write(
            lambda tx: timelines.create_namespace(tx, WORKSPACE, "main", now_ns=self.seconds * 10**9)
        )
        self.files = {}  # path -> bytes
        self.waiting = []  # (begun, bytes, payload): stored, and not committed
        self.script = []

    def place(self, folder):
        return ClockedDisk(folder / "blobs", clock=lambda: self.seconds)

    def advance(self, seconds):
        self.seconds += seconds

    def teardown(self):
        if hasattr(self, "database"):
            self.database.close()
            self.folder.cleanup()

    # A writer
    @rule(data=st.sampled_from(BYTES))
    def store(self, data):
        self.waiting.append((self.seconds, data, timelines.payload(self.blobs, WORKSPACE, data)))

    @rule(path=st.sampled_from(PATHS))
    def commit(self, path):
        if self.waiting:
            _, data, payload = self.waiting.pop(0)
            self.change(lambda change: change.put_file(path, payload))
            self.files[path] = data

    @rule()
    def crash(self):
        self.waiting.clear()

    @rule(path=st.sampled_from(PATHS))
    def remove(self, path):
        if path in self.files:
            self.change(lambda change: change.remove(path))
            del self.files[path]

    @rule(path=st.sampled_from(PATHS))
    def forget(self, path):
        """As retention does: the closed rows of a path."""
        self.database.write(lambda tx: tx.run(FORGET, path=path.encode()))

    def change(self, edit):
        def commit(tx):
            change = Change(
                tx,
                timelines.namespace(tx, WORKSPACE, "main"),
                kind="write",
                now_ns=self.seconds * 10**9,
            )
            edit(change)
            change.commit()

        self.database.write(commit)

    @rule(hours=st.sampled_from([1, 13, 25]))
    def time_passes(self, hours):
        self.advance(hours * HOUR)
        # No request takes as long as the grace period
        self.waiting = [item for item in self.waiting if self.seconds - item[0] < DAY]

    # The sweep, with writers in the middle of it
    @rule(
        garbage=st.sampled_from([None, *BYTES]),
        script=st.lists(st.sampled_from(["store", "commit", "remove", "nothing"]), max_size=8),
    )
    def sweep(self, garbage, script):
        if garbage is not None:
            self.blobs.put(WORKSPACE, garbage)
            self.time_passes(25)
        self.script = script
        self.collect()

    def between(self, digest=None):
        act = self.script.pop(0) if self.script else "nothing"
        data = next((data for data in BYTES if blake3(data).digest() == digest), BYTES[0])
        if act == "store":
            self.store(data)
        elif act == "commit":
            self.commit("a")
        elif act == "remove":
            self.remove("a")

    def collect(self):
        hesitant = Hesitant(self.database, self.between)
        collection = Collection(hesitant, Interrupted(self.objects, self.between))
        turn = Turn(self.seconds * 10**9)
        for job in (
            collection.sweep_contents,
            collection.sweep_blobs,
            collection.sweep_objects,
            collection.sweep_aside,
        ):
            assert job(turn) is None
        self.check()

    @rule()
    def check(self):
        with self.database.read() as db:
            head = timelines.namespace(db, WORKSPACE, "main").at
            assert {entry.path for entry in timelines.walk(db, head)} == set(self.files)
            for path, data in self.files.items():
                payload = timelines.read_content(db, timelines.find(db, head, path).content)
                [part] = payload.parts
                assert b"".join(self.blobs.stream(WORKSPACE, part.digest)) == data

    @rule()
    def in_the_end(self):
        """Everything that nobody uses is gone."""
        self.waiting.clear()
        self.script = []
        for path in PATHS:
            self.forget(path)
        self.advance(2 * DAY)
        self.collect()
        self.advance(2 * DAY)  # for what was laid aside
        self.collect()
        used = {blake3(data).digest() for data in self.files.values()}
        with self.database.read() as db:
            left = {row[0] for row in db.all(KEYS)}
            shown = {
                timelines.find(db, timelines.namespace(db, WORKSPACE, "main").at, path).content
                for path in self.files
            }
        assert len(left - shown) <= 1, "the newest content stays"
        found = {stored.digest for stored in self.blobs.list(WORKSPACE)}
        assert used <= found and len(found - used) <= len(left - shown)


class CollectingInBucket(Collecting):
    def place(self, folder):
        return ClockedBucket(objects.bucket(), lambda: self.seconds, self.use)

    def use(self, digest):
        """Stores the same again, at the worst moment, and mostly commits it."""
        self.store(next(data for data in BYTES if blake3(data).digest() == digest))
        if self.script:
            self.commit("a")

    def advance(self, seconds):
        self.objects.stamp()
        super().advance(seconds)

    def collect(self):
        parts = sorted({blake3(data).hexdigest()[:2] for data in BYTES})  # each is a request
        with mock.patch.object(module, "_PARTS", parts):
            super().collect()

    @rule()
    def in_the_end(self):
        super().in_the_end()
        assert not list(self.objects.list("aside"))


SOAK = "TROVE_SOAK" in os.environ
TestCollecting = Collecting.TestCase
TestCollecting.settings = settings(
    max_examples=int(os.environ["TROVE_SOAK"]) if SOAK else 40,
    stateful_step_count=80 if SOAK else 30,
    deadline=None,
    phases=[Phase.generate] if SOAK else [Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
    derandomize=not SOAK,
    database=None,
)
TestCollectingInBucket = CollectingInBucket.TestCase
TestCollectingInBucket.settings = settings(
    TestCollecting.settings, max_examples=TestCollecting.settings.max_examples // 5
)


def test_collection_stops_and_goes_on(store):
    """Turns that are over at once reach the same end."""
    store.create()
    for number in range(5):
        store.put("a", bytes([number]) * 20_000)
        timelines.payload(store.blobs, WORKSPACE, bytes([100 + number]) * 20_000)
    store.database.write(lambda tx: tx.run(FORGET, path=b"a"))
    collection = Collection(store.database, store.blobs)
    now = time.time_ns() + 3 * DAY * 10**9
    for job in (collection.sweep_contents, collection.sweep_blobs, collection.sweep_objects):
        place, turns = None, 0
        while (place := job(Turn(now, place, ends=0))) is not None:
            turns += 1
            assert turns < 1000
    assert len(list(store.blobs.list(WORKSPACE))) == 1


def test_a_blob_that_is_used_again_between_the_look_and_the_sweep_keeps_its_row(store):
    store.create()
    used, other = b"x" * 20_000, b"y" * 20_000
    store.put("a", used)
    store.put("a", other)
    store.database.write(lambda tx: tx.run(FORGET, path=b"a"))
    now = time.time_ns()

    def sweep(days, between=lambda: None):
        collection = Collection(Hesitant(store.database, between), store.blobs)
        for job in (collection.sweep_contents, collection.sweep_blobs, collection.sweep_objects):
            assert job(Turn(now + days * DAY * 10**9)) is None

    writes = iter([None, lambda: store.put("b", used)])  # the second transaction is that of the blob's row
    sweep(2, lambda: (next(writes, None) or (lambda: None))())
    with store.database.read() as db:
        assert db.one(module._KNOWN, workspace=WORKSPACE, digest=blake3(used).digest()) is not None
    sweep(9)
    assert b"".join(store.blobs.stream(WORKSPACE, blake3(used).digest())) == used


def test_another_workspaces_blobs_are_its_own(store):
    """What one refers to keeps the same bytes of the other, and no more."""
    other = "ws-0000000000000002"
    store.create()
    store.put("a", b"x" * 20_000)
    store.blobs.put(other, b"y" * 20_000)
    store.database.write(lambda tx: timelines.create_namespace(tx, other, "main", now_ns=1))
    Collection(store.database, store.blobs).sweep_objects(Turn(time.time_ns() + 3 * DAY * 10**9))
    assert len(list(store.blobs.list(WORKSPACE))) == 1
    assert list(store.blobs.list(other)) == []


def test_what_is_used_again_while_a_bucket_lays_it_aside_is_put_back(store):
    seconds = [BEGIN]
    used, other = b"x" * 20_000, b"y" * 20_000
    bucket = ClockedBucket(objects.bucket(), lambda: seconds[0], lambda _: store.put("b", used))
    store.blobs = BlobStore(bucket)
    store.create()
    store.put("a", used)
    store.put("a", other)
    store.database.write(lambda tx: tx.run(FORGET, path=b"a"))
    digest = blake3(used).digest()

    def sweep(days):
        seconds[0] = BEGIN + days * DAY
        collection, turn = Collection(store.database, store.blobs), Turn(seconds[0] * 10**9)
        collection.sweep_contents(turn)
        collection.sweep_blobs(turn)
        assert b"".join(store.blobs.stream(WORKSPACE, digest)) == used
        collection.sweep_aside(turn)
        assert b"".join(store.blobs.stream(WORKSPACE, digest)) == used

    bucket.stamp()
    sweep(2)
    assert digest not in {stored.digest for stored in store.blobs.list(WORKSPACE)}
    sweep(4)
    assert digest in {stored.digest for stored in store.blobs.list(WORKSPACE)}
    assert list(bucket.list("aside")) == []
