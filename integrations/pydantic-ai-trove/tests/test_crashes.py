"""Runs that died, or wait for an approval, and go on."""

import pytest
from pydantic_ai import (
    DeferredToolRequests,
    DeferredToolResults,
    RunContext,
)
from pydantic_ai.exceptions import ModelRetry, ToolFailed
from pydantic_ai.messages import ModelRequest

from pydantic_ai_trove import (
    TroveWorkspace,
)

from .histories import Died, crashed, put, returns, stored


async def test_what_a_run_did_that_died_is_undone(agent, files, heard, trove):
    mine = agent([put("a", "1")], [("half", {"path": "a"})])
    history = await crashed(mine, "go", conversation_id="c" * 20)
    namespace = "c" * 20
    assert files(namespace) == {"a": "half"}
    result = await mine.run(message_history=history)
    assert files(namespace) == {"a": "1"}
    assert returns(result)[-1].outcome == "interrupted"
    event = heard.events[-1]
    assert event.paths == ["workspace/a"]
    assert files(namespace, event.discarded) == {"a": "half"}


async def test_also_with_a_new_prompt(agent, files):
    mine = agent([put("a", "1")], [("half", {"path": "a"})])
    history = await crashed(mine, "go", conversation_id="crash-prompt")
    await mine.run("go on", message_history=history)
    assert files("crash-prompt") == {"a": "1"}


async def test_the_first_step_can_be_undone(agent, files):
    mine = agent([("half", {"path": "a"})])
    history = await crashed(mine, "go", conversation_id="crash-first")
    await mine.run(message_history=history)
    assert files("crash-first") == {}


async def test_calls_that_ended_stay(agent, files):
    mine = agent([put("a", "1"), ("half", {"path": "b"})])
    history = await crashed(mine, "go", conversation_id="crash-second-call")
    assert files("crash-second-call") == {"a": "1", "b": "half"}
    result = await mine.run(message_history=history)
    assert [part.outcome for part in returns(result)] == ["success", "interrupted"]
    assert files("crash-second-call") == {"a": "1"}


@pytest.mark.parametrize("error", [ToolFailed, ModelRetry])
async def test_so_do_calls_that_failed(agent, files, error):
    mine = agent([("fails", {}), ("half", {"path": "b"})])

    @mine.tool(sequential=True)
    async def fails(ctx: RunContext[bool]) -> str:
        await ctx.workspace.write_text("a", "tried")
        raise error("no")

    history = await crashed(mine, "go", conversation_id=f"crash-{error.__name__}")
    await mine.run(message_history=history)
    assert files(f"crash-{error.__name__}") == {"a": "tried"}


async def test_calls_that_are_made_again_find_the_same_files(agent, files):
    mine = agent([put("a", "1")], [("half", {"path": "a"})])
    history = await crashed(mine, "go", conversation_id="crash-again")
    assert isinstance(history.pop(), ModelRequest)
    history.pop()  # what was stored before the calls were made
    history = (await mine.run(message_history=history[:2], deps=False)).all_messages()
    assert files("crash-again") == {"a": "whole"}
    assert len(TroveWorkspace.steps(history)) == 3


async def test_what_an_agent_did_for_another_is_part_of_its_call(agent, capability, files, trove):
    helper = agent([put("b", "by the helper")])
    mine = agent([put("a", "1")], [("ask", {})])

    @mine.tool(sequential=True)
    async def ask(ctx: RunContext[bool]) -> str:
        result = await helper.run("help", workspace=ctx.workspace)
        assert len(capability.steps(result.all_messages())) == 2
        if ctx.deps:
            raise Died
        return result.output

    history = await crashed(mine, "go", conversation_id="crash-helper")
    assert files("crash-helper") == {"a": "1", "b": "by the helper"}
    [entry] = trove.client("crash-helper").history("b")
    assert (entry.step.thread, entry.step.call) == ("crash-helper", "1-0")
    await mine.run(message_history=history)
    assert files("crash-helper") == {"a": "1"}


async def test_a_second_time_there_is_nothing_to_undo(agent, files, heard):
    mine = agent([put("a", "1")], [("half", {"path": "a"})])
    history = await crashed(mine, "go", conversation_id="crash-twice")
    await mine.run(message_history=history)
    heard.events.clear()
    await mine.run(message_history=history)
    assert heard.events == []


async def test_what_others_put_there_before_is_kept(agent, files, trove):
    client = trove.client("crash-others")
    mine = agent([put("a", "1")], "said", [("half", {"path": "a"})])
    first = await mine.run("go", conversation_id="crash-others")
    client.write("uploaded", "x")
    await crashed(mine, "on", message_history=first.all_messages())
    client.write("late", "y")
    # the messages of the second run were lost
    await agent().run("on", message_history=first.all_messages())
    assert files("crash-others") == {"a": "1", "uploaded": "x"}


async def test_what_ran_before_the_approval_stays(agent, trove, files):
    mine = agent([put("a", "1"), ("careful", {})], output_type=[str, DeferredToolRequests])
    died = True

    @mine.tool(requires_approval=True)
    async def careful(ctx: RunContext[bool]) -> str:
        await ctx.workspace.write_text("b", "half")
        if died:
            raise Died
        return "done"

    first = await mine.run("go", conversation_id="approve-1")
    history = stored(first.all_messages())
    results = DeferredToolResults(approvals={"0-1": True})
    for _ in range(2):
        await crashed(mine, message_history=history, deferred_tool_results=results)
        assert files("approve-1") == {"a": "1", "b": "half"}
    died = False
    trove.client("approve-1").write("b", "by somebody")
    result = await mine.run(message_history=history, deferred_tool_results=results)
    assert [part.outcome for part in returns(result)] == ["success", "success"]
    assert files("approve-1") == {"a": "1", "b": "half"}
    assert [each.tools for each in TroveWorkspace.steps(result.all_messages())] == [
        (),
        ("write", "careful"),
    ]


async def test_the_beginning_is_before_what_ran_before_the_approval(agent, capability, files):
    mine = agent([put("a", "1"), ("careful", {})], output_type=[str, DeferredToolRequests])

    @mine.tool(requires_approval=True)
    async def careful(ctx: RunContext[bool]) -> str:
        await ctx.workspace.write_text("b", "2")
        return "done"

    first = await mine.run("go", conversation_id="approve-2")
    results = DeferredToolResults(approvals={"0-1": True})
    result = await mine.run(message_history=stored(first.all_messages()), deferred_tool_results=results)
    history = stored(result.all_messages())
    assert files("approve-2") == {"a": "1", "b": "2"}
    begin, end = capability.steps(history)
    assert (files("approve-2", begin.reference_id), files("approve-2", end.reference_id)) == (
        {},
        {"a": "1", "b": "2"},
    )
    await capability.rewind(history, 0)
    assert files("approve-2") == {}
