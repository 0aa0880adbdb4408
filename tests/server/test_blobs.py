import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest
import tests_objects as objects
from blake3 import blake3

from trove_agents.server.blobs import MB, BlobStore, Disk, Stored, Unreachable

WORKSPACE = "ws-0000000000000001"
LATER = time.time() + 1e6


def kept(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class Folder:
    """A store on disk, and a look behind it."""

    def __init__(self, path):
        self.path = path
        self.store = BlobStore.local(path)

    def keys(self):
        return kept(self.path)

    def age(self, key, seconds):
        os.utime(self.path / key, (seconds, seconds))


class Bucket:
    """A store in a bucket, and a look behind it."""

    def __init__(self):
        self.url = objects.bucket()
        self.store = BlobStore.open(self.url)

    def keys(self):
        assert objects.uploads(self.url) == []
        return objects.keys(self.url)

    def age(self, key, seconds):
        objects.age(self.url, key, seconds)


@pytest.fixture(params=["disk", "s3"])
def place(tmp_path, request):
    return Folder(tmp_path / "blobs") if request.param == "disk" else Bucket()


@pytest.fixture
def blobs(place):
    return place.store


def there(blobs, stored, workspace=WORKSPACE):
    return stored in set(blobs.list(workspace))


def read(blobs, stored, workspace=WORKSPACE, **options):
    return b"".join(blobs.stream(workspace, stored.digest, **options))


@pytest.mark.parametrize("size", [0, 1, 20_000, MB - 1, MB, MB + 1, 3 * MB + 7, 5 * MB, 5 * MB + 1, 12 * MB])
def test_what_is_put_comes_back(blobs, place, size):
    data = os.urandom(size)
    stored = blobs.put(WORKSPACE, data)
    assert stored == Stored(blake3(data).digest(), size)
    assert read(blobs, stored) == data
    name = stored.digest.hex()
    assert place.keys() == [f"{WORKSPACE}/{name[:2]}/{name}"]
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


def test_the_same_bytes_are_kept_once_and_not_written_again(tmp_path):
    place = Folder(tmp_path / "blobs")
    first = place.store.put(WORKSPACE, b"same")
    (key,) = place.keys()
    before = (place.path / key).stat()
    assert place.store.put(WORKSPACE, b"same") == first
    assert (place.path / key).stat().st_ino == before.st_ino
    assert place.keys() == [key]


@pytest.mark.parametrize("size", [4, 12 * MB])
def test_a_bucket_writes_the_same_bytes_again_only_where_they_would_count_as_old(size):
    place = Bucket()
    data = os.urandom(size)
    first = place.store.put(WORKSPACE, data)
    (key,) = place.keys()
    for seconds, written in ((60, False), (86_400, True)):
        then = time.time() - seconds
        place.age(key, then)
        assert place.store.put(WORKSPACE, data) == first
        assert (place.store._objects.written(key) > then + 10) == written
        assert place.keys() == [key]


def test_workspaces_share_nothing(blobs):
    stored = blobs.put(WORKSPACE, b"mine")
    assert there(blobs, stored)
    assert not there(blobs, stored, "ws-0000000000000002")
    with pytest.raises(FileNotFoundError):
        read(blobs, stored, workspace="ws-0000000000000002")


@pytest.mark.parametrize("size", [10, 3 * MB, 12 * MB])
def test_an_aborted_writer_leaves_nothing(blobs, place, size):
    writer = blobs.writer(WORKSPACE)
    writer.write(bytes(size))
    writer.abort()
    writer.abort()
    assert place.keys() == []


def test_list_and_delete(blobs):
    stored = {blobs.put(WORKSPACE, bytes([n]) * n) for n in range(1, 5)}
    blobs.put("ws-0000000000000002", b"other")
    assert set(blobs.list(WORKSPACE)) == stored
    gone = stored.pop()
    assert blobs.delete(WORKSPACE, gone.digest, unused_since=LATER)
    assert not blobs.delete(WORKSPACE, gone.digest, unused_since=LATER)
    assert set(blobs.list(WORKSPACE)) == stored
    assert not there(blobs, gone)


def test_a_part_of_a_list(blobs):
    stored = [blobs.put(WORKSPACE, bytes([n])) for n in range(50)]
    part = stored[0].digest.hex()[:2]
    assert set(blobs.list(WORKSPACE, part)) == {s for s in stored if s.digest.hex().startswith(part)}
    assert list(blobs.list("ws-0000000000000003", part)) == []


def test_what_was_stored_again_is_not_deleted(blobs, place):
    stored = blobs.put(WORKSPACE, b"old")
    (key,) = place.keys()
    a_day_ago = time.time() - 86_400
    place.age(key, a_day_ago)
    assert not blobs.delete(WORKSPACE, stored.digest, unused_since=a_day_ago - 1)
    blobs.put(WORKSPACE, b"old")
    assert not blobs.delete(WORKSPACE, stored.digest, unused_since=time.time() - 3600)
    assert there(blobs, stored)


class Between:
    """Something happens between an old object's look and its end."""

    def __init__(self, bucket, act):
        self.bucket, self.act, self.written = bucket, act, bucket.written
        bucket.written = self

    def __call__(self, key):
        self.bucket.written = self.written
        seen = self.written(key)
        self.act()
        return seen


@pytest.mark.parametrize("size", [4, 12 * MB])
def test_a_bucket_loses_nothing_that_is_written_between_the_look_and_the_deletion(size):
    place = Bucket()
    data = os.urandom(size)
    stored = place.store.put(WORKSPACE, data)
    (key,) = place.keys()
    place.age(key, 0)
    Between(place.store._objects, lambda: place.store.put(WORKSPACE, data))
    assert place.store.delete(WORKSPACE, stored.digest, unused_since=time.time() - 3600)
    assert not there(place.store, stored)
    assert read(place.store, stored) == data  # laid aside, and found there
    assert list(place.store.aside(before=time.time() - 3600)) == []
    (aside,) = place.store.aside(before=LATER)
    assert (aside.workspace, aside.digest) == (WORKSPACE, stored.digest)
    place.store.put_back(aside)
    place.store.put_back(aside)
    assert place.keys() == [key] and read(place.store, stored) == data


def test_what_is_discarded_is_gone(place, blobs):
    stored = blobs.put(WORKSPACE, b"unused")
    assert blobs.delete(WORKSPACE, stored.digest, unused_since=LATER)
    for aside in list(blobs.aside(before=LATER)):
        blobs.discard(aside)
        blobs.discard(aside)
    assert place.keys() == []
    with pytest.raises(FileNotFoundError):
        read(blobs, stored)


def test_a_bucket_is_tried_at_the_start(monkeypatch):
    url = objects.bucket()
    with pytest.raises(Unreachable, match="no such bucket"):
        BlobStore.open("s3://not-there-at-all/prefix")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-show")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr("trove_agents.server.blobs.objects._RETRY", {"max_retries": 0})
    with pytest.raises(Unreachable, match=f"{url}: nothing answers there") as raised:
        BlobStore.open(url)
    assert "do-not-show" not in str(raised.value)


FORK = """
    import os, sys
    from trove_agents.server.blobs import BlobStore, Unreachable

    BlobStore.open(sys.argv[1])
    child = os.fork()
    if child == 0:
        try:
            BlobStore.open(sys.argv[1])
        except Unreachable:
            os._exit(7)
        os._exit(1)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_of_one_that_used_a_bucket_is_told_so():
    """It would hang otherwise."""
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(FORK), objects.bucket()]
    assert subprocess.run(command, timeout=60).returncode == 7


def test_opening_a_bucket_sweeps_what_was_completed_and_never_named():
    place = Bucket()
    writer = place.store.writer(WORKSPACE)
    writer.write(bytes(12 * MB))
    writer._sink._parts.close()  # and then the process ended
    (left,) = place.keys()
    BlobStore.open(place.url)
    assert place.keys() == [left]  # it may be another process's, still at work
    place.age(left, 0)
    BlobStore.open(place.url)
    assert place.keys() == []


def test_a_blob_that_is_renewed_and_deleted_at_once_is_there_or_written_again(tmp_path):
    """Disk only: the two exclude each other, whatever their order."""
    disk = Disk(tmp_path / "blobs")
    blobs = BlobStore(disk)
    for _ in range(100):
        stored = blobs.put(WORKSPACE, b"contended")
        (file,) = kept(tmp_path / "blobs")
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
    (left,) = kept(tmp_path / "blobs")
    BlobStore.local(tmp_path / "blobs")
    assert kept(tmp_path / "blobs") == [left]  # it may be another process's, still at work
    os.utime(tmp_path / "blobs" / left, (0, 0))
    BlobStore.local(tmp_path / "blobs")
    assert kept(tmp_path / "blobs") == []


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
