"""Whatever is done to a working copy, the store ends up with the same tree; and any state can be laid out again."""

import contextlib
import os
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import BOTH


@pytest.fixture(scope="session", params=BOTH)
def form(request):
    return request.param


PATHS = st.sampled_from(["a", "b", "a/a", "a/b", "b/a", "a/a/a", "a.b", "\udcff"])
THERE = st.integers(0, 7)  # which of the paths that are there
DATA = st.sampled_from([b"", b"1", b"2", b"x" * 20_000, b"y" * 20_000])
TIMES = st.sampled_from([0, 1, 1_600_000_000_000_000_000, 4_000_000_000_000_000_000])
MODES = st.sampled_from([0o644, 0o755, 0o600, 0o4711, 0o000])
NEW = st.one_of(
    st.tuples(st.just("write"), PATHS, DATA),
    st.tuples(st.just("mkdir"), PATHS),
    st.tuples(st.just("link"), PATHS, st.sampled_from(["a", "../b", "/nowhere", "nowhere"])),
    st.tuples(st.just("fifo"), PATHS),
)
EDITS = st.one_of(
    NEW,
    st.tuples(st.just("over"), THERE, DATA),
    st.tuples(st.just("remove"), THERE),
    st.tuples(st.just("move"), THERE, PATHS),
    st.tuples(st.just("chmod"), THERE, MODES),
    st.tuples(st.just("utime"), THERE, TIMES),
    st.tuples(st.just("hard"), THERE, PATHS),
)


def real(root, path):
    """The place of a path if no link is on the way to it, so that no edit leaves the copy."""
    place = os.path.join(os.fsencode(root), os.fsencode(path))
    above = os.path.dirname(place)
    if os.path.realpath(above) != above or not os.path.isdir(above):
        raise FileNotFoundError(path)
    return place


def edit(root, kind, path, *more):
    with contextlib.suppress(OSError, shutil.Error):
        if isinstance(path, int):
            there = sorted(
                os.path.relpath(os.path.join(directory, name), root)
                for directory, directories, names in os.walk(root)
                for name in (*directories, *names)
            )
            path = there[path % len(there)] if there else "a"
        else:
            for end in (at for at, letter in enumerate(path) if letter == "/"):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(real(root, path[:end]))
        place = real(root, path)
        plain = os.path.isfile(place) and not os.path.islink(place)
        if kind == "write":
            if os.path.lexists(place) and not plain:
                return
            with open(place, "wb") as file:
                file.write(more[0])
        elif kind == "over" and plain:  # in place, behind the old time
            was = os.stat(place)
            with open(place, "r+b") as file:
                file.write(more[0])
            os.utime(place, ns=(was.st_atime_ns, was.st_mtime_ns))
        elif kind == "mkdir":
            os.mkdir(place)
        elif kind == "link":
            os.symlink(more[0], place)
        elif kind == "remove":
            shutil.rmtree(place) if os.path.isdir(place) and not os.path.islink(place) else os.unlink(place)
        elif kind == "move":
            os.rename(place, real(root, more[0]))
        elif kind == "chmod" and plain:
            os.chmod(place, more[0])
        elif kind == "utime":
            os.utime(place, ns=(0, more[0]), follow_symlinks=False)
        elif kind == "hard" and plain:
            os.link(place, real(root, more[0]))
        elif kind == "fifo":
            os.mkfifo(place)


def expected(root, bench):
    """What the folder should become in the store, found before the scan takes out what is not kept."""
    found = {}
    fifos = []
    for directory, _, names in os.walk(root):
        for name in names:
            place = os.path.join(directory, name)
            if not os.path.islink(place) and not os.path.isfile(place):
                fifos.append(place)
    saved = set(fifos)
    for place in fifos:  # a FIFO cannot be read; the model looks as if it were not there
        os.unlink(place)
    for path, what in bench.on_disk(root).items():
        found[path] = (what[0], what[1] & 0o777, *what[2:]) if what[0] != "link" else what
    for place in saved:
        os.mkfifo(place)
    return found


ROUNDS = st.tuples(
    st.lists(NEW, min_size=3, max_size=8),
    st.lists(EDITS, min_size=2, max_size=8),
    st.lists(EDITS, max_size=8),
)


@settings(max_examples=25, deadline=None)
@given(ROUNDS)
def test_the_store_has_what_the_folder_has(bench_maker, rounds):
    with bench_maker() as bench:
        states = [bench.head().at]
        for edits in rounds:
            model = {}

            def command(root):
                for one in edits:
                    edit(root, *one)
                model.update(expected(root, bench))

            bench.exec(command)
            assert bench.store() == model == bench.on_hand()
            states.append(bench.head().at)
        assert not bench.exec()[0]
        for at in [*states, *reversed(states), states[-1], states[0]]:
            assert bench.on_hand(at=at) == bench.store(at)
