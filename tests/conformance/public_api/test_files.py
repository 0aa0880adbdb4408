"""Files through the SDK: wire 1.5, 3.2 to 3.7, 9.1."""

import io
import re
import threading

import psutil
import pytest
from trove_sdk import TroveError
from trove_sdk.exceptions import TroveNotFoundError
from trove_sdk.models import BytesContent, FileContent, FileInfo, FileResult

MB = 1024 * 1024
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def test_write_and_read(client):
    assert client.write("workspace/notes/a.txt", "héllo\r\n") == FileResult("workspace/notes/a.txt", 8)
    assert client.read_text("workspace/notes/a.txt") == "héllo\r\n"
    assert client.read("notes/a.txt") == "héllo\r\n"
    assert client.read_bytes("workspace/notes/a.txt") == "héllo\r\n".encode()
    found = client.read_file("/workspace/notes/a.txt")
    assert TIMESTAMP.fullmatch(found.modified_at)
    assert found == FileContent("workspace/notes/a.txt", 8, found.modified_at, "utf-8", "héllo\r\n", False)
    assert client.write("notes/a.txt", "") == FileResult("workspace/notes/a.txt", 0)
    assert client.read("notes/a.txt") == ""


@pytest.mark.parametrize("make", [bytes, io.BytesIO])
def test_upload_and_download(client, make):
    data = bytes(range(256)) * 1000
    assert client.upload("workspace/b.bin", make(data)) == FileResult("workspace/b.bin", len(data))
    assert client.read("workspace/b.bin") == data
    assert client.read_bytes_full("b.bin") == BytesContent(data, False, len(data))
    assert client.read_file("b.bin").encoding == "binary"
    assert client.read_file("b.bin").content is None
    with pytest.raises(TroveError, match="binary") as caught:
        client.read_text("b.bin")
    assert caught.value.status_code == 415


def test_one_name_whatever_the_number_of_prefixes(client):
    client.write("workspace/workspace/x", "1")
    for form in ("x", "workspace/x", "/workspace/x", "workspace/workspace/x", "./x", "workspace//x"):
        assert client.read_text(form) == "1", form
    assert [entry.path for entry in client.list_dir()] == ["workspace/x"]
    assert client.delete("workspace/workspace/workspace/x") == "workspace/x"


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("a#b", "a"),
        ("a?b=c", "a"),
        ("100%20.txt", "100 .txt"),
        ("100%.txt", "100%.txt"),
        ("50%zz", "50%zz"),
        ("with space.txt", "with space.txt"),
        ("ünï/cödé.txt", "ünï/cödé.txt"),
        ("a+b&c=d;e,f.txt", "a+b&c=d;e,f.txt"),
        ("%F0%9F%8E%B2", "🎲"),
        ("[x]{y}'\"!$()*~@:", "[x]{y}'\"!$()*~@:"),
    ],
)
def test_what_the_sdk_makes_of_names_in_an_upload(client, sent, stored):
    """It escapes no segment of ``/files/{path}``: wire 1.5 tells what arrives."""
    assert client.upload(sent, b"v").path == f"workspace/{stored}"
    assert client.read_text(stored) == "v"
    assert [entry.path for entry in client.list_dir(recursive=True) if not entry.is_dir] == [
        f"workspace/{stored}"
    ]
    assert client.read_bytes(sent) == b"v"


def test_an_upload_that_leaves_the_root_is_no_route(client):
    with pytest.raises(TroveNotFoundError) as caught:
        client.upload("../x", b"v")
    assert caught.value.status_code == 404
    assert client.list_dir() == []


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "a/../../x",
        "..",
        "a\\..\\b",
        "a\x00b",
        "a\nb",
        "s" * 256,
        "d/" * 2050 + "x",
        "",
        "/",
        "workspace",
        "workspace/",
    ],
)
def test_bad_paths(client, path):
    for call in (
        lambda: client.write(path, "x"),
        lambda: client.delete(path),
        lambda: client.read_file(path),
    ):
        with pytest.raises(TroveError) as caught:
            call()
        assert caught.value.status_code == 400
        assert type(caught.value) is TroveError
        assert isinstance(caught.value.args[0], str)
    assert client.list_dir() == []


def test_a_listing(client):
    assert client.list_dir("workspace/") == []
    for path in ("b.txt", "a/2", "a/sub/x", "Z/1", ".hidden", "é"):
        client.write(path, path)
    flat = client.list_dir()
    assert [(entry.name, entry.is_dir) for entry in flat] == [
        ("Z", True),
        ("a", True),
        (".hidden", False),
        ("b.txt", False),
        ("é", False),
    ]
    assert flat.truncated is False
    assert all(TIMESTAMP.fullmatch(entry.modified_at) for entry in flat)
    assert [entry.size_bytes for entry in flat] == [None, None, 7, 5, 2]
    deep = client.list_dir("workspace/a/", recursive=True)
    assert [entry.path for entry in deep] == ["workspace/a/sub", "workspace/a/sub/x", "workspace/a/2"]
    assert isinstance(deep[0], FileInfo)
    for form in ("", "/", "workspace", "workspace/"):
        assert [entry.name for entry in client.list_dir(form)] == [entry.name for entry in flat]


def test_deep_trees_are_cut_at_twenty_levels(client):
    client.write("/".join("d" * 20), "x")
    assert client.list_dir(recursive=True).truncated is False
    client.write("/".join("d" * 19) + "/e/x", "x")
    listing = client.list_dir(recursive=True)
    assert listing.truncated is True
    assert max(entry.path.count("/") for entry in listing) == 20


def test_delete(client):
    client.write("d/a/b", "x")
    client.write("d/c", "x")
    assert client.delete("workspace/d/") == "workspace/d"
    with pytest.raises(TroveNotFoundError):
        client.delete("d")
    assert client.list_dir(recursive=True) == []


def test_missing_and_in_the_way(client):
    for call in (
        client.read_text,
        client.read_bytes,
        client.read,
        client.read_bytes_full,
        client.list_dir,
        client.delete,
    ):
        with pytest.raises(TroveNotFoundError, match="workspace/nope") as caught:
            call("nope")
        assert caught.value.status_code == 404
    client.write("file", "x")
    client.write("dir/x", "x")
    for call, status in (
        (lambda: client.write("dir", "y"), 409),
        (lambda: client.write("file/y", "y"), 409),
        (lambda: client.upload("dir", b"y"), 409),
        (lambda: client.read_text("dir"), 400),
        (lambda: client.read_bytes("dir"), 400),
        (lambda: client.list_dir("file"), 400),
    ):
        with pytest.raises(TroveError) as caught:
            call()
        assert (type(caught.value), caught.value.status_code) == (TroveError, status)
    assert client.read_text("file") == "x"


def test_init_script(client):
    assert client.get_init() is None
    assert client.clear_init() is False
    assert client.set_init("export A=1\n") == FileResult("workspace/.trove/init.sh", 11)
    assert client.get_init() == "export A=1\n"
    assert client.clear_init() is True
    assert client.get_init() is None


@pytest.mark.parametrize("before", [MB - 1, MB - 2, MB - 3])
def test_a_text_whose_cap_falls_inside_a_character(client, before):
    """Wire 11.6."""
    client.upload("t.txt", b"x" * before + "𝄞".encode() + b"y" * 10)
    found = client.read_file("t.txt")
    assert (found.encoding, found.truncated, found.size_bytes) == ("utf-8", True, before + 14)
    assert found.content == "x" * before


def test_write_takes_ten_megabytes_of_bytes_and_no_more(sync):
    sync.write("big", "é" * (5 * MB))
    with pytest.raises(TroveError) as caught:
        sync.write("big", "é" * (5 * MB) + "x")
    assert caught.value.status_code == 413
    assert sync.read_bytes_full("big").size_bytes == 10 * MB


def test_upload_takes_a_hundred_megabytes_and_no_more(sync, served):
    data = bytearray(100 * MB)
    data[-1] = 7
    with Growth(served.process.pid) as growth:
        assert sync.upload("big", bytes(data)).size_bytes == 100 * MB
        back = sync.read_bytes_full("big")
    assert (back.truncated, back.size_bytes, len(back.content)) == (False, 100 * MB, 100 * MB)
    assert back.content == data
    assert growth.bytes < 32 * MB, "nothing of that size is held in memory"
    with pytest.raises(TroveError) as caught:
        sync.upload("big", bytes(data) + b"x")
    assert caught.value.status_code == 413
    assert sync.list_dir()[0].size_bytes == 100 * MB


class Growth:
    """How much more memory a process held than at the start."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._done = threading.Event()
        self._watch = threading.Thread(target=self._look)
        self._start = self._process.memory_info().rss
        self.bytes = 0

    def _look(self) -> None:
        while not self._done.wait(0.005):
            self.bytes = max(self.bytes, self._process.memory_info().rss - self._start)

    def __enter__(self) -> "Growth":
        self._watch.start()
        return self

    def __exit__(self, *_) -> None:
        self._done.set()
        self._watch.join()


def test_what_files_do_is_told_in_events(client, workspace):
    client.write("a", "12")
    client.upload("b", b"345")
    client.delete("a")
    client.set_init("true")
    told = [(event["type"], event["data"]) for event in workspace.events(namespace="main")]
    assert told == [
        ("file.written", {"path": "workspace/.trove/init.sh", "size_bytes": 4, "source": "write"}),
        ("file.deleted", {"path": "workspace/a"}),
        ("file.written", {"path": "workspace/b", "size_bytes": 3, "source": "upload"}),
        ("file.written", {"path": "workspace/a", "size_bytes": 2, "source": "write"}),
    ]


def test_two_clients_see_one_namespace_and_not_the_other(colour, workspace):
    one, same, other = (colour.client(workspace.key, name) for name in ("one", "one", "two"))
    one.write("f", "x")
    assert same.read_text("f") == "x"
    with pytest.raises(TroveNotFoundError):
        other.read_text("f")
