"""Both forms: whatever a command does to a copy is in the store afterwards, and every state can be laid out."""

import os
import shutil
import socket

import pytest

from trove_agents.server import timelines
from trove_agents.server.exec.scan import Quota

from .conftest import BOTH, directories, same


@pytest.fixture(scope="session", params=BOTH)
def form(request):
    return request.param


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
