import pytest

from trove_agents import NotSupported, TroveClient, TroveNotFoundError
from trove_agents.client.transport import Reply
from trove_agents.tools import CATALOG, Attachment, InvalidArguments, for_model
from trove_agents.tools.read import ATTACHED_BYTES

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


def test_all_of_a_text_as_it_is(client, use):
    client.write("a.txt", "one\r\n\n\x0ctwo\n")
    result = use("read", path="/workspace/a.txt")
    assert result.text == "one\r\n\n\x0ctwo"
    assert result.plain == {
        "path": "workspace/a.txt",
        "size_bytes": 11,
        "media_type": "text/plain",
        "last_line": 3,
        "total_lines": 3,
    }


def test_in_parts(client, use):
    client.write("a.txt", "".join(f"{n}\n" for n in range(1, 11)))
    first = use("read", path="a.txt", limit=4)
    assert first.text == "1\n2\n3\n4\n[lines 1 to 4 of 10; go on with offset 5]"
    assert use("read", path="a.txt", offset=5).text == "5\n6\n7\n8\n9\n10"
    with pytest.raises(InvalidArguments, match="workspace/a.txt has 10 lines"):
        use("read", path="a.txt", offset=11)


def test_what_is_long_is_shown_by_whole_lines(client, use):
    client.write("a.txt", "".join(f"line {n}\n" for n in range(1, 101)))
    result = use("read", path="a.txt", max_characters=20)
    assert result.text == "line 1\nline 2\n[lines 1 to 2 of 100; go on with offset 3]"


def test_a_line_that_is_too_long_is_cut(client, use):
    client.write("a.txt", "x" * 1_000 + "\nb\n")
    text = use("read", path="a.txt", max_characters=100).text
    assert "[900 of 1,000 characters left out here; to see them, use a command such as cut -c]" in text
    assert text.endswith("[lines 1 to 1 of 2; go on with offset 2]")


def test_past_the_first_megabyte(client, use):
    client.write("a.txt", "0123456789abcde\n" * 70_000)
    result = use("read", path="a.txt", offset=65_536)
    assert result.text == (
        "0123456789abcde\n[lines 65,536 to 65,536 of the first MB of workspace/a.txt, 1,120,000 bytes; "
        "go on with offset 65537]"
    )
    with pytest.raises(InvalidArguments, match="use a command such as sed -n"):
        use("read", path="a.txt", offset=65_537)


def test_nothing_in_it(client, use):
    client.write("a.txt", "")
    assert use("read", path="a.txt").text == "[workspace/a.txt is empty]"


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0\0\0", "image/jpeg"),
        (b"GIF89a\0", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"%PDF-1.7\n\0\xff", "application/pdf"),
    ],
)
def test_what_can_be_looked_at(client, use, data, media_type):
    client.upload("a.bin", data)
    result = use("read", path="a.bin")
    assert result.attachments == (Attachment("workspace/a.bin", media_type, data),)
    assert result.text == f"[workspace/a.bin, {len(data)} bytes, {media_type}]"
    assert set(result.plain) == {"path", "size_bytes", "media_type"}


@pytest.mark.parametrize("data", [b"\0\1\2\3", PNG + bytes(ATTACHED_BYTES)], ids=["unknown", "large"])
def test_what_cannot(client, use, data):
    client.upload("a.bin", data)
    result = use("read", path="a.bin")
    assert (result.attachments, result.plain["media_type"]) == ((), "application/octet-stream")
    assert "neither text nor an image" in result.text


def test_the_past(client, use):
    client.write("a.txt", "before\n")
    snapshot = client.create_snapshot()
    client.write("a.txt", "after\n")
    assert use("read", path="a.txt", at=snapshot.snapshot_id).text == "before"
    client.upload("a.txt", PNG)
    later = client.create_snapshot()
    client.delete("a.txt")
    assert use("read", path="a.txt", at=later.snapshot_id).attachments[0].data == PNG
    with pytest.raises(TroveNotFoundError):
        use("read", path="a.txt")


class PublicServer:
    """One that has nothing beyond the public API."""

    retries = False

    def send(self, request):
        if request.path == "/v1/me":
            return Reply(404, {}, b"{}")
        raise AssertionError(f"{request.path} was asked for")

    def stream(self, request):
        raise NotImplementedError

    def close(self):
        pass


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("read", {"path": "a.txt", "at": "snap-1"}),
        ("restore", {"to": "2026-01-01"}),
        ("diff", {"since": "snap-1"}),
        ("bash", {"command": "make", "timeout": 300}),
    ],
)
def test_the_model_hears_of_a_server_that_cannot(name, arguments):
    client = TroveClient("key", "n", transport=PublicServer())
    with pytest.raises(NotSupported) as caught:
        client.run(CATALOG[name].call(arguments))
    assert for_model(caught.value).startswith("this server does not have")
