"""States that read through many others."""

import pytest

from trove_agents.server import timelines

DEPTH = 40


@pytest.fixture
def deep(store):
    """A head over 40 timelines, each with a file of its own, and one file that only the oldest has."""
    store.create()
    store.put("oldest", b"o")
    store.put("dir/gone", b"g")
    states = []
    for number in range(DEPTH):
        store.put(f"dir/f{number:02}", str(number).encode())
        store.put("dir/always", str(number).encode())
        states.append(store.head().at)
        store.restore(store.head().at)
    store.remove("dir/gone")
    return states


def content(store, path):
    with store.database.read() as db:
        return timelines.read_head(db, "ws-0000000000000001", "main", path)[2].data


def contents_of(store, at):
    with store.database.read() as db:
        return {
            entry.path: entry.content and timelines.read_content(db, entry.content).data
            for entry in timelines.walk(db, at)
        }


def test_reads_through_forty_timelines(store, deep):
    at = store.head().at
    assert store.read(timelines.depth, at) == DEPTH + 1
    names = ["always", *(f"f{number:02}" for number in range(DEPTH))]
    assert store.paths(at) == ["dir", *(f"dir/{name}" for name in names), "oldest"]
    assert content(store, "oldest") == b"o"
    assert content(store, "dir/always") == b"39"
    with store.database.read() as db:
        assert [entry.name for entry in timelines.children(db, at, "dir", limit=5, after="f10")] == names[
            12:17
        ]
        found = timelines.differences(db, deep[3], at)
    assert [d.path for d in found] == ["dir/always", *(f"dir/f{n:02}" for n in range(4, DEPTH)), "dir/gone"]


def test_flattening_changes_nothing_but_the_depth(store, deep):
    before = [contents_of(store, at) for at in (store.head().at, *deep)]
    etags = [entry.since for entry in store.read(lambda db: list(timelines.walk(db, store.head().at)))]
    history = store.read(timelines.history, store.head().id, "dir/always")
    compared = store.read(timelines.differences, deep[3], store.head().at)
    assert timelines.flatten(store.database, store.head().at.timeline, batch=7) > DEPTH
    assert store.read(timelines.depth, store.head().at) == 2
    assert [contents_of(store, at) for at in (store.head().at, *deep)] == before
    assert [e.since for e in store.read(lambda db: list(timelines.walk(db, store.head().at)))] == etags
    assert store.read(timelines.history, store.head().id, "dir/always") == history
    assert store.read(timelines.differences, deep[3], store.head().at) == compared
    assert timelines.flatten(store.database, store.head().at.timeline) == 0


def test_a_flattened_timeline_goes_on_and_is_forked(store, deep):
    timelines.flatten(store.database, store.head().at.timeline)
    store.put("oldest", b"changed")
    store.remove("dir/f01")
    fork = store.create("fork", at=store.head().at)
    assert store.paths(fork.at) == store.paths(store.head().at)
    assert "dir/f01" not in store.paths(fork.at)
    assert store.read(timelines.differences, fork.at, store.head().at) == []
    assert len(store.read(timelines.history, store.head().id, "oldest")) == 2


def test_forks_of_one_state_share_its_copy(store, deep):
    at = store.head().at
    forks = [store.create(f"fork-{number}", at=at) for number in range(3)]
    assert timelines.flatten(store.database, forks[0].at.timeline) > 0
    assert [store.read(timelines.depth, fork.at) for fork in forks] == [2, 2, 2]
    assert [timelines.flatten(store.database, fork.at.timeline) for fork in forks] == [0, 0, 0]


def test_restoring_without_writing_does_not_deepen_the_chain(store):
    store.create()
    first = store.put("a")
    for _ in range(10):
        snapshot = store.snapshot()
        store.restore(snapshot.at)
    assert store.read(timelines.depth, store.head().at) == 2
    assert store.paths(store.head().at) == store.paths(first.at) == ["a"]
    empty = store.create("empty")
    assert store.read(timelines.depth, store.create("copy", at=empty.at).at) == 1
