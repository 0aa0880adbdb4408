import pytest
from sqlalchemy import select

from trove_agents.server import timelines
from trove_agents.server.db.tables import blobs, entries, log
from trove_agents.server.db.tables import timelines as timeline_rows
from trove_agents.server.timelines import At, Change, Kind, Payload
from trove_agents.wire.steps import Step

WORKSPACE = "ws-0000000000000001"


def rows(store, statement):
    with store.database.read() as db:
        return db.all(statement)


def test_a_version_is_the_time_and_never_repeats(store):
    space = store.create()
    for now, version in ((space.at.version + 10, space.at.version + 10), (0, space.at.version + 11)):
        payload = timelines.payload(store.blobs, WORKSPACE, str(now).encode())

        def commit(tx):
            change = Change(tx, timelines.head(tx, space.id), kind="write", now_ns=now)
            change.put_file("a", payload)
            return change.commit()

        assert store.database.write(commit).at.version == version


def test_the_log_says_who_did_what_and_what_is_there_then(store):
    space = store.create()
    payload = timelines.payload(store.blobs, WORKSPACE, b"12345")

    def commit(tx):
        change = Change(
            tx,
            timelines.namespace(tx, WORKSPACE, "main"),
            kind="exec",
            now_ns=77_000,
            actor="key-1",
            step=Step(step="s"),
        )
        change.put_file("a/b", payload)
        change.put_link("a/l", b"elsewhere")
        change.put_directory("a/d")
        return change.commit()

    space = store.database.write(commit)
    assert (space.files, space.bytes) == (2, 5)
    (row,) = rows(store, select(log).where(log.c.kind == "exec"))
    assert row == (space.id, space.at.version, space.at.timeline, "exec", "key-1", '{"step":"s"}', 2, 5, 77)


def test_two_changes_from_one_head_conflict(store):
    store.create()

    def commit(tx):
        space = timelines.namespace(tx, WORKSPACE, "main")
        for path in "ab":
            change = Change(tx, space, kind="write", now_ns=0)
            change.put_directory(path)
            change.commit()

    with pytest.raises(timelines.Conflict):
        store.database.write(commit)
    assert store.paths(store.head().at) == []


def test_restore_and_snapshot_notice_a_moved_head(store):
    old = store.create()
    store.put("a")
    for action in (
        lambda tx: timelines.snapshot(tx, old, id="s", label=None, now_ns=0),
        lambda tx: timelines.restore(tx, old, old.at, files=0, bytes=0, now_ns=0),
    ):
        with pytest.raises(timelines.Conflict):
            store.database.write(action)


def test_nothing_changed_is_no_version(store):
    store.create()
    space = store.put("a", b"1", mtime_ns=5)
    assert store.put("a", b"1", mtime_ns=5) == space
    assert store.change("main", lambda change: change.put_directory("")) == space
    assert store.put("a", b"1", mtime_ns=6).at.version > space.at.version

    def and_back(change):
        change.put_directory("new")
        change.remove("new")

    space = store.head()
    assert store.change("main", and_back) == space


def test_one_row_for_a_path_that_changes_often_in_one_version(store):
    store.create()

    def often(change):
        for number in range(3):
            change.put_file("a", Payload(bytes([number]), 1, b"x", ()))
        change.remove("a")
        change.put_directory("a")

    space = store.change("main", often)
    assert rows(store, select(entries.c.name, entries.c.kind, entries.c.since)) == [
        (b"a", Kind.DIRECTORY, space.at.version)
    ]


def test_a_deletion_that_hides_nothing_is_an_empty_interval(store):
    store.create()
    store.put("a")
    snapshot = store.snapshot()
    gone = store.remove("a").at.version
    wanted = select(entries.c.until - entries.c.since).where(entries.c.kind == Kind.GONE)
    assert rows(store, wanted) == [(0,)]
    store.create("fork", at=snapshot.at)
    store.remove("a", name="fork")
    assert sorted(rows(store, wanted))[0] == (0,) and sorted(rows(store, wanted))[1][0] > gone


def test_setuid_goes_and_the_other_bits_stay(store):
    store.create()
    space = store.put("a", mode=0o6755)
    assert store.read(timelines.find, space.at, "a").mode == 0o755


def test_a_large_content_is_in_blobs_and_marked_as_used(store):
    store.create()
    data = b"x" * (timelines.INLINE_BYTES + 1)
    payload = timelines.payload(store.blobs, WORKSPACE, data)
    assert payload.data is None
    space = store.put("large", data)
    store.put("again", data)
    found = store.read(timelines.find, space.at, "large")
    assert store.read(timelines.read_content, found.content) == payload
    assert rows(store, select(blobs.c.workspace, blobs.c.digest, blobs.c.size)) == [
        (WORKSPACE, payload.digest, len(data))
    ]
    assert timelines.payload(store.blobs, WORKSPACE, data[:-1]).data == data[:-1]


def test_names(store):
    first = store.create()
    assert store.read(timelines.namespace, WORKSPACE, "other") is None
    with pytest.raises(timelines.AlreadyExists) as error:
        store.create()
    assert error.value.name == "main"
    assert store.read(timelines.head, first.id) == first
    with pytest.raises(timelines.NotFound):
        store.read(timelines.head, 99)
    with pytest.raises(timelines.NotFound):
        store.read(timelines.at_version, first.id, first.at.version - 1)
    with pytest.raises(timelines.NotFound):
        store.read(timelines.read_content, 99)


def test_a_future_version_is_the_head_and_stays_what_it_was(store):
    store.create()
    space = store.put("a")
    at = store.read(timelines.at_version, space.id, 2**62)
    assert at == space.at
    store.put("b")
    assert store.paths(at) == ["a"]


def test_snapshots_are_listed_newest_first_and_forgotten(store):
    space = store.create()
    made = [store.snapshot(automatic=number == 1) for number in range(3)]
    assert store.read(timelines.snapshots, space.id) == made[::-1]
    assert store.read(timelines.snapshots, space.id, limit=1) == made[2:]
    assert [row.automatic for row in made] == [False, True, False]
    assert store.database.write(lambda tx: timelines.delete_snapshot(tx, made[0].id)) is True
    assert store.database.write(lambda tx: timelines.delete_snapshot(tx, made[0].id)) is False
    assert store.read(timelines.snapshot_by_id, made[0].id) is None


def test_the_root_is_always_there(store):
    space = store.create()
    root = store.read(timelines.find, space.at, "")
    assert (root.path, root.name, root.kind, root.is_dir) == ("", "", Kind.DIRECTORY, True)
    with pytest.raises(timelines.IsADirectory):
        store.put("", replace=True)
    store.put("a/b")
    store.put("c")
    store.put("\udcff\udcff\udcff/last")
    assert store.remove("").files == 0
    assert store.paths(store.head().at) == []


def test_reads_of_what_is_not_a_directory_are_empty(store):
    store.create()
    at = store.put("file").at
    for path in ("file", "missing"):
        assert store.paths(at, path) == []
        assert store.read(timelines.children, at, path) == []


def test_a_timeline_with_nothing_under_it_is_not_flattened(store):
    space = store.create()
    store.put("a")
    assert timelines.flatten(store.database, space.at.timeline) == 0
    assert timelines.flatten(store.database, 999) == 0
    assert store.read(timelines.differences, At(space.at.timeline, 0), store.head().at)[0].change == "added"
    assert rows(store, select(timeline_rows.c.id)) == [(space.at.timeline,)]


@pytest.mark.parametrize(
    "path",
    ["..", "a/../b", "a/..", ".", "a//b", "/a", "a/", "a\0", "n" * 256, "é" * 128, "a/" + "n" * 300 + "/b"],
)
def test_no_file_is_put_where_none_could_be(store, path):
    store.create()
    with pytest.raises(timelines.BadPath):
        store.put(path)
    with pytest.raises(timelines.BadPath):
        store.change("main", lambda change: change.put_link(path, b"x"))
    with pytest.raises(timelines.BadPath):
        store.change("main", lambda change: change.put_directory(path))
    other = store.put("there")
    entry = store.read(lambda db: timelines.find(db, other.at, "there"))
    with pytest.raises(timelines.BadPath):
        store.change("main", lambda change: change.put_content(path, entry))
    assert store.head() == other
    store.put("a/" + "n" * 255 + "/..b")
