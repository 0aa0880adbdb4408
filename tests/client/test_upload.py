import asyncio
import io
import os
import threading
from pathlib import Path

import pytest

from trove_agents.client.upload import Upload
from trove_agents.errors import TroveError

from .conftest import Colour, reply

STORED = reply(200, b'{"path": "workspace/a", "size_bytes": 1}')
MB = 1024 * 1024


class OnlyRead:
    """The least that the public SDK accepts as a file."""

    def __init__(self, data: bytes) -> None:
        self._inner = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._inner.read(size)


async def agenerate():
    yield b"ab"
    yield b""
    yield b"c"


def test_every_kind_of_source_arrives_whole(colour: Colour, tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(b"abc")
    late = io.BytesIO(b"zzabc")
    late.seek(2)
    past_its_end = io.BytesIO(b"abc")
    past_its_end.seek(9)
    sources = [
        (b"abc", b"abc", 3),
        (bytearray(b"abc"), b"abc", 3),
        (memoryview(b"abc"), b"abc", 3),
        (memoryview(b"abcd").cast("H"), b"abcd", 4),
        (path, b"abc", 3),
        (io.BytesIO(b"abc"), b"abc", 3),
        (late, b"abc", 3),
        (past_its_end, b"", 0),
        (OnlyRead(b"abc"), b"abc", None),
        ([b"a", b"bc"], b"abc", None),
        ((each for each in (b"a", b"bc")), b"abc", None),
        (b"", b"", 0),
    ]
    for source, arrives, length in sources:
        transport = colour.transport(lambda _: STORED)
        assert colour.call(colour.client(transport), "upload", "a", source).size_bytes == 1
        assert transport.bodies == [arrives]
        assert transport.requests[0].length == length
        assert transport.requests[0].method == "PUT"


def test_large_files_go_in_pieces_and_are_told(colour: Colour, tmp_path: Path) -> None:
    data = os.urandom(MB + 5)
    path = tmp_path / "large"
    path.write_bytes(data)
    with path.open("rb") as file:
        for source in (data, path, file):
            seen: list[tuple[int, int | None]] = []
            transport = colour.transport(lambda _: STORED)
            colour.call(colour.client(transport), "upload", "a", source, progress=lambda *at: seen.append(at))
            assert transport.bodies == [data]
            assert [at for at, _ in seen] == [MB // 4, MB // 2, MB // 4 * 3, MB, MB + 5]
            assert {total for _, total in seen} == {MB + 5}


def test_a_pipe_is_sent_as_it_comes(colour: Colour) -> None:
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as end:
            end.write(b"x" * MB)

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reading, "rb") as pipe:
        transport = colour.transport(lambda _: STORED)
        colour.call(colour.client(transport), "upload", "a", pipe)
    thread.join()
    assert transport.requests[0].length is None
    assert transport.bodies == [b"x" * MB]


def test_progress_is_told_on_the_callers_thread(colour: Colour, tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(b"abc")
    threads: list[int] = []
    transport = colour.transport(lambda _: STORED)
    colour.call(
        colour.client(transport),
        "upload",
        "a",
        path,
        progress=lambda *_: threads.append(threading.get_ident()),
    )
    assert threads == [threading.get_ident()]


def test_async_iterables_are_for_the_async_client() -> None:
    for_async, for_sync = Colour("async"), Colour("sync")
    seen: list[tuple[int, int | None]] = []
    transport = for_async.transport(lambda _: STORED)
    for_async.call(
        for_async.client(transport), "upload", "a", agenerate(), progress=lambda *at: seen.append(at)
    )
    assert transport.bodies == [b"abc"]
    assert seen == [(2, None), (2, None), (3, None)]
    with pytest.raises(TypeError, match="needs the async client"):
        for_sync.call(for_sync.client(for_sync.transport(lambda _: STORED)), "upload", "a", agenerate())


def test_text_is_refused_with_the_way_out(colour: Colour, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("abc")
    client = colour.client(colour.transport(lambda _: STORED))
    with path.open() as file:
        for source in ("abc", io.StringIO("abc"), file):
            with pytest.raises(TypeError, match="use write"):
                colour.call(client, "upload", "a", source)


def test_a_missing_file_is_the_callers_own_error(colour: Colour, tmp_path: Path) -> None:
    transport = colour.transport(lambda _: STORED)
    with pytest.raises(FileNotFoundError):
        colour.call(colour.client(transport), "upload", "a", tmp_path / "missing")
    assert transport.requests == []


def test_a_file_that_grows_is_sent_as_announced_and_one_that_shrinks_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(b"abc")
    upload = Upload(path)
    path.write_bytes(b"abcdef")
    assert b"".join(upload.chunks()) == b"abc"
    path.write_bytes(b"a")
    with pytest.raises(TroveError, match="2 bytes shorter") as caught:
        list(upload.chunks())
    assert caught.value.recovery == "retry"


def test_what_can_be_sent_again() -> None:
    for source, again in [
        (b"abc", True),
        (io.BytesIO(b"abc"), True),
        ([b"abc"], True),
        (iter([b"abc"]), False),
        (OnlyRead(b"abc"), False),
    ]:
        upload = Upload(source)
        assert upload.can_restart
        assert list(upload.chunks()) == [b"abc"]
        assert upload.can_restart is again

    async def main() -> bool:
        upload = Upload(agenerate())
        assert upload.can_restart
        async for _ in upload.achunks():
            pass
        return upload.can_restart

    assert asyncio.run(main()) is False
