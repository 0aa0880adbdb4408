"""What others change in the workspace, between turns and within."""

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from langgraph_trove import ForeignChange, ForeignChangeWarning

from .graphs import Crash, agree, before, bound, config, line, step, text

NEW = {"log": []}


@pytest.fixture
def build(client):
    def build(*nodes, **options):
        return bound(line(*(nodes or (step("a"), step("b")))), InMemorySaver(), client, **options)

    return build


def reference_in(warnings):
    [warning] = warnings
    return str(warning.message).split("'")[3]


def test_a_new_thread_takes_the_workspace_as_it_is(client, build):
    client.write("data.csv", "1,2\n")
    app = build()
    app.invoke(NEW, config())
    assert client.read_text("data.csv") == "1,2\n"
    first = list(app.get_state_history(config()))[-1]
    assert first.metadata["source"] == "input"
    assert client.read_text("data.csv", at=first.values["workspace"]["reference"]) == "1,2\n"


def test_what_changed_between_turns_stays_and_is_recorded_with_the_input(client, build):
    app = build()
    app.invoke(NEW, config())
    client.write("upload.txt", "of the user")
    app.invoke(NEW, config())
    states = list(app.get_state_history(config()))
    assert [state.metadata["source"] for state in states].count("input") == 2
    turn = next(state for state in states if state.metadata["source"] == "input")
    assert client.read_text("upload.txt", at=turn.values["workspace"]["reference"]) == "of the user"
    assert agree(app, client) == "abab"
    app.invoke(None, next(state.config for state in states if state.next == ("b",)))
    assert client.read_text("upload.txt") == "of the user"


def test_it_stays_also_when_the_turn_before_failed(client, build):
    app = build(step("a"), step("b", {"b": 1}))
    with pytest.raises(Crash):
        app.invoke(NEW, config())
    client.write("upload.txt", "x")
    app.invoke(NEW, config())
    assert client.read_text("upload.txt") == "x"
    assert agree(app, client) == "aab"


def test_a_change_that_was_taken_back_is_none(client, build):
    app = build(on_foreign_change="refuse")
    app.invoke(NEW, config())
    client.write("upload.txt", "x")
    client.delete("upload.txt")
    app.invoke(NEW, config())
    assert agree(app, client) == "abab"


@pytest.mark.parametrize("policy", ["keep", "restore"])
def test_a_run_that_goes_on_starts_from_its_checkpoint_and_says_where_the_rest_is(client, build, policy):
    app = build(step("a"), step("b", asks=True), on_foreign_change=policy)
    app.invoke(NEW, config())
    client.write("upload.txt", "x")
    with pytest.warns(ForeignChangeWarning, match="upload.txt") as said:
        app.invoke(Command(resume=1), config())
    assert [each.path for each in client.list_dir()] == ["workspace/log.txt"]
    assert client.read_text("upload.txt", at=reference_in(said)) == "x"
    assert agree(app, client) == "ab"


def test_time_travel_says_it_too_and_only_once(client, build):
    app = build(step("a"), step("b", {"b": 0}))
    app.invoke(NEW, config())
    old = before(app, "b")
    client.write("upload.txt", "x")
    with pytest.warns(ForeignChangeWarning) as said:
        app.invoke(None, old)
    assert client.read_text("upload.txt", at=reference_in(said)) == "x"
    app.invoke(None, old)
    assert agree(app, client) == "ab"


def test_what_others_change_while_a_run_is_at_work_is_recorded_by_its_next_step(client, build):
    app = build(step("a"), step("b"))
    for update in app.stream(NEW, config(), stream_mode="updates"):
        if "a" in update:
            client.write("upload.txt", "x")
    assert client.read_text("upload.txt", at=app.get_state(config()).values["workspace"]["reference"]) == "x"
    assert agree(app, client) == "ab"


def test_restore_goes_back_on_new_input_as_well(client, build):
    app = build(on_foreign_change="restore")
    app.invoke(NEW, config())
    client.write("upload.txt", "x")
    with pytest.warns(ForeignChangeWarning) as said:
        app.invoke(NEW, config())
    assert client.read_text("upload.txt", at=reference_in(said)) == "x"
    assert agree(app, client) == "abab"
    assert [each.path for each in client.list_dir()] == ["workspace/log.txt"]


def test_refuse_does_nothing(client, build):
    app = build(on_foreign_change="refuse")
    app.invoke(NEW, config())
    old = before(app, "b")
    client.write("upload.txt", "x")
    for given, at in ((NEW, config()), (None, old)):
        with pytest.raises(ForeignChange, match="upload.txt") as refused:
            app.invoke(given, at)
        assert refused.value.paths == ("workspace/upload.txt",)
    assert client.read_text("upload.txt") == "x"
    client.delete("upload.txt")
    app.invoke(NEW, config())
    assert agree(app, client) == "abab"


def test_a_snapshot_is_no_change(client, build):
    app = build(on_foreign_change="refuse")
    app.invoke(NEW, config())
    client.create_snapshot("mine")
    app.invoke(NEW, config())
    assert agree(app, client) == "abab"


def test_a_restore_by_hand_is_one(client, build):
    client.write("data.txt", "x")
    snapshot = client.create_snapshot()
    app = build()
    app.invoke(NEW, config())
    client.restore_snapshot(snapshot.snapshot_id)
    app.invoke({"log": []}, config())
    turn = next(state for state in app.get_state_history(config()) if state.metadata["source"] == "input")
    assert text(client, at=turn.values["workspace"]["reference"]) == "", "the user took it back"


async def test_asyncio(client, async_client):
    app = bound(line(step("a"), step("b", asks=True)), InMemorySaver(), client, async_client=async_client)
    await app.ainvoke(NEW, config())
    client.write("upload.txt", "x")
    with pytest.warns(ForeignChangeWarning):
        await app.ainvoke(Command(resume=1), config())
    client.write("upload.txt", "y")
    await app.ainvoke(NEW, config())
    assert client.read_text("upload.txt", at=app.get_state(config()).values["workspace"]["reference"]) == "y"
