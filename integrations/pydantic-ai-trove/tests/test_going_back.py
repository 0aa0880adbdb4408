"""Rewinding, forking and forgetting."""

import pytest
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import ModelResponse

from pydantic_ai_trove import (
    TroveWorkspace,
    without_references,
)
from trove_agents import TroveConflictError
from trove_agents.tools import namespace_of

from .histories import crashed, put, stored


@pytest.fixture
async def history(agent):
    return stored((await agent([put("a", "1")], [put("a", "2")], [put("b")]).run("go")).all_messages())


@pytest.fixture
def place(history):
    return history[-1].workspace_ref.id


@pytest.mark.parametrize(("step", "expected"), [(0, {}), (1, {"a": "1"}), (-1, {"a": "2", "b": ""})])
async def test_rewind(capability, agent, history, place, files, step, expected):
    back = await capability.rewind(history, step)
    assert files(place) == expected
    if expected == {"a": "2", "b": ""}:
        assert back.discarded is None
    else:
        assert files(place, back.discarded) == {"a": "2", "b": ""}
    turns = sum(isinstance(message, ModelResponse) for message in back.messages)
    result = await agent(*[""] * turns, [put("c")]).run(message_history=back.messages)
    assert files(place) == expected | {"c": ""}
    assert result.workspace.ref.id == place


async def test_what_is_uploaded_after_it_stays(capability, agent, history, place, files, trove):
    back = await capability.rewind(history, 1)
    trove.client(place).write("uploaded", "x")
    await agent("", "said").run("on", message_history=back.messages)
    assert files(place) == {"a": "1", "uploaded": "x"}


async def test_fork(capability, agent, history, place, files):
    steps = TroveWorkspace.steps(history)
    fork = await capability.fork(history, steps[1])
    assert files(fork.workspace.id) == {"a": "1"}
    mine = agent("", [put("a", "fork")])
    result = await mine.run("on", message_history=stored(fork.messages))
    assert result.workspace.ref == fork.workspace
    assert result.all_messages()[-1].conversation_id == fork.conversation_id
    assert (files(fork.workspace.id), files(place)) == ({"a": "fork"}, {"a": "2", "b": ""})
    # both go on: a fork of the fork, and the first one
    again = await capability.fork(result.all_messages(), -1)
    assert files(again.workspace.id) == {"a": "fork"}
    await agent("", "", "", "", [put("c")]).run("on", message_history=history)
    assert files(place) == {"a": "2", "b": "", "c": ""}


async def test_a_fork_recovers_by_itself(capability, agent, history, place, files):
    fork = await capability.fork(history, 1)
    mine = agent("", [("half", {"path": "a"})])
    broken = await crashed(mine, "on", message_history=fork.messages)
    await mine.run(message_history=broken)
    assert (files(fork.workspace.id), files(place)) == ({"a": "1"}, {"a": "2", "b": ""})


async def test_a_fork_of_the_beginning(capability, agent, history, place, files):
    fork = await capability.fork(history, 0)
    result = await agent([put("new")]).run(message_history=fork.messages)
    assert result.workspace.ref == fork.workspace
    assert (files(fork.workspace.id), files(place)) == ({"new": ""}, {"a": "2", "b": ""})


async def test_names_of_forks(trove, agent, files, namespace):
    mine = TroveWorkspace(trove.async_client(namespace), tools=["write"])
    history = (await agent([put("a", "1")], capability=mine).run("go")).all_messages()
    fork = await mine.fork(history, -1)
    assert fork.workspace.id.startswith(f"{namespace}-")
    result = await agent("", [put("b")], capability=mine).run("on", message_history=fork.messages)
    assert files(result.workspace.ref.id) == {"a": "1", "b": ""}
    chosen = await mine.fork(history, -1, namespace=f"{namespace}-mine")
    assert chosen.workspace.id == f"{namespace}-mine"
    with pytest.raises(TroveConflictError):
        await mine.fork(history, -1, namespace=f"{namespace}-mine")


async def test_before_a_fork_there_are_only_forks(capability, agent, history, place, files):
    fork = await capability.fork(history, 2)
    mine = (await agent("", "", [put("c")]).run("on", message_history=fork.messages)).all_messages()
    assert [each.namespace for each in capability.steps(mine)] == [place] * 2 + [fork.workspace.id] * 2
    await capability.rewind(mine, 2)
    assert files(fork.workspace.id) == {"a": "2"}
    with pytest.raises(UserError, match="fork the history from there"):
        await capability.rewind(mine, 1)
    again = await capability.fork(mine, 1)
    assert (files(again.workspace.id), files(place)) == ({"a": "1"}, {"a": "2", "b": ""})


async def test_no_such_step(capability, history):
    with pytest.raises(IndexError, match="no step 9 to go back to"):
        await capability.rewind(history, 9)
    with pytest.raises(IndexError, match="the history has 0"):
        await capability.fork([], -1)


@pytest.mark.parametrize(
    "conversation", ["plain", "größer, and much longer than a header's text may be: " + "x" * 200]
)
async def test_a_conversation_leaves_nothing_behind(capability, agent, trove, files, conversation):
    mine = agent([put("a", "1")], [("half", {"path": "b"})])
    history = await crashed(mine, "go", conversation_id=conversation)
    history = stored((await mine.run(message_history=history)).all_messages())
    client = trove.client(namespace_of(conversation))
    taken = [each for each in client.references() if each.thread]
    assert len(taken) > 2
    assert await capability.forget(history) == len(taken)
    assert [each.step for each in client.references()] == ["begin"]
    result = await agent("", "", "", [put("c")]).run("on", message_history=without_references(history))
    assert files(result.workspace.ref.id) == {"a": "1", "c": ""}
