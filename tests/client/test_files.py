import copy
import pickle
import warnings

import msgspec
import pytest

from trove_agents import FileContent, FileInfo, ListResult, TroveError, TroveNotFoundError, TruncatedWarning
from trove_agents.client import files

from .conftest import Colour, reply


def content(text: str | None = "text", *, truncated: bool = False, size: int = 4):
    body = {
        "path": "workspace/a",
        "size_bytes": size,
        "modified_at": "2026-05-07T20:00:00.000000Z",
        "encoding": "binary" if text is None else "utf-8",
        "content": text,
        "truncated": truncated,
    }
    return reply(200, msgspec.json.encode(body))


def raw(body: bytes, **headers: str):
    return reply(200, body, **headers)


def answer_with(colour: Colour, *answers):
    left = list(answers)
    return colour.client(colour.transport(lambda _: left.pop(0)))


def test_reading_text(colour: Colour) -> None:
    assert colour.call(answer_with(colour, content()), "read_text", "a") == "text"
    assert colour.call(answer_with(colour, content("")), "read_text", "a") == ""
    full = colour.call(answer_with(colour, content()), "read_file", "a")
    assert full == FileContent("workspace/a", 4, "2026-05-07T20:00:00.000000Z", "utf-8", "text", False)


def test_reading_text_of_a_binary_is_415(colour: Colour) -> None:
    with pytest.raises(TroveError, match=r"a.png is binary; use read_bytes\(\) instead") as caught:
        colour.call(answer_with(colour, content(None)), "read_text", "a.png")
    assert (caught.value.status_code, caught.value.recovery) == (415, "adapt")


def test_read_takes_one_request_for_text_and_two_for_bytes(colour: Colour) -> None:
    assert colour.call(answer_with(colour, content()), "read", "a") == "text"
    assert colour.call(answer_with(colour, content(None), raw(b"\x00\xff")), "read", "a") == b"\x00\xff"


@pytest.mark.parametrize("method", ["read", "read_text"])
def test_text_that_was_cut_warns_where_it_was_read(colour: Colour, method: str) -> None:
    client = answer_with(colour, content("text", truncated=True, size=2_000_000))
    with pytest.warns(TruncatedWarning, match="notes.md is longer .* 2,000,000 bytes") as caught:
        assert colour.call(client, method, "notes.md") == "text"
    if colour.name == "sync":
        assert caught[0].filename.endswith("conftest.py")  # the caller, not the library


@pytest.mark.parametrize("method", ["read", "read_bytes"])
def test_bytes_that_were_cut_warn(colour: Colour, method: str) -> None:
    answers = [raw(b"\x00", x_trove_size="9", x_trove_truncated="1")]
    if method == "read":
        answers.insert(0, content(None))
    with pytest.warns(TruncatedWarning, match="of 9 bytes"):
        assert colour.call(answer_with(colour, *answers), method, "a") == b"\x00"


def test_async_warnings_point_at_the_awaiting_line() -> None:
    import asyncio

    colour = Colour("async")
    client = answer_with(colour, content("text", truncated=True))

    async def reader() -> str:
        return await client.read_text("a")

    with pytest.warns(TruncatedWarning) as caught:
        asyncio.run(reader())
    assert caught[0].filename == __file__


def test_methods_that_return_the_flag_do_not_warn(colour: Colour) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert colour.call(answer_with(colour, content("t", truncated=True)), "read_file", "a").truncated
        cut = colour.call(answer_with(colour, raw(b"x", x_trove_truncated="1")), "read_bytes_full", "a")
    assert (cut.content, cut.truncated, cut.size_bytes) == (b"x", True, None)


@pytest.mark.parametrize(("header", "cut"), [("1", True), ("0", False), ("true", False)])
def test_only_the_text_1_means_cut(colour: Colour, header: str, cut: bool) -> None:
    got = colour.call(
        answer_with(colour, raw(b"x", x_trove_truncated=header, x_trove_size="odd")), "read_bytes_full", "a"
    )
    assert (got.truncated, got.size_bytes) == (cut, None)


ENTRY = {"name": "a", "path": "workspace/d/a", "is_dir": False, "size_bytes": 1, "modified_at": "t"}


def test_a_listing_is_a_list_that_says_whether_it_is_complete(colour: Colour) -> None:
    body = msgspec.json.encode({"path": "workspace/d", "entries": [ENTRY], "truncated": True})
    listing = colour.call(answer_with(colour, reply(200, body)), "list_dir", "workspace/d", recursive=True)
    assert listing == [FileInfo(**ENTRY)]
    assert isinstance(listing, list)
    assert (listing.truncated, listing.path) == (True, "workspace/d")
    for twin in (copy.copy(listing), pickle.loads(pickle.dumps(listing))):
        assert (twin, twin.truncated, twin.path) == (listing, True, "workspace/d")


def test_an_empty_listing(colour: Colour) -> None:
    listing = colour.call(answer_with(colour, reply(200, b"{}")), "list_dir")
    assert (listing, listing.truncated, listing.path) == ([], False, None)
    assert (ListResult(), ListResult().truncated) == ([], False)


def test_delete_returns_the_path(colour: Colour) -> None:
    assert (
        colour.call(answer_with(colour, reply(200, b'{"deleted": "workspace/a"}')), "delete", "a")
        == "workspace/a"
    )
    with pytest.raises(TroveNotFoundError, match="workspace/b"):
        colour.call(answer_with(colour, reply(404, b'{"detail": "workspace/b: not found"}')), "delete", "b")


@pytest.mark.parametrize(
    ("path", "under_the_root"),
    [
        ("a", "a"),
        ("/a", "a"),
        ("workspace/a", "a"),
        ("//workspace/a", "a"),
        ("workspace", "workspace"),
        ("workspace/", ""),
        ("", ""),
    ],
)
def test_the_prefix_is_dropped_once(path: str, under_the_root: str) -> None:
    assert files.relative(path) == under_the_root
