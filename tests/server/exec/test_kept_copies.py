"""Both forms: copies outlive their process where they can be trusted, and go when nobody needs them."""

import os
import time

import pytest

from trove_agents.server import timelines
from trove_agents.server.exec import state
from trove_agents.server.exec.copies import DirectoryCopies, identity
from trove_agents.server.jobs import Turn

from .conftest import BOTH, WORKSPACE, directories, same


@pytest.fixture(scope="session", params=BOTH)
def form(request):
    return request.param


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
