"""A reference shows the same bytes for as long as it exists: whatever is written, restored, forked, flattened,
forgotten and collected meanwhile, with the clock of the jobs far ahead.

``TROVE_SOAK=200`` runs that many, and longer ones.
"""

import os
import tempfile

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trove_agents import TroveNotFoundError
from trove_agents.embedded import Trove
from trove_agents.server import timelines
from trove_agents.server.jobs import DAY, Turn
from trove_agents.server.timelines import Collection, Retention

PATHS = st.sampled_from(["a", "b", "d/a", "d/e/f"])
LARGE = "x" * 20_000  # as a blob
CONTENT = st.sampled_from(["", "x", "yy", LARGE, LARGE + "y"])
NAMES = st.sampled_from([None, "1", "2"])


class Referred(RuleBasedStateMachine):
    """Only files: the model of a state is path to content."""

    @initialize()
    def open(self):
        self.folder = tempfile.TemporaryDirectory()
        self.trove = Trove.local(self.folder.name)
        self.clients = {}
        self.heads, self.kept = {}, {}  # name -> state, reference_id -> (reference, state)
        self.rounds = 0
        self.client("n0").write("a", "first")
        self.heads["n0"] = {"a": "first"}

    def teardown(self):
        if hasattr(self, "trove"):
            self.trove.close()
            self.folder.cleanup()

    def client(self, name):
        return self.clients.setdefault(name, self.trove.client(name))

    def any(self, data):
        return data.draw(st.sampled_from(sorted(self.heads)))

    def any_kept(self, data):
        return self.kept[data.draw(st.sampled_from(list(self.kept)))]  # their ids are random

    @rule(data=st.data(), path=PATHS, content=CONTENT)
    def write(self, data, path, content):
        name = self.any(data)
        self.client(name).write(path, content)
        self.heads[name] = self.heads[name] | {path: content}

    @rule(data=st.data(), path=st.sampled_from(["a", "d", "d/a", "d/e"]))
    def delete(self, data, path):
        name = self.any(data)
        left = {p: c for p, c in self.heads[name].items() if p != path and not p.startswith(path + "/")}
        try:
            self.client(name).delete(path)
        except TroveNotFoundError:
            assert left == self.heads[name]
        self.heads[name] = left

    @rule(data=st.data())
    def snapshot(self, data):
        self.client(self.any(data)).create_snapshot()

    @rule(data=st.data(), thread=NAMES, step=NAMES)
    def refer(self, data, thread, step):
        name = self.any(data)
        made = self.client(name).create_reference(thread=thread, step=step)
        state = self.heads[name]
        assert (made.namespace, made.thread, made.step) == (name, thread, step)
        assert (made.files, made.size_bytes) == (len(state), sum(map(len, state.values())))
        assert self.kept.setdefault(made.reference_id, (made, state)) == (made, state)

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def restore(self, data):
        made, state = self.any_kept(data)
        done = self.client(made.namespace).restore_to(made)
        assert (done.to, done.files_restored) == (made.version, len(state))
        assert done.changed or self.heads[made.namespace] == state
        self.heads[made.namespace] = state

    @precondition(lambda self: self.kept and len(self.heads) < 4)
    @rule(data=st.data())
    def fork(self, data):
        made, state = self.any_kept(data)
        new = f"n{len(self.heads)}"
        told = self.client(made.namespace).fork(new, made)
        assert (told.at, told.files, told.bytes) == (made.version, made.files, made.size_bytes)
        self.heads[new] = state

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def compare(self, data):
        made, before = self.any_kept(data)
        after = self.heads[made.namespace]
        told = {each.path[10:]: each.change for each in self.client(made.namespace).diff(made)}
        for path in before.keys() | after.keys():
            if path not in after:
                assert told[path] == "removed"
            elif path not in before:
                assert told[path] == "added"
            elif before[path] != after[path]:
                assert told[path] == "changed"

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def end(self, data):
        made, _ = self.any_kept(data)
        self.client(made.namespace).delete_reference(made.reference_id)
        del self.kept[made.reference_id]
        with pytest.raises(TroveNotFoundError):
            self.client(made.namespace).list_dir(at=made)

    @rule(data=st.data(), thread=NAMES)
    def end_a_thread(self, data, thread):
        name = self.any(data)
        gone = [
            key for key, (made, _) in self.kept.items() if (made.namespace, made.thread) == (name, thread)
        ]
        count = self.client(name).delete_references(thread=thread or "")
        assert count == len(gone)
        for key in gone:
            del self.kept[key]

    @rule(data=st.data())
    def flatten(self, data):
        name, database = self.any(data), self.trove.server.database
        with database.read() as db:
            at = timelines.namespace(db, self.trove.credentials.workspace_id, name).at
        timelines.flatten(database, at.timeline, batch=2)

    @rule()
    def forget_and_collect(self):
        """All that is no head, not referred to and of no snapshot; with every grace period over."""
        database, blobs = self.trove.server.database, self.trove.server.blobs
        self.rounds += 1
        turn = Turn(database.now_ns() + self.rounds * 100 * DAY * 10**9)
        assert Retention(database, days=1).forget(turn) is None
        collection = Collection(database, blobs)
        for job in (collection.sweep_contents, collection.sweep_blobs, collection.sweep_objects):
            assert job(turn) is None

    @invariant()
    def references_show_what_they_showed(self):
        for made, state in getattr(self, "kept", {}).values():
            client = self.client(made.namespace)
            assert client.get_reference(made.reference_id) == made
            listed = {
                entry.path[10:] for entry in client.list_dir(recursive=True, at=made) if not entry.is_dir
            }
            assert listed == set(state)
            for path, content in state.items():
                assert client.read_bytes(path, at=made) == content.encode()

    @invariant()
    def heads_are_what_they_are(self):
        for name, state in getattr(self, "heads", {}).items():
            for path, content in state.items():
                assert self.client(name).read_bytes(path) == content.encode()


SOAK = "TROVE_SOAK" in os.environ
TestReferred = Referred.TestCase
TestReferred.settings = settings(
    max_examples=int(os.environ["TROVE_SOAK"]) if SOAK else 25,
    stateful_step_count=60 if SOAK else 25,
    deadline=None,
    phases=[Phase.generate] if SOAK else [Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
    derandomize=not SOAK,
    database=None,
)
