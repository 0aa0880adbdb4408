"""Random operations against a plain dictionary for each state.

``TROVE_SOAK=600`` runs that many, and longer ones.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from trove_agents.server import timelines
from trove_agents.server.blobs import BlobStore
from trove_agents.server.db import Database
from trove_agents.server.jobs import DAY, Turn
from trove_agents.server.timelines import (
    Change,
    Collection,
    IsADirectory,
    Kind,
    Missing,
    NotADirectory,
    retention,
)
from trove_agents.wire import names

WORKSPACE = "ws-0000000000000001"
# "a-" and "a0" stand on both sides of "a/" in byte order; one name is not UTF-8, one is beyond 16 bits
NAMES = ["a", "a-", "a0", "é", "\udcff", "\U0001f600"]
PATHS = st.lists(st.sampled_from(NAMES[:3]), max_size=2).flatmap(
    lambda above: st.sampled_from(NAMES).map(lambda name: "/".join([*above, name]))
)
CONTENTS = {"empty": b"", "one": b"1", "two": b"2", "large": b"x" * 20_000}
BYTES = st.sampled_from(sorted(CONTENTS))
TIMES = st.sampled_from([None, 5, 7])


class Node(NamedTuple):
    kind: Kind
    mode: int
    size: int
    mtime: int
    content: int | None  # a token that is new whenever the store must not take the bytes for the same
    since: int
    data: bytes | None

    def __repr__(self):
        return f"{self.kind.name} {self.mode:o} {self.size} at {self.mtime} c{self.content} v{self.since}"

    @property
    def stat(self):
        return self[:5]


def parents(path):
    while path := path.rpartition("/")[0]:
        yield path


def inside(state, path):
    return [below for below in state if below == path or below.startswith(path + "/")]


def order(state, path):
    """What ``walk`` must give."""
    start = path + "/" if path else ""
    found = [p for p in state if p.startswith(start) and "/" not in p[len(start) :]]
    found.sort(key=names.to_bytes)
    for below in found:
        if state[below].kind is Kind.DIRECTORY:
            yield below
            yield from order(state, below)
    yield from (below for below in found if state[below].kind is not Kind.DIRECTORY)


class Model:
    """A change applied to a dictionary."""

    tokens = 0

    def __init__(self, state, version, now):
        self.before, self.state, self.version, self.now = state, dict(state), version, now

    def room(self, path, replace):
        above = list(parents(path))
        for parent in above:
            if parent in self.state and self.state[parent].kind is not Kind.DIRECTORY and not replace:
                raise NotADirectory(parent)
        for parent in above:
            if parent in self.state and self.state[parent].kind is not Kind.DIRECTORY:
                del self.state[parent]
        for parent in reversed(above):
            self.state.setdefault(parent, Node(Kind.DIRECTORY, 0o755, 0, self.now, None, 0, None))

    def put(self, kind, path, data, mode, mtime, replace):
        was = self.state.get(path)
        if was is not None and was.kind is Kind.DIRECTORY:
            if not replace:
                raise IsADirectory(path)
            self.remove(path)
            was = None
        self.room(path, replace)
        if was is not None and was.data == data:
            token = was.content
        else:
            Model.tokens += 1
            token = Model.tokens
        mtime = self.now if mtime is None else mtime
        self.state[path] = Node(kind, mode, len(data), mtime, token, 0, data)

    def directory(self, path, mode, mtime, replace):
        was = self.state.get(path)
        if was is not None and was.kind is Kind.DIRECTORY:
            mtime = was.mtime if mtime is None else mtime
        elif was is not None:
            if not replace:
                raise NotADirectory(path)
            del self.state[path]
        self.room(path, replace)
        mtime = self.now if mtime is None else mtime
        self.state[path] = Node(Kind.DIRECTORY, mode, 0, mtime, None, 0, None)

    def content(self, path, node, replace):
        if node.kind is Kind.DIRECTORY:
            return self.directory(path, node.mode, node.mtime, replace)
        was = self.state.get(path)
        if was is not None and was.kind is Kind.DIRECTORY:
            if not replace:
                raise IsADirectory(path)
            self.remove(path)
        self.room(path, replace)
        self.state[path] = node
        return None

    def remove(self, path):
        if path not in self.state:
            raise Missing(path)
        gone = inside(self.state, path)
        files = sum(self.state[below].kind is not Kind.DIRECTORY for below in gone)
        for below in gone:
            del self.state[below]
        return files

    def result(self):
        for path, node in self.state.items():
            was = self.before.get(path)
            same = was is not None and was.stat == node.stat
            self.state[path] = node._replace(since=was.since if same else self.version)
        return self.state


EDITS = st.one_of(
    st.tuples(st.just("file"), PATHS, BYTES, st.sampled_from([0o644, 0o755]), TIMES, st.booleans()),
    st.tuples(st.just("link"), PATHS, BYTES, TIMES, st.booleans()),
    st.tuples(st.just("directory"), PATHS, st.sampled_from([0o755, 0o700]), TIMES, st.booleans()),
    st.tuples(st.just("remove"), PATHS),
    st.tuples(st.just("content"), PATHS, PATHS, st.booleans()),
)
REFUSALS = (IsADirectory, NotADirectory, Missing)


class Timelines(RuleBasedStateMachine):
    place = staticmethod(lambda folder: folder)

    @initialize()
    def start(self):
        self.folder = tempfile.TemporaryDirectory()
        self.database = Database.open(self.place(Path(self.folder.name)))
        self.blobs = BlobStore.local(Path(self.folder.name) / "blobs")
        self.now = 1000
        self.heads = {}  # name -> state
        self.past = {}  # name -> [(version, state)], oldest first
        self.states = []  # (At, state): every state that ever was
        self.tokens = {}  # content -> token
        self.snapped = {}  # id -> At
        self.referred = {}  # id -> At
        self.horizon = self.serial = 0
        self.create("n0", None, {})

    def teardown(self):
        if hasattr(self, "database"):
            self.database.close()
            self.folder.cleanup()

    def tick(self, data):
        self.now += data.draw(st.sampled_from([-3, 0, 1, 50]), "clock")
        return self.now

    def create(self, name, at, state):
        made = self.database.write(
            lambda tx: timelines.create_namespace(tx, WORKSPACE, name, now_ns=self.now, at=at)
        )
        if at is not None:
            assert made.at.version > at.version
        self.past[name] = []
        self.moved(made, state)

    def moved(self, space, state):
        """A namespace has a new version."""
        assert all(version < space.at.version for version, _ in self.past[space.name])
        self.heads[space.name] = state
        self.past[space.name].append((space.at.version, state))
        self.states.append((space.at, state))
        files = [node for node in state.values() if node.kind is not Kind.DIRECTORY]
        assert space.files == len(files)
        assert space.bytes == sum(node.size for node in files if node.kind is Kind.FILE)
        with self.database.read() as db:
            assert timelines.namespace(db, WORKSPACE, space.name) == space
            assert timelines.totals(db, space.at) == (space.files, space.bytes)
        self.check(space.at, state)

    def same(self, entry, node):
        if entry is None or node is None:
            return entry is None and node is None
        token = None if entry.content is None else self.tokens.setdefault(entry.content, node.content)
        return (*entry.stat[:4], token, entry.since) == node[:6]

    def check(self, at, state):
        with self.database.read() as db:
            walked = list(timelines.walk(db, at))
            assert [entry.path for entry in walked] == list(order(state, ""))
            for entry in walked:
                assert self.same(entry, state[entry.path]), (entry, state[entry.path])
                assert timelines.find(db, at, entry.path) == entry

    def head(self, db, name):
        return timelines.namespace(db, WORKSPACE, name)

    def any_head(self, data):
        return data.draw(st.sampled_from(sorted(self.heads)), "namespace")

    def any_state(self, data):
        # The newest are the likelier: that is where chains grow
        newest = st.sampled_from(self.states[-3:])
        return data.draw(st.one_of(newest, st.sampled_from(self.states)), "state")

    @rule(data=st.data(), edits=st.lists(EDITS, min_size=1, max_size=5))
    def change(self, data, edits):
        name, now = self.any_head(data), self.tick(data)
        note(f"{name} {edits}")
        payloads = [
            timelines.payload(self.blobs, WORKSPACE, CONTENTS[edit[2]]) if edit[0] == "file" else None
            for edit in edits
        ]

        def commit(tx):
            space = self.head(tx, name)
            change = Change(tx, space, kind="write", now_ns=now)
            model = Model(self.heads[name], change.version, now)
            assert change.version == max(space.at.version + 1, now)
            for (what, path, *rest), payload in zip(edits, payloads, strict=True):
                if what == "content":
                    rest = (timelines.find(tx, space.at, rest[0]), self.heads[name].get(rest[0]), rest[1])
                    if rest[0] is None:
                        continue
                self.edit(change, model, what, path, rest, payload)
            state = model.result()
            return space, change.commit(), state

        was, space, state = self.database.write(commit)
        before = self.heads[name]
        if {p: n.stat for p, n in state.items()} == {p: n.stat for p, n in before.items()}:
            assert space == was
        else:
            self.moved(space, state)

    def edit(self, change, model, what, path, rest, payload):
        if what == "file":
            data, mode, mtime, replace = rest
            data = CONTENTS[data]
            wanted = lambda: model.put(Kind.FILE, path, data, mode, mtime, replace)
            done = lambda: change.put_file(path, payload, mode=mode, mtime_ns=mtime, replace=replace)
        elif what == "link":
            data, mtime, replace = rest
            data = CONTENTS[data]
            wanted = lambda: model.put(Kind.LINK, path, data, 0o777, mtime, replace)
            done = lambda: change.put_link(path, data, mtime_ns=mtime, replace=replace)
        elif what == "directory":
            mode, mtime, replace = rest
            wanted = lambda: model.directory(path, mode, mtime, replace)
            done = lambda: change.put_directory(path, mode=mode, mtime_ns=mtime, replace=replace)
        elif what == "content":
            entry, node, replace = rest
            wanted = lambda: model.content(path, node, replace)
            done = lambda: change.put_content(path, entry, replace=replace)
        else:
            wanted, done = lambda: model.remove(path), lambda: change.remove(path)
        results = []
        for action in wanted, done:
            try:
                result = action()
                results.append(result if what == "remove" else None)
            except REFUSALS as error:
                results.append((type(error), error.path))
        assert results[0] == results[1]

    @rule(data=st.data())
    def snapshot(self, data):
        name, now = self.any_head(data), self.tick(data)
        self.serial += 1
        key = f"snap-{self.serial}"
        row = self.database.write(
            lambda tx: timelines.snapshot(tx, self.head(tx, name), id=key, label=name, now_ns=now)
        )
        with self.database.read() as db:
            space = self.head(db, name)
            assert timelines.snapshot_by_id(db, key) == row
            assert row in timelines.snapshots(db, space.id)
        assert (row.at, row.files, row.bytes) == (space.at, space.files, space.bytes)
        self.snapped[key] = row.at
        self.moved(space, self.heads[name])

    @rule(data=st.data(), thread=st.sampled_from([None, "t"]), step=st.sampled_from([None, "1", "2"]))
    def refer(self, data, thread, step):
        """No version: the head stays where it is, and an unchanged one is not referred to twice."""
        name, now = self.any_head(data), self.tick(data)
        self.serial += 1
        key = f"ref-{self.serial}"
        with self.database.read() as db:
            before = self.head(db, name)
            known = {row.id: row for row in timelines.references(db, before.id, limit=1000)}
        row = self.database.write(
            lambda tx: timelines.refer(tx, self.head(tx, name), id=key, thread=thread, step=step, now_ns=now)
        )
        assert (row.at, row.files, row.bytes) == (before.at, before.files, before.bytes)
        assert (row.thread, row.step) == (thread, step)
        same = [r for r in known.values() if (r.at, r.thread, r.step) == (row.at, thread, step)]
        assert same == [row] if same else row.id == key
        with self.database.read() as db:
            assert self.head(db, name) == before
            assert timelines.reference(db, row.id) == row
            listed = timelines.references(db, before.id, limit=1000)
            assert listed == ([] if same else [row]) + list(known.values())
            of_thread = timelines.references(db, before.id, limit=1000, thread=thread or "")
            assert of_thread == [each for each in listed if each.thread == thread]
        self.referred[row.id] = row.at

    @precondition(lambda self: self.referred)
    @rule(data=st.data())
    def delete_references(self, data):
        keys = data.draw(st.lists(st.sampled_from(list(self.referred)), unique=True), "references")
        name = self.any_head(data)

        def commit(tx):
            ours = [key for key in keys if timelines.reference(tx, key).namespace == self.head(tx, name).id]
            assert timelines.delete_references(tx, self.head(tx, name).id, keys) == len(ours)
            return ours

        for key in self.database.write(commit):
            del self.referred[key]

    @precondition(lambda self: len(self.heads) < 6)
    @rule(data=st.data())
    def fork(self, data):
        self.tick(data)
        at, state = self.any_state(data)
        self.create(f"n{len(self.heads)}", at, state)

    @rule(data=st.data())
    def restore(self, data):
        name, now = self.any_head(data), self.tick(data)
        at, state = self.any_state(data)

        def commit(tx):
            files, size = timelines.totals(tx, at)
            return timelines.restore(tx, self.head(tx, name), at, files=files, bytes=size, now_ns=now)

        space = self.database.write(commit)
        assert space.at.version > at.version
        self.moved(space, state)

    @rule(data=st.data())
    def flatten(self, data):
        name = self.any_head(data)
        with self.database.read() as db:
            head = self.head(db, name).at
        timelines.flatten(self.database, head.timeline, batch=2)
        with self.database.read() as db:
            assert timelines.depth(db, head) <= 2
        self.check(head, self.heads[name])

    @precondition(lambda self: self.snapped)
    @rule(data=st.data())
    def delete_snapshot(self, data):
        key = data.draw(st.sampled_from(list(self.snapped)), "snapshot")
        assert self.database.write(lambda tx: timelines.delete_snapshot(tx, key))
        del self.snapped[key]

    @rule(data=st.data(), hasty=st.booleans())
    def forget(self, data, hasty):
        """All that must stay are the heads, the snapshots, the references and what is younger than the horizon."""
        versions = [at.version for at, _ in self.states]
        horizon = data.draw(st.sampled_from(versions), "horizon") + data.draw(st.sampled_from([-1, 0, 1]))
        self.horizon = max(self.horizon, horizon)
        place, turns = None, 0
        job = timelines.Retention(self.database, days=1)
        ends = 0 if hasty else float("inf")
        while (place := job.forget(Turn(horizon + DAY * 10**9, place, ends))) is not None:
            turns += 1
            assert hasty and turns < 1000
        with self.database.read() as db:
            heads = {self.head(db, name).at for name in self.heads}
        wanted = heads | {*self.snapped.values(), *self.referred.values()}
        # A clock that went back brings nothing back
        self.states = [(at, state) for at, state in self.states if at.version >= self.horizon or at in wanted]
        Collection(self.database, self.blobs).sweep_contents(Turn(0))
        for at, state in self.states:
            self.check(at, state)
        with self.database.read() as db:
            for name in self.heads:
                space = self.head(db, name)
                assert timelines.kept(db, space.at) or space.at.version < self.horizon
                assert timelines.totals(db, space.at) == (space.files, space.bytes)

    @rule(data=st.data())
    def look_back(self, data):
        at, state = self.any_state(data)
        self.check(at, state)

    @rule(data=st.data())
    def look_at_a_time(self, data):
        name = self.any_head(data)
        past = self.past[name]
        version = data.draw(st.integers(past[0][0] - 2, past[-1][0] + 2), "version")
        with self.database.read() as db:
            key = self.head(db, name).id
            known = [state for then, state in past if then <= version]
            if not known:
                try:
                    timelines.at_version(db, key, version)
                except timelines.NotFound:
                    return
                raise AssertionError("older than the namespace")
            try:
                at = timelines.at_version(db, key, version)
            except timelines.NotFound:
                assert version < self.horizon
                return
        self.check(at, known[-1])

    @rule(data=st.data(), path=st.one_of(st.just(""), PATHS), limit=st.integers(1, 3))
    def look_into(self, data, path, limit):
        at, state = self.any_state(data)
        is_dir = not path or (path in state and state[path].kind is Kind.DIRECTORY)
        wanted = list(order(state, path)) if is_dir else []
        flat = sorted((p for p in wanted if p.rpartition("/")[0] == path), key=names.to_bytes)
        with self.database.read() as db:
            assert [e.path for e in timelines.walk(db, at, path)] == wanted
            assert [e.path for e in timelines.walk(db, at, path, limit=limit)] == wanted[:limit]
            depth = path.count("/") + bool(path)
            near = [p for p in wanted if p.count("/") - depth < limit]
            assert [e.path for e in timelines.walk(db, at, path, levels=limit)] == near
            assert [e.path for e in timelines.children(db, at, path)] == flat
            paged, after = [], None
            while page := timelines.children(db, at, path, limit=limit, after=after):
                paged += [entry.path for entry in page]
                after = page[-1].name
            assert paged == flat

    @rule(data=st.data())
    def compare(self, data):
        (a, before), (b, after) = self.any_state(data), self.any_state(data)
        with self.database.read() as db:
            found = timelines.differences(db, a, b)
        paths = [
            p
            for p in before.keys() | after.keys()
            if p not in before or p not in after or before[p].stat != after[p].stat
        ]
        assert [d.path for d in found] == sorted(paths, key=names.to_bytes)
        for difference in found:
            path = difference.path
            assert self.same(difference.before, before.get(path)) and self.same(
                difference.after, after.get(path)
            )
            change = "added" if path not in before else "removed" if path not in after else "changed"
            assert difference.change == change

    @rule(data=st.data(), path=PATHS)
    def look_at_history(self, data, path):
        name = self.any_head(data)
        wanted, was = [], None
        for version, state in self.past[name]:
            node = state.get(path)
            if (node and node[:6] != (was and was[:6])) or (was and not node):
                wanted.append((version, node))
            was = node
        with self.database.read() as db:
            key = self.head(db, name).id
            found = timelines.history(db, key, path)
            first = retention.horizon(db, key)
        assert first <= self.horizon
        wanted = [(version, node) for version, node in wanted if version > first]
        assert [row.version for _, row in found] == [version for version, _ in reversed(wanted)]
        assert all(self.same(e, node) for (e, _), (_, node) in zip(found, reversed(wanted), strict=True))

    @rule(data=st.data(), path=PATHS)
    def read(self, data, path):
        name = self.any_head(data)
        node = self.heads[name].get(path)
        with self.database.read() as db:
            found = timelines.read_head(db, WORKSPACE, name, path)
            if node is None:
                assert found is None
                return
            space, entry, payload = found
            assert space == self.head(db, name)
            assert self.same(entry, node)
            if node.kind is Kind.DIRECTORY:
                assert payload is None
                return
            assert timelines.read_content(db, entry.content) == payload
            assert timelines.digests(db, [entry.content]) == {entry.content: payload.digest}
        data = payload.data
        if data is None:
            data = b"".join(
                piece for part in payload.parts for piece in self.blobs.stream(WORKSPACE, part.digest)
            )
        assert data == node.data


SOAK = "TROVE_SOAK" in os.environ
TestTimelines = Timelines.TestCase


class OnPostgres(Timelines):
    place = staticmethod(lambda folder: sys.modules["tests_postgres"].url(folder))


TestTimelinesOnPostgres = OnPostgres.TestCase
TestTimelines.settings = settings(
    max_examples=int(os.environ["TROVE_SOAK"]) if SOAK else 30,
    stateful_step_count=120 if SOAK else 30,
    deadline=None,
    phases=[Phase.generate] if SOAK else [Phase.generate, Phase.shrink],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
    derandomize=not SOAK,
    database=None,
)
TestTimelinesOnPostgres.settings = settings(
    TestTimelines.settings, max_examples=TestTimelines.settings.max_examples if SOAK else 8
)
