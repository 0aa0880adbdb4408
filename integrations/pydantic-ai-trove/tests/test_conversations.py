"""Which workspace a conversation has."""

from pydantic_ai.messages import ModelResponse
from pydantic_ai.workspaces import LocalWorkspaceBackend, WorkspaceRef

from pydantic_ai_trove import (
    TroveWorkspace,
    TroveWorkspaceBackend,
)
from trove_agents.tools import namespace_of

from .histories import put, stored


async def test_a_new_one_takes_what_was_uploaded_for_it(agent, trove, files):
    conversation = "user 42: Größe"
    client = trove.client(namespace_of(conversation))
    client.write("data.csv", "1")
    result = await agent([put("a")]).run("go", conversation_id=conversation)
    assert files(result.workspace.ref.id) == {"data.csv": "1", "a": ""}
    assert "data.csv" in result.all_messages()[0].instructions


async def test_each_has_its_own(agent, files):
    mine = agent([put("a", "1")])
    first, second = [await mine.run("go", conversation_id=each) for each in ("a/b", "a-b")]
    assert first.workspace.ref != second.workspace.ref


async def test_a_history_leads_back(agent, files):
    first = await agent([put("a", "1")]).run("go")
    second = await agent("", "", [put("b")]).run("on", message_history=stored(first.all_messages()))
    assert second.workspace.ref == first.workspace.ref
    assert files(second.workspace.ref.id) == {"a": "1", "b": ""}


async def test_a_history_without_references_to_the_workspace_leads_back(agent, files):
    first = await agent([put("a", "1")]).run("go")
    history = stored(first.all_messages())
    for message in history:
        if isinstance(message, ModelResponse):
            message.workspace_ref = None  # as user interfaces strip it
    second = await agent("", "", [put("b")]).run("on", message_history=history)
    assert second.workspace.ref == first.workspace.ref


async def test_a_new_workspace_on_demand(agent, files):
    first = await agent([put("a", "1")]).run("go")
    second = await agent("", "", [put("b")]).run("on", message_history=first.all_messages(), workspace="new")
    assert second.workspace.ref != first.workspace.ref
    assert files(second.workspace.ref.id) == {"b": ""}
    # what it goes on from is the new one's
    third = await agent("", "", "", "", [put("c")]).run("on", message_history=second.all_messages())
    assert files(third.workspace.ref.id) == {"b": "", "c": ""}


async def test_one_for_all(agent, trove, namespace, files):
    by_name = TroveWorkspace(trove, namespace=namespace, tools=["write"])
    by_client = TroveWorkspace(trove.async_client(namespace), tools=["write"])
    by_run = TroveWorkspace(trove, namespace=lambda ctx: ctx.deps, tools=["write"])
    await agent([put("a")], capability=by_name).run("go")
    await agent([put("b")], capability=by_client).run("go")
    await agent([put("c")], capability=by_run).run("go", deps=namespace)
    assert set(files(namespace)) == {"a", "b", "c"}


async def test_workspaces_of_others_are_left_alone(agent, tmp_path, trove, namespace):
    mine = agent([("half", {"path": "a"})])
    local = await mine.run("go", workspace=LocalWorkspaceBackend(tmp_path), deps=False)
    assert (tmp_path / "a").read_text() == "whole"
    other = TroveWorkspace(trove.async_client(namespace), id="other")
    theirs = await mine.run("go", workspace=TroveWorkspaceBackend(other.source), deps=False)
    for result in (local, theirs):
        assert all(message.metadata is None for message in result.all_messages())


async def test_it_declines_references_of_other_providers(capability):
    assert capability.get_workspace(None, ref=WorkspaceRef(provider="local", id="/")) is None
