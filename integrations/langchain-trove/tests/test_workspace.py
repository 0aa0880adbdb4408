import asyncio
import copy
import threading

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware, ToolRetryMiddleware
from langchain.tools import tool
from langchain_core.messages import SystemMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, Overwrite

from langchain_trove import TroveToolkit, WalletMiddleware, WorkspaceMiddleware, paid
from langgraph_trove import NotBindable, NotBound, bind, files_at, history, workspace_node
from trove_agents import WorkspaceLeased
from trove_agents.guard import Approve, Guard

NOTE = "workspace/.trove/agent.md"
CONFIG = {"configurable": {"thread_id": "t-1"}}
GO = {"messages": [("user", "go")]}


def bash(command):
    return "bash", {"command": command}


def agent(
    model,
    client,
    *,
    tools=(),
    middleware=(),
    before=(),
    async_client=None,
    bound=True,
    own=("bash",),
    **options,
):
    made = create_agent(
        model,
        list(tools),
        middleware=[*before, WorkspaceMiddleware(tools=own, **options), *middleware],
        checkpointer=InMemorySaver(),
    )
    return bind(made, client, async_client=async_client) if bound else made


def contents(result):
    return [message.content for message in result["messages"] if message.type == "tool"]


# References


def test_every_tool_call_leaves_a_reference_in_the_state(scripted, workspace):
    model = scripted([bash("echo 1 > a")], [bash("echo 2 > a; echo 2 > b")], [bash("cat a")], "done")
    app = agent(model, workspace, handoff=False)
    result = app.invoke(GO, CONFIG)
    assert result["workspace"]["namespace"] == workspace.namespace
    states = [state for state in app.get_state_history(CONFIG) if "workspace" in state.values]
    seen = []
    for state in reversed(states):
        files = files_at(app, state.config)
        listed = [each.path for each in files.list_dir()]
        text = files.read_text("a") if listed else ""
        if not seen or seen[-1] != (listed, text):
            seen.append((listed, text))
    assert seen == [
        ([], ""),
        (["workspace/a"], "1\n"),
        (["workspace/a", "workspace/b"], "2\n"),
    ]


def test_going_back_to_a_call_takes_its_files_along(scripted, workspace):
    model = scripted([bash("echo one >> log")], [bash("echo two >> log")], "done")
    app = agent(model, workspace, handoff=False)
    app.invoke(GO, CONFIG)
    assert workspace.read("log") == "one\ntwo\n"
    [before] = [
        state
        for state in app.get_state_history(CONFIG)
        if state.next == ("tools",) and len(state.values["messages"]) == 4
    ]
    app.invoke(None, before.config)
    assert workspace.read("log") == "one\ntwo\n"


def test_a_call_that_fails_leaves_no_trace(scripted, workspace):
    @tool
    def breaks(text: str) -> str:
        """Breaks."""
        raise RuntimeError("broken")

    app = agent(
        scripted([bash("echo 1 > a")], [("breaks", {"text": "x"})], "done"), workspace, tools=[breaks]
    )
    with pytest.raises(RuntimeError, match="broken"):
        app.invoke(GO, CONFIG)
    assert [each.path for each in workspace.list_dir()] == ["workspace/a"]


def test_a_tool_of_ones_own_works_in_the_workspace(scripted, workspace):
    attempts = []

    @workspace_node
    def put(text, workspace=None):
        workspace.write("own.txt", text)
        attempts.append(text)
        if len(attempts) == 1:
            raise RuntimeError("once")
        return "put"

    @tool
    def own(text: str) -> str:
        """Puts a text."""
        return put(text)

    app = agent(
        scripted([("own", {"text": "mine"})], "done"),
        workspace,
        tools=[own],
        before=[ToolRetryMiddleware(max_retries=1, initial_delay=0, jitter=False)],
    )
    assert contents(app.invoke(GO, CONFIG)) == ["put"]
    assert (attempts, workspace.read("own.txt")) == (["mine", "mine"], "mine")


def test_tools_of_a_toolkit_work_under_the_lease_of_the_call(scripted, trove, workspace):
    elsewhere = trove.client("elsewhere")
    toolkit = TroveToolkit(elsewhere, tools=["write"])
    app = agent(
        scripted([("write", {"path": "a.txt", "content": "x"})], "done"), workspace, tools=toolkit.get_tools()
    )
    app.invoke(GO, CONFIG)
    assert workspace.read("a.txt") == "x"
    assert elsewhere.list_dir() == []
    step = next(workspace.history("a.txt")).step
    assert (step.thread, step.step) == ("t-1", "tools")


def test_others_are_kept_out_while_a_call_works(scripted, workspace):
    refused = []

    @tool
    def slow(text: str) -> str:
        """Takes its time."""
        try:
            workspace.write("other.txt", text)
        except WorkspaceLeased as error:
            refused.append(error)
        return "done"

    app = agent(scripted([("slow", {"text": "x"})], "done"), workspace, tools=[slow])
    app.invoke(GO, CONFIG)
    assert len(refused) == 1
    workspace.write("other.txt", "now")


def test_calls_in_parallel_take_turns_and_are_all_kept(scripted, workspace):
    calls = [bash(f"cat log 2>/dev/null > old; sleep 0.05; (cat old; echo {n}) > log") for n in range(4)]
    app = agent(scripted(calls, "done"), workspace, handoff=False)
    app.invoke(GO, CONFIG)
    assert sorted(workspace.read("log").split()) == ["0", "1", "2", "3"]


def test_e13_parallel_calls_one_of_which_fails(scripted, workspace):
    made, fails = [], ["B"]

    @workspace_node
    def put(letter, workspace=None):
        there = workspace.read_text("log") if workspace.list_dir() else ""
        workspace.write("log", there + letter)

    @tool
    def add(letter: str) -> str:
        """Adds a letter."""
        put(letter)
        made.append(letter)
        if letter in fails:
            fails.remove(letter)
            raise RuntimeError(letter)
        return letter

    calls = [[("add", {"letter": letter}) for letter in turn] for turn in ("AB", "C")]
    app = agent(scripted(*calls, "done"), workspace, tools=[add], handoff=False)
    with pytest.raises(RuntimeError):
        app.invoke(GO, CONFIG)
    app.invoke(None, CONFIG)
    assert (made.count("B"), made.count("C")) == (2, 1)
    assert sorted(workspace.read_text("log")) == ["A", "B", "C"]
    asked = next(state.config for state in app.get_state_history(CONFIG) if state.next == ("tools",))
    app.invoke(None, asked)
    assert made.count("C") == 2
    assert sorted(workspace.read_text("log")) == ["A", "B", "C"]


def test_tools_that_do_not_work_in_the_workspace_run_beside(scripted, workspace):
    meeting = threading.Barrier(2, timeout=30)

    @tool
    def meet(text: str) -> str:
        """Meets the other."""
        meeting.wait()
        return "met"

    app = agent(
        scripted([("meet", {"text": "a"}), ("meet", {"text": "b"}), bash("echo 1 > a")], "done"),
        workspace,
        tools=[meet],
        only=(),
    )
    assert sorted(contents(app.invoke(GO, CONFIG))) == ["(no output)", "met", "met"]
    assert workspace.read("a") == "1\n"


def test_an_interrupted_call_runs_again_from_its_start(scripted, workspace):
    ask = HumanInTheLoopMiddleware(interrupt_on={"bash": True})
    app = agent(scripted([bash("echo x >> log")], "done"), workspace, middleware=[ask], handoff=False)
    app.invoke(GO, CONFIG)
    assert workspace.list_dir() == []
    app.invoke(Command(resume={"decisions": [{"type": "approve"}]}), CONFIG)
    assert workspace.read("log") == "x\n"


async def test_the_same_when_async(scripted, workspace, async_workspace):
    model = scripted([bash("echo 1 > a"), bash("echo 2 > b")], [bash("cat a b")], "done")
    app = agent(model, workspace, async_client=async_workspace)
    result = await app.ainvoke(GO, CONFIG)
    assert contents(result)[-1] == "1\n2"
    assert result["workspace"]["reference"].startswith("ref-")
    assert "Answered: done" in workspace.read(NOTE)


async def test_what_is_left_out_when_async(scripted, workspace, async_workspace):
    @tool
    async def free(text: str) -> str:
        """Does not work in the workspace."""
        assert await async_workspace.lease_holder() is None
        return text

    workspace.upload(NOTE, b"\0\xff")
    app = agent(
        scripted([("free", {"text": "x"})], "done"),
        workspace,
        async_client=async_workspace,
        tools=[free],
        only=(),
    )
    assert contents(await app.ainvoke(GO, CONFIG)) == ["x"]
    assert workspace.read(NOTE) == b"\0\xff"


async def test_a_call_that_is_cancelled_leaves_no_trace(scripted, workspace, async_workspace):
    app = agent(scripted([bash("echo 1 > a; sleep 600")], "done"), workspace, async_client=async_workspace)
    running = asyncio.create_task(app.ainvoke(GO, CONFIG))
    while await async_workspace.lease_holder() is None:
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await async_workspace.list_dir() == []
    assert await async_workspace.exec("echo free") == "free\n"


# Not bound


@pytest.mark.parametrize("bootstrap", [True, False])
def test_an_agent_that_is_not_bound_says_so_before_anything_runs(scripted, workspace, bootstrap):
    model = scripted([bash("echo 1 > a")], "done")
    app = agent(model, workspace, bound=False, bootstrap=bootstrap, handoff=False)
    with pytest.raises(NotBound, match=r"bind\(graph, client\)"):
        app.invoke(GO, CONFIG)
    assert model.seen == []


async def test_the_same_again_when_async(scripted, workspace):
    with pytest.raises(NotBound):
        await agent(scripted("done"), workspace, bound=False).ainvoke(GO, CONFIG)


def test_without_the_middleware_there_is_nothing_to_bind(scripted, workspace):
    made = create_agent(scripted("done"), [], checkpointer=InMemorySaver())
    with pytest.raises(NotBindable):
        bind(made, workspace)


# What the model is told


def systems(model):
    return [messages[0].text for messages in model.seen if isinstance(messages[0], SystemMessage)]


def test_the_model_is_told_what_is_there(scripted, workspace):
    workspace.write("data.csv", "1\n")
    workspace.write(NOTE, "Mind the gap.\n")
    model = scripted([bash("echo 2 > new.csv")], "done", "done again")
    app = bind(
        create_agent(
            model,
            system_prompt="Be brief.",
            middleware=[WorkspaceMiddleware(tools=["bash"])],
            checkpointer=InMemorySaver(),
        ),
        workspace,
    )
    app.invoke(GO, CONFIG)
    first, second = systems(model)
    assert first == second  # prompts can be cached
    assert first.startswith("Be brief.\n\n<workspace>")
    assert "workspace/data.csv" in first
    assert "Mind the gap." in first
    assert first.endswith(f"write it to {NOTE}.")
    app.invoke({"messages": [("user", "more")]}, CONFIG)
    assert "workspace/new.csv" in systems(model)[-1]


def test_blocks_of_a_system_prompt_stay(scripted, workspace):
    model = scripted("done")
    prompt = SystemMessage([{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}])
    app = create_agent(
        model, system_prompt=prompt, middleware=[WorkspaceMiddleware()], checkpointer=InMemorySaver()
    )
    bind(app, workspace).invoke(GO, CONFIG)
    kept, added = model.seen[0][0].content
    assert kept == prompt.content[0]
    assert added["text"].startswith("<workspace>")


def test_the_model_need_not_be_told(scripted, workspace):
    model = scripted("done")
    agent(model, workspace, bootstrap=False).invoke(GO, CONFIG)
    assert systems(model) == []


def test_a_note_that_is_no_text_is_passed_over(scripted, workspace):
    workspace.upload(NOTE, b"\0\xff")
    model = scripted("done")
    agent(model, workspace).invoke(GO, CONFIG)
    assert systems(model) == []
    assert workspace.read(NOTE) == b"\0\xff"


# The note


def test_the_next_session_is_left_a_note(scripted, workspace):
    agent(scripted([bash("echo 1 > a")], "It is done."), workspace).invoke(GO, CONFIG)
    assert workspace.read(NOTE) == "Asked: go\n\nAnswered: It is done.\n"


def test_long_notes_are_cut(scripted, workspace):
    agent(scripted("x" * 9_000), workspace).invoke({"messages": [("user", "y" * 9_000)]}, CONFIG)
    note = workspace.read(NOTE)
    assert note.startswith("Asked: " + "y" * 1_000 + "...\n")
    assert len(note) < 5_100


def test_a_note_of_the_models_own_stays(scripted, workspace):
    workspace.write(NOTE, "old\n")
    agent(scripted([bash(f"echo mine > {NOTE}")], "done"), workspace).invoke(GO, CONFIG)
    assert workspace.read(NOTE) == "mine\n"


def test_an_old_note_is_replaced(scripted, workspace):
    workspace.write(NOTE, "old\n")
    agent(scripted("done"), workspace).invoke(GO, CONFIG)
    assert workspace.read(NOTE) == "Asked: go\n\nAnswered: done\n"


def test_notes_as_one_likes(scripted, workspace):
    agent(scripted("done"), workspace, handoff=lambda messages: None).invoke(GO, CONFIG)
    assert workspace.list_dir() == []
    app = agent(scripted("done"), workspace, handoff=lambda messages: f"{len(messages)} messages")
    app.invoke(GO, {"configurable": {"thread_id": "t-1"}})
    assert workspace.read(NOTE) == "2 messages"


def test_unknown_tools_are_refused():
    with pytest.raises(ValueError, match="no tool 'rm'"):
        WorkspaceMiddleware(tools=["rm"])


# Paid


def test_a_paid_call_has_a_receipt_and_a_reference(scripted, trove, workspace, namespace, tmp_path):
    wallet = trove.wallet(namespace, budget_usd="0.25")
    with Guard(wallet, journal=tmp_path / "payments.db") as guard:
        wallets = WalletMiddleware(guard, prices={"bash": "0.10"})
        calls = [[bash(f"echo {n} > {n}")] for n in range(3)]
        app = agent(scripted(*calls, "done"), workspace, before=[wallets], handoff=False)
        result = app.invoke(GO, CONFIG)
        first, second, refused = [each for each in result["messages"] if each.type == "tool"]
        for message in (first, second):
            assert message.artifact["receipt"]["charged_usd"] == "0.1"
            assert len(message.artifact["files_changed"]) == 1
        assert (refused.status, refused.artifact) == ("error", None)
        there = [each.name for each in workspace.list_dir(at=result["workspace"]["reference"])]
        assert there == ["0", "1"]
        assert str(wallet.balance().remaining_budget) == "0.05"


def test_what_a_call_cost_is_in_the_history_of_its_files(scripted, workspace, trove, tmp_path):
    wallet = trove.wallet("history", budget_usd=1)
    with Guard(wallet, journal=tmp_path / "payments.db") as guard:
        wallets = WalletMiddleware(guard, prices={"bash": "0.10"})
        model = scripted([bash("echo 1 > a"), bash("echo 2 > b")], [bash("echo 3 > a")], "done")
        app = agent(model, workspace, before=[wallets], handoff=False)
        app.invoke(GO, CONFIG)
        spent = [(len(each.files), str(each.spent_usd)) for each in history(app, CONFIG, guard=guard)]
        assert [each for each in spent if each != (0, "0")] == [(1, "0.1"), (2, "0.2")]
        before = next(state for state in app.get_state_history(CONFIG) if "tools" in state.next)
        app.invoke(None, before.config, keep_both=True)
        branch = history(app, CONFIG, guard=guard, branch=True)
        assert [str(each.spent_usd) for each in branch if each.spent_usd] == ["0.2"], (
            "the call is not paid again"
        )
        assert (
            sum(each.spent_usd for each in history(app, CONFIG, guard=guard)) == wallet.balance().total_spent
        )


@pytest.fixture
def paying(trove, namespace, tmp_path):
    """A guard, and what its wallet has spent."""
    wallet = trove.wallet(namespace, budget_usd=1)
    with Guard(wallet, journal=tmp_path / "payments.db") as guard:
        yield guard, lambda: str(wallet.balance().total_spent)


@pytest.fixture(params=["the middleware", "a paid tool"])
def paid_agent(request):
    """Makes an agent that pays for ``bash`` one way or the other."""

    def made(scripted, workspace, guard, *turns, **options):
        model = scripted(*turns, "done")
        if request.param == "the middleware":
            wallets = WalletMiddleware(guard, prices={"bash": "0.1"})
            return agent(model, workspace, before=[wallets], handoff=False, **options)
        [tool] = TroveToolkit(workspace, async_client=options.get("async_client")).get_tools()
        tools = {"tools": [paid(tool, "0.1", guard=guard)], "own": ()}
        return agent(model, workspace, handoff=False, **tools, **options)

    return made


def test_files_that_were_paid_for_are_there_again_after_a_crash(scripted, workspace, paying, paid_agent):
    """The process dies after the payment and before the result is stored."""
    guard, spent = paying
    app = paid_agent(scripted, workspace, guard, [bash("date +%N | tee a")])
    app.invoke(GO, CONFIG, interrupt_before=["tools"])
    saver = app.checkpointer
    stored = copy.deepcopy((saver.storage, saver.writes, saver.blobs))
    [told] = contents(app.invoke(None, CONFIG))
    saver.storage, saver.writes, saver.blobs = stored
    result = app.invoke(None, CONFIG)
    assert (contents(result), spent()) == ([told], "0.1")
    assert workspace.read_text("a") == f"{told}\n"
    assert workspace.diff(result["workspace"]["reference"]) == []


def test_and_in_time_travel_also_beside_what_is_another_now(scripted, workspace, paying, paid_agent):
    guard, spent = paying
    app = paid_agent(scripted, workspace, guard, [bash("date +%N | tee a")], [bash("cat a > b")])
    app.invoke(GO, CONFIG)
    first = workspace.read_text("a")
    before = [state for state in app.get_state_history(CONFIG) if state.next == ("tools",)]
    for state in before:
        app.invoke(None, state.config)
        assert workspace.read_text("a") == first == workspace.read_text("b")
    assert spent() == "0.3"  # the model decided for the second call anew, after the first


def test_where_others_changed_the_same_file_the_model_is_told(scripted, workspace, paying, paid_agent):
    guard, spent = paying
    app = paid_agent(scripted, workspace, guard, [bash("echo of the call > a")])
    app.invoke(GO, CONFIG, interrupt_before=["tools"])
    before = app.get_state(CONFIG)
    app.invoke(None, CONFIG)
    workspace.write("a", "of another")
    there = workspace.create_reference()
    moved = {**before.values["workspace"], "reference": there.reference_id, "version": there.version}
    edited = app.update_state(before.config, {"workspace": Overwrite(moved)})
    result = app.invoke(None, edited)
    assert "not kept" in contents(result)[0]
    assert (workspace.read_text("a"), spent()) == ("of another", "0.1")


async def test_the_same_again_for_asyncio(scripted, workspace, async_workspace, paying, paid_agent):
    guard, spent = paying
    app = paid_agent(scripted, workspace, guard, [bash("date +%N | tee a")], async_client=async_workspace)
    await app.ainvoke(GO, CONFIG)
    first = workspace.read_text("a")
    before = next(state for state in app.get_state_history(CONFIG) if state.next == ("tools",))
    await app.ainvoke(None, before.config)
    assert (workspace.read_text("a"), spent()) == (first, "0.1")


def test_who_waits_for_money_does_not_keep_the_workspace_from_others(
    scripted, workspace, trove, namespace, tmp_path
):
    written = []

    def policy(proposal):
        workspace.write("b", "of another")
        written.append(proposal.tool)
        return Approve()

    with Guard(
        trove.wallet(namespace, budget_usd=1), journal=tmp_path / "payments.db", policy=policy
    ) as guard:
        [tool] = TroveToolkit(workspace).get_tools()
        app = agent(
            scripted([bash("cat b | tee a")], "done"),
            workspace,
            own=(),
            tools=[paid(tool, "0.1", guard=guard)],
            handoff=False,
        )
        assert contents(app.invoke(GO, CONFIG)) == ["of another"]
    assert (written, workspace.read_text("a")) == (["bash"], "of another")


def test_attempts_at_a_paid_call_begin_where_it_began(scripted, workspace, paying):
    """Between money and files: one payment, and of the attempts that failed no files."""
    guard, spent = paying
    fails = [ConnectionResetError, ConnectionResetError]

    @tool
    def draw() -> str:
        """Draws."""
        [shell] = TroveToolkit(workspace).get_tools()
        shell.invoke({"command": "echo x >> picture"})
        if fails:
            raise fails.pop()
        return "drawn"

    app = bind(
        create_agent(
            scripted([("draw", {})], "done"),
            [draw],
            middleware=[
                WalletMiddleware(guard, prices={"draw": "0.1"}),
                ToolRetryMiddleware(max_retries=3, initial_delay=0, jitter=False),
                WorkspaceMiddleware(handoff=False),
            ],
            checkpointer=InMemorySaver(),
        ),
        workspace,
    )
    assert contents(app.invoke(GO, CONFIG)) == ["drawn"]
    assert (workspace.read_text("picture"), spent()) == ("x\n", "0.1")


async def test_a_run_that_is_cancelled_amidst_a_paid_call(scripted, workspace, async_workspace, paying):
    guard, spent = paying
    begun = asyncio.Event()

    @tool
    async def draw() -> str:
        """Draws."""
        begun.set()
        await asyncio.sleep(3600)

    paid = WalletMiddleware(guard, prices={"draw": "0.1"})
    app = agent(
        scripted([("draw", {})], "done"),
        workspace,
        tools=[draw],
        before=[paid],
        async_client=async_workspace,
        handoff=False,
    )
    running = asyncio.create_task(app.ainvoke(GO, CONFIG))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (workspace.lease_holder(), [each.state for each in guard.doubts()], spent()) == (
        None,
        ["in_doubt"],
        "0",
    )
    told = contents(await app.ainvoke(None, CONFIG))
    assert "do not try it again" in told[0]
