import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from blake3 import blake3

from trove_agents.server.blobs import MB, BlobStore, Disk, Stored

WORKSPACE = "ws-0000000000000001"
LATER = time.time() + 1e6


@pytest.fixture(params=["disk", "obstore"])
def blobs(tmp_path, request):
    """Both kinds of place; obstore's over a local folder, so that the tests can look at what is there."""
    if request.param == "disk":
        return BlobStore.local(tmp_path / "blobs")
    from obstore.store import LocalStore

    from trove_agents.server.blobs.objects import ObjectBucket

    (tmp_path / "blobs").mkdir()
    return BlobStore(ObjectBucket(LocalStore(tmp_path / "blobs")))


def files(tmp_path):
    return sorted(
        str(path.relative_to(tmp_path / "blobs"))
        for path in (tmp_path / "blobs").rglob("*")
        if path.is_file()
    )


def read(blobs, stored, workspace=WORKSPACE, **options):
    return b"".join(blobs.stream(workspace, stored.digest, **options))


@pytest.mark.parametrize("size", [0, 1, 20_000, MB - 1, MB, MB + 1, 3 * MB + 7])
def test_what_is_put_comes_back(blobs, tmp_path, size):
    data = os.urandom(size)
    stored = blobs.put(WORKSPACE, data)
    assert stored == Stored(blake3(data).digest(), size)
    assert read(blobs, stored) == data
    name = stored.digest.hex()
    assert files(tmp_path) == [f"{WORKSPACE}/{name[:2]}/{name}"]
    assert all(len(piece) <= MB for piece in blobs.stream(WORKSPACE, stored.digest))


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 0), (0, 1), (5, 5), (10, 2 * MB), (MB, None), (2 * MB + 9, None), (9 * MB, None), (0, 9 * MB)],
)
def test_ranges(blobs, start, stop):
    data = os.urandom(2 * MB + 9)
    assert read(blobs, blobs.put(WORKSPACE, data), start=start, stop=stop) == data[start:stop]


def test_pieces_of_any_size_make_one_blob(blobs):
    data = os.urandom(3 * MB)
    writer = blobs.writer(WORKSPACE)
    for start, stop in ((0, 1), (1, 1), (1, 700_000), (700_000, 3 * MB)):
        writer.write(data[start:stop])
    stored = writer.finish()
    assert writer.finish() == stored
    writer.abort()
    assert read(blobs, stored) == data


def test_the_same_bytes_are_kept_once_and_not_written_again(blobs, tmp_path):
    first = blobs.put(WORKSPACE, b"same")
    (file,) = files(tmp_path)
    before = (tmp_path / "blobs" / file).stat()
    assert blobs.put(WORKSPACE, b"same") == first
    assert (tmp_path / "blobs" / file).stat().st_ino == before.st_ino
    assert files(tmp_path) == [file]


def test_workspaces_share_nothing(blobs):
    stored = blobs.put(WORKSPACE, b"mine")
    assert blobs.exists(WORKSPACE, stored.digest)
    assert not blobs.exists("ws-0000000000000002", stored.digest)
    with pytest.raises(FileNotFoundError):
        read(blobs, stored, workspace="ws-0000000000000002")


@pytest.mark.parametrize("size", [10, 3 * MB])
def test_an_aborted_writer_leaves_nothing(blobs, tmp_path, size):
    writer = blobs.writer(WORKSPACE)
    writer.write(bytes(size))
    writer.abort()
    writer.abort()
    assert files(tmp_path) == []


def test_list_and_delete(blobs):
    stored = {blobs.put(WORKSPACE, bytes([n]) * n) for n in range(1, 5)}
    blobs.put("ws-0000000000000002", b"other")
    assert set(blobs.list(WORKSPACE)) == stored
    gone = stored.pop()
    assert blobs.delete(WORKSPACE, gone.digest, unused_since=LATER)
    assert not blobs.delete(WORKSPACE, gone.digest, unused_since=LATER)
    assert set(blobs.list(WORKSPACE)) == stored
    assert not blobs.exists(WORKSPACE, gone.digest)


def test_a_part_of_a_list(blobs):
    stored = [blobs.put(WORKSPACE, bytes([n])) for n in range(50)]
    part = stored[0].digest.hex()[:2]
    assert set(blobs.list(WORKSPACE, part)) == {s for s in stored if s.digest.hex().startswith(part)}
    assert list(blobs.list("ws-0000000000000003", part)) == []


def test_what_was_stored_again_is_not_deleted(blobs, tmp_path):
    stored = blobs.put(WORKSPACE, b"old")
    (file,) = files(tmp_path)
    a_day_ago = time.time() - 86_400
    os.utime(tmp_path / "blobs" / file, (a_day_ago, a_day_ago))
    assert not blobs.delete(WORKSPACE, stored.digest, unused_since=a_day_ago - 1)
    blobs.put(WORKSPACE, b"old")
    assert not blobs.delete(WORKSPACE, stored.digest, unused_since=time.time() - 3600)
    assert blobs.exists(WORKSPACE, stored.digest)


def test_a_blob_that_is_renewed_and_deleted_at_once_is_there_or_written_again(tmp_path):
    """Disk only: the two exclude each other, whatever their order."""
    disk = Disk(tmp_path / "blobs")
    blobs = BlobStore(disk)
    for _ in range(100):
        stored = blobs.put(WORKSPACE, b"contended")
        (file,) = files(tmp_path)
        os.utime(tmp_path / "blobs" / file, (0, 0))
        sweeper = threading.Thread(
            target=lambda: blobs.delete(WORKSPACE, stored.digest, unused_since=time.time() - 3600)
        )
        sweeper.start()
        blobs.put(WORKSPACE, b"contended")
        sweeper.join()
        assert read(blobs, stored) == b"contended"


def test_opening_sweeps_what_dead_writers_left_long_ago(tmp_path):
    script = (
        "import sys, os, pathlib; from trove_agents.server.blobs import BlobStore;"
        f"w = BlobStore.local(pathlib.Path(sys.argv[1])).writer('{WORKSPACE}'); w.write(bytes(3 << 20)); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "blobs")], check=True, timeout=60)
    (left,) = files(tmp_path)
    BlobStore.local(tmp_path / "blobs")
    assert files(tmp_path) == [left]  # it may be another process's, still at work
    os.utime(tmp_path / "blobs" / left, (0, 0))
    BlobStore.local(tmp_path / "blobs")
    assert files(tmp_path) == []


class Recording(Disk):
    """Notes what is made durable, and where the bytes were then."""

    def __init__(self, folder):
        super().__init__(folder)
        self.folder, self.calls = folder, []

    def create(self, key):
        sink = super().create(key)
        close = sink.close

        def noted():
            self.calls.append(("bytes", key.partition("/")[0], (self.folder / key).stat().st_size))
            close()

        sink.close = noted
        return sink

    def settle(self, key):
        self.calls.append(("name", key.partition("/")[0], (self.folder / key).stat().st_size))
        super().settle(key)

    def sweep(self, *, older_than_seconds):
        self.calls.append("sweep")


def test_bytes_are_durable_before_their_name_and_the_name_before_the_answer(tmp_path):
    recording = Recording(tmp_path)
    blobs = BlobStore(recording)
    blobs.put(WORKSPACE, b"12345")
    assert recording.calls == ["sweep", ("bytes", "incoming", 5), ("name", WORKSPACE, 5)]
    blobs.put(WORKSPACE, b"12345")
    assert recording.calls[3:] == [("name", WORKSPACE, 5)]


MEMORY = """
    import pathlib, resource, sys
    from trove_agents.server.blobs import BlobStore

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1 if sys.platform != "darwin" else 1024)

    blobs = BlobStore.local(pathlib.Path(sys.argv[1]))
    blobs.put("ws-1", b"warm")
    chunk = bytearray(range(256)) * 4096
    before = peak()
    writer = blobs.writer("ws-1")
    for number in range(100):
        chunk[0] = number
        writer.write(bytes(chunk))
    stored = writer.finish()
    written = peak()
    size = sum(len(piece) for piece in blobs.stream("ws-1", stored.digest))
    assert size == stored.size == 100 << 20
    print(written - before, peak() - before)
"""


def test_a_large_blob_is_not_held_in_memory(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEMORY), str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    writing, both = map(int, done.stdout.split())
    assert writing <= 32 * 1024 and both <= 32 * 1024  # KB
