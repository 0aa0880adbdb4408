import pytest

from trove_agents import TroveError, TrovePreconditionError
from trove_agents.tools import CATALOG, InvalidArguments, ToolContext, for_model


def test_write(client, use):
    result = use("write", path="d/a.txt", content="text")
    assert result.text == "Wrote workspace/d/a.txt (4 bytes)."
    assert client.read_text("d/a.txt") == "text"
    assert (result.plain["path"], result.plain["size_bytes"]) == ("workspace/d/a.txt", 4)


def test_edit(client, use):
    client.write("a.txt", "one two two")
    result = use("edit", path="a.txt", old="one", new="1")
    assert (result.text, result.plain["replaced"]) == ("Replaced once in workspace/a.txt.", 1)
    result = use("edit", path="a.txt", old="two", new="", all=True)
    assert result.text == "Replaced 2 times in workspace/a.txt."
    assert client.read_text("a.txt") == "1  "


@pytest.mark.parametrize(
    ("old", "words"), [("zero", "is not in workspace/a.txt"), ("two", "is 2 times in workspace/a.txt")]
)
def test_edits_that_fit_nothing_change_nothing(client, use, old, words):
    client.write("a.txt", "one two two")
    with pytest.raises(InvalidArguments, match=words):
        use("edit", path="a.txt", old=old, new="x")
    assert client.read_text("a.txt") == "one two two"


def test_edits_of_what_is_no_text_to_edit(client, use):
    client.upload("a.bin", b"\0\xff")
    client.upload("b.txt", b"x" * 1_100_000 + b"\xff")
    for path in ("a.bin", "b.txt"):
        with pytest.raises(TroveError, match="is binary") as caught:
            use("edit", path=path, old="x", new="y", all=True)
        assert "with a command" in for_model(caught.value)
    assert client.read_bytes("b.txt").endswith(b"x\xff")


@pytest.mark.parametrize("size", [1_100_000, 10_500_000])
def test_edits_of_long_texts(client, use, size):
    client.upload("a.txt", b"x" * size + b"end")
    assert use("edit", path="a.txt", old="end", new="END").value.size_bytes == size + 3
    assert client.read_bytes("a.txt") == b"x" * size + b"END"


def test_edits_keep_the_ends_of_lines(client, use):
    client.write("a.txt", "one\r\ntwo\r\n")
    use("edit", path="a.txt", old="one\ntwo", new="1\n2")
    assert client.read_text("a.txt") == "1\r\n2\r\n"
    client.write("a.txt", "one\ntwo\n")
    use("edit", path="a.txt", old="one\r\ntwo", new="1\r\n2")
    assert client.read_text("a.txt") == "1\n2\n"


def test_text_that_utf8_cannot_carry_is_the_models_to_change(client, use):
    client.write("a.txt", "one")
    with pytest.raises(TroveError, match="lone surrogate") as caught:
        use("edit", path="a.txt", old="one", new="\ud800")
    assert for_model(caught.value)


def between(client, change, *, times):
    """An edit, with a change of somebody else's before each time that it is written, as often as said."""
    flow = CATALOG["edit"].call({"path": "a.txt", "old": "mine", "new": "done"}, ToolContext())
    left, step = times, next(flow)
    while True:
        if step.method == "POST" and left:
            left -= 1
            change()
        try:
            try:
                step = flow.send(client.send(step))
            except TrovePreconditionError as error:
                step = flow.throw(error)
        except StopIteration as stop:
            return stop.value


def test_edits_at_the_same_time_are_all_kept(client):
    client.write("a.txt", "mine, theirs")
    between(client, lambda: client.write("a.txt", "mine, done too"), times=1)
    assert client.read_text("a.txt") == "done, done too"


def test_an_edit_gives_up_where_others_never_rest(client):
    client.write("a.txt", "mine, ")
    with pytest.raises(TrovePreconditionError):
        between(client, lambda: client.write("a.txt", client.read_text("a.txt") + "."), times=99)
    assert client.read_text("a.txt") == "mine, ....."
