"""What the capability tells the model, and how it is made."""

import pytest
from pydantic_ai import (
    Agent,
    workspaces,
)
from pydantic_ai.workspaces import ReadOnlyWorkspace, Workspace

from pydantic_ai_trove import (
    TroveWorkspace,
    TroveWorkspaceBackend,
)

from .histories import put, returns, stored


async def test_what_the_model_is_told(agent, trove, namespace):
    trove.client(namespace).write(".trove/agent.md", "the last session's note")
    result = await agent().run("go", conversation_id=namespace)
    told = result.all_messages()[0].instructions
    assert "write to workspace/.trove/agent.md" in told and "the last session's note" in told


@pytest.mark.skipif(not hasattr(workspaces, "AuthorityWorkspace"), reason="comes with Pydantic AI 2.68")
async def test_less_authority_less_told(agent, trove, namespace):
    trove.client(namespace).write("secret-name", "")
    backend = TroveWorkspaceBackend(trove, namespace=namespace)
    workspace = workspaces.AuthorityWorkspace(Workspace(backend), authority="none")
    result = await agent().run("go", workspace=workspace)
    assert "secret-name" not in result.all_messages()[0].instructions


async def test_nothing_is_told_on_demand(agent, trove, namespace):
    quiet = TroveWorkspace(trove, orientation=False, tools=())
    result = await agent(capability=quiet).run("go")
    assert "<workspace>" not in result.all_messages()[0].instructions


async def test_the_program_leaves_the_note(agent, trove, scripted, files):
    notes = iter(["first", "second", None])
    mine = TroveWorkspace(trove, tools=["write"], hand_off=lambda result: next(notes))
    first = await agent([put("a")], capability=mine).run("go")
    place = first.workspace.ref.id
    assert files(place)[".trove/agent.md"] == "first"
    assert "write to" not in (first.all_messages()[0].instructions or "")
    second = await agent(capability=mine).run("on", message_history=stored(first.all_messages()))
    assert files(place)[".trove/agent.md"] == "second"
    await agent(capability=mine).run("on", message_history=stored(second.all_messages()))
    assert files(place) == {"a": "", ".trove/agent.md": "second"}  # no part of a note is undone


async def test_a_run_that_may_only_read(agent, trove, namespace, capability):
    backend = TroveWorkspaceBackend(trove, namespace=namespace)
    await agent().run("go", workspace=ReadOnlyWorkspace(Workspace(backend)))


async def test_from_a_specification(scripted, tmp_path, monkeypatch):
    for name in ("TROVE_API_KEY", "TROVE_BASE_URL", "TROVE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    options = {"path": str(tmp_path / "state"), "tools": ["write", "read"], "on_foreign_change": "refuse"}
    agent = Agent.from_spec(
        {"capabilities": [{"TroveWorkspace": options}]},
        custom_capability_types=[TroveWorkspace],
        model=scripted([put("a", "1")]),
    )
    result = await agent.run("go")
    assert [part.outcome for part in returns(result)] == ["success"]
    assert (tmp_path / "state").is_dir()


def test_the_last_one_counts(trove, scripted):
    first, second = TroveWorkspace(trove, tools=()), TroveWorkspace(trove, namespace="n")
    assert TroveWorkspace.combine([first, second]) is second
    assert (first.id, TroveWorkspace.get_serialization_name()) == ("trove_workspace", "TroveWorkspace")
