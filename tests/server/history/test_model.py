"""Reads of any past state against a model, over random calls: writes, deletions, snapshots, restores, forks of forks."""

import tempfile

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from trove_agents import TroveNotFoundError
from trove_agents.embedded import Trove

PATHS = st.sampled_from(["a", "b", "d/a", "d/b", "d/e/f"])
CONTENT = st.text("xyz", max_size=3)


class Pasts(RuleBasedStateMachine):
    """Only files: the model of a state is path to content."""

    @initialize()
    def open(self):
        self.folder = tempfile.TemporaryDirectory()
        self.trove = Trove.local(self.folder.name)
        self.clients = {}
        self.heads, self.past, self.snapshots = {}, {}, []
        self.client("n0").write("a", "first")
        self.became("n0", {"a": "first"})

    def teardown(self):
        if hasattr(self, "trove"):
            self.trove.close()
            self.folder.cleanup()

    def client(self, name):
        return self.clients.setdefault(name, self.trove.client(name))

    def became(self, name, state):
        self.heads[name] = state
        self.past.setdefault(name, []).append((next(self.client(name).history()).version, state))

    def any(self, data):
        return data.draw(st.sampled_from(sorted(self.heads)))

    def any_past(self, data):
        name = self.any(data)
        return name, *data.draw(st.sampled_from(self.past[name]))

    @rule(data=st.data(), path=PATHS, content=CONTENT)
    def write(self, data, path, content):
        name = self.any(data)
        self.client(name).write(path, content)
        self.became(name, self.heads[name] | {path: content})

    @rule(data=st.data(), path=st.sampled_from(["a", "d", "d/a", "d/e"]))
    def delete(self, data, path):
        name = self.any(data)
        left = {p: c for p, c in self.heads[name].items() if p != path and not p.startswith(path + "/")}
        try:
            self.client(name).delete(path)
        except TroveNotFoundError:
            assert left == self.heads[name]
        else:
            self.became(name, left)

    @rule(data=st.data())
    def snapshot(self, data):
        name = self.any(data)
        taken = self.client(name).create_snapshot()
        self.became(name, self.heads[name])
        self.snapshots.append((name, taken, self.heads[name]))

    @rule(data=st.data())
    def restore(self, data):
        if self.snapshots:
            name, taken, state = data.draw(st.sampled_from(self.snapshots))
            assert self.client(name).restore_snapshot(taken.snapshot_id) == len(state)
            self.became(name, state)

    @rule(data=st.data())
    def fork(self, data):
        if len(self.heads) < 6:
            name, version, state = self.any_past(data)
            new = f"n{len(self.heads)}"
            made = self.client(name).fork(new, version)
            assert (made.at, made.files, made.bytes) == (version, len(state), sum(map(len, state.values())))
            self.became(new, state)

    @rule(data=st.data())
    def look_back(self, data):
        name, version, state = self.any_past(data)
        listed = self.client(name).list_dir(recursive=True, at=version)
        assert {e.path[10:]: e.size_bytes for e in listed if not e.is_dir} == {
            path: len(content) for path, content in state.items()
        }
        for path, content in state.items():
            assert self.client(name).read_bytes(path, at=version) == content.encode()

    @rule(data=st.data())
    def look_at_snapshots(self, data):
        if self.snapshots:
            name, taken, state = data.draw(st.sampled_from(self.snapshots))
            for path in ("a", "d/e/f"):
                if path in state:
                    assert self.client(name).read_text(path, at=taken) == state[path]
                else:
                    with pytest.raises(TroveNotFoundError):
                        self.client(name).stat(path, at=taken)

    @rule(data=st.data())
    def compare(self, data):
        name, first, before = self.any_past(data)
        second, after = data.draw(st.sampled_from(self.past[name]))
        told = {each.path[10:]: each.change for each in self.client(name).diff(first, second)}
        for path in before.keys() | after.keys():
            if path not in after:
                assert told[path] == "removed"
            elif path not in before:
                assert told[path] == "added"
            elif before[path] != after[path]:
                assert told[path] == "changed"

    @rule(data=st.data(), path=PATHS)
    def look_at_history(self, data, path):
        name = self.any(data)
        changed = {each.version: each for each in self.client(name).history(path)}
        was = None
        for version, state in self.past[name]:
            now = state.get(path)
            if (now is None) != (was is None):
                assert changed[version].change == ("removed" if now is None else "added")
            elif now != was:
                assert changed[version].change == "changed"
            if version in changed:
                assert changed[version].size_bytes == (None if now is None else len(now))
            was = now

    @invariant()
    def the_newest_version_is_the_head(self):
        for name, state in getattr(self, "heads", {}).items():
            if state:
                path, content = next(iter(state.items()))
                assert self.client(name).read_text(path) == content


TestPasts = Pasts.TestCase
TestPasts.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    database=None,
)
