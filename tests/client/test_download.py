import io
import os
import threading
from pathlib import Path

import pytest

from trove_agents import Downloaded, TroveNotFoundError, TruncatedWarning
from trove_agents.client.download import Sink

from .conftest import Colour, reply

FOUND = reply(200, b"0123456789", content_length="10", x_trove_size="10")
CUT = reply(200, b"0123456789", x_trove_size="2000", x_trove_truncated="1")


def test_a_path_gets_the_whole_file(colour: Colour, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old and longer than the new one")
    seen: list[tuple[int, int | None]] = []
    client = colour.client(colour.transport(lambda _: FOUND))
    done = colour.call(client, "download", "a", target, progress=lambda *at: seen.append(at))
    assert done == Downloaded(10, truncated=False, size_bytes=10)
    assert target.read_bytes() == b"0123456789"
    assert seen == [(4, 10), (8, 10), (10, 10)]
    assert os.listdir(tmp_path) == ["target"]


def test_a_path_may_be_text(colour: Colour, tmp_path: Path) -> None:
    client = colour.client(colour.transport(lambda _: FOUND))
    colour.call(client, "download", "a", str(tmp_path / "target"))
    assert (tmp_path / "target").read_bytes() == b"0123456789"


def test_an_open_file_is_written_where_it_stands_and_stays_open(colour: Colour) -> None:
    file = io.BytesIO(b"ab")
    file.seek(2)
    client = colour.client(colour.transport(lambda _: FOUND))
    assert colour.call(client, "download", "a", file).bytes_written == 10
    assert file.getvalue() == b"ab0123456789"


def test_a_file_that_was_cut_says_so_twice(colour: Colour, tmp_path: Path) -> None:
    client = colour.client(colour.transport(lambda _: CUT))
    with pytest.warns(TruncatedWarning, match="a is longer .* 2,000 bytes"):
        done = colour.call(client, "download", "a", tmp_path / "target")
    assert done == Downloaded(10, truncated=True, size_bytes=2000)
    assert (tmp_path / "target").read_bytes() == b"0123456789"


def test_a_file_that_is_not_there_leaves_nothing(colour: Colour, tmp_path: Path) -> None:
    client = colour.client(colour.transport(lambda _: reply(404, b'{"detail": "workspace/a: not found"}')))
    with pytest.raises(TroveNotFoundError, match="workspace/a"):
        colour.call(client, "download", "a", tmp_path / "target")
    assert os.listdir(tmp_path) == []


def test_a_failing_progress_leaves_nothing(colour: Colour, tmp_path: Path) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    client = colour.client(colour.transport(lambda _: FOUND))
    with pytest.raises(KeyboardInterrupt):
        colour.call(client, "download", "a", tmp_path / "target", progress=stop)
    assert os.listdir(tmp_path) == []


def test_targets_that_cannot_be_written_are_refused_before_anything_is_sent(
    colour: Colour, tmp_path: Path
) -> None:
    transport = colour.transport(lambda _: FOUND)
    client = colour.client(transport)
    with pytest.raises(IsADirectoryError, match="name the file"):
        colour.call(client, "download", "a", tmp_path)
    with pytest.raises(TypeError, match="binary mode"):
        colour.call(client, "download", "a", io.StringIO())
    assert transport.requests == []


def test_progress_is_told_on_the_callers_thread(colour: Colour, tmp_path: Path) -> None:
    threads: set[int] = set()
    client = colour.client(colour.transport(lambda _: FOUND))
    colour.call(
        client, "download", "a", tmp_path / "t", progress=lambda *_: threads.add(threading.get_ident())
    )
    assert threads == {threading.get_ident()}


def test_permissions_are_those_of_an_ordinary_new_file(colour: Colour, tmp_path: Path) -> None:
    (tmp_path / "ordinary").write_bytes(b"")
    colour.call(colour.client(colour.transport(lambda _: FOUND)), "download", "a", tmp_path / "target")
    assert (tmp_path / "target").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


@pytest.mark.parametrize("length", [None, "", "x", "-1", "\u0663"])
def test_an_odd_length_is_no_length(length: str | None) -> None:
    seen: list[tuple[int, int | None]] = []
    sink = Sink(io.BytesIO(), lambda *at: seen.append(at))
    with sink.opened({} if length is None else {"content-length": length}):
        sink.write(b"ab")
        sink.tell()
    assert seen == [(2, None)]
