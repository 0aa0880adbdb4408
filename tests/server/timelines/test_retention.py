"""What retention deletes; that it deletes nothing else is test_model's business."""

import pytest
from sqlalchemy import func, select

from trove_agents.server import timelines
from trove_agents.server.db.tables import contents, entries, heads, log
from trove_agents.server.db.tables import timelines as rows
from trove_agents.server.jobs import DAY, Turn
from trove_agents.server.timelines import At, Change, Collection, Flattening, Retention, retention

WORKSPACE = "ws-0000000000000001"
COUNTS = {
    table.name: select(func.count()).select_from(table) for table in (contents, entries, heads, log, rows)
}


def count(store, name):
    return store.read(lambda db: db.one(COUNTS[name])[0])


def forget(store, *, horizon=None, **options):
    """Everything up to now, or to a version."""
    horizon = store.head().at.version + 1 if horizon is None else horizon
    job = Retention(store.database, days=1)
    return job.forget(Turn(horizon + DAY * 10**9, **options))


def many(store, edits):
    """Many versions in one transaction."""

    def commit(tx):
        space = timelines.namespace(tx, WORKSPACE, "main")
        for edit in edits:
            change = Change(tx, space, kind="write", now_ns=next(store.clock))
            edit(change)
            space = change.commit()

    store.database.write(commit)


def put(path, text):
    data = text.encode()
    payload = timelines.payload(None, WORKSPACE, data)
    return lambda change: change.put_file(path, payload)


def more_than_a_page(store, size):
    """``size``; where each version is a few round trips a little over a page: one that is full, and what is left."""
    return retention._BATCH + 100 if store.database.shared else size


def test_a_file_that_was_rewritten_thousands_of_times_is_one_row(store):
    half = more_than_a_page(store, 4500)
    store.create()
    many(store, [put("f", str(number)) for number in range(half)])
    kept = store.snapshot()
    many(store, [put("f", str(number)) for number in range(half, 2 * half)])
    assert (count(store, "entries"), count(store, "log")) == (2 * half, 2 * half + 2)
    assert forget(store) is None
    assert (count(store, "entries"), count(store, "log")) == (2, 2)
    Collection(store.database, store.blobs).sweep_contents(Turn(0))
    assert count(store, "contents") == 2
    assert store.read(timelines.totals, kept.at) == (1, 4)
    with store.database.read() as db:
        for at, text in ((kept.at, half - 1), (store.head().at, 2 * half - 1)):
            assert timelines.read_content(db, timelines.find(db, at, "f").content).data == str(text).encode()


def test_many_files_over_several_pages(store):
    store.create()

    def edit(text):
        def act(change):
            for number in range(700):
                put(f"d{number % 7}/f{number}", f"{text}{number}")(change)

        return act

    many(store, [edit("a")])
    kept = store.snapshot()
    many(store, [edit("b"), edit("c")])
    before = {at: store.paths(at) for at in (kept.at, store.head().at)}
    assert count(store, "entries") == 2107
    turns, place = 0, None
    while (place := forget(store, place=place, ends=0)) is not None:
        turns += 1
        if place[0] == "t" and turns > 20:  # a timeline that takes longer than a turn begins anew
            assert forget(store) is None
            break
    assert count(store, "entries") == 1407
    assert {at: store.paths(at) for at in before} == before


def test_a_deleted_file_leaves_nothing(store):
    store.create()
    store.put("a/b")
    store.put("c")
    store.remove("a")
    forget(store)
    assert count(store, "entries") == 1
    assert store.paths(store.head().at) == ["c"]


def test_history_ends_at_the_horizon(store):
    store.create()
    old = store.put("f", b"1").at
    middle = store.put("f", b"2").at
    store.put("f", b"3")
    forget(store, horizon=middle.version)
    key = store.head().id
    assert store.read(retention.horizon, key) == middle.version
    with pytest.raises(timelines.NotFound, match="does not go back"):
        store.read(timelines.at_version, key, old.version)
    assert store.read(timelines.at_version, key, middle.version) == middle
    assert not store.read(timelines.kept, old)
    assert store.read(timelines.kept, middle)
    assert len(store.read(timelines.history, key, "f")) == 1


def test_timelines_that_nothing_refers_to_go_with_their_rows(store):
    store.create()
    store.put("a")
    good = store.snapshot()
    for number in range(5):
        store.put(f"f{number}")
        store.restore(good.at)
    assert (count(store, "timelines"), count(store, "heads")) == (6, 6)
    forget(store)
    forget(store)  # the newest key waited for another
    # The snapshot's and the head's
    assert (count(store, "timelines"), count(store, "heads"), count(store, "entries")) == (2, 1, 1)
    assert store.paths(store.head().at) == ["a"]
    fork = store.create("fork", at=good.at)
    assert store.paths(fork.at) == ["a"]


def test_a_fork_keeps_what_it_was_cut_from(store):
    store.create()
    store.put("a", b"old")
    fork = store.create("fork", at=store.head().at)
    store.put("a", b"new")
    store.put("a", b"newest")
    forget(store)
    assert count(store, "entries") == 2
    with store.database.read() as db:
        assert timelines.read_content(db, timelines.find(db, fork.at, "a").content).data == b"old"


def test_a_reference_keeps_its_state_until_it_is_deleted(store):
    """Of a timeline that nothing else refers to."""
    empty = store.create()
    store.put("a", b"1")
    store.put("b", b"1")
    early = store.refer(step="1")
    store.put("a", b"22")
    store.remove("b")
    late = store.refer(step="2")
    store.restore(empty.at)
    store.put("a", b"333")
    store.put("a", b"4444")
    states = {early: [("a", b"1"), ("b", b"1")], late: [("a", b"22")]}
    for _ in range(2):
        forget(store)
    Collection(store.database, store.blobs).sweep_contents(Turn(0))
    for row, wanted in states.items():
        assert store.read(timelines.totals, row.at) == (row.files, row.bytes) == (len(wanted), 2)
        with store.database.read() as db:
            assert [
                (entry.path, timelines.read_content(db, entry.content).data)
                for entry in timelines.walk(db, row.at)
            ] == wanted
    assert (count(store, "entries"), count(store, "timelines")) == (5, 2)
    key = store.head().id
    for row, left in ((late, 3), (early, 1)):
        assert store.database.write(lambda tx: timelines.delete_references(tx, key, [row.id])) == 1
        for _ in range(2):
            forget(store)
        assert count(store, "entries") == left
    assert store.read(lambda db: db.one(COUNTS["timelines"])) == (1,)


def test_references_of_a_deleted_namespace_are_gone(store):
    key = store.create().id
    store.put("a")
    mine = store.refer()
    store.create("other")
    others = store.refer("other")
    store.database.write(
        lambda tx: timelines.forget(tx, timelines.namespace(tx, WORKSPACE, "main"), now_ns=next(store.clock))
    )
    assert store.read(timelines.reference, mine.id) is None
    assert store.read(timelines.references, key, limit=9) == []
    assert store.read(timelines.reference, others.id) == others


def test_rows_that_an_interrupted_flattening_left_go(store):
    store.create()
    for number in range(4):
        store.put(f"f{number}")
        store.restore(store.head().at)
    write = store.database.write
    calls = iter(range(100))

    class Interrupt(Exception):
        pass

    class Failing:
        read = store.database.read

        def write(self, function):
            if next(calls) == 2:
                raise Interrupt
            return write(function)

    with pytest.raises(Interrupt):
        timelines.flatten(Failing(), store.head().at.timeline, batch=2)
    assert count(store, "entries") == 6
    before = count(store, "timelines")
    store.create("other")  # takes the next key
    forget(store)
    assert count(store, "entries") == 4
    assert count(store, "timelines") == before
    assert store.paths(store.head().at) == ["f0", "f1", "f2", "f3"]


def test_a_flattening_that_was_suspended_gives_up_when_its_copy_was_taken_for_a_left_one(store):
    store.create()
    for number in range(4):
        store.put(f"f{number}")
        store.restore(store.head().at)
    write = store.database.write
    calls = iter(range(100))

    class Suspended:
        read = store.database.read

        def write(self, function):
            if next(calls) == 3:  # the switch
                forget(store)
            return write(function)

    timelines.flatten(Suspended(), store.head().at.timeline, batch=2)
    assert store.paths(store.head().at) == ["f0", "f1", "f2", "f3"]
    forget(store)
    assert count(store, "entries") == 4


def test_what_was_flattened_goes_once_it_is_history(store):
    store.create()
    for number in range(40):
        store.put(f"f{number:02}")
        store.restore(store.head().at)
    at = store.head().at
    assert store.read(timelines.depth, at) == 41
    paths = store.paths(at)
    assert Flattening(store.database).fold(Turn(0)) is None
    assert store.read(timelines.depth, at) == 2
    assert count(store, "entries") == 80
    fork = store.create("fork", at=at)
    store.put("later")
    forget(store)
    assert count(store, "entries") == 41
    assert store.paths(at) == store.paths(fork.at) == paths
    found = store.read(timelines.differences, fork.at, store.head().at)
    assert [difference.path for difference in found] == ["later"]
    assert Flattening(store.database).fold(Turn(0)) is None


def test_flattening_leaves_shallow_chains_alone_and_goes_on_where_it_stopped(store):
    for name in ("main", "second", "third"):
        store.create(name)
        for number in range(33 if name != "second" else 5):
            store.put(f"f{number:02}", name=name)
            store.restore(store.head(name).at, name=name)
    place, turns = None, 0
    while (place := Flattening(store.database).fold(Turn(0, place, ends=0))) is not None:
        turns += 1
    assert turns == 2
    assert [store.read(timelines.depth, store.head(n).at) for n in ("main", "second", "third")] == [2, 6, 2]


def test_an_unknown_state_is_not_kept(store):
    assert not store.read(timelines.kept, At(99, 1))
