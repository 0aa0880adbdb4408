"""What others changed since the history that a run starts from."""

import pytest
from pydantic_ai.messages import InstructionDeltaPart

from pydantic_ai_trove import (
    FilesFound,
    ForeignChanges,
    ReferenceGone,
    TroveWorkspace,
    without_references,
)

from .histories import put, stored


@pytest.fixture
async def history(agent, trove):
    first = await agent([put("a", "1")]).run("go")
    trove.client(first.workspace.ref.id).write("theirs", "x")
    return stored(first.all_messages())


@pytest.fixture
def place(history):
    return history[-1].workspace_ref.id


def with_policy(agent, trove, policy):
    return agent("", "", capability=TroveWorkspace(trove, tools=["write"], on_foreign_change=policy))


async def test_their_changes_are_kept_and_told(agent, trove, history, place, files, heard):
    result = await with_policy(agent, trove, "keep").run("on", message_history=history)
    assert files(place) == {"a": "1", "theirs": "x"}
    assert (heard.events[-1].paths, heard.events[-1].discarded) == (["workspace/theirs"], None)
    [told] = [part for part in result.new_messages()[0].parts if isinstance(part, InstructionDeltaPart)]
    assert "theirs" in told.content


async def test_or_put_back(agent, trove, history, place, files, heard):
    await with_policy(agent, trove, "restore").run("on", message_history=history)
    assert files(place) == {"a": "1"}
    assert files(place, heard.events[-1].discarded) == {"a": "1", "theirs": "x"}


async def test_or_nobody_goes_on(agent, trove, history, place, files):
    with pytest.raises(ForeignChanges, match="workspace/theirs") as caught:
        await with_policy(agent, trove, "refuse").run("on", message_history=history)
    assert caught.value.paths == ("workspace/theirs",)
    assert files(place) == {"a": "1", "theirs": "x"}
    await with_policy(agent, trove, "refuse").run("on", message_history=without_references(history))


async def test_another_history_undoes_its_own_only(agent, trove, history, place, files, heard):
    mine = agent("", "", [put("a", "2")], "said", [put("a", "3")])
    second = await mine.run("on", message_history=history)
    assert files(place) == {"a": "2", "theirs": "x"}
    trove.client(place).write("late", "y")
    await mine.run("otherwise", message_history=history)
    assert files(place) == {"a": "2", "theirs": "x"}
    discarded = [event for event in heard.events if isinstance(event, FilesFound)][-1].discarded
    assert files(place, discarded) == {"a": "2", "theirs": "x", "late": "y"}
    # and the first branch, in which that was done, is still there to go back to
    await mine.run("on", message_history=stored(second.all_messages()))
    assert files(place) == {"a": "3", "theirs": "x", "late": "y"}


async def test_a_snapshot_is_no_change(agent, trove, history, place, heard):
    client = trove.client(place)
    client.delete("theirs")
    client.create_snapshot()
    await with_policy(agent, trove, "refuse").run("on", message_history=history)
    assert heard.events[1:] == []


async def test_a_reference_that_is_gone(agent, trove, history, place):
    trove.client(place).delete_references(thread=place)
    with pytest.raises(ReferenceGone, match="without_references"):
        await with_policy(agent, trove, "keep").run("on", message_history=history)
    await with_policy(agent, trove, "keep").run("on", message_history=without_references(history))
