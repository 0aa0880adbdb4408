"""Changes that are made once more, and those that cannot be."""

import pytest

from trove_agents import Step
from trove_agents.guard import again

MINE = Step(thread="t", run="r", step="1", call="c")


@pytest.fixture
def client(trove, request):
    with trove.client(f"again-{abs(hash(request.node.name))}") as client:
        client.write("theirs", "x")
        yield client


@pytest.fixture
def mine(client):
    return client.with_step(thread="t", run="r", step="1", call="c")


@pytest.fixture
def since(client):
    return next(client.history()).version


def made(client, since):
    return client.run(again.changes(client.run(again.spans_of(MINE, since))))


def test_the_changes_of_a_step_among_those_of_others(client, since, mine):
    mine.write("a", "1")
    mine.write("a", "2")
    client.with_step(thread="t", run="r", step="1", call="d").write("b", "other")
    mine.delete("theirs")
    mine.mkdir("d")
    spans = client.run(again.spans_of(MINE, since))
    assert len(spans) == 2
    found = {each.path: (each.was, each.content, each.sound) for each in client.run(again.changes(spans))}
    assert found == {
        "workspace/a": (None, b"2", True),
        "workspace/d": (None, None, True),
        "workspace/theirs": (b"x", None, True),
    }


def test_they_are_made_where_they_are_not_yet(client, since, mine):
    mine.write("a", "1")
    mine.mkdir("d")
    mine.delete("theirs")
    wanted = made(client, since)
    client.restore_to(since)
    client.write("b", "another")
    for _ in range(2):
        assert client.run(again.make(wanted)) == []
        assert [each.name for each in client.list_dir()] == ["d", "a", "b"]
    version = next(client.history()).version
    client.run(again.make(wanted))
    assert next(client.history()).version == version


def test_at_once_only_where_nothing_else_is(client, since, mine):
    mine.write("a", "1")
    (span,) = client.run(again.spans_of(MINE, since))
    client.restore_to(since)
    for _ in range(2):
        assert client.run(again.at_once(span))
        assert client.read_text("a") == "1"
    client.write("b", "another")
    assert not client.run(again.at_once(span))


def test_where_others_changed_the_same_nothing_is_done(client, since, mine):
    mine.write("a", "1")
    mine.write("b", "1")
    wanted = made(client, since)
    client.restore_to(since)
    client.mkdir("b")
    assert client.run(again.make(wanted)) == ["workspace/a", "workspace/b"]
    assert [each.name for each in client.list_dir()] == ["b", "theirs"]


def test_a_file_that_others_changed_in_between_is_not_of_one_step(client, since, mine):
    mine.write("a", "1")
    client.write("a", "1 and theirs")
    mine.write("a", "1 and theirs and 2")
    wanted = made(client, since)
    assert client.run(again.make(wanted)) == []  # it is there
    client.restore_to(since)
    assert client.run(again.make(wanted)) == ["workspace/a"]


def test_what_fits_no_more_below_a_file(client, since, mine):
    mine.write("a/b", "1")
    mine.write("c", "1")
    wanted = [each for each in made(client, since) if each.path != "workspace/a"]
    client.restore_to(since)
    client.write("a", "a file")
    assert "workspace/a/b" in client.run(again.make(wanted))
    assert client.read_text("a") == "a file"


def test_a_history_that_does_not_go_back_so_far(client):
    assert client.run(again.spans_of(MINE, 1)) is None
