"""The past's files, and forgetting."""

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_trove import (
    ForeignChangeWarning,
    NoCheckpointer,
    NoReference,
    NotBound,
    UnknownReference,
    adelete_thread,
    afiles_at,
    ahistory,
    aprune,
    aworkspace_of,
    delete_thread,
    files_at,
    history,
    prune,
    workspace_of,
)
from trove_agents import TroveNotFoundError

from .graphs import Crash, astep, before, bound, config, line, step, text
from .test_bind import flow
from .test_forks import seed

NEW = {"log": []}


def shown(steps):
    return [(each.state.next, [(file.path, file.change) for file in each.files]) for each in steps]


def test_each_step_with_its_files(client):
    app = bound(line(step("a"), step("b")), InMemorySaver(), client)
    app.invoke(NEW, config())
    client.write("upload.txt", "x")
    app.invoke(NEW, config())
    turn = [
        ((), [("workspace/log.txt", "changed")]),
        (("b",), [("workspace/log.txt", "changed")]),
        (("a",), []),
    ]
    first = [*turn[:1], (("b",), [("workspace/log.txt", "added")]), (("a",), []), (("__start__",), [])]
    assert shown(history(app, config())) == [
        *turn,
        (("__start__",), [("workspace/upload.txt", "added")]),
        *first,
    ]
    old = before(app, "b")
    app.invoke(None, old, keep_both=True)
    assert shown(history(app, config()))[:2] == [turn[0], (("b",), [])]
    branch = [turn[0], (("b",), []), *turn[1:]]
    assert shown(history(app, config(), branch=True))[:4] == branch
    assert shown(history(app, old, branch=True))[:2] == turn[1:]


def test_a_thread_has_to_be_named(client):
    app = bound(line(step("a")), InMemorySaver(), client)
    with pytest.raises(NoCheckpointer, match="thread_id"):
        list(history(app, {}))


def test_a_past_step_is_read_and_the_present_left_alone(client):
    app = bound(line(step("a"), step("b")), InMemorySaver(), client)
    app.invoke(NEW, config())
    client.write("now.txt", "x")
    past = files_at(app, before(app, "b"))
    assert (past.read_text("log.txt"), past.read_bytes("log.txt")) == ("a", b"a")
    assert (
        [each.path for each in past.list_dir()]
        == [each.path for each in past.iter_dir()]
        == ["workspace/log.txt"]
    )
    assert files_at(app, config()).read_text("log.txt") == "ab"
    with pytest.raises(TroveNotFoundError):
        files_at(app, config()).read_text("now.txt")
    assert (text(client), client.read_text("now.txt")) == ("ab", "x")
    assert workspace_of(app, config()).read_text("now.txt") == "x"


def test_what_there_is_not(client):
    app = bound(line(step("a"), step("b")), InMemorySaver(), client)
    with pytest.raises(NoReference):
        files_at(app, config())
    with pytest.raises(NotBound):
        workspace_of(line(step("a")).compile(InMemorySaver()), config())
    app.invoke(NEW, config())
    client.delete_references(thread="t")
    with pytest.raises(UnknownReference):
        list(history(app, config()))


def test_the_functional_api(client):
    app = flow(client, {})
    app.invoke(["a"], config())
    app.invoke(["b"], config())
    assert [len(each.files) for each in history(app, config())] == [1, 0, 1, 0]
    assert files_at(app, config()).read_text("log.txt") == "ab"


async def test_asyncio(client, async_client):
    app = bound(line(astep("a"), astep("b")), InMemorySaver(), async_client)
    await app.ainvoke(NEW, config())
    assert [len(each.files) async for each in ahistory(app, config())] == [1, 1, 0, 0]
    past = await afiles_at(app, before(app, "b"))
    assert (await past.read_text("log.txt"), await past.read_bytes("log.txt")) == ("a", b"a")
    assert len(await past.list_dir()) == len([each async for each in past.iter_dir()]) == 1
    assert await (await aworkspace_of(app, config())).read_text("log.txt") == "ab"
    assert await aprune(app, "t") == 0
    await adelete_thread(app, "t")
    assert list(client.references()) == []


def test_references_that_no_checkpoint_names_are_dropped(client):
    saver = InMemorySaver()
    app = bound(line(step("a"), step("b", crashes := {"b": 0})), saver, client)
    app.invoke(NEW, config())
    mine = client.create_reference(thread="t", step="my own")
    client.write("upload.txt", "x")
    with pytest.warns(ForeignChangeWarning):
        app.invoke(None, before(app, "b"))
    assert prune(app, "t") == 0
    seed(app, "other", before(app, "b"))
    for ids in list(saver.storage["t"][""])[:-1]:
        del saver.storage["t"][""][ids]
    assert prune(app, "t") == 2, "the seeded thread's and the last are named"
    assert prune(app, "t") == 0
    assert prune(app, "t", kept=True) == 1
    assert mine in list(client.references())
    app.invoke(None, config("other"))
    crashes["b"] = 1
    with pytest.raises(Crash):
        app.invoke(NEW, config())
    app.invoke(None, config())
    assert text(client) == "abab"


def test_a_deleted_thread_leaves_nothing_and_its_workspace_is_free(client):
    app = bound(line(step("a"), step("b")), InMemorySaver(), client)
    app.invoke(NEW, config())
    app.invoke(None, before(app, "b"), keep_both=True)
    app.invoke(None, before(app, "b"), keep_both=True)
    seed(app, "other", config())
    delete_thread(app, "t")
    assert list(app.get_state_history(config())) == []
    names = [each.name for each in client.list_namespaces() if each.name.startswith(client.namespace)]
    assert len(names) == 2, "the one that another thread's checkpoint names stays"
    app.invoke(None, config("other"))
    delete_thread(app, "other")
    assert list(client.references()) == []
    delete_thread(app, "t")
    assert [each.name for each in client.list_namespaces() if each.name.startswith(client.namespace)] == [
        client.namespace
    ]
    assert text(client) == "ab"
    app.invoke(NEW, config("new"))
    assert text(client) == "abab"
