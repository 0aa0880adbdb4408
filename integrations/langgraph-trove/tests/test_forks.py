"""Several threads, and branches that live side by side."""

import copy

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from langgraph_trove import ForeignChangeWarning, WorkspaceTaken

from .graphs import Crash, agree, astep, before, bound, config, line, place, step, text

NEW = {"log": []}


def seed(app, to, at):
    """Starts a thread from another's checkpoint, as a copy of a thread does."""
    state = app.get_state(at)
    app.update_state(config(to), state.values, as_node=state.metadata.get("as_node", "a"))


def where(app, thread="t"):
    return app.get_state(config(thread)).values["workspace"]["namespace"]


def test_another_thread_in_the_same_workspace_is_refused(client):
    saver = InMemorySaver()
    app = bound(line(step("a")), saver, client)
    app.invoke(NEW, config("one"))
    with pytest.raises(WorkspaceTaken, match="'one'") as refused:
        app.invoke(NEW, config("two"))
    assert refused.value.thread == "one"
    assert text(client) == "a"
    again = bound(line(step("a")), InMemorySaver(), client)
    with pytest.raises(WorkspaceTaken):
        again.invoke(NEW, config("three"))


def test_or_gets_a_fork_by_choice(client):
    client.write("data.csv", "1")
    app = bound(line(step("a"), step("b")), InMemorySaver(), client, on_taken="fork")
    app.invoke(NEW, config("one"))
    app.invoke(NEW, config("two"))
    assert where(app, "one") == client.namespace != where(app, "two")
    assert client.for_namespace(where(app, "two")).read_text("data.csv") == "1"
    assert text(place(client, app.get_state(config("two")).values["workspace"])) == "abab", (
        "it begins as that one is"
    )
    app.invoke(NEW, config("one"))
    assert agree(app, client, "one") == "abab"


def test_a_thread_that_starts_from_anothers_checkpoint_forks(client):
    app = bound(line(step("a"), step("b"), step("c")), InMemorySaver(), client)
    app.invoke(NEW, config())
    seed(app, "other", before(app, "b"))
    app.invoke(None, config("other"))
    assert where(app, "other") != where(app) == client.namespace
    app.invoke(NEW, config("other"))
    assert text(client) == "abc"
    assert text(client.for_namespace(where(app, "other"))) == "abcabc"
    app.invoke(None, before(app, "c", "other"))
    assert text(client.for_namespace(where(app, "other"))) == "abcabc"
    assert agree(app, client) == "abc"


def test_a_run_that_left_nothing_in_the_saver_is_run_again_in_its_fork(client):
    """As when the process dies before the first checkpoint is stored."""
    saver = InMemorySaver()
    app = bound(line(step("a"), step("b"), step("c")), saver, client)
    app.invoke(NEW, config())
    seed(app, "other", before(app, "b"))
    stored = copy.deepcopy(saver.storage), copy.deepcopy(saver.writes), copy.deepcopy(saver.blobs)
    app.invoke(None, config("other"))
    fork = where(app, "other")
    saver.storage, saver.writes, saver.blobs = stored
    app.invoke(None, config("other"))
    assert where(app, "other") == fork
    assert text(client.for_namespace(fork)) == "abc"


def test_keep_both_forks_the_thread_and_later_runs_follow(client):
    app = bound(line(step("a"), step("b"), step("c")), InMemorySaver(), client)
    app.invoke(NEW, config())
    left = app.get_state(config())
    client.write("upload.txt", "stays here")
    old = before(app, "b")
    found = app.invoke(None, old, keep_both=True)
    branch = found["workspace"]["namespace"]
    assert branch != client.namespace
    assert (text(client), text(client.for_namespace(branch))) == ("abc", "abc")
    assert client.read_text("upload.txt") == "stays here"
    app.invoke(NEW, config())
    assert where(app) == branch
    assert text(client.for_namespace(branch)) == "abcabc"
    assert agree(app, client) == "abcabc"
    with pytest.warns(ForeignChangeWarning):
        app.invoke(NEW, left.config)
    assert where(app) == client.namespace
    assert agree(app, client) == "abcabc"


def test_keep_both_twice_makes_two(client):
    app = bound(line(step("a"), step("b")), InMemorySaver(), client)
    app.invoke(NEW, config())
    old = before(app, "b")
    branches = {app.invoke(None, old, keep_both=True)["workspace"]["namespace"] for _ in range(2)}
    assert len(branches) == 2
    assert not [each for each in branches if not each.startswith(client.namespace[:90])]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_a_branch_that_crashes_goes_on_in_its_fork(client, durability):
    app = bound(line(step("a"), step("b", crashes := {"b": 0}), step("c")), InMemorySaver(), client)
    app.invoke(NEW, config())
    crashes["b"] = 1
    with pytest.raises(Crash):
        app.invoke(None, before(app, "b"), keep_both=True, durability=durability)
    app.invoke(None, config(), durability=durability)
    assert where(app) != client.namespace
    assert agree(app, client) == "abc"
    assert text(client) == "abc"


def test_an_answer_on_a_branch_of_its_own(client):
    app = bound(line(step("a"), step("b", asks=True), step("c")), InMemorySaver(), client)
    app.invoke(NEW, config())
    asked = before(app, "b")
    app.invoke(Command(resume=1), config())
    found = app.invoke(Command(resume=2, update={"log": []}), asked, keep_both=True)
    assert found["workspace"]["namespace"] != client.namespace
    assert agree(app, client) == "abc"


async def test_asyncio(client, async_client):
    app = bound(line(astep("a"), astep("b")), InMemorySaver(), async_client, on_taken="fork")
    await app.ainvoke(NEW, config())
    found = await app.ainvoke(None, before(app, "b"), keep_both=True)
    assert text(client.for_namespace(found["workspace"]["namespace"])) == "ab"
    found = await app.ainvoke(NEW, config("two"))
    assert text(client.for_namespace(found["workspace"]["namespace"])) == "abab"
