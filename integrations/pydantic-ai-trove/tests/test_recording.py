"""What is recorded of each step, however a run is driven."""

import asyncio

from pydantic_ai import (
    ModelMessagesTypeAdapter,
    RunContext,
)
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models.function import DeltaToolCall, FunctionModel

from pydantic_ai_trove import (
    FilesFound,
    TroveWorkspace,
    without_references,
)

from .histories import put, stored


async def test_each_step_has_what_the_files_were(agent, files, heard):
    two = [put("a", "2"), put("b")]
    result = await agent([put("a", "1")], two, "said", [put("a", "3")]).run("go")
    assert result.output == "said"
    history = stored(result.all_messages())
    steps = TroveWorkspace.steps(history)
    assert [(each.index, each.messages, each.tools) for each in steps] == [
        (0, 1, ()),
        (1, 3, ("write",)),
        (2, 5, ("write", "write")),
    ]
    found = [files(each.namespace, each.reference_id) for each in steps]
    assert found == [{}, {"a": "1"}, {"a": "2", "b": ""}]
    assert [sorted(event.paths) for event in heard.events] == [
        ["workspace/a"],
        ["workspace/a", "workspace/b"],
    ]
    assert heard.events[-1].reference_id == steps[-1].reference_id


async def test_what_nobody_changed_between_two_steps_has_one_reference(agent, trove):
    write = ("half", {"path": "a"})
    result = await agent([write], [write], [write], "said").run("go", deps=False)
    first, second, third, _ = [each for each in result.all_messages() if isinstance(each, ModelResponse)]
    assert second.metadata["trove"]["before"] == first.metadata["trove"]["after"]
    assert third.metadata["trove"]["before"] == second.metadata["trove"]["after"]
    taken = [each.step for each in trove.client(result.workspace.ref.id).references()]
    assert taken == [*(f"{result.run_id} {number}" for number in (3, 2, 1, 0)), "begin"]


async def test_changes_say_which_call_made_them(agent, trove):
    result = await agent([put("a"), ("half", {"path": "b"})]).run("go", deps=False)
    client = trove.client(result.workspace.ref.id)
    entries = {path: [each.step for each in client.history(path)] for path in ("a", "b")}
    assert [step.call for step in entries["b"]] == ["0-1", "0-1"]
    [step] = entries["a"]
    assert step.call == "0-0"
    assert (step.thread, step.run, step.step) == (client.namespace, result.run_id, "1")


async def test_calls_at_the_same_time(agent, files):
    mine = agent([("slow", {"path": "a"}), ("slow", {"path": "b"}), ("slow", {"path": "c"})])
    begun = asyncio.Barrier(3)

    @mine.tool
    async def slow(ctx: RunContext[None], path: str) -> str:
        await begun.wait()
        await ctx.workspace.write_text(path, path)
        return path

    result = await mine.run("go")
    _, step = TroveWorkspace.steps(stored(result.all_messages()))
    assert files(step.namespace, step.reference_id) == {"a": "a", "b": "b", "c": "c"}


async def test_what_changes_nothing_is_no_news(agent, heard):
    mine = agent([("look", {})], [put("a", "1")], [("look", {})])

    @mine.tool
    async def look(ctx: RunContext[None]) -> bool:
        return await ctx.workspace.exists("a")

    result = await mine.run("go")
    [event] = heard.events
    assert event.paths == ["workspace/a"]
    assert len(TroveWorkspace.steps(result.all_messages())) == 4


async def test_without_tool_calls_nothing_is_begun(agent, trove):
    result = await agent("hello").run("go")
    assert result.workspace.ref is None
    assert all(message.metadata is None for message in result.all_messages())
    names = [each.name for each in trove.admin().list_namespaces()]
    assert result.all_messages()[-1].conversation_id not in names


async def test_every_way_to_drive_a_run(agent, files):
    mine = agent([put("a", "1")], [put("a", "2")])
    async with mine.run_stream("go") as streamed:
        await streamed.get_output()
    async with mine.iter("go") as run:
        async for _ in run:
            pass
    for history in (streamed.all_messages(), run.result.all_messages()):
        steps = TroveWorkspace.steps(history)
        assert [files(each.namespace, each.reference_id) for each in steps] == [
            {},
            {"a": "1"},
            {"a": "2"},
        ]


async def test_calls_beside_the_words_that_end_a_streamed_run(agent, files, heard):
    async def stream(messages, info):
        yield "said"
        yield {1: DeltaToolCall("write", '{"path": "a", "content": "1"}', tool_call_id="c1")}
        yield {2: DeltaToolCall("write", '{"path": "b", "content": "2"}', tool_call_id="c2")}

    mine = agent()
    async with mine.run_stream("go", model=FunctionModel(stream_function=stream)) as streamed:
        assert await streamed.get_output() == "said"
    history = stored(streamed.all_messages())
    steps = TroveWorkspace.steps(history)
    assert [(each.messages, each.tools) for each in steps] == [(1, ()), (3, ("write", "write"))]
    assert files(steps[1].namespace, steps[1].reference_id) == {"a": "1", "b": "2"}
    await mine.run("on", message_history=history)
    assert files(steps[1].namespace) == {"a": "1", "b": "2"}
    assert not [event for event in heard.events if isinstance(event, FilesFound)]


def test_synchronous_runs(agent, files):
    with asyncio.Runner() as runner:
        asyncio.set_event_loop(runner.get_loop())  # which would not be closed otherwise
        first = agent([put("a", "1")]).run_sync("go")
        second = agent("", "", [put("a", "2")]).run_sync("on", message_history=first.all_messages())
    assert files(second.workspace.ref.id) == {"a": "2"}


async def test_the_callers_messages_are_left_alone(agent):
    waiting = stored((await agent([put("a")]).run("go")).all_messages()[:2])
    before = ModelMessagesTypeAdapter.dump_json(waiting)
    await agent([put("a")]).run(message_history=waiting)
    assert ModelMessagesTypeAdapter.dump_json(waiting) == before


async def test_other_metadata_stays(agent):
    class Tags(AbstractCapability):
        async def after_model_request(self, ctx, *, request_context, response):
            response.metadata = {"tag": 1}
            return response

    mine = agent([put("a")])
    result = await mine.run("go", capabilities=[Tags()])
    response = result.all_messages()[1]
    assert set(response.metadata) == {"tag", "trove"}
    assert [m.metadata for m in without_references(result.all_messages()) if m.metadata] == [{"tag": 1}] * 2
