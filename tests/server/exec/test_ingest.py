"""Who wins when others change files while a command runs."""

import os
import shutil

import pytest

from trove_agents.server import timelines

from .conftest import BOTH


@pytest.fixture(scope="session", params=BOTH)
def form(request):
    return request.param


def write(path, data=b"theirs"):
    return lambda bench: bench.put(path, data)


def remove(path):
    return lambda bench: bench.change(lambda change: change.remove(path))


def directory(path):
    return lambda bench: bench.change(lambda change: change.put_directory(path, replace=True))


def ours(path, data="ours"):
    def command(root):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(data)

    return command


def both(*edits):
    return lambda target: [edit(target) for edit in edits]


CASES = [
    # name, the command, the others, conflicts, paths that must be there with their content (None: must be gone)
    ("apart", ours("x"), write("y"), [], {"x": b"ours", "y": b"theirs"}),
    ("same file", ours("d/f"), write("d/f"), ["d/f"], {"d/f": b"ours"}),
    ("both new", ours("new"), write("new"), ["new"], {"new": b"ours"}),
    ("removed under a change", ours("d/f"), remove("d/f"), ["d/f"], {"d/f": b"ours"}),
    ("changed under a removal", lambda root: (root / "d/f").unlink(), write("d/f"), ["d/f"], {"d/f": None}),
    ("both removed", lambda root: (root / "d/f").unlink(), remove("d/f"), [], {"d/f": None}),
    ("both made a directory", lambda root: (root / "n").mkdir(), directory("n"), [], {"n": "dir"}),
    ("file in a directory of both", ours("n/a"), write("n/b"), [], {"n/a": b"ours", "n/b": b"theirs"}),
    ("directory removed under a new file", ours("d/new"), remove("d"), [], {"d/new": b"ours", "d/f": None}),
    (
        "new file under a removed directory",
        lambda root: shutil.rmtree(root / "d"),
        write("d/new"),
        [],
        {"d/new": b"theirs", "d/f": None},
    ),
    (
        "changed file under a removed directory",
        lambda root: shutil.rmtree(root / "d"),
        write("d/f"),
        ["d/f"],
        {"d": None},
    ),
    (
        "file over a directory that others filled",
        both(lambda root: shutil.rmtree(root / "d"), ours("d")),
        write("d/new"),
        ["d/new"],
        {"d": b"ours"},
    ),
    ("file where others made a directory", ours("n"), write("n/below"), ["n", "n/below"], {"n": b"ours"}),
    (
        "file below what others made a file",
        ours("n/below"),
        write("n"),
        ["n"],
        {"n": "dir", "n/below": b"ours"},
    ),
    (
        "directory that others made a file",
        ours("d/new"),
        both(remove("d"), write("d")),
        ["d"],
        {"d": "dir", "d/new": b"ours", "d/f": None},
    ),
    ("mode of a directory", lambda root: (root / "d").chmod(0o700), write("d/f"), [], {"d/f": b"theirs"}),
    ("untouched", lambda root: None, both(write("d/f"), remove("g")), [], {"d/f": b"theirs", "g": None}),
    (
        "link over a change",
        lambda root: [(root / "g").unlink(), os.symlink("d", root / "g")],
        write("g"),
        ["g"],
        {"g": "link"},
    ),
]


@pytest.mark.parametrize(
    ("command", "others", "conflicts", "there"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_changed_paths_of_the_command_win(bench, command, others, conflicts, there):
    bench.put("d/f", b"before")
    bench.put("g", b"before")
    bench.exec()
    scan, done = bench.exec(command, during=lambda: others(bench))
    assert done.conflicts == conflicts
    store = bench.store()
    for path, content in there.items():
        if content is None:
            assert path not in store
        elif isinstance(content, str):
            assert store[path][0] == content
        else:
            assert store[path][:1] + store[path][2:3] == ("file", content)
    # the copy was brought along, so that the next command finds the head
    assert bench.on_hand() == store
    scan, done = bench.exec()
    assert not scan and not done.conflicts and bench.on_hand() == store
    head = bench.head()
    assert head.files == sum(what[0] != "dir" for what in store.values())
    assert head.bytes == sum(len(what[2]) for what in store.values() if what[0] == "file")


def test_one_version_whatever_a_command_does(bench):
    bench.exec(lambda root: [ours(f"d{n}/f{m}")(root) for n in range(5) for m in range(5)])
    before = bench.head()
    bench.exec(lambda root: [shutil.rmtree(root / "d1"), ours("d0/f0", "again")(root), ours("x")(root)])
    with bench.database.read() as db:
        kinds = [row.kind for _, row in timelines.history(db, bench.space.id, "d1/f1")]
        assert kinds == ["exec", "exec"]
        changed = {d.path: d.change for d in timelines.differences(db, before.at, bench.head().at)}
    assert changed == {
        "d0/f0": "changed",
        "x": "added",
        "d1": "removed",
        **{f"d1/f{n}": "removed" for n in range(5)},
    }
