"""Directories up and down: what is sent and made here, with both clients; embedded, over a network, and to a stand-in that
has only the public endpoints.
"""

import asyncio
import io
import os
import tarfile

import msgspec
import pytest

from trove_agents import AsyncTroveClient, NotSupported, Trove, TroveClient, TroveConflictError
from trove_agents.client.extract import Extraction
from trove_agents.client.local import Archive, Ignored, nodes
from trove_agents.errors import TroveConnectionError, TroveError, TroveServerError
from trove_agents.wire import tars
from trove_agents.wire.tars import Member

from .conftest import Colour, reply

ME = {"workspace_id": "ws-1", "key_id": "k", "key_name": "n", "scope": "workspace"}


@pytest.fixture
def tree(tmp_path):
    """A local directory with some of everything."""
    top = tmp_path / "local"
    (top / "src/deep").mkdir(parents=True)
    (top / "src/main.py").write_bytes(b"print(1)\n")
    (top / "src/main.py").chmod(0o751)
    (top / "src/main.pyc").write_bytes(b"\0")
    (top / "src/deep/big").write_bytes(b"z" * 700_000)
    (top / "empty").mkdir(mode=0o700)
    (top / "out").symlink_to("/etc/passwd")
    (top / "dir").symlink_to("src")
    (top / os.fsdecode(b"raw\xff")).write_bytes(b"raw")
    os.utime(top / "src/main.py", ns=(1, 1_700_000_000_123_456_789))
    os.utime(top / "empty", ns=(1, 1_600_000_000_000_000_001))
    return top


def look(top):
    """All that is below a directory: kinds, modes, times, contents."""
    found = {}
    for path in sorted(top.rglob("*")):
        state = path.lstat()
        name = str(path.relative_to(top))
        if path.is_symlink():
            found[name] = ("link", state.st_mtime_ns, os.readlink(path))
        elif path.is_dir():
            found[name] = ("directory", state.st_mtime_ns, state.st_mode)
        else:
            found[name] = ("file", state.st_mtime_ns, state.st_mode, path.read_bytes())
    return found


@pytest.fixture(params=["embedded", "network"])
def client(request, colour: Colour, tmp_path, serving):
    """The client of either colour, in process or over a network."""
    if request.param == "embedded":
        with Trove.temporary() as trove:
            yield (trove.client if colour.name == "sync" else trove.async_client)("main")
        return
    with serving(tmp_path, "--credentials-file", "keys.json") as server:
        key = server.credentials("keys.json")["key"]
        if colour.name == "sync":
            with TroveClient(key, "main", base_url=server.base_url) as client:
                yield client
        else:
            yield AsyncTroveClient(key, "main", base_url=server.base_url)


def test_up_and_down_again(colour: Colour, client, tree, tmp_path):
    told = []
    target = tmp_path / "made" / "here"

    def steps():
        yield "upload_dir", (tree, "t"), {"progress": lambda *each: told.append(each)}
        yield "download_dir", ("t", target), {}
        yield "export", ("workspace/t",), {"to": tmp_path / "t.tar"}
        yield "upload_dir", (tree / "src", "t"), {"replace": True, "ignore": ["*.pyc"]}
        yield "list_dir", ("t",), {"recursive": True}

    async def all_of_them():
        async with client:
            return [await getattr(client, name)(*args, **named) for name, args, named in steps()]

    if colour.name == "sync":
        results = [getattr(client, name)(*args, **named) for name, args, named in steps()]
    else:
        results = asyncio.run(all_of_them())
    sent, made, written, replaced, listed = results
    assert (sent.path, sent.files, sent.size_bytes) == ("workspace/t", 6, 700_013)
    assert (made.path, made.files, made.size_bytes) == ("workspace/t", 6, 700_013)
    assert look(target) == look(tree)
    assert [path.name for path in target.parent.iterdir()] == ["here"]
    assert told[-1][0] == told[-1][1] > 700_000
    assert [total for _, total in told] == [told[-1][1]] * len(told)
    assert written.bytes_written == (tmp_path / "t.tar").stat().st_size
    with tarfile.open(tmp_path / "t.tar") as archive:
        assert archive.extractfile("src/main.py").read() == b"print(1)\n"
    assert replaced.files == 2
    assert [entry.path for entry in listed] == [
        "workspace/t/deep",
        "workspace/t/deep/big",
        "workspace/t/main.py",
    ]


def test_at_a_state_and_to_an_open_file(tree):
    with Trove.temporary() as trove:
        client = trove.client("main")
        client.upload_dir(tree / "src")
        taken = client.create_snapshot()
        client.delete("main.py")
        now, then = io.BytesIO(), io.BytesIO()
        client.export(to=now)
        client.export(to=then, at=taken)
        for raw, there in ((now, False), (then, True)):
            raw.seek(0)
            with tarfile.open(fileobj=raw) as archive:
                assert ("main.py" in archive.getnames()) is there
        with pytest.raises(TroveConflictError, match="deep is a directory"):
            other = tree / "other"
            other.mkdir()
            (other / "deep").write_bytes(b"")
            client.upload_dir(other)


class Public:
    """A stand-in with only the public endpoints."""

    def __init__(self, *capabilities):
        self.capabilities = capabilities

    def __call__(self, request):
        if request.path == "/v1/me":
            return reply(200, msgspec.json.encode({**ME, "capabilities": self.capabilities}))
        if request.method == "PUT" and request.path.startswith("/files/"):
            return reply(200, b'{"path": "x", "size_bytes": 1}')
        return reply(404, b'{"detail": "no such endpoint"}')


def test_without_the_capability_files_go_one_by_one(colour: Colour, tree):
    transport = colour.transport(Public())
    client = colour.client(transport)
    for number in range(20):
        (tree / f"n{number}").write_bytes(b"")
    told = []
    result = colour.call(
        client,
        "upload_dir",
        tree,
        "workspace/t/",
        ignore=["out", "dir"],
        progress=lambda *each: told.append(each),
    )
    assert (result.path, result.files, result.size_bytes) == ("workspace/t", 24, 700_013)
    assert told[-1] == (700_013, 700_013)
    paths = [request.path for request in transport.requests[1:]]
    assert "/files/t/raw%EF%9F%BF" in paths
    assert len(paths) == 24
    assert sorted(paths) == sorted(set(paths))
    assert b"print(1)\n" in transport.bodies


@pytest.mark.parametrize("named", [{"replace": True, "ignore": ["out", "dir"]}, {}])
def test_what_single_uploads_cannot_do(colour: Colour, tree, named):
    transport = colour.transport(Public())
    with pytest.raises(NotSupported):
        colour.call(colour.client(transport), "upload_dir", tree, **named)
    assert [request.path for request in transport.requests] == ["/v1/me"]


@pytest.mark.parametrize(
    ("method", "named"), [("export", {"to": io.BytesIO()}), ("download_dir", {"local": None})]
)
def test_nothing_comes_of_a_server_without_it(colour: Colour, tmp_path, method, named):
    transport = colour.transport(Public("files.at"))
    if "local" in named:
        named = {"local": tmp_path / "x"}
    with pytest.raises(NotSupported, match="tree"):
        colour.call(colour.client(transport), method, "d", **named)
    assert [request.path for request in transport.requests] == ["/v1/me"]
    assert list(tmp_path.iterdir()) == []


def test_what_is_sent(colour: Colour, tree):
    answers = Public("tree")

    def answer(request):
        if request.path == "/v1/tree":
            return reply(200, b'{"path": "workspace/a b", "files": 6, "size_bytes": 1}')
        return answers(request)

    transport = colour.transport(answer)
    client = colour.client(transport)
    colour.call(client, "upload_dir", tree, "/a b", replace=True)
    colour.call(client, "upload_dir", str(tree))
    _, first, second = transport.requests
    assert (first.method, first.query, second.query) == ("PUT", "path=a%20b&replace=true", "path=")
    assert first.length == len(transport.bodies[1]) == second.length
    assert transport.bodies[1] == transport.bodies[2]  # the same order every time
    with tarfile.open(fileobj=io.BytesIO(transport.bodies[1])) as archive:
        assert archive.getnames() == [
            "dir", "empty", "out", "raw\udcff", "src", "src/deep", "src/deep/big", "src/main.py", "src/main.pyc"
        ]  # fmt: skip


def test_it_is_sent_again_from_its_beginning(colour: Colour, tree):
    failures = [reply(503, b'{"detail": "busy", "code": "busy"}')]

    def answer(request):
        if request.path != "/v1/tree":
            return Public("tree", "idempotency")(request)
        return (
            failures.pop() if failures else reply(200, b'{"path": "workspace", "files": 6, "size_bytes": 1}')
        )

    transport = colour.transport(answer)
    colour.call(colour.client(transport), "upload_dir", tree)
    assert transport.bodies[1] == transport.bodies[2]
    keys = [dict(request.headers)["idempotency-key"] for request in transport.requests[1:]]
    assert keys[0] == keys[1]


PATTERNS = [
    ("*.pyc", "a.pyc", True),
    ("*.pyc", "d/e/a.pyc", True),
    ("*.pyc", "a.py", False),
    ("/build", "build", True),
    ("/build", "d/build", False),
    ("docs/*.tmp", "docs/a.tmp", True),
    ("docs/*.tmp", "docs/d/a.tmp", False),
    ("docs/*.tmp", "x/docs/a.tmp", False),
    ("docs/**/a", "docs/a", True),
    ("docs/**/a", "docs/b/c/a", True),
    ("docs/**", "docs/b/c", True),
    ("**/x/**/y", "x/1/y/2/x/y", True),
    ("**/x/**/y", "x/1/y/2", False),
    ("node_modules/", "node_modules", False),
    ("[ab]?", "b1", True),
    (".git", ".git", True),
]


@pytest.mark.parametrize(("pattern", "path", "matches"), PATTERNS)
def test_what_is_ignored(pattern, path, matches):
    assert Ignored([pattern]).match(path, is_dir=False) is matches


def test_patterns():
    assert Ignored(["node_modules/"]).match("a/node_modules", is_dir=True)
    assert not Ignored([]).match("a", is_dir=False)
    for bad in ("", "/", "!a"):
        with pytest.raises(ValueError, match="no pattern"):
            Ignored([bad])
    with pytest.raises(TypeError):
        Ignored("*.pyc")


def test_what_an_ignored_directory_holds_is_not_looked_at(tree):
    (tree / "src/fifo").parent.joinpath("deep/fifo").touch()
    os.mkfifo(tree / "src/deep/pipe")
    found = [node.member.path for node in nodes(tree, ignore=["deep/", "*.pyc"])]
    assert found == ["dir", "empty", "out", "raw\udcff", "src", "src/main.py"]


def test_links_that_are_followed(tree):
    (tree / "out").unlink()
    found = {node.member.path: node.member.kind for node in nodes(tree, follow_symlinks=True)}
    assert (found["dir"], found["dir/deep/big"]) == ("directory", "file")
    (tree / "src/deep/up").symlink_to("..")
    with pytest.raises(TroveError, match="leads back"):
        nodes(tree, follow_symlinks=True)
    (tree / "src/deep/up").unlink()
    (tree / "nowhere").symlink_to("not there")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        nodes(tree, follow_symlinks=True)


@pytest.mark.parametrize("kind", ["fifo", "unreadable", "missing", "file"])
def test_what_cannot_be_read_is_told_before_anything_is_sent(colour: Colour, tree, kind, monkeypatch):
    transport = colour.transport(Public("tree"))
    local, error = tree, TroveError
    if kind == "fifo":
        os.mkfifo(tree / "src/pipe")
    elif kind == "unreadable":
        (tree / "src/closed").write_bytes(b"")
        (tree / "src/closed").chmod(0)
        if os.geteuid() == 0:
            pytest.skip("root reads everything")
        error = PermissionError
    elif kind == "missing":
        local, error = tree / "not there", FileNotFoundError
    else:
        local, error = tree / "src/main.py", NotADirectoryError
    with pytest.raises(error):
        colour.call(colour.client(transport), "upload_dir", local)
    assert transport.requests == []


def test_a_file_that_changes_meanwhile(tree):
    archive = Archive(nodes(tree, ignore=["raw*"]))
    (tree / "src/main.py").write_bytes(b"print(1)\nand more")
    assert len(b"".join(archive)) == archive.length
    (tree / "src/main.py").write_bytes(b"")
    with pytest.raises(TroveError, match="9 bytes shorter"):
        b"".join(archive)


def archive(*entries, end=tars.END):
    raw = b""
    for path, *rest in entries:
        if not rest:
            raw += tars.head(Member(path, "directory", 0o750, 5))
        elif len(rest) == 2:
            raw += tars.head(Member(path, "link", 0o777, 5, target=rest[1]))
        else:
            raw += (
                tars.head(Member(path, "file", 0o640, 5, len(rest[0]))) + rest[0] + tars.padding(len(rest[0]))
            )
    return raw + end


def forged(path, data=b"x"):
    """A file with a name that no well-behaved server gives."""
    info = tarfile.TarInfo(path)
    info.size = len(data)
    return info.tobuf(tarfile.PAX_FORMAT) + data + tars.padding(len(data)) + tars.END


BAD = {
    "out": (forged("../escaped"), TroveServerError),
    "absolute": (forged("/escaped"), TroveServerError),
    "through a link": (archive(("l", None, b".."), end=b"") + forged("l/escaped"), TroveServerError),
    "over a link": (archive(("l", None, b"../escaped"), end=b"") + forged("l"), TroveServerError),
    "broken off": (archive(("a", b"x"), end=b""), TroveConnectionError),
    "broken off in a file": (archive(("a", b"x" * 5000))[:3000], TroveConnectionError),
    "nothing": (b"", TroveConnectionError),
    "no archive": (b"<html>" * 200, TroveServerError),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("there", [False, True])
def test_an_answer_that_is_no_good_archive_writes_nothing(colour: Colour, tmp_path, name, there):
    data, error = BAD[name]
    local = tmp_path / "in" / "local"
    if there:
        local.mkdir(parents=True)
        (local / "a").write_bytes(b"mine")
    answers = Public("tree")
    transport = colour.transport(lambda r: reply(200, data) if r.path == "/v1/tree" else answers(r))
    client = colour.client(transport, retries=None)
    with pytest.raises(error):
        colour.call(client, "download_dir", "", local, overwrite=True)
    with pytest.raises(error):
        colour.call(client, "export", "", to=tmp_path / "x.tar")
    kept = {"in", "in/local", "in/local/a"} if there else {"in"}
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} <= kept
    if there:
        assert (local / "a").read_bytes() == b"mine"


def extract(local, data, *, overwrite=False):
    extraction = Extraction(local, overwrite=overwrite)
    with extraction.opened():
        for at in range(0, len(data), 700):
            extraction.write(data[at : at + 700])


def test_nothing_is_overwritten_unless_told(tmp_path):
    local = tmp_path / "d"
    local.mkdir()
    extract(local, archive(("a", b"1")))  # an empty one is fine
    with pytest.raises(FileExistsError, match="overwrite=True"):
        extract(local, archive(("a", b"2")))
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(FileExistsError, match="no directory"):
        extract(tmp_path / "f", archive(("a", b"2")), overwrite=True)
    assert (local / "a").read_bytes() == b"1"


def test_overwriting_replaces_and_writes_through_no_link(tmp_path):
    local, outside = tmp_path / "d", tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_bytes(b"precious")
    extract(local, archive(("a", b"1"), ("kept", b"2"), ("dir/x", b"3"), ("was file", b"")))
    (local / "to file").symlink_to(outside / "f")
    (local / "to dir").symlink_to(outside)
    new = archive(
        ("a", b"new"), ("to file", b"new"), ("to dir/f", b"new"), ("was file/now", b""), ("to dir",)
    )
    extract(local, new, overwrite=True)
    assert (outside / "f").read_bytes() == b"precious"
    assert {name: each[-1] for name, each in look(local).items() if each[0] == "file"} == {
        "a": b"new", "kept": b"2", "dir/x": b"3", "was file/now": b"", "to file": b"new", "to dir/f": b"new"
    }  # fmt: skip
    before = look(local)
    with pytest.raises(FileExistsError, match="dir is a directory"):
        extract(local, archive(("a", b"newer"), ("dir", b"")), overwrite=True)
    assert look(local) == before


def test_directories_that_nobody_may_write(tmp_path):
    raw = tars.head(Member("d", "directory", 0o500, 7)) + tars.head(Member("d/e", "directory", 0o555, 8))
    raw += tars.head(Member("d/e/f", "file", 0o400, 9)) + tars.END
    for overwrite in (False, True):
        extract(tmp_path / "x", raw, overwrite=overwrite)
        assert [(each[1], oct(each[2])) for each in look(tmp_path / "x").values()] == [
            (7, "0o40500"), (8, "0o40555"), (9, "0o100400")
        ]  # fmt: skip
