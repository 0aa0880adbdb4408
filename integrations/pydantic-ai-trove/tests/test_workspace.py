"""The capability: files that follow the messages, through crashes, other histories and the changes of others."""

import asyncio

import pytest
from pydantic_ai import (
    Agent,
    DeferredToolRequests,
    DeferredToolResults,
    ModelMessagesTypeAdapter,
    RunContext,
    capture_run_messages,
    workspaces,
)
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import ModelRetry, ToolFailed, UserError
from pydantic_ai.messages import InstructionDeltaPart, ModelRequest, ModelResponse, ToolReturnPart
from pydantic_ai.models.function import DeltaToolCall, FunctionModel
from pydantic_ai.workspaces import LocalWorkspaceBackend, ReadOnlyWorkspace, Workspace, WorkspaceRef

from pydantic_ai_trove import (
    FilesChanged,
    FilesFound,
    ForeignChanges,
    ReferenceGone,
    TroveWorkspace,
    TroveWorkspaceBackend,
    without_references,
)
from trove_agents import TroveConflictError
from trove_agents.tools import namespace_of


def put(path, content=""):
    return ("write", {"path": path, "content": content})


class Died(Exception):
    """The process is gone."""


class Listener(AbstractCapability):
    def __init__(self):
        self.events = []

    async def on_event(self, ctx, *, event):
        if isinstance(event, FilesChanged | FilesFound):
            self.events.append(event)


@pytest.fixture
def heard():
    return Listener()


@pytest.fixture
def capability(trove):
    return TroveWorkspace(trove, tools=["write"])


@pytest.fixture
def agent(scripted, capability, heard):
    """``agent(*turns)``: besides writing, it has a tool that writes half of what it should, and dies when told so."""

    def make(*turns, capability=capability, **options):
        made = Agent(scripted(*turns), capabilities=[capability, heard], **options)

        @made.tool(sequential=True)
        async def half(ctx: RunContext[bool], path: str) -> str:
            await ctx.workspace.write_text(path, "half")
            if ctx.deps:
                raise Died
            await ctx.workspace.write_text(path, "whole")
            return "done"

        return made

    return make


def stored(messages):
    """A history as it comes back from a store."""
    return ModelMessagesTypeAdapter.validate_json(ModelMessagesTypeAdapter.dump_json(list(messages)))


async def crashed(agent, *arguments, **options):
    """What was captured of a run that died."""
    with capture_run_messages() as messages, pytest.raises(Died):
        await agent.run(*arguments, deps=True, **options)
    return stored(messages)


@pytest.fixture
def files(trove):
    def read(namespace, at=None):
        client = trove.client(namespace)
        entries = client.list_dir(recursive=True, at=at)
        return {
            entry.path.removeprefix("workspace/"): client.read_text(entry.path, at=at)
            for entry in entries
            if not entry.is_dir
        }

    return read


class TestRecording:
    async def test_each_step_has_what_the_files_were(self, agent, files, heard):
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

    async def test_what_nobody_changed_between_two_steps_has_one_reference(self, agent, trove):
        write = ("half", {"path": "a"})
        result = await agent([write], [write], [write], "said").run("go", deps=False)
        first, second, third, _ = [each for each in result.all_messages() if isinstance(each, ModelResponse)]
        assert second.metadata["trove"]["before"] == first.metadata["trove"]["after"]
        assert third.metadata["trove"]["before"] == second.metadata["trove"]["after"]
        taken = [each.step for each in trove.client(result.workspace.ref.id).references()]
        assert taken == [*(f"{result.run_id} {number}" for number in (3, 2, 1, 0)), "begin"]

    async def test_changes_say_which_call_made_them(self, agent, trove):
        result = await agent([put("a"), ("half", {"path": "b"})]).run("go", deps=False)
        client = trove.client(result.workspace.ref.id)
        entries = {path: [each.step for each in client.history(path)] for path in ("a", "b")}
        assert [step.call for step in entries["b"]] == ["0-1", "0-1"]
        [step] = entries["a"]
        assert step.call == "0-0"
        assert (step.thread, step.run, step.step) == (client.namespace, result.run_id, "1")

    async def test_calls_at_the_same_time(self, agent, files):
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

    async def test_what_changes_nothing_is_no_news(self, agent, heard):
        mine = agent([("look", {})], [put("a", "1")], [("look", {})])

        @mine.tool
        async def look(ctx: RunContext[None]) -> bool:
            return await ctx.workspace.exists("a")

        result = await mine.run("go")
        [event] = heard.events
        assert event.paths == ["workspace/a"]
        assert len(TroveWorkspace.steps(result.all_messages())) == 4

    async def test_without_tool_calls_nothing_is_begun(self, agent, trove):
        result = await agent("hello").run("go")
        assert result.workspace.ref is None
        assert all(message.metadata is None for message in result.all_messages())
        names = [each.name for each in trove.admin().list_namespaces()]
        assert result.all_messages()[-1].conversation_id not in names

    async def test_every_way_to_drive_a_run(self, agent, files):
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

    async def test_calls_beside_the_words_that_end_a_streamed_run(self, agent, files, heard):
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

    def test_synchronous_runs(self, agent, files):
        with asyncio.Runner() as runner:
            asyncio.set_event_loop(runner.get_loop())  # which would not be closed otherwise
            first = agent([put("a", "1")]).run_sync("go")
            second = agent("", "", [put("a", "2")]).run_sync("on", message_history=first.all_messages())
        assert files(second.workspace.ref.id) == {"a": "2"}

    async def test_the_callers_messages_are_left_alone(self, agent):
        waiting = stored((await agent([put("a")]).run("go")).all_messages()[:2])
        before = ModelMessagesTypeAdapter.dump_json(waiting)
        await agent([put("a")]).run(message_history=waiting)
        assert ModelMessagesTypeAdapter.dump_json(waiting) == before

    async def test_other_metadata_stays(self, agent):
        class Tags(AbstractCapability):
            async def after_model_request(self, ctx, *, request_context, response):
                response.metadata = {"tag": 1}
                return response

        mine = agent([put("a")])
        result = await mine.run("go", capabilities=[Tags()])
        response = result.all_messages()[1]
        assert set(response.metadata) == {"tag", "trove"}
        assert [m.metadata for m in without_references(result.all_messages()) if m.metadata] == [
            {"tag": 1}
        ] * 2


class TestConversations:
    async def test_a_new_one_takes_what_was_uploaded_for_it(self, agent, trove, files):
        conversation = "user 42: Größe"
        client = trove.client(namespace_of(conversation))
        client.write("data.csv", "1")
        result = await agent([put("a")]).run("go", conversation_id=conversation)
        assert files(result.workspace.ref.id) == {"data.csv": "1", "a": ""}
        assert "data.csv" in result.all_messages()[0].instructions

    async def test_each_has_its_own(self, agent, files):
        mine = agent([put("a", "1")])
        first, second = [await mine.run("go", conversation_id=each) for each in ("a/b", "a-b")]
        assert first.workspace.ref != second.workspace.ref

    async def test_a_history_leads_back(self, agent, files):
        first = await agent([put("a", "1")]).run("go")
        second = await agent("", "", [put("b")]).run("on", message_history=stored(first.all_messages()))
        assert second.workspace.ref == first.workspace.ref
        assert files(second.workspace.ref.id) == {"a": "1", "b": ""}

    async def test_a_history_without_references_to_the_workspace_leads_back(self, agent, files):
        first = await agent([put("a", "1")]).run("go")
        history = stored(first.all_messages())
        for message in history:
            if isinstance(message, ModelResponse):
                message.workspace_ref = None  # as user interfaces strip it
        second = await agent("", "", [put("b")]).run("on", message_history=history)
        assert second.workspace.ref == first.workspace.ref

    async def test_a_new_workspace_on_demand(self, agent, files):
        first = await agent([put("a", "1")]).run("go")
        second = await agent("", "", [put("b")]).run(
            "on", message_history=first.all_messages(), workspace="new"
        )
        assert second.workspace.ref != first.workspace.ref
        assert files(second.workspace.ref.id) == {"b": ""}
        # what it goes on from is the new one's
        third = await agent("", "", "", "", [put("c")]).run("on", message_history=second.all_messages())
        assert files(third.workspace.ref.id) == {"b": "", "c": ""}

    async def test_one_for_all(self, agent, trove, namespace, files):
        by_name = TroveWorkspace(trove, namespace=namespace, tools=["write"])
        by_client = TroveWorkspace(trove.async_client(namespace), tools=["write"])
        by_run = TroveWorkspace(trove, namespace=lambda ctx: ctx.deps, tools=["write"])
        await agent([put("a")], capability=by_name).run("go")
        await agent([put("b")], capability=by_client).run("go")
        await agent([put("c")], capability=by_run).run("go", deps=namespace)
        assert set(files(namespace)) == {"a", "b", "c"}

    async def test_workspaces_of_others_are_left_alone(self, agent, tmp_path, trove, namespace):
        mine = agent([("half", {"path": "a"})])
        local = await mine.run("go", workspace=LocalWorkspaceBackend(tmp_path), deps=False)
        assert (tmp_path / "a").read_text() == "whole"
        other = TroveWorkspace(trove.async_client(namespace), id="other")
        theirs = await mine.run("go", workspace=TroveWorkspaceBackend(other.source), deps=False)
        for result in (local, theirs):
            assert all(message.metadata is None for message in result.all_messages())

    async def test_it_declines_references_of_other_providers(self, capability):
        assert capability.get_workspace(None, ref=WorkspaceRef(provider="local", id="/")) is None


class TestCrashes:
    async def test_what_a_run_did_that_died_is_undone(self, agent, files, heard, trove):
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

    async def test_also_with_a_new_prompt(self, agent, files):
        mine = agent([put("a", "1")], [("half", {"path": "a"})])
        history = await crashed(mine, "go", conversation_id="crash-prompt")
        await mine.run("go on", message_history=history)
        assert files("crash-prompt") == {"a": "1"}

    async def test_the_first_step_can_be_undone(self, agent, files):
        mine = agent([("half", {"path": "a"})])
        history = await crashed(mine, "go", conversation_id="crash-first")
        await mine.run(message_history=history)
        assert files("crash-first") == {}

    async def test_calls_that_ended_stay(self, agent, files):
        mine = agent([put("a", "1"), ("half", {"path": "b"})])
        history = await crashed(mine, "go", conversation_id="crash-second-call")
        assert files("crash-second-call") == {"a": "1", "b": "half"}
        result = await mine.run(message_history=history)
        assert [part.outcome for part in returns(result)] == ["success", "interrupted"]
        assert files("crash-second-call") == {"a": "1"}

    @pytest.mark.parametrize("error", [ToolFailed, ModelRetry])
    async def test_so_do_calls_that_failed(self, agent, files, error):
        mine = agent([("fails", {}), ("half", {"path": "b"})])

        @mine.tool(sequential=True)
        async def fails(ctx: RunContext[bool]) -> str:
            await ctx.workspace.write_text("a", "tried")
            raise error("no")

        history = await crashed(mine, "go", conversation_id=f"crash-{error.__name__}")
        await mine.run(message_history=history)
        assert files(f"crash-{error.__name__}") == {"a": "tried"}

    async def test_calls_that_are_made_again_find_the_same_files(self, agent, files):
        mine = agent([put("a", "1")], [("half", {"path": "a"})])
        history = await crashed(mine, "go", conversation_id="crash-again")
        assert isinstance(history.pop(), ModelRequest)
        history.pop()  # what was stored before the calls were made
        history = (await mine.run(message_history=history[:2], deps=False)).all_messages()
        assert files("crash-again") == {"a": "whole"}
        assert len(TroveWorkspace.steps(history)) == 3

    async def test_what_an_agent_did_for_another_is_part_of_its_call(self, agent, capability, files, trove):
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

    async def test_a_second_time_there_is_nothing_to_undo(self, agent, files, heard):
        mine = agent([put("a", "1")], [("half", {"path": "a"})])
        history = await crashed(mine, "go", conversation_id="crash-twice")
        await mine.run(message_history=history)
        heard.events.clear()
        await mine.run(message_history=history)
        assert heard.events == []

    async def test_what_others_put_there_before_is_kept(self, agent, files, trove):
        client = trove.client("crash-others")
        mine = agent([put("a", "1")], "said", [("half", {"path": "a"})])
        first = await mine.run("go", conversation_id="crash-others")
        client.write("uploaded", "x")
        await crashed(mine, "on", message_history=first.all_messages())
        client.write("late", "y")
        # the messages of the second run were lost
        await agent().run("on", message_history=first.all_messages())
        assert files("crash-others") == {"a": "1", "uploaded": "x"}


class TestOthers:
    @pytest.fixture
    async def history(self, agent, trove):
        first = await agent([put("a", "1")]).run("go")
        trove.client(first.workspace.ref.id).write("theirs", "x")
        return stored(first.all_messages())

    @pytest.fixture
    def place(self, history):
        return history[-1].workspace_ref.id

    def with_policy(self, agent, trove, policy):
        return agent("", "", capability=TroveWorkspace(trove, tools=["write"], on_foreign_change=policy))

    async def test_their_changes_are_kept_and_told(self, agent, trove, history, place, files, heard):
        result = await self.with_policy(agent, trove, "keep").run("on", message_history=history)
        assert files(place) == {"a": "1", "theirs": "x"}
        assert (heard.events[-1].paths, heard.events[-1].discarded) == (["workspace/theirs"], None)
        [told] = [part for part in result.new_messages()[0].parts if isinstance(part, InstructionDeltaPart)]
        assert "theirs" in told.content

    async def test_or_put_back(self, agent, trove, history, place, files, heard):
        await self.with_policy(agent, trove, "restore").run("on", message_history=history)
        assert files(place) == {"a": "1"}
        assert files(place, heard.events[-1].discarded) == {"a": "1", "theirs": "x"}

    async def test_or_nobody_goes_on(self, agent, trove, history, place, files):
        with pytest.raises(ForeignChanges, match="workspace/theirs") as caught:
            await self.with_policy(agent, trove, "refuse").run("on", message_history=history)
        assert caught.value.paths == ("workspace/theirs",)
        assert files(place) == {"a": "1", "theirs": "x"}
        await self.with_policy(agent, trove, "refuse").run("on", message_history=without_references(history))

    async def test_another_history_undoes_its_own_only(self, agent, trove, history, place, files, heard):
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

    async def test_a_snapshot_is_no_change(self, agent, trove, history, place, heard):
        client = trove.client(place)
        client.delete("theirs")
        client.create_snapshot()
        await self.with_policy(agent, trove, "refuse").run("on", message_history=history)
        assert heard.events[1:] == []

    async def test_a_reference_that_is_gone(self, agent, trove, history, place):
        trove.client(place).delete_references(thread=place)
        with pytest.raises(ReferenceGone, match="without_references"):
            await self.with_policy(agent, trove, "keep").run("on", message_history=history)
        await self.with_policy(agent, trove, "keep").run("on", message_history=without_references(history))


class TestGoingBack:
    @pytest.fixture
    async def history(self, agent):
        return stored((await agent([put("a", "1")], [put("a", "2")], [put("b")]).run("go")).all_messages())

    @pytest.fixture
    def place(self, history):
        return history[-1].workspace_ref.id

    @pytest.mark.parametrize(("step", "expected"), [(0, {}), (1, {"a": "1"}), (-1, {"a": "2", "b": ""})])
    async def test_rewind(self, capability, agent, history, place, files, step, expected):
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

    async def test_what_is_uploaded_after_it_stays(self, capability, agent, history, place, files, trove):
        back = await capability.rewind(history, 1)
        trove.client(place).write("uploaded", "x")
        await agent("", "said").run("on", message_history=back.messages)
        assert files(place) == {"a": "1", "uploaded": "x"}

    async def test_fork(self, capability, agent, history, place, files):
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

    async def test_a_fork_recovers_by_itself(self, capability, agent, history, place, files):
        fork = await capability.fork(history, 1)
        mine = agent("", [("half", {"path": "a"})])
        broken = await crashed(mine, "on", message_history=fork.messages)
        await mine.run(message_history=broken)
        assert (files(fork.workspace.id), files(place)) == ({"a": "1"}, {"a": "2", "b": ""})

    async def test_a_fork_of_the_beginning(self, capability, agent, history, place, files):
        fork = await capability.fork(history, 0)
        result = await agent([put("new")]).run(message_history=fork.messages)
        assert result.workspace.ref == fork.workspace
        assert (files(fork.workspace.id), files(place)) == ({"new": ""}, {"a": "2", "b": ""})

    async def test_names_of_forks(self, trove, agent, files, namespace):
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

    async def test_before_a_fork_there_are_only_forks(self, capability, agent, history, place, files):
        fork = await capability.fork(history, 2)
        mine = (await agent("", "", [put("c")]).run("on", message_history=fork.messages)).all_messages()
        assert [each.namespace for each in capability.steps(mine)] == [place] * 2 + [fork.workspace.id] * 2
        await capability.rewind(mine, 2)
        assert files(fork.workspace.id) == {"a": "2"}
        with pytest.raises(UserError, match="fork the history from there"):
            await capability.rewind(mine, 1)
        again = await capability.fork(mine, 1)
        assert (files(again.workspace.id), files(place)) == ({"a": "1"}, {"a": "2", "b": ""})

    async def test_no_such_step(self, capability, history):
        with pytest.raises(IndexError):
            await capability.rewind(history, 9)


class TestForgetting:
    @pytest.mark.parametrize(
        "conversation", ["plain", "größer, and much longer than a header's text may be: " + "x" * 200]
    )
    async def test_a_conversation_leaves_nothing_behind(self, capability, agent, trove, files, conversation):
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


class TestApprovals:
    async def test_what_ran_before_the_approval_stays(self, agent, trove, files):
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

    async def test_the_beginning_is_before_what_ran_before_the_approval(self, agent, capability, files):
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


class TestTelling:
    async def test_what_the_model_is_told(self, agent, trove, namespace):
        trove.client(namespace).write(".trove/agent.md", "the last session's note")
        result = await agent().run("go", conversation_id=namespace)
        told = result.all_messages()[0].instructions
        assert "write to workspace/.trove/agent.md" in told and "the last session's note" in told

    @pytest.mark.skipif(not hasattr(workspaces, "AuthorityWorkspace"), reason="comes with Pydantic AI 2.68")
    async def test_less_authority_less_told(self, agent, trove, namespace):
        trove.client(namespace).write("secret-name", "")
        backend = TroveWorkspaceBackend(trove, namespace=namespace)
        workspace = workspaces.AuthorityWorkspace(Workspace(backend), authority="none")
        result = await agent().run("go", workspace=workspace)
        assert "secret-name" not in result.all_messages()[0].instructions

    async def test_nothing_is_told_on_demand(self, agent, trove, namespace):
        quiet = TroveWorkspace(trove, orientation=False, tools=())
        result = await agent(capability=quiet).run("go")
        assert "<workspace>" not in result.all_messages()[0].instructions

    async def test_the_program_leaves_the_note(self, agent, trove, scripted, files):
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

    async def test_a_run_that_may_only_read(self, agent, trove, namespace, capability):
        backend = TroveWorkspaceBackend(trove, namespace=namespace)
        await agent().run("go", workspace=ReadOnlyWorkspace(Workspace(backend)))


class TestSpec:
    async def test_from_a_specification(self, scripted, tmp_path, monkeypatch):
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

    def test_the_last_one_counts(self, trove, scripted):
        first, second = TroveWorkspace(trove, tools=()), TroveWorkspace(trove, namespace="n")
        assert TroveWorkspace.combine([first, second]) is second
        assert (first.id, TroveWorkspace.get_serialization_name()) == ("trove_workspace", "TroveWorkspace")


def returns(result):
    return [
        part
        for message in result.all_messages()
        for part in message.parts
        if isinstance(part, ToolReturnPart)
    ]
