"""Nodes that cost money: each step of a thread is paid for once."""

import asyncio
from typing import Any, TypedDict
from uuid import UUID

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import StateGraph
from langgraph.types import Command, RetryPolicy, Send, interrupt

from langgraph_trove import NotDurable, PaidNode
from trove_agents import BudgetExceededError
from trove_agents.guard import (
    AlreadyPaid,
    ApprovalNeeded,
    AsyncGuard,
    Guard,
    Metered,
    NotCharged,
    PaymentDenied,
    PaymentInDoubt,
    ask_above,
)

THREAD = {"configurable": {"thread_id": "t"}}


class State(TypedDict, total=False):
    query: str
    found: str
    rounds: int


class Vendor:
    def __init__(self):
        self.calls, self.then = [], []

    def __call__(self, state):
        self.calls.append(state.get("query"))
        if self.then:
            raise self.then.pop(0)
        return {"found": f"a page about {state.get('query')}"}


@pytest.fixture
def vendor():
    return Vendor()


def graph(node, saver, **options):
    return (
        StateGraph(State)
        .add_node("search", node, **options)
        .set_entry_point("search")
        .compile(checkpointer=saver)
    )


def by_query(state):
    return {"query": state["query"]}


@pytest.fixture(params=["threads", "asyncio, one guard", "asyncio"])
def running(request, trove, wallet, journal, vendor, saver):
    """``running(**options)``: what runs a graph of one paid node, synchronous or not."""
    opened = []

    def make(policy=None, options=None, **named):
        named = {"arguments": by_query, "tool": "search"} | named
        if request.param == "asyncio":
            runner = asyncio.Runner()
            opened.append(runner)
            handle = runner.run(trove.async_wallets().wallet(wallet.agent_id, budget_usd=1))

            async def search(state):
                return vendor(state)

            node = PaidNode(
                search, "0.3", async_guard=AsyncGuard(handle, journal=journal, policy=policy), **named
            )
            app = graph(node, saver, **(options or {}))
            return lambda given, config=THREAD, **more: runner.run(app.ainvoke(given, config, **more)), app
        node = PaidNode(vendor, "0.3", guard=Guard(wallet, journal=journal, policy=policy), **named)
        app = graph(node, saver, **(options or {}))
        if request.param == "threads":
            return lambda given, config=THREAD, **more: app.invoke(given, config, **more), app
        return lambda given, config=THREAD, **more: asyncio.run(app.ainvoke(given, config, **more)), app

    yield make
    for runner in opened:
        runner.close()


def test_it_is_paid_for_and_says_so(guard, saver, vendor, numbers):
    app = graph(PaidNode(vendor, "0.3", guard=guard, vendor="acme"), saver)
    (event,) = app.stream({"query": "otters"}, THREAD, stream_mode="custom")
    assert (event["type"], event["receipt"]["charged_usd"], event["receipt"]["vendor"]) == (
        "spent",
        "0.3",
        "acme",
    )
    assert app.get_state(THREAD).values["found"] == "a page about otters"
    assert numbers() == ("0.3", "0", "0")


def test_from_an_older_checkpoint_it_is_the_same_payment(running, numbers, vendor):
    run, app = running()
    run({"query": "otters"})
    before = next(state for state in app.get_state_history(THREAD) if state.next == ("search",))
    assert run(None, before.config)["found"] == "a page about otters"
    assert (numbers(), vendor.calls) == (("0.3", "0", "0"), ["otters"])
    changed = app.update_state(before.config, {"query": "seals"})
    run(None, changed)
    assert (numbers(), vendor.calls) == (("0.6", "0", "0"), ["otters", "seals"])


@pytest.mark.parametrize("thread", [UUID(int=1), 7])
def test_a_thread_may_be_named_by_anything(running, numbers, vendor, thread):
    run, app = running()
    config = {"configurable": {"thread_id": thread}}
    run({"query": "otters"}, config)
    before = next(state for state in app.get_state_history(config) if state.next == ("search",))
    assert run(None, before.config)["found"] == "a page about otters"
    assert (numbers(), vendor.calls) == (("0.3", "0", "0"), ["otters"])


def test_also_where_it_says_where_the_graph_goes_on(guard, saver, vendor, numbers):
    def search(state):
        return Command(update=vendor(state), goto="after")

    flow = StateGraph(State).add_node("search", PaidNode(search, "0.3", guard=guard), destinations=("after",))
    flow.add_node("after", lambda state: {"rounds": 1}).set_entry_point("search")
    app = flow.compile(checkpointer=saver)
    app.invoke({"query": "otters"}, THREAD)
    before = next(state for state in app.get_state_history(THREAD) if state.next == ("search",))
    assert app.invoke(None, before.config) == {
        "query": "otters",
        "found": "a page about otters",
        "rounds": 1,
    }
    assert (numbers(), vendor.calls) == (("0.3", "0", "0"), ["otters"])


def test_what_could_not_be_written_again_as_it_was_is_not_kept(guard, saver, numbers):
    """Such as where it is sent on to with what is no JSON."""

    def search(state):
        return Command(goto=Send("after", {**state, "found": {1: "a page"}}))

    refused = lambda error: {"found": type(error).__name__}
    flow = StateGraph(State).add_node(
        "search", PaidNode(search, "0.3", guard=guard, refused=refused), destinations=("after",)
    )
    flow.add_node("after", lambda state: {"rounds": 1}).set_entry_point("search")
    app = flow.compile(checkpointer=saver)
    app.invoke({"query": "otters"}, THREAD)
    before = next(state for state in app.get_state_history(THREAD) if state.next == ("search",))
    assert app.invoke(None, before.config)["found"] == "AlreadyPaid"
    assert numbers() == ("0.3", "0", "0")


def test_also_where_a_graph_within_it_says_that(guard, saver, numbers):
    over = lambda state: Command(graph=Command.PARENT, update={"found": "a page"}, goto="after")
    within = StateGraph(State).add_node("within", over).set_entry_point("within").compile()
    flow = StateGraph(State).add_node("search", PaidNode(within.invoke, "0.3", guard=guard, tool="search"))
    flow.add_node("after", lambda state: {"rounds": 1}).set_entry_point("search")
    app = flow.compile(checkpointer=saver)
    assert app.invoke({}, THREAD) == {"found": "a page", "rounds": 1}
    before = next(state for state in app.get_state_history(THREAD) if state.next == ("search",))
    assert app.invoke(None, before.config) == {"found": "a page", "rounds": 1}
    assert numbers() == ("0.3", "0", "0")


class Anything(TypedDict, total=False):
    found: Any


@pytest.mark.parametrize(
    ("update", "again"),
    [
        ({"found": (1, [2.5, None])}, (1, [2.5, None])),
        ({"found": [AIMessage("a page", id="m")]}, [AIMessage("a page", id="m")]),
        (Command(update=[("found", "a page")]), "a page"),
        ({"found": {1: "a page"}}, "refused"),
        ({"found": float("nan")}, "refused"),
    ],
)
def test_what_is_written_again_is_what_was_written(guard, saver, numbers, update, again):
    refused = lambda error: {"found": "refused"}
    node = PaidNode(lambda state: update, "0.3", guard=guard, refused=refused)
    app = StateGraph(Anything).add_node("search", node).set_entry_point("search").compile(checkpointer=saver)
    app.invoke({}, THREAD)
    before = next(state for state in app.get_state_history(THREAD) if state.next == ("search",))
    assert app.invoke(None, before.config)["found"] == again
    assert numbers() == ("0.3", "0", "0")


def test_another_turn_is_another_payment(running, numbers, vendor):
    run, _ = running()
    run({"query": "otters"})
    run({"query": "otters"})
    assert (numbers(), len(vendor.calls)) == (("0.6", "0", "0"), 2)


def test_a_replay_pays_again_if_it_is_told_to(running, numbers, vendor):
    run, app = running(on_replay="charge_again")
    run({"query": "otters"})
    before = next(state for state in app.get_state_history(THREAD) if state.next == ("search",))
    run(None, before.config)
    assert (numbers(), len(vendor.calls)) == (("0.6", "0", "0"), 2)


def test_a_retry_after_nothing_was_charged_pays_once(running, numbers, vendor):
    vendor.then = [NotCharged(), NotCharged()]
    retry = RetryPolicy(max_attempts=3, initial_interval=0, jitter=False, retry_on=NotCharged)
    run, _ = running(options={"retry_policy": retry})
    assert run({"query": "otters"})["found"] == "a page about otters"
    assert numbers() == ("0.3", "0", "0")


def test_a_failure_without_a_word_is_in_doubt_and_not_run_again(running, numbers, vendor):
    vendor.then = [TimeoutError()]
    run, _ = running()
    with pytest.raises(TimeoutError):
        run({"query": "otters"})
    with pytest.raises(PaymentInDoubt):
        run(None)
    assert (numbers(), len(vendor.calls)) == (("0", "0", "0.3"), 1)


def test_a_refusal_is_an_update_of_the_state_or_is_raised(running, numbers, wallet):
    run, _ = running(refused=lambda error: {"found": type(error).__name__})
    wallet.purchase("0.9")
    assert run({"query": "otters"})["found"] == "BudgetExceededError"
    run, _ = running()
    with pytest.raises(BudgetExceededError):
        run({"query": "otters"}, {"configurable": {"thread_id": "u"}})
    assert numbers() == ("0.9", "0", "0")


def test_a_person_answers_by_an_interrupt(running, numbers, vendor):
    run, _ = running(policy=ask_above("0.1"))
    (asked,) = run({"query": "otters"})["__interrupt__"]
    assert (asked.value["tool"], asked.value["max_amount_usd"]) == ("search", "0.3")
    assert run(Command(resume=True))["found"] == "a page about otters"
    assert (numbers(), vendor.calls) == (("0.3", "0", "0"), ["otters"])


@pytest.fixture(params=["threads", "asyncio"])
def invoke(request):
    """Runs a graph, synchronous or not."""
    if request.param == "threads":
        return lambda app, given: app.invoke(given, THREAD)
    return lambda app, given: asyncio.run(app.ainvoke(given, THREAD))


@pytest.fixture
def costs(wallet, journal, saver):
    """A program's price, and ``costs(function)``: the graph of a node that costs it, above what needs a yes."""

    class Costs:
        price = "0.3"

        def __call__(self, function):
            guard = Guard(wallet, journal=journal, policy=ask_above("0.1"))
            return graph(PaidNode(function, lambda _: self.price, guard=guard, tool="search"), saver)

    return Costs()


def test_a_yes_is_for_the_price_that_was_shown(costs, invoke, numbers, vendor):
    app = costs(vendor)
    invoke(app, {"query": "otters"})
    costs.price = "0.5"
    (again,) = invoke(app, Command(resume=True))["__interrupt__"]
    assert (again.value["max_amount_usd"], again.value["shown_before_usd"]) == ("0.5", ["0.3"])
    assert (numbers(), vendor.calls) == (("0", "0", "0"), [])
    costs.price = "0.4"
    assert invoke(app, Command(resume=True))["found"] == "a page about otters"
    assert numbers() == ("0.4", "0", "0")


def test_a_no_to_the_higher_price_is_a_no(costs, invoke, numbers, vendor):
    app = costs(vendor)
    invoke(app, {"query": "otters"})
    costs.price = "0.5"
    invoke(app, Command(resume=True))
    with pytest.raises(PaymentDenied):
        invoke(app, Command(resume=False))
    assert (numbers(), vendor.calls) == (("0", "0", "0"), [])


def test_a_function_that_interrupts_gets_its_own_answers_however_often_its_price_rose(costs, invoke, numbers):
    app = costs(lambda state: {"found": f"{interrupt('which?')}, {interrupt('how?')}"})
    invoke(app, {"query": "otters"})
    for costs.price in ("0.5", "0.6"):
        (again,) = invoke(app, Command(resume=True))["__interrupt__"]
        assert again.value["max_amount_usd"] == costs.price
    for answer, question in [(True, "which?"), ("sea", "how?")]:
        assert invoke(app, Command(resume=answer))["__interrupt__"][0].value == question
    assert invoke(app, Command(resume="raw"))["found"] == "sea, raw"
    assert numbers() == ("0.6", "0", "0")


def test_a_function_that_interrupts_keeps_its_money_and_goes_on(guard, saver, numbers):
    def search(state):
        return {"found": interrupt("which?")}

    app = graph(PaidNode(search, "0.3", guard=guard), saver)
    app.invoke({"query": "otters"}, THREAD)
    assert numbers() == ("0", "0.3", "0")
    assert app.invoke(Command(resume="sea"), THREAD)["found"] == "sea"
    assert numbers() == ("0.3", "0", "0")


@pytest.mark.parametrize("by", ["an interrupt", "the wallet"])
def test_a_function_that_interrupts_gets_its_own_answer_after_a_person_said_yes(
    wallet, journal, saver, numbers, trove, by
):
    def search(state):
        return {"found": f"{interrupt('which?')}, {interrupt('how?')}"}

    app = graph(PaidNode(search, "0.3", guard=Guard(wallet, journal=journal, policy=ask_above("0.1"))), saver)
    (asked,) = app.invoke({"query": "otters"}, THREAD)["__interrupt__"]
    if by == "the wallet":
        wallet.client.approve(asked.value["approval_id"])
    for answer, question in [(True, "which?"), ("sea", "how?")]:
        assert app.invoke(Command(resume=answer), THREAD)["__interrupt__"][0].value == question
    assert app.invoke(Command(resume="raw"), THREAD)["found"] == "sea, raw"
    assert numbers() == ("0.3", "0", "0")


def test_of_two_payments_in_one_node_only_the_first_asks(wallet, journal, saver, numbers):
    """Paid for, it asks no more, and the answer to it would be taken for one to the second."""
    guard = Guard(wallet, journal=journal, policy=ask_above("0.1"))
    one, two = (
        PaidNode(
            lambda state, name=name: {name: "bought"},
            "0.3",
            guard=guard,
            arguments=lambda state, name=name: {"name": name},
            refused=lambda error, name=name: {name: type(error).__name__},
        )
        for name in ("query", "found")
    )
    app = graph(lambda state: one.invoke(state) | two.invoke(state), saver)
    app.invoke({}, THREAD)
    assert app.invoke(Command(resume=True), THREAD) == {"query": "bought", "found": "ApprovalNeeded"}
    assert numbers() == ("0.3", "0", "0")


async def test_what_a_node_asks_after_a_payment_has_an_answer_of_its_own(wallet, journal, saver, numbers):
    guard = Guard(wallet, journal=journal, policy=ask_above("0.1"))
    search = PaidNode(lambda state: {"found": "a page"}, "0.3", guard=guard)

    async def node(state):
        return {**await search.ainvoke(state), "query": interrupt("which?")}

    app = graph(node, saver)
    await app.ainvoke({}, THREAD)
    await app.ainvoke(Command(resume=True), THREAD)
    assert await app.ainvoke(Command(resume="otters"), THREAD) == {"found": "a page", "query": "otters"}
    assert numbers() == ("0.3", "0", "0")


def test_what_the_function_raises_is_no_refusal(wallet, journal, saver, vendor, numbers):
    """Also where it has paid for something of its own."""
    refused = lambda error: {"found": "refused"}
    inner = Guard(wallet, journal=journal, policy=ask_above("0.01"))
    inner.pay(lambda: 1, "0.02", key="paid", approved=True)
    inner_paid = lambda state: inner.authorize("0.02", key=state["query"]).__enter__()
    outer = Guard(wallet, journal=journal)
    app = graph(PaidNode(inner_paid, "0.3", guard=outer, arguments=by_query, refused=refused), saver)
    for query, error in [("paid", AlreadyPaid), ("asked", ApprovalNeeded)]:
        with pytest.raises(error):
            app.invoke({"query": query}, {"configurable": {"thread_id": query}})
    assert numbers() == ("0.02", "0", "0.6")


def test_a_run_that_would_forget_does_not_pay(running, numbers, vendor):
    run, _ = running()
    with pytest.raises(NotDurable, match="exit"):
        run({"query": "otters"}, durability="exit")
    assert (numbers(), vendor.calls) == (("0", "0", "0"), [])


def test_the_wrong_guard_or_price_is_told_at_once(guard, vendor):
    with pytest.raises(TypeError, match="guard= takes a Guard"):
        PaidNode(vendor, "0.3", guard=guard.wallet)
    with pytest.raises(TypeError, match="not float"):
        PaidNode(vendor, 0.3, guard=guard)
    with pytest.raises(ValueError, match="no amount"):
        PaidNode(vendor, Metered("a lot", lambda update: "0.1"), guard=guard)


def test_without_a_thread_each_run_pays(guard, vendor, numbers):
    app = graph(PaidNode(vendor, "0.3", guard=guard), None)
    app.invoke({"query": "otters"})
    app.invoke({"query": "otters"})
    assert numbers() == ("0.6", "0", "0")


def test_rounds_and_equal_branches_are_payments_of_their_own(guard, saver, vendor, numbers):
    def split(state):
        return [Send("search", {"query": "same"}), Send("search", {"query": "same"})]

    flow = StateGraph(State).add_node(
        "search", PaidNode(lambda state: vendor(state) and {}, "0.2", guard=guard)
    )
    flow.add_node("start", lambda state: {"rounds": state.get("rounds", 0) + 1}).set_entry_point("start")
    flow.add_conditional_edges("start", split)
    flow.add_conditional_edges("search", lambda state: "start" if state["rounds"] < 2 else "__end__")
    flow.compile(checkpointer=saver).invoke({}, THREAD)
    assert (numbers(), len(vendor.calls)) == (("0.8", "0", "0"), 4)


class Asked(TypedDict, total=False):
    query: str


@pytest.mark.parametrize("join", [False, True])
def test_graphs_that_run_beside_one_another_are_not_one(guard, saver, vendor, numbers, join):
    """Their nodes differ in nothing but the graph that they are in, and in time travel they are the same again."""
    paid = PaidNode(lambda state: vendor(state) and {}, "0.1", guard=guard, tool="search")
    inner = StateGraph(Asked).add_node("search", paid).set_entry_point("search").compile()
    flow = StateGraph(Asked, output_schema=State).add_node("one", inner, input_schema=Asked)
    for name in ("start", "aside"):
        flow.add_node(name, lambda state: {}).add_edge("__start__", name)
    flow.add_node("sent", lambda state: inner.invoke(state) and {})
    flow.add_conditional_edges("start", lambda _: [Send("sent", {"query": each}) for each in ("a", "b")])
    flow.add_edge(["start", "aside"] if join else "start", "one")
    app = flow.compile(checkpointer=saver)
    app.invoke({"query": "c"}, THREAD)
    assert (numbers(), sorted(vendor.calls)) == (("0.3", "0", "0"), ["a", "b", "c"])
    for state in [each for each in app.get_state_history(THREAD) if each.next]:
        app.invoke(None, state.config)
    assert (numbers(), len(vendor.calls)) == (("0.3", "0", "0"), 3)


def test_guards_that_do_not_fit_are_told_at_once(vendor):
    with pytest.raises(TypeError, match="Guard"):
        PaidNode(vendor, "0.3")


def test_what_follows_a_step_that_is_run_again_is_not_paid_again_either(guard, saver, vendor, numbers):
    """From the first of two paid nodes on; also in a graph within a graph, in each of its rounds."""
    inner = StateGraph(State)
    inner.add_node("first", PaidNode(lambda state: vendor(state) and {}, "0.1", guard=guard, tool="first"))
    inner.add_node("second", PaidNode(lambda state: vendor(state) and {}, "0.1", guard=guard, tool="second"))
    inner.add_edge("first", "second").set_entry_point("first")
    flow = StateGraph(State).add_node("both", inner.compile())
    flow.add_node("count", lambda state: {"rounds": state.get("rounds", 0) + 1}).set_entry_point("count")
    flow.add_edge("count", "both")
    flow.add_conditional_edges("both", lambda state: "count" if state["rounds"] < 2 else "__end__")
    app = flow.compile(checkpointer=saver)
    app.invoke({"query": "otters"}, THREAD)
    assert (numbers(), len(vendor.calls)) == (("0.4", "0", "0"), 4)
    for _ in range(2):
        for state in [each for each in app.get_state_history(THREAD) if each.next]:
            app.invoke(None, state.config)
    assert (numbers(), len(vendor.calls)) == (("0.4", "0", "0"), 4)
    app.invoke({"query": "otters", "rounds": 1}, THREAD)  # another turn
    assert (numbers(), len(vendor.calls)) == (("0.6", "0", "0"), 6)
