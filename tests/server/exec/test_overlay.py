"""The overlay form beyond what both share: strata, forks, what a process leaves to the next, what a command may plant."""

import os
import shutil
import threading
import time
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trove_agents.server import sandbox, timelines
from trove_agents.server.errors import QuotaExceeded
from trove_agents.server.exec.ingest import ingest
from trove_agents.server.exec.overlay import strata
from trove_agents.server.exec.overlay.copies import OverlayCopies
from trove_agents.server.exec.overlay.fold import fold
from trove_agents.server.exec.overlay.lay import Private
from trove_agents.server.exec.overlay.marks import make_whiteout
from trove_agents.server.exec.overlay.trial import trial
from trove_agents.server.exec.scan import Quota
from trove_agents.server.exec.tree import Tree

from .conftest import WORKSPACE, mounted, needs_mount, on_disk
from .test_any_edit import DATA, EDITS, PATHS, edit, expected

pytestmark = needs_mount


@pytest.fixture(scope="session")
def form():
    return "overlay"


class Family:
    """Namespaces that come from one another, each with its copy in one bench."""

    def __init__(self, bench):
        self.bench = bench
        self.spaces = [bench.space]

    def of(self, number):
        self.bench.space = self.spaces[number % len(self.spaces)]
        return self.bench

    def fork(self, number, at=None):
        bench = self.of(number)
        made = bench.database.write(
            lambda tx: timelines.create_namespace(
                tx, WORKSPACE, f"fork-{len(self.spaces)}", now_ns=time.time_ns(), at=at or bench.head().at
            )
        )
        self.spaces.append(made)
        return self.of(len(self.spaces) - 1)

    def right(self):
        """Every copy is what the store says; for those that are not there yet one is made."""
        for number in range(len(self.spaces)):
            bench = self.of(number)
            assert bench.on_hand() == bench.store()

    def place(self):
        return self.bench.copies.place


@pytest.fixture
def family(bench):
    return Family(bench)


def used(place):
    """Bytes on disk below a folder."""
    return (
        sum(os.lstat(os.path.join(top, name)).st_blocks for top, _, names in os.walk(place) for name in names)
        * 512
    )


NUMBER = st.integers(0, 9)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("exec"), NUMBER, st.lists(EDITS, min_size=1, max_size=5)),
        st.tuples(st.just("exec"), NUMBER, st.lists(EDITS, min_size=1, max_size=5)),
        st.tuples(st.just("put"), NUMBER, PATHS, DATA),
        st.tuples(st.just("remove"), NUMBER, PATHS),
        st.tuples(st.just("fork"), NUMBER),
        st.tuples(st.just("restore"), NUMBER, NUMBER),
        st.tuples(st.just("restart")),
        st.tuples(st.just("end"), NUMBER),
    ),
    min_size=4,
    max_size=12,
)
START = ("a/a/a", "a/b", "b/a", "a.b", "c/d/e/f", "c/g")


@settings(max_examples=30, deadline=None)
@given(STEPS)
def test_whatever_happens_to_whom_each_has_its_own_files(bench_maker, steps):
    with bench_maker() as bench:
        family = Family(bench)
        for path in START:
            bench.put(path, path.encode())
        states = [bench.head()]
        for kind, *rest in steps:
            bench = family.of(rest[0] if rest else 0)
            with_path = rest[1:]
            if kind == "exec":
                model = {}

                def command(root, edits=with_path[0], model=model, bench=bench):
                    for one in edits:
                        edit(root, *one)
                    model.update(expected(root, bench))

                bench.exec(command)
                assert bench.store() == model
            elif kind in {"put", "remove"}:
                try:
                    if kind == "put":
                        bench.put(*with_path)
                    else:
                        bench.change(lambda change, path=with_path[0]: change.remove(path))
                except timelines.TimelineError:
                    pass  # a directory, or nothing, is there
            elif kind == "fork" and len(family.spaces) < 5:
                family.fork(rest[0])
            elif kind == "restore":
                was = states[rest[1] % len(states)]
                bench.database.write(
                    lambda tx, bench=bench, was=was: timelines.restore(
                        tx, bench.head(), was.at, files=was.files, bytes=was.bytes, now_ns=time.time_ns()
                    )
                )
            elif kind == "restart":
                bench.restart()
            elif kind == "end":  # a command whose server died
                copy = bench.copies.take(bench.head())
                with bench.database.read() as db:
                    copy.bring_to(db, bench.head().at, bench.contents)
                copy.start()
                (copy.root / "half").write_text("half")
                bench.restart()
            states.append(bench.head())
        family.right()
        bench.restart()
        family.right()


def test_forks_stand_on_one_base_and_take_next_to_nothing(family):
    bench = family.of(0)
    for number in range(20):
        bench.put(f"d/f{number}", os.urandom(20_000))
    bench.exec(lambda root: (root / "own").write_text("own"))
    before = used(family.place())
    for number in range(1, 11):
        fork = family.fork(0)
        fork.exec(lambda root, number=number: (root / "mine").write_text(str(number)))
        assert fork.on_hand()["mine"][2] == str(number).encode()
    assert used(family.place()) - before < 10 * 32 * 1024
    assert len(list(family.place().glob("*.stratum"))) == 2
    family.right()
    bench = family.of(0)
    assert "mine" not in bench.on_hand()
    bench.exec(lambda root: shutil.rmtree(root / "d"))
    assert "d/f0" in family.of(1).on_hand() and "d" not in family.of(0).on_hand()


def test_forks_of_a_state_that_no_command_has_seen_share_a_base(family):
    bench = family.of(0)
    bench.put("f", b"f" * 50_000)
    for number in range(3):
        family.fork(0).exec(lambda root, number=number: (root / "mine").write_text(str(number)))
    family.of(0).exec()
    assert len(list(family.place().glob("*.stratum"))) == 1
    family.right()


def test_a_fork_of_an_older_state_stands_on_nothing_newer(family):
    bench = family.of(0)
    bench.put("f", b"old")
    bench.exec(lambda root: (root / "g").write_text("old"))
    old = bench.head().at
    bench.exec(lambda root: (root / "secret").write_text("new"))
    fork = family.fork(0, at=old)
    assert sorted(fork.on_hand()) == ["f", "g"]
    copy = fork.copies.take(fork.head())
    assert not [folder for folder in copy.overlay.lowers if (folder / "secret").exists()]
    copy.give_back()


def test_strata_are_not_shared_between_workspaces(bench):
    bench.put("f", b"f")
    bench.exec(lambda root: (root / "g").write_text("g"))
    other = bench.copies.take(timelines.Namespace(99, "ws-other", "main", bench.head().at, 2, 2))
    with bench.database.read() as db:
        other.bring_to(db, bench.head().at, bench.contents)
    copy = bench.copies.take(bench.head())
    assert copy.own is not None, "it was not made a stratum for somebody else"
    assert not set(copy.overlay.lowers) & set(other.overlay.lowers)
    other.give_back()
    copy.give_back()


def test_a_tower_of_forks_is_laid_anew(family):
    bench = family.of(0)
    for number in range(5):
        bench.put(f"base{number}", b"b")
    bench.exec()
    depths = []
    for number in range(2 * strata.MOST):
        fork = family.fork(number)
        fork.exec(
            lambda root, number=number: [
                (root / f"n{number}").write_text("n"),
                (root / f"n{number - 2}").unlink(True),
            ]
        )
        copy = fork.copies.take(fork.head())
        depths.append(len(copy.overlay.lowers))
        copy.give_back()
    assert depths[: strata.MOST - 3] == list(range(2, strata.MOST - 1))
    assert max(depths) <= strata.MOST
    assert depths[-1] < strata.MOST
    family.right()


def test_what_makes_room_takes_along_what_nobody_needs(tmp_path, bench):
    bench.copies.close()
    bench.copies = OverlayCopies(tmp_path / "few", kept=2)
    family = Family(bench)
    bench.put("f", b"f")
    bench.exec(lambda root: (root / "g").write_text("g"))
    for _ in range(4):
        family.fork(0).exec(lambda root: (root / "h").write_text("h"))
    place = bench.copies.place
    assert len(list(place.glob("*.copy"))) == 2
    names = {file.stem for file in place.iterdir()}
    bench.restart()
    bench.copies = OverlayCopies(tmp_path / "few", kept=2)
    assert {file.stem for file in bench.copies.place.iterdir()} <= names
    other = bench.database.write(
        lambda tx: timelines.create_namespace(tx, WORKSPACE, "other", now_ns=time.time_ns())
    )
    bench.space = other
    bench.exec(lambda root: (root / "o").write_text("o"))
    assert bench.on_hand() == bench.store()


def test_bytes_make_room_too(tmp_path, bench):
    bench.copies.close()
    bench.copies = OverlayCopies(tmp_path / "small", kept_bytes=150_000)
    spaces = []
    for number in range(4):
        bench.space = bench.database.write(
            lambda tx, number=number: timelines.create_namespace(
                tx, WORKSPACE, f"n{number}", now_ns=time.time_ns()
            )
        )
        spaces.append(bench.space)
        bench.put("f", os.urandom(60_000))
        bench.exec()
    assert (
        len(list(bench.copies.place.glob("*.copy"))) == 2 == len(list(bench.copies.place.glob("*.stratum")))
    )
    bench.put("f", os.urandom(500_000))  # more than all may take: still it is served
    bench.exec()
    assert bench.on_hand() == bench.store()


def test_the_next_process_finds_all_but_what_was_going_on(bench):
    bench.put("f", b"f")
    bench.exec(lambda root: (root / "g").write_text("g"))
    copy = bench.copies.take(bench.head())
    lowers = copy.overlay.lowers
    copy.start()
    (copy.root / "half").write_text("half done")
    left = copy.root
    bench.restart()
    copy = bench.copies.take(bench.head())
    assert copy.overlay.lowers == lowers and copy.at == bench.head().at
    assert not left.exists()
    copy.give_back()
    assert bench.on_hand() == bench.store()


def test_a_record_of_another_boot_or_half_of_one_is_nothing(bench):
    bench.put("f", b"f")
    bench.exec(lambda root: (root / "g").write_text("g"))
    bench.copies.take(bench.head()).give_back()
    place = bench.copies.place
    for kind in ("copy", "stratum"):
        (file,) = place.glob(f"*.{kind}")
        file.write_bytes(file.read_bytes()[:-1])
        bench.restart()
        assert not list(bench.copies.place.glob("*")), "nothing of it is of use"
        bench.exec()
        assert bench.on_hand() == bench.store()


def test_a_command_that_failed_leaves_nothing(bench):
    bench.put("f", b"f" * 100_000)
    bench.exec()
    with pytest.raises(QuotaExceeded):
        bench.exec(
            lambda root: (
                [(root / f"x{n}").write_bytes(b"x" * 1000) for n in range(100)] + [(root / "f").unlink()]
            ),
            quota=Quota(entries=50),
        )
    assert used(bench.copies.place) < 150_000
    assert list(bench.on_hand()) == ["f"]
    with pytest.raises(QuotaExceeded):
        bench.exec(lambda root: os.truncate(root / "f", 200_000), quota=Quota(bytes=150_000))
    scan, _ = bench.exec(lambda root: os.truncate(root / "f", 120_000), quota=Quota(bytes=150_000))
    assert scan.found
    # what is replaced or removed counts no more
    bench.exec(
        lambda root: [(root / "f").unlink(), (root / "g").write_bytes(bytes(140_000))],
        quota=Quota(bytes=150_000),
    )
    assert list(bench.on_hand()) == ["g"]


def test_a_takeover_has_folders_of_its_own(bench):
    bench.put("f", b"f")
    bench.exec(lambda root: (root / "g").write_text("g"))
    first, second = bench.copies.take(bench.head()), bench.copies.take(bench.head())
    with bench.database.read() as db:
        second.bring_to(db, bench.head().at, bench.contents)
    assert {first.root, first.overlay.work, first.own}.isdisjoint(
        {second.root, second.overlay.work, second.own}
    )
    assert first.own not in second.overlay.lowers
    second.give_back()
    first.give_back()


def test_many_at_once_with_little_room(tmp_path, bench):
    """Forks stand on, freeze and outlive one another while copies are thrown out under them."""
    bench.copies.close()
    bench.copies = copies = OverlayCopies(tmp_path / "few", kept=3)
    family = Family(bench)
    for number in range(10):
        bench.put(f"d/f{number}", b"base")
    bench.exec()
    for number in range(7):
        family.fork(number // 2)
    failed = []

    def work(number):
        random = Random(number)
        try:
            for turn in range(12):
                # each namespace has one command at a time, as the lock sees to it
                space = family.spaces[number + 4 * random.randrange(2)]
                with bench.database.read() as db:
                    head = timelines.head(db, space.id)
                    copy = copies.take(head)
                    copy.bring_to(db, head.at, bench.contents)
                copy.start()
                (copy.root / f"new{number}").write_text(f"{turn}")
                with bench.database.read() as db:
                    scan = copy.changes(db, bench.contents, Quota())
                done = bench.database.write(
                    lambda tx, head=head, scan=scan: ingest(
                        tx,
                        timelines.head(tx, head.id),
                        head.at,
                        scan,
                        now_ns=time.time_ns(),
                        actor="k",
                        step=None,
                    )
                )
                with bench.database.read() as db:
                    copy.keep(db, done.namespace.at, done.others, bench.contents)
                copy.give_back()
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    family.right()
    assert len(list(copies.place.glob("*.copy"))) == 3
    used_strata = {lower.name for copy in copies._idle.values() for lower in copy.overlay.lowers}
    assert {file.stem for file in copies.place.glob("*.stratum")} <= used_strata


def test_only_what_was_touched_is_looked_at(bench):
    """A change behind the server's back in a base is not seen, since nobody looks there."""
    for number in range(5):
        bench.put(f"d/f{number}", b"1")
    bench.exec()
    copy = bench.copies.take(bench.head())
    (copy.overlay.lowers[0] / "d" / "f1").write_bytes(b"changed")
    copy.give_back()
    scan, _ = bench.exec(lambda root: (root / "d" / "f2").write_text("2"))
    assert [found.path for found in scan.found] == ["d/f2"]


def test_what_is_not_kept_in_a_directory_made_anew_leaves_no_mark(bench):
    """There nothing shows through, so that a mark would be listed and lead nowhere."""
    bench.put("d/f", b"f")
    bench.put("e/f", b"f")
    bench.exec()

    def command(root):
        shutil.rmtree(root / "d")
        (root / "d").mkdir()
        os.mkfifo(root / "d" / "f")
        (root / "e" / "f").unlink()
        os.mkfifo(root / "e" / "f")

    scan, _ = bench.exec(command)
    assert scan.removed == ["d/f", "e/f"]
    assert bench.on_hand() == bench.store() == {"d": ("dir", 0o755), "e": ("dir", 0o755)}


def test_marks_that_somebody_plants_lose_and_gain_nothing(bench, tmp_path):
    """No command can make them: here they are made from outside, on the host's side of the folder."""
    for path in ("d/f", "e/f", "g"):
        bench.put(path, b"kept")
    bench.exec()
    before = bench.store()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("s")

    def plant(copy):
        (copy.root / "d").mkdir()
        os.setxattr(copy.root / "d", "user.overlay.redirect", b"/e")
        (copy.root / "e").mkdir()
        os.setxattr(copy.root / "e", "user.overlay.metacopy", b"")
        os.setxattr(copy.root / "e", "user.overlay.origin", b"x")
        os.setxattr(copy.root / "e", "user.overlay.overlay.opaque", b"y")
        os.mknod(copy.root / "dev", 0o20600, os.makedev(5, 1))
        os.mknod(copy.root / "new", 0o20600, 0)
        os.symlink(tmp_path / "outside", copy.root / "out")

    start = bench.head()
    copy = bench.copies.take(start)
    with bench.database.read() as db:
        copy.bring_to(db, start.at, bench.contents)
        copy.start()
        plant(copy)
        scan = copy.changes(db, bench.contents, Quota())
    assert [found.path for found in scan.found] == ["out"] and scan.removed == []
    assert scan.warnings == ["workspace/dev: a device is not kept"]
    copy.give_back()
    assert bench.on_hand() == before


def test_no_overlay_without_a_mount(tmp_path):
    assert "nothing is mounted" in trial(tmp_path, sandbox.choose("none"))
    assert list(tmp_path.iterdir()) == []
    assert trial(tmp_path / "not there", sandbox.choose("none"))


def test_what_was_below_a_directory_made_anew_is_gone_at_every_depth(bench):
    for path in ("d/sub/old", "d/sub/deep/old", "d/same/old"):
        bench.put(path, b"old")
    bench.exec()

    def command(root):
        shutil.rmtree(root / "d")
        (root / "d" / "sub" / "deep").mkdir(parents=True)
        (root / "d" / "sub" / "new").write_text("new")

    scan, _ = bench.exec(command)
    assert scan.removed == ["d/same", "d/same/old", "d/sub/deep/old", "d/sub/old"]
    assert sorted(bench.on_hand()) == ["d", "d/sub", "d/sub/deep", "d/sub/new"] == sorted(bench.store())


def test_no_mark_where_there_is_nothing_to_hide(bench):
    """In a directory that no stratum has, a mark would be listed."""
    bench.exec(lambda root: [(root / "d").mkdir(), (root / "d" / "f").touch(), (root / "d" / "g").touch()])
    bench.change(lambda change: change.remove("d/f"))
    bench.exec(lambda root: (root / "d" / "g").unlink())
    assert bench.on_hand() == bench.store() == {"d": ("dir", 0o755)}
    bench.exec(lambda root: [(root / "d" / "h").touch(), (root / "d" / "h").unlink()])
    assert bench.on_hand() == bench.store() == {"d": ("dir", 0o755)}


def test_what_a_fold_moves_keeps_hidden_what_was_hidden(tmp_path):
    """Also where the kernel did not mark a directory that a command made over a mark; it may leave that out."""
    lower, own, upper = (tmp_path / name for name in ("lower", "own", "upper"))
    for file in (
        lower / "d" / "old",
        lower / "e" / "old",
        own / "e",
        upper / "d" / "new",
        upper / "e" / "new",
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    with Tree(own) as tree:
        make_whiteout(tree, "d")
    with (
        Tree(upper) as above,
        Tree(own) as tree,
        Private(tree, strata.Stratum(lower, "ws", timelines.At(1, 1), None, 0)) as private,
    ):
        fold(above, private)
    with mounted(tmp_path / "seen", (own, lower)) as root:
        assert sorted(on_disk(root)) == ["d", "d/new", "e", "e/new"]
