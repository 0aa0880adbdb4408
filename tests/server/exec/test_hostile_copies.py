"""Both forms: a command that plants links, digs deep, or takes rights away gets nothing by it, and loses nothing."""

import os
import shutil
import subprocess
import tempfile
import time
import tracemalloc
from pathlib import Path

import pytest

from trove_agents.server import timelines
from trove_agents.server.errors import QuotaExceeded
from trove_agents.server.exec.copies import remove_folder
from trove_agents.server.exec.scan import Quota

from .conftest import BOTH, directories, same


@pytest.fixture(scope="session", params=BOTH)
def form(request):
    return request.param


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
