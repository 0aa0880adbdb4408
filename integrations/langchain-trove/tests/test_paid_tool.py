"""What a paid tool has of its own, beside what it shares with the middleware: see the fixture ``running``."""

from typing import Annotated

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langchain_core.tools import BaseTool, StructuredTool, ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph, add_messages
from langgraph.prebuilt import ToolNode, ToolRuntime
from langgraph.types import Command, RetryPolicy, interrupt
from pydantic import BaseModel, ConfigDict

from langchain_trove import NotDurable, TroveToolkit, WalletMiddleware, paid
from trove_agents import BudgetExceededError
from trove_agents.guard import ApprovalNeeded, AsyncGuard, Guard, ask_above

from .vendors import GO, SEARCH, THREAD, answers, tool_of

OTTERS = {"query": "otters"}
CALL = {"name": "search", "args": OTTERS, "id": "1", "type": "tool_call"}


def key(arguments):
    return f"search-{arguments['query']}"


@pytest.fixture
def search(guard, vendor):
    return paid(tool_of(vendor), "0.3", guard=guard)


@pytest.fixture
def keyed(guard, vendor):
    return paid(tool_of(vendor), "0.3", guard=guard, key=key)


def test_to_a_model_it_is_the_tool_and_its_price(search, vendor):
    assert search.description == "Searches. Costs $0.30 a call."
    assert search.args == tool_of(vendor).args
    assert search.tool_call_schema.model_json_schema()["required"] == ["query"]


def test_it_need_not_say_its_price(guard, vendor):
    assert paid(tool_of(vendor), "0.3", guard=guard, show=False).description == "Searches."


def test_it_needs_a_guard(vendor):
    with pytest.raises(TypeError, match="needed"):
        paid(tool_of(vendor), "0.3")


def test_a_function_is_no_tool_yet(guard, vendor):
    with pytest.raises(TypeError, match="@tool makes one"):
        paid(vendor, "0.3", guard=guard)


def test_a_program_that_gives_keys_gets_the_content_and_pays_once_for_each(keyed, numbers, vendor):
    for _ in range(2):
        assert keyed.invoke(OTTERS) == "a page about otters"
    assert (numbers(), vendor.calls) == (("0.3", "0", "0"), ["otters"])
    assert keyed.invoke({"query": "seals"}) == "a page about seals"
    assert numbers() == ("0.6", "0", "0")


async def test_so_does_one_of_coroutines(keyed, numbers, vendor):
    for _ in range(2):
        assert await keyed.ainvoke(OTTERS) == "a page about otters"
    assert (numbers(), vendor.calls) == (("0.3", "0", "0"), ["otters"])


def test_a_tool_call_in_a_thread_is_known_without_a_key(search, numbers, vendor):
    for _ in range(2):
        told = search.invoke(CALL, THREAD)
        assert (told.content, told.artifact["receipt"]["charged_usd"]) == ("a page about otters", "0.3")
    assert (numbers(), vendor.calls) == (("0.3", "0", "0"), ["otters"])
    search.invoke(CALL, {"configurable": {"thread_id": "another"}})
    assert numbers() == ("0.6", "0", "0")


@pytest.mark.parametrize(("call", "config"), [(OTTERS, THREAD), (CALL, None)])
def test_what_is_not_known_is_not_paid(search, numbers, vendor, call, config):
    with pytest.raises(LookupError, match="no key"):
        search.invoke(call, config)
    assert (numbers(), vendor.calls) == (("0", "0", "0"), [])


def test_arguments_have_names(keyed):
    with pytest.raises(TypeError, match="names"):
        keyed.invoke("otters")


def test_a_refusal_is_raised_to_a_program_and_told_to_a_model(guard, vendor, numbers):
    dear = paid(tool_of(vendor), "3", guard=guard, key=key)
    with pytest.raises(BudgetExceededError):
        dear.invoke(OTTERS)
    told = dear.invoke(CALL)
    assert (told.status, told.tool_call_id) == ("error", "1")
    assert "needs $3.00, and $1.00 remain" in told.content
    assert (numbers(), vendor.calls) == (("0", "0", "0"), [])


def test_outside_of_graphs_nobody_can_be_asked(wallet, journal, vendor):
    guard = Guard(wallet, journal=journal, policy=ask_above("0.1"))
    asking = paid(tool_of(vendor), "0.3", guard=guard, key=key)
    with pytest.raises(ApprovalNeeded) as needed:
        asking.invoke(OTTERS)
    wallet.client.approve(needed.value.approval.id)
    assert asking.invoke(OTTERS) == "a page about otters"


def test_an_error_that_the_tool_handles_is_no_success_either(guard, vendor, numbers):
    failing = tool_of(vendor)
    failing.handle_tool_error = True
    vendor.then = [ToolException("the page is gone")]
    assert paid(failing, "0.3", guard=guard, key=key).invoke(OTTERS) == "the page is gone"
    assert numbers() == ("0", "0", "0.3")


def test_it_has_the_key_that_the_middleware_gives_it(guard, vendor, scripted, numbers):
    """Who moves from one to the other in the middle of a thread pays nothing twice."""
    saver, search = InMemorySaver(), tool_of(vendor)
    wallets = WalletMiddleware(guard, prices={"search": "0.3"})
    before = create_agent(scripted(SEARCH, "done"), [search], middleware=[wallets], checkpointer=saver)
    after = create_agent(scripted(SEARCH, "done"), [paid(search, "0.3", guard=guard)], checkpointer=saver)
    before.invoke(GO, THREAD)
    at_tools = next(state for state in after.get_state_history(THREAD) if state.next == ("tools",))
    assert answers(after.invoke(None, at_tools.config))[0].content == "a page about otters"
    assert (numbers(), vendor.calls) == (("0.3", "0", "0"), ["otters"])


def test_a_tool_that_pays_for_itself_is_not_paid_for_again(guard, search, scripted, numbers):
    wallets = WalletMiddleware(guard, prices={"search": "0.5"})
    agent = create_agent(scripted(SEARCH, "done"), [search], middleware=[wallets])
    assert answers(agent.invoke(GO))[0].content == "a page about otters"
    assert numbers() == ("0.3", "0", "0")


def graph_of(model, tools, saver=None):
    """A model and a ``ToolNode``, by hand: all calls of a message are made in one task."""
    flow = StateGraph(MessagesState)
    flow.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    flow.add_node("tools", ToolNode(tools))
    flow.add_edge(START, "model").add_edge("model", "tools")
    return flow.compile(checkpointer=saver or InMemorySaver())


def test_in_a_tool_node_each_call_of_a_message_is_paid(search, scripted, numbers):
    app = graph_of(scripted([("search", {"query": str(number)}) for number in range(4)]), [search])
    told = answers(app.invoke(GO, THREAD))
    assert [message.status for message in told].count("error") == 1
    assert numbers() == ("0.9", "0", "0")


def test_when_one_of_its_calls_fails_the_others_are_not_paid_again(search, scripted, numbers, vendor):
    app = graph_of(scripted([("search", {"query": "otters"}), ("search", {"query": "seals"})]), [search])
    vendor.then = [None, TimeoutError()]
    with pytest.raises(TimeoutError):
        app.invoke(GO, THREAD)
    told = answers(app.invoke(None, THREAD))
    assert sorted(message.status for message in told) == ["error", "success"]
    assert (numbers(), len(vendor.calls)) == (("0.3", "0", "0.3"), 2)


@pytest.fixture
def asking(wallet, journal, vendor):
    return paid(tool_of(vendor), "0.3", guard=Guard(wallet, journal=journal, policy=ask_above("0.1")))


def test_a_person_is_asked_in_a_tool_node(asking, scripted, numbers):
    app = graph_of(scripted(SEARCH), [asking])
    assert app.invoke(GO, THREAD)["__interrupt__"][0].value["max_amount_usd"] == "0.3"
    assert answers(app.invoke(Command(resume=True), THREAD))[0].content == "a page about otters"
    assert numbers() == ("0.3", "0", "0")


def test_but_not_for_one_of_several_calls_whose_answers_could_be_confused(asking, scripted, numbers, vendor):
    app = graph_of(scripted([("search", {"query": "otters"}), ("search", {"query": "seals"})]), [asking])
    told = answers(app.invoke(GO, THREAD))
    assert ["approval" in message.content for message in told] == [True, True]
    assert (numbers(), vendor.calls) == (("0", "0", "0"), [])


def test_an_agent_makes_each_call_in_a_task_and_asks_for_each(asking, scripted, numbers):
    calls = [("search", {"query": "otters"}), ("search", {"query": "seals"})]
    agent = create_agent(scripted(calls, "done"), [asking], checkpointer=InMemorySaver())
    asked = agent.invoke(GO, THREAD)["__interrupt__"]
    said = {question.id: question.value["arguments"] == {"query": "seals"} for question in asked}
    told = answers(agent.invoke(Command(resume=said), THREAD))
    assert [message.status for message in told] == ["error", "success"]
    assert numbers() == ("0.3", "0", "0")


def node_of(search, durability, thread="t", call=OTTERS):
    """A node that calls the tool itself."""
    config = {"configurable": {"thread_id": thread}}
    flow = StateGraph(MessagesState)
    flow.add_node("node", lambda state: {"messages": [AIMessage(search.invoke(call))]})
    app = flow.add_edge(START, "node").compile(checkpointer=InMemorySaver())
    return lambda given: app.invoke(given, config, durability=durability)


@pytest.mark.parametrize("thread", ["t", 0, ""])
def test_a_node_that_calls_it_waits_for_its_checkpoint_too(keyed, numbers, thread):
    run = node_of(keyed, "exit", thread)
    with pytest.raises(NotDurable):
        run(GO)
    assert numbers() == ("0", "0", "0")


def test_a_node_that_calls_it_can_ask(wallet, journal, vendor, numbers):
    guard = Guard(wallet, journal=journal, policy=ask_above("0.1"))
    run = node_of(paid(tool_of(vendor), "0.3", guard=guard, key=key), "sync")
    assert "__interrupt__" in run(GO)
    assert run(Command(resume=True))["messages"][-1].content == "a page about otters"
    assert numbers() == ("0.3", "0", "0")


@pytest.mark.parametrize("saver", [InMemorySaver, lambda: None])
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_node_that_calls_it_with_ids_that_count_from_0_pays_in_each_turn(
    search, vendor, numbers, saver, asynchronous
):
    def node(state):
        return {"messages": [search.invoke(CALL)]}

    async def anode(state):
        return {"messages": [await search.ainvoke(CALL)]}

    flow = StateGraph(MessagesState).add_node("node", anode if asynchronous else node)
    app = flow.add_edge(START, "node").compile(checkpointer=saver())
    run = lambda given, config: app.ainvoke(given, config) if asynchronous else app.invoke(given, config)
    for _ in range(2):
        found = run(GO, THREAD)
        found = await found if asynchronous else found
        assert answers(found)[-1].content == "a page about otters"
    assert (numbers(), vendor.calls) == (("0.6", "0", "0"), ["otters"] * 2)
    if app.checkpointer is not None:
        for before in [state for state in app.get_state_history(THREAD) if state.next == ("node",)]:
            await app.ainvoke(None, before.config) if asynchronous else app.invoke(None, before.config)
        assert numbers() == ("0.6", "0", "0")


def test_without_the_configuration_of_the_node_there_is_its_thread(search, vendor, numbers):
    def node(state):
        return {"messages": [search.run(OTTERS, tool_call_id="1")]}

    flow = StateGraph(MessagesState).add_node("node", node).add_edge(START, "node")
    app = flow.compile(checkpointer=InMemorySaver())
    assert answers(app.invoke(GO, THREAD))[0].content == "a page about otters"
    assert numbers() == ("0.3", "0", "0")


@pytest.mark.parametrize("fails", [False, True])
def test_what_the_node_asks_itself_has_an_answer_of_its_own(wallet, journal, vendor, numbers, fails):
    """Also where the node is tried again."""
    guard, got = Guard(wallet, journal=journal, policy=ask_above("0.1")), []
    search = paid(tool_of(vendor), "0.3", guard=guard, key=key)
    failures = [ConnectionError()] if fails else []

    def node(state):
        said = [search.invoke(OTTERS), search.invoke(OTTERS)]
        if failures:
            raise failures.pop()
        got.append((said, interrupt("which?")))

    flow = StateGraph(MessagesState)
    flow.add_node("node", node, retry_policy=RetryPolicy(initial_interval=0, jitter=False))
    app = flow.add_edge(START, "node").compile(checkpointer=InMemorySaver())
    (asked,) = app.invoke(GO, THREAD)["__interrupt__"]
    assert asked.value["type"] == "payment"
    (asked,) = app.invoke(Command(resume=True), THREAD)["__interrupt__"]
    assert asked.value == "which?"
    app.invoke(Command(resume="the first"), THREAD)
    assert got == [(["a page about otters"] * 2, "the first")]
    before = next(state for state in app.get_state_history(THREAD) if state.next == ("node",))
    (asked,) = app.invoke(None, before.config)["__interrupt__"]
    assert asked.value == "which?"
    assert (numbers(), vendor.calls) == (("0.3", "0", "0"), ["otters"])


class Exact(BaseModel):
    model_config = ConfigDict(extra="forbid")
    query: str


def by_schema(vendor):
    @tool(args_schema=Exact)
    def search(query):
        """Searches."""
        return vendor(query)

    return search


def by_another_name(vendor):
    @tool
    def search(query: str, surroundings: ToolRuntime) -> str:
        """Searches."""
        return vendor(f"{query} in {surroundings.config['configurable']['thread_id']}")

    return search


def by_json_schema(vendor):
    def search(runtime: ToolRuntime | None = None, **arguments):
        assert runtime.tool_call_id == "0.0"
        return vendor(arguments["query"])

    schema = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
    return StructuredTool(name="search", description="Searches.", func=search, args_schema=schema)


def without_a_function(vendor):
    class Searching(BaseTool):
        name: str = "search"
        description: str = "Searches."

        def _run(self, query: str, runtime: ToolRuntime) -> str:
            assert runtime.tool_call_id == "0.0"
            return vendor(query)

    return Searching()


@pytest.mark.parametrize("made", [by_schema, by_another_name, by_json_schema, without_a_function])
def test_a_tool_gets_what_it_needs_of_the_graph_and_nothing_else(guard, vendor, scripted, numbers, made):
    agent = create_agent(
        scripted(SEARCH, "done"), [paid(made(vendor), "0.3", guard=guard)], checkpointer=InMemorySaver()
    )
    (told,) = answers(agent.invoke(GO, THREAD))
    assert told.content.startswith("a page about otters")
    assert numbers() == ("0.3", "0", "0")


class Modelled(BaseModel):
    messages: Annotated[list[AnyMessage], add_messages]


@pytest.mark.parametrize("schema", [MessagesState, Modelled, Annotated[list[AnyMessage], add_messages]])
def test_the_message_that_decided_a_call_is_found_in_any_state(search, numbers, schema):
    """Some providers count the calls of each message from 0."""
    flow = StateGraph(schema).add_node("tools", ToolNode([search])).add_edge(START, "tools")
    app = flow.compile(checkpointer=InMemorySaver())
    for decided in ("m1", "m1", "m2"):
        said = [AIMessage("", id=decided, tool_calls=[CALL])]
        app.invoke(said if schema not in (MessagesState, Modelled) else {"messages": said}, THREAD)
    assert numbers() == ("0.6", "0", "0")


def test_a_tool_that_brings_its_own_synchronous_half_is_paid_for(guard, vendor, scripted, numbers):
    class Searching(StructuredTool):
        def _run(self, query, **_):
            return vendor(query)

    search = Searching(name="search", description="Searches.", args_schema=tool_of(vendor).args_schema)
    agent = create_agent(scripted(SEARCH, "done"), [paid(search, "0.3", guard=guard)])
    assert answers(agent.invoke(GO))[0].content == "a page about otters"
    assert numbers() == ("0.3", "0", "0")


def test_a_call_may_be_free(guard, vendor, numbers):
    """It has no receipt then."""
    terms = {"guard": guard, "key": key}
    by_length = paid(tool_of(vendor), lambda arguments: len(arguments["query"]) // 7, **terms)
    assert by_length.invoke(CALL).artifact is None
    assert numbers() == ("0", "0", "0")


async def test_a_guard_for_coroutines_alone_is_for_coroutines(trove, wallet, journal, vendor, numbers):
    handle = await trove.async_wallets().wallet(wallet.agent_id, budget_usd=1)
    search = paid(tool_of(vendor), "0.3", async_guard=AsyncGuard(handle, journal=journal), key=key)
    with pytest.raises(TypeError, match="ainvoke"):
        search.invoke(OTTERS)
    assert await search.ainvoke(OTTERS) == "a page about otters"
    assert numbers() == ("0.3", "0", "0")


def test_what_goes_to_the_graph_around_has_its_effect_again(search, guard, numbers):
    @tool
    def transfer(query: str) -> Command:
        """Hands over."""
        return Command(graph=Command.PARENT, update={"messages": [AIMessage(query)]}, goto="next")

    handing = paid(transfer, "0.3", guard=guard)
    call = {**CALL, "name": "transfer"}
    first, again = handing.invoke(call, THREAD), handing.invoke(call, THREAD)
    assert first == again
    assert (again.goto, again.update["messages"][0].text) == ("next", "otters")
    assert numbers() == ("0.3", "0", "0")


def test_a_tool_that_asks_something_of_its_own_in_a_tool_node(guard, scripted, numbers):
    @tool
    def search(query: str) -> str:
        """Searches."""
        return f"{query} {interrupt('which?')}"

    app = graph_of(scripted(SEARCH), [paid(search, "0.3", guard=guard)])
    assert app.invoke(GO, THREAD)["__interrupt__"][0].value == "which?"
    assert numbers() == ("0", "0.3", "0")
    assert answers(app.invoke(Command(resume="sea"), THREAD))[0].content == "otters sea"
    assert numbers() == ("0.3", "0", "0")


def test_what_it_prints_arrives_as_it_does(guard, workspace, scripted, numbers):
    [bash] = TroveToolkit(workspace).get_tools()
    agent = create_agent(
        scripted([("bash", {"command": "echo one"})], "done"), [paid(bash, "0.3", guard=guard)]
    )
    parts = list(agent.stream(GO, stream_mode="tools"))
    assert [part["delta"]["text"] for part in parts if part["event"] == "tool-output-delta"] == ["one\n"]
    assert (parts[-1]["event"], numbers()) == ("tool-finished", ("0.3", "0", "0"))


def test_it_is_still_paid_for_as_a_copy(search, numbers):
    copied = search.model_copy(update={"description": "Finds."})
    assert isinstance(copied.invoke(CALL, THREAD), ToolMessage)
    assert numbers() == ("0.3", "0", "0")
