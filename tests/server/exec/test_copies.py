"""Both forms: whatever a command does to a copy is in the store afterwards, and every state can be laid out."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
import tracemalloc
from pathlib import Path

import pytest

from trove_agents.server import timelines
from trove_agents.server.errors import QuotaExceeded
from trove_agents.server.exec import state
from trove_agents.server.exec.copies import DirectoryCopies, identity, remove_folder
from trove_agents.server.exec.scan import Quota
from trove_agents.server.jobs import Turn

from .conftest import BOTH, WORKSPACE


@pytest.fixture(scope="session", params=BOTH)
def form(request):
    return request.param


def same(bench):
    """The store, the copy on disk, and a copy made anew are one tree, which is returned."""
    store = bench.store()
    assert bench.on_hand() == store
    fresh = bench.new_copies("fresh")
    assert bench.on_hand(fresh) == store
    shutil.rmtree(bench.folder / "fresh")
    fresh.close()
    assert bench.exec()[0] == bench.exec()[0]
    assert not bench.exec()[0]
    return store


directories = pytest.mark.parametrize("form", ["directory"])
"""Of that form alone."""


def paths(scan):
    return [found.path for found in scan.found]


def test_everything_a_command_leaves_is_kept(bench):
    def command(root):
        (root / "a" / "b").mkdir(parents=True)
        (root / "empty").mkdir()
        (root / "a" / "b" / "small").write_bytes(b"s")
        (root / "a" / "large").write_bytes(os.urandom(100_000))
        (root / "nothing").write_bytes(b"")
        (root / "limit").write_bytes(b"l" * timelines.INLINE_BYTES)
        (root / "over").write_bytes(b"l" * (timelines.INLINE_BYTES + 1))
        (root / "run").write_bytes(b"#!/bin/sh\n")
        (root / "run").chmod(0o755)
        (root / "a").chmod(0o750)
        os.symlink("b/small", root / "a" / "link")
        os.symlink("/etc/passwd", root / "out")
        os.symlink("nowhere", root / "dangling")
        os.utime(root / "nothing", ns=(1, 981173106_987654321))

    scan, done = bench.exec(command)
    assert not scan.warnings and not scan.removed
    tree = same(bench)
    assert (
        tree["run"][:2] == ("file", 0o755) and tree["a"] == ("dir", 0o750) and tree["empty"] == ("dir", 0o755)
    )
    assert tree["nothing"] == ("file", 0o644, b"", 981173106_987654321)
    assert tree["out"][:2] == ("link", b"/etc/passwd")
    assert (done.namespace.files, done.namespace.bytes) == (
        9,
        100_000 + 1 + 2 * timelines.INLINE_BYTES + 1 + 10,
    )


def test_nothing_changed_makes_no_version(bench):
    bench.put("a/b", b"x")
    before = bench.head()
    scan, done = bench.exec(lambda root: (root / "a" / "b").read_bytes())
    assert not scan and done.namespace == before == bench.head()


def test_what_is_removed_is_removed_once(bench):
    bench.exec(
        lambda root: [
            (root / "d" / "e").mkdir(parents=True),
            (root / "d" / "e" / "f").write_text("f"),
            (root / "g").write_text("g"),
        ]
    )
    scan, done = bench.exec(lambda root: [shutil.rmtree(root / "d"), (root / "g").unlink()])
    assert scan.removed == ["d", "d/e", "d/e/f", "g"]
    assert (done.namespace.files, same(bench)) == (0, {})


def test_kinds_replace_one_another(bench):
    bench.exec(
        lambda root: [
            (root / "d").mkdir(),
            (root / "d" / "x").write_text("x"),
            (root / "f").write_text("f"),
            os.symlink("f", root / "l"),
        ]
    )

    def turn(root):
        shutil.rmtree(root / "d")
        os.symlink("f", root / "d")
        (root / "f").unlink()
        (root / "f").mkdir()
        (root / "f" / "inside").write_text("i")
        (root / "l").unlink()
        (root / "l").write_text("l")

    scan, _ = bench.exec(turn)
    assert scan.removed == ["d/x"]
    assert {path: what[0] for path, what in same(bench).items()} == {
        "d": "link",
        "f": "dir",
        "f/inside": "file",
        "l": "file",
    }
    bench.exec(
        lambda root: [
            (root / "d").unlink(),
            (root / "d").mkdir(),
            shutil.rmtree(root / "f"),
            (root / "f").write_text("f"),
        ]
    )
    assert {path: what[0] for path, what in same(bench).items()} == {"d": "dir", "f": "file", "l": "file"}


def test_times_and_modes_alone_are_changes(bench):
    bench.exec(
        lambda root: [
            (root / "f").write_text("f"),
            (root / "large").write_bytes(b"l" * 50_000),
            (root / "d").mkdir(),
            os.symlink("f", root / "l"),
        ]
    )
    before = bench.head()

    def touch(root):
        os.utime(root / "f", ns=(5, 5))
        (root / "large").chmod(0o600)
        (root / "d").chmod(0o700)
        os.utime(root / "l", ns=(6, 6), follow_symlinks=False)

    scan, done = bench.exec(touch)
    assert paths(scan) == ["d", "f", "l", "large"] and [found.payload for found in scan.found] == [None] * 4
    tree = same(bench)
    assert tree["f"][3] == 5 and tree["large"][1] == 0o600 and tree["d"][1] == 0o700 and tree["l"][2] == 6
    with bench.database.read() as db:
        for path in ("f", "large"):
            assert (
                timelines.find(db, before.at, path).content
                == timelines.find(db, done.namespace.at, path).content
            )


def test_a_rewrite_with_the_same_bytes_reuses_the_content(bench):
    bench.exec(lambda root: (root / "f").write_text("same"))
    before = bench.head()
    scan, done = bench.exec(lambda root: [(root / "f").unlink(), (root / "f").write_text("same")])
    assert paths(scan) == ["f"]
    with bench.database.read() as db:
        was, now = (timelines.find(db, at, "f") for at in (before.at, done.namespace.at))
    assert was.content == now.content and was.mtime_ns < now.mtime_ns
    same(bench)


def test_a_change_that_hides_behind_its_old_time_is_seen(bench):
    bench.exec(lambda root: (root / "f").write_text("one"))
    was = bench.store()["f"][3]

    def rewrite(root):
        (root / "f").write_text("two")
        os.utime(root / "f", ns=(was, was))

    scan, _ = bench.exec(rewrite)
    assert paths(scan) == ["f"] and same(bench)["f"][2:] == (b"two", was)


@directories
def test_what_is_as_young_as_the_command_is_read_again(bench):
    """A change within one tick of a coarse clock leaves the stat as it was: told by the digest."""
    bench.exec(lambda root: (root / "f").write_text("one"))
    start = bench.head()
    copy = bench.copies.take(start)
    with bench.database.read() as db:
        copy.bring_to(db, start.at, bench.contents)
    copy.start()
    (copy.root / "f").write_text("two")
    stat = (copy.root / "f").stat()
    known = copy._index[""]["f"]
    same_stat = type(known)(
        stat.st_mode, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, known.digest
    )
    copy._index[""]["f"] = same_stat
    assert paths(copy.changes(None, bench.contents, Quota())) == ["f"]
    copy.give_back()


def test_times_in_the_future_and_far_off(bench):
    # The far ends of what ext4 keeps; the store's 64 bits end in 2262
    bench.exec(
        lambda root: [
            (root / "f").write_text("1"),
            os.utime(root / "f", ns=(0, 9_500_000_000 * 10**9)),
            (root / "p").write_text("p"),
            os.utime(root / "p", ns=(-(10**18), -(10**18))),
        ]
    )
    assert bench.store()["f"][3] == 2**63 - 1 and bench.store()["p"][3] == -(10**18)
    scan, _ = bench.exec(lambda root: None)
    assert not scan
    scan, _ = bench.exec(
        lambda root: [(root / "f").write_text("2"), os.utime(root / "f", ns=(0, 9_500_000_000 * 10**9))]
    )
    assert paths(scan) == ["f"] and bench.store()["f"][2] == b"2"


def test_what_cannot_be_kept_is_named_and_taken_out(bench):
    def command(root):
        os.mkfifo(root / "pipe")
        with socket.socket(socket.AF_UNIX) as listener:
            os.chdir(root)  # the whole path is too long for a socket
            try:
                listener.bind("socket")
            finally:
                os.chdir("/")
        (root / "kept").write_text("k")

    scan, _ = bench.exec(command)
    assert scan.warnings == ["workspace/pipe: a FIFO is not kept", "workspace/socket: a socket is not kept"]
    assert list(same(bench)) == ["kept"]
    scan, _ = bench.exec(lambda root: [(root / "kept").unlink(), os.mkfifo(root / "kept")])
    assert scan.removed == ["kept"] and same(bench) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device")
def test_devices_are_not_kept(bench):
    scan, _ = bench.exec(lambda root: os.mknod(root / "null", 0o20666, os.makedev(1, 3)))
    assert scan.warnings == ["workspace/null: a device is not kept"] and same(bench) == {}


def test_special_bits_are_stripped(bench):
    def command(root):
        (root / "f").write_text("f")
        (root / "f").chmod(0o4755)
        (root / "d").mkdir()
        (root / "d").chmod(0o3775)

    bench.exec(command)
    assert {path: what[1] for path, what in same(bench).items()} == {"f": 0o755, "d": 0o775}
    scan, _ = bench.exec(lambda root: (root / "f").chmod(0o6755))
    assert not scan and same(bench)["f"][1] == 0o755


def test_hard_links_become_copies(bench):
    def command(root):
        (root / "a").write_text("one")
        os.link(root / "a", root / "b")
        (root / "m").write_text("m")
        (root / "m").chmod(0)
        os.link(root / "m", root / "n")

    bench.exec(command)
    tree = same(bench)
    assert tree["a"][1:3] == tree["b"][1:3] == (0o644, b"one") and tree["m"][1] == tree["n"][1] == 0
    scan, _ = bench.exec(lambda root: (root / "a").write_text("two"))
    assert paths(scan) == ["a"] and same(bench)["b"][2] == b"one"
    links = []
    bench.exec(lambda root: os.link(root / "a", root / "c"))
    bench.exec(lambda root: links.append((root / "a").stat().st_nlink))
    assert links == [1] and same(bench)["c"][2] == b"two"


def test_names_are_bytes(bench):
    names = [b"\xff\xfe", "é".encode(), b"a\nb", b" ", b"-rf", b"*", "\uf780".encode(), b"x" * 255]

    def command(root):
        for name in names:
            directory = os.path.join(os.fsencode(root), name)
            os.mkdir(directory)
            with open(os.path.join(directory, name), "wb") as file:
                file.write(name)

    bench.exec(command)
    tree = same(bench)
    assert {os.fsencode(path) for path in tree} == {*names, *(name + b"/" + name for name in names)}


@directories
def test_a_copy_with_names_that_are_not_utf8_is_made_anew_after_a_restart(bench):
    bench.exec(lambda root: open(os.path.join(os.fsencode(root), b"\xff"), "wb").close())
    bench.restart()
    inode = bench.root.stat().st_ino
    bench.exec()
    assert bench.root.stat().st_ino != inode or not list(bench.root.parent.glob("*.state"))
    same(bench)


@pytest.fixture
def without_copies(bench):
    """Leaves no tree behind that is too deep for what cleans up after the tests."""
    yield bench
    subprocess.run(["rm", "-rf", bench.folder / "copies"], check=True)


def test_a_tree_deeper_than_any_path(without_copies):
    bench = without_copies
    top = []
    depth = 1050  # more than Python recurses; 5 KB

    def command(root):
        os.chdir(root)
        try:
            for level in range(depth):
                os.mkdir("deep")
                os.chdir("deep")
                if level % 100 == 0:
                    open("file", "w").close()
                    os.mkdir("beside")
            open("last", "w").close()
        finally:
            os.chdir("/")

    _, done = bench.exec(command)
    assert done.namespace.files == 12
    last = "deep/" * depth + "last"
    with bench.database.read() as db:
        assert timelines.find(db, done.namespace.at, last).size == 0
    empty = bench.change(lambda change: change.remove("deep"))
    bench.exec()
    assert bench.on_hand() == {}
    was = done.namespace
    bench.database.write(
        lambda tx: timelines.restore(
            tx, bench.head(), was.at, files=was.files, bytes=was.bytes, now_ns=time.time_ns()
        )
    )
    scan, _ = bench.exec()
    assert not scan
    bench.exec(lambda root: top.extend(os.listdir(root)))
    assert top == ["deep"]
    assert empty.files == 0
    bench.exec(lambda root: subprocess.run(["rm", "-rf", root / "deep"], check=True))
    assert bench.head().files == 0


def test_planted_links_lead_nowhere(bench, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s")
    bench.put("d/f", b"mine")
    bench.exec(lambda root: [shutil.rmtree(root / "d"), os.symlink(outside, root / "d")])
    assert same(bench)["d"][:2] == ("link", os.fsencode(outside))
    # what others then write below that name goes into a real directory, not through the link
    bench.put("d/f", b"theirs")
    bench.exec()
    assert same(bench)["d/f"][2] == b"theirs"
    assert {item.name: item.read_text() for item in outside.iterdir()} == {"secret": "s"}


@directories
def test_a_link_planted_in_an_idle_copy_leads_nowhere(bench, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    bench.put("d/f", b"theirs")
    bench.exec()
    shutil.rmtree(bench.root / "d")
    os.symlink(outside, bench.root / "d")
    bench.put("d/g", b"more")
    bench.exec()
    assert sorted(same(bench)) == ["d", "d/f", "d/g"]
    assert list(outside.iterdir()) == []


@directories
def test_a_link_in_place_of_the_root_is_replaced(bench, tmp_path):
    bench.put("f", b"f")
    bench.exec()
    (tmp_path / "outside").mkdir()
    shutil.rmtree(bench.root)
    os.symlink(tmp_path / "outside", bench.root)
    bench.put("g", b"g")
    bench.exec()
    assert sorted(same(bench)) == ["f", "g"] and os.listdir(tmp_path / "outside") == []


def test_a_quota_is_found_out_before_anything_is_read(bench):
    bench.put("f", b"before")
    before = bench.head()

    def sparse(root):
        with open(root / "huge", "wb") as file:
            file.truncate(2**40)

    with pytest.raises(QuotaExceeded):
        bench.exec(sparse)
    assert bench.head() == before
    with pytest.raises(QuotaExceeded):
        bench.exec(lambda root: [(root / f"f{n}").touch() for n in range(20)], quota=Quota(entries=10))
    with pytest.raises(QuotaExceeded):
        bench.exec(lambda root: [(root / f"d{n}").mkdir() for n in range(20)], quota=Quota(entries=10))
    with pytest.raises(QuotaExceeded):
        bench.exec(lambda root: (root / "/".join("deep" * 50)).mkdir(parents=True), quota=Quota(paths=10_000))
    bench.exec()
    assert list(same(bench)) == ["f"]
    bench.exec(lambda root: (root / "/".join("deep" * 50)).mkdir(parents=True), quota=Quota(paths=50_000))


def test_removing_a_deep_tree_takes_no_memory_for_all_its_paths(tmp_path):
    """The paths of 200,000 directories, each in the other, are 20 GB at the least."""
    root = tmp_path / "root"
    root.mkdir()
    above = os.open(root, os.O_RDONLY)
    for _ in range(600):
        os.mkdir("d" * 200, dir_fd=above)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=above)
        os.close(os.open("f", os.O_CREAT, dir_fd=below))
        os.mkdir("beside", dir_fd=below)
        os.close(above)
        above = below
    os.close(above)
    tracemalloc.start()
    try:
        remove_folder(root)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert not root.exists()
    assert most < 5_000_000


@directories
def test_only_what_differs_is_brought(bench):
    for n in range(5):
        bench.put(f"d{n}/f", b"%d" % n)
    bench.exec()
    inodes = {path: (bench.root / path).stat().st_ino for path in ("d0/f", "d1/f", "d2/f", "d3/f")}
    bench.change(
        lambda change: [
            change.put_file("d1/f", timelines.payload(bench.blobs, "w", b"new")),
            change.remove("d4"),
            change.put_link("d5", b"d0"),
        ]
    )
    bench.exec()
    same(bench)
    now = {path: (bench.root / path).stat().st_ino for path in inodes}
    assert {path for path in inodes if inodes[path] != now[path]} <= {"d1/f"}


def test_states_back_and_forth(bench):
    bench.put("a", b"1")
    one = bench.head().at
    bench.exec(
        lambda root: [
            (root / "a").unlink(),
            (root / "a").mkdir(),
            (root / "a" / "x").write_text("x"),
            os.symlink("a", root / "l"),
        ]
    )
    two = bench.head().at
    bench.exec(
        lambda root: [shutil.rmtree(root / "a"), (root / "l").unlink(), (root / "l").mkdir(mode=0o700)]
    )
    three = bench.head().at
    for at in (one, two, three, one, three, two, one):
        assert bench.on_hand(at=at) == bench.store(at)


@directories
def test_a_copy_survives_its_process_but_not_a_dirty_end(bench):
    bench.put("f", b"f")
    bench.exec()
    inode = (bench.root / "f").stat().st_ino
    bench.restart()
    bench.exec()
    assert (bench.root / "f").stat().st_ino == inode
    copy = bench.copies.take(bench.head())
    copy.start()
    (copy.root / "f").write_text("half done")
    bench.restart()
    bench.exec()
    assert same(bench)["f"][2] == b"f"


@directories
def test_a_state_file_of_another_boot_or_form_is_nothing(bench):
    bench.put("f", b"f")
    bench.exec()
    file = bench.root.with_suffix(".state")
    at, index = state.load(file)
    assert at == bench.head().at and list(index[""]) == ["f"]
    good = file.read_bytes()
    for bad in (b"", b"\xc1", good[:-1], good.replace(state.boot().encode(), b"0" * len(state.boot()))):
        file.write_bytes(bad)
        assert state.load(file) is None


def test_two_processes_have_their_own_copies(bench):
    bench.put("f", b"f")
    bench.exec()
    other = bench.new_copies()
    copy = other.take(bench.head())
    assert copy.root.parent != bench.root.parent and copy.root.parent.parent == bench.root.parent.parent
    copy.give_back()
    other.close()


@directories
def test_a_holder_that_still_runs_keeps_its_copy(bench):
    bench.put("f", b"f")
    first, second = bench.copies.take(bench.head()), bench.copies.take(bench.head())
    assert first.root != second.root
    second.give_back()
    first.give_back()
    assert bench.copies.take(bench.head()).root == first.root


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_takes_a_slot_of_its_own(bench):
    bench.exec()
    own = bench.root.parent
    head = bench.head()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, os.fsencode(bench.copies.take(head).root.parent))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with open(reader, "rb") as told:
        theirs = os.fsdecode(told.read())
    assert theirs and theirs != str(own) and os.path.dirname(theirs) == str(own.parent)
    assert bench.copies.take(head).root.parent == own


def test_names_of_copies_say_nothing(bench):
    bench.exec()
    assert bench.root.name.isalnum() and len(bench.root.name) == 24
    assert "main" not in bench.root.name and "ws-" not in bench.root.name


@directories
def test_a_folder_that_a_shell_would_split_is_not_used(bench):
    copies = DirectoryCopies(bench.folder / "My Files")
    copy = copies.take(bench.head())
    with bench.database.read() as db:
        copy.bring_to(db, bench.head().at, bench.contents)
    assert " " not in str(copy.root) and copy.root.is_dir()
    copy.give_back()
    copies.close()
    assert not copy.root.exists()


@directories
def test_copies_make_room_for_others(bench):
    def space(number):
        return bench.database.write(
            lambda tx: timelines.create_namespace(
                tx, "ws-0000000000000001", f"n{number}", now_ns=time.time_ns()
            )
        )

    roots = []
    for number in range(66):
        namespace = space(number)
        copy = bench.copies.take(namespace)
        with bench.database.read() as db:
            copy.bring_to(db, namespace.at, bench.contents)
            copy.keep(db, namespace.at, [], bench.contents)
        roots.append(copy.root)
        copy.give_back()
    assert [root.exists() for root in roots] == [False] * 2 + [True] * 64
    bench.restart()
    bench.copies.take(bench.head()).give_back()
    assert [root.exists() for root in roots].count(True) == 63


@pytest.fixture
def plain_user(bench):
    """A bench of a user whom modes bind. Made as root, so that every module is loaded before."""
    if os.geteuid() != 0:
        yield bench
        return
    folder = tempfile.mkdtemp()
    other = type(bench)(Path(folder), bench.form)
    other.exec()
    other.copies.close()
    shutil.rmtree(other.root.parent)
    subprocess.run(["chown", "-R", "65534:65534", folder], check=True)
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield other
    finally:
        os.seteuid(0)
        os.setegid(0)
        other.close()
        shutil.rmtree(folder)


def test_without_roots_rights(plain_user):
    """What denies its owner is opened up for the time being, and closed again."""
    bench = plain_user

    def command(root):
        (root / "d" / "e").mkdir(parents=True)
        (root / "d" / "e" / "f").write_text("f")
        (root / "d" / "e" / "f").chmod(0)
        (root / "d" / "e").chmod(0)
        (root / "d").chmod(0o300)
        (root / "r").mkdir()
        (root / "r" / "x").write_text("x")
        (root / "r").chmod(0o555)
        root.chmod(0)

    def modes():
        return {path: what[1] for path, what in bench.store().items()}

    bench.exec(command)
    expected = {"d": 0o300, "d/e": 0, "d/e/f": 0, "r": 0o555, "r/x": 0o644}
    assert modes() == expected and bench.store()["d/e/f"][2] == b"f"
    assert bench.on_hand() == bench.store()
    assert not bench.exec()[0]
    bench.put("r/y", b"y")
    bench.put("d/e/g", b"g")
    bench.exec()
    here = bench.on_hand()
    assert here == bench.store() and here["r/y"][2] == b"y" and here["r"] == ("dir", 0o555)
    bench.change(lambda change: change.remove("d"))
    bench.exec()
    assert sorted(bench.on_hand()) == ["r", "r/x", "r/y"]
    bench.change(lambda change: change.remove("r"))
    bench.exec()
    assert bench.on_hand() == {}
    bench.exec(command)
    bench.copies.take(bench.head()).start()  # never ended
    bench.copies.close()
    bench.exec()
    assert modes() == expected


def test_a_root_that_denies_everything(plain_user):
    bench = plain_user
    bench.exec(lambda root: [(root / "f").write_text("f"), root.chmod(0)])
    assert list(bench.store()) == ["f"] == list(bench.on_hand())
    modes = []
    bench.exec(lambda root: modes.append(root.stat().st_mode & 0o777))
    assert modes == [0o755]


def test_a_copy_that_is_older_than_the_history_is_made_anew(bench):
    """The row that says that a file is gone is gone itself."""
    bench.put("stays")
    bench.put("goes")
    bench.exec()
    bench.change(lambda change: change.remove("goes"))
    day = 24 * 3600 * 10**9
    timelines.Retention(bench.database, days=1).forget(Turn(time.time_ns() + 2 * day))
    bench.exec()
    assert list(same(bench)) == ["stays"]


@pytest.mark.parametrize("restarts", [False, True])
def test_copies_of_namespaces_that_are_no_more_go(bench, restarts):
    def living():
        with bench.database.read() as db:
            return [identity(*each) for each in timelines.living(db)]

    def files():
        return [path for path in (bench.folder / "copies").rglob("*") if path.is_file() and path.name == "f"]

    bench.exec(lambda root: (root / "f").write_bytes(b"x" * 100))
    first = bench.space
    bench.space = bench.database.write(
        lambda tx: timelines.create_namespace(tx, WORKSPACE, "other", now_ns=time.time_ns())
    )
    bench.exec(lambda root: (root / "f").write_bytes(b"y" * 100))
    if restarts:
        bench.restart()
    bench.copies.prune(living)
    assert len(files()) == 2
    bench.database.write(lambda tx: timelines.forget(tx, timelines.head(tx, first.id), now_ns=time.time_ns()))
    bench.copies.prune(living)
    assert [path.read_bytes()[:1] for path in files()] == [b"y"]
    same(bench)


def test_where_no_command_ran_nothing_is_made(bench):
    bench.copies.prune(lambda: pytest.fail("nobody is to be asked"))
    assert not (bench.folder / "copies").exists()


def test_a_copy_in_use_stays(bench):
    bench.exec(lambda root: (root / "f").write_bytes(b"x"))
    copy = bench.copies.take(bench.head())
    bench.copies.prune(list)
    assert copy.root.parent.exists()
    copy.give_back()
    same(bench)
