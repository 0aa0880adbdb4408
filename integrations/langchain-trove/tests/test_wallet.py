"""Paid tools in agents: every ending, every way back, and that a call is paid for once."""

import asyncio
from decimal import Decimal
from typing import Annotated
from uuid import UUID

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware, ToolRetryMiddleware
from langchain.tools import InjectedState, ToolRuntime
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt
from pydantic import BaseModel, field_validator

from langchain_trove import NotDurable, Priced, WalletMiddleware
from trove_agents import TroveConnectionError
from trove_agents.guard import (
    ApprovalNeeded,
    Guard,
    Metered,
    NotCharged,
    ask_above,
)

from .vendors import GO, SEARCH, THREAD, answers, tool_of

BY_MIDDLEWARE = pytest.mark.parametrize("running", ["threads", "asyncio"], indirect=True)
"""A paid tool is tried again as a whole, and says nothing in requests."""


def test_a_call_is_paid_for_and_has_its_receipt(running, numbers, vendor):
    run, _, _ = running(SEARCH, "done", price=Priced("0.3", vendor="acme"))
    (answer,) = answers(run(GO))
    assert answer.content == "a page about otters"
    receipt = answer.artifact["receipt"]
    assert (receipt["charged_usd"], receipt["tool"], receipt["vendor"], receipt["state"]) == (
        "0.3",
        "search",
        "acme",
        "captured",
    )
    assert (numbers(), vendor.calls) == (("0.3", "0", "0"), ["otters"])


def test_parallel_calls_are_paid_each_and_those_over_the_budget_are_told_so(running, numbers, vendor):
    calls = [("search", {"query": str(n)}) for n in range(4)]
    run, _, _ = running(calls, "done")
    told = answers(run(GO))
    refused = [message for message in told if message.status == "error"]
    assert len(told) == 4 and len(refused) == 1
    assert "needs $0.30, and $0.10 remain" in refused[0].content
    assert (numbers(), len(vendor.calls)) == (("0.9", "0", "0"), 3)


def test_a_tool_that_fails_without_a_word_is_in_doubt_and_the_run_ends(running, numbers, vendor):
    run, _, _ = running(SEARCH, "done")
    vendor.then = [TimeoutError("no answer")]
    with pytest.raises(TimeoutError):
        run(GO)
    assert numbers() == ("0", "0", "0.3")
    (told,) = answers(run(None))  # resumed: not run again, and the model is told
    assert "do not try it again" in told.content
    assert (numbers(), len(vendor.calls)) == (("0", "0", "0.3"), 1)


def test_not_charged_gives_it_back_and_the_resumed_run_pays(running, numbers, vendor):
    run, _, _ = running(SEARCH, "done")
    vendor.then = [NotCharged("closed")]
    with pytest.raises(NotCharged):
        run(GO)
    assert numbers() == ("0", "0", "0")
    assert answers(run(None))[0].content == "a page about otters"
    assert numbers() == ("0.3", "0", "0")


def test_an_error_that_the_tool_reports_is_no_success(running, numbers, vendor):
    """``handle_tool_error`` turns exceptions into messages."""
    paid = tool_of(vendor)
    paid.handle_tool_error = True
    run, _, _ = running(SEARCH, "done", tools=[paid])
    vendor.then = [ToolException("the page is gone")]
    (told,) = answers(run(GO))
    assert (told.status, told.content) == ("error", "the page is gone")
    assert told.artifact["receipt"]["state"] == "in_doubt"
    assert numbers() == ("0", "0", "0.3")


def test_a_reported_error_that_proves_that_nothing_was_charged(running, numbers, vendor):
    paid = tool_of(vendor)
    paid.handle_tool_error = True
    priced = Priced("0.3", reported=lambda message: "gone" in message.content)
    run, _, _ = running(SEARCH, "done", tools=[paid], price=priced)
    vendor.then = [ToolException("the page is gone")]
    assert answers(run(GO))[0].artifact["receipt"]["state"] == "voided"
    assert numbers() == ("0", "0", "0")


def test_wrong_arguments_cost_nothing(running, numbers, vendor):
    run, _, _ = running([("search", {"question": "otters"})], "done")
    (told,) = answers(run(GO))
    assert told.status == "error" and "query" in told.content
    assert (numbers(), vendor.calls) == (("0", "0", "0"), [])


class Words(BaseModel):
    query: list[str]

    @field_validator("query", mode="before")
    @classmethod
    def split(cls, given):
        return given.split() if isinstance(given, str) else given


def test_a_tool_without_a_synchronous_half_costs_nothing_in_threads(guard, scripted, numbers):
    @tool
    async def search(query: str) -> str:
        """Searches."""

    agent = create_agent(
        scripted(SEARCH, "done"), [search], middleware=[WalletMiddleware(guard, prices={"search": "0.3"})]
    )
    with pytest.raises(NotImplementedError):
        agent.invoke(GO)
    assert numbers() == ("0", "0", "0")


def test_arguments_that_only_the_tool_can_read_are_paid_for(running, numbers, vendor):
    @tool(args_schema=Words)
    def search(query):
        """Searches."""
        return vendor(query)

    run, _, _ = running([("search", {"query": "sea otters"})], "done", tools=[search])
    run(GO)
    assert (numbers(), vendor.calls) == (("0.3", "0", "0"), [["sea", "otters"]])


def test_arguments_that_the_tool_does_not_try_are_paid_for(running, numbers, vendor):
    class Searching(BaseTool):
        name: str = "search"
        description: str = "Searches."

        def _run(self, query: int) -> str:
            return vendor(query)

    run, _, _ = running([("search", {"query": "otters"})], "done", tools=[Searching()])
    run(GO)
    assert (numbers(), vendor.calls) == (("0.3", "0", "0"), ["otters"])


@pytest.mark.parametrize("given", [{"query": "otters"}, {"question": "otters"}])
def test_what_is_injected_into_a_call_is_not_missed(running, numbers, vendor, given):
    @tool
    def search(query: str, state: Annotated[dict, InjectedState], runtime: ToolRuntime) -> str:
        """Searches."""
        return vendor(query)

    run, _, _ = running([("search", given)], "done", tools=[search])
    run(GO)
    paid = "query" in given
    assert (numbers(), len(vendor.calls)) == (("0.3" if paid else "0", "0", "0"), int(paid))


@BY_MIDDLEWARE
def test_retries_within_are_one_payment(running, numbers, vendor):
    vendor.then = [ConnectionResetError(), ConnectionResetError()]
    retry = ToolRetryMiddleware(max_retries=3, initial_delay=0, jitter=False)
    run, _, _ = running(SEARCH, "done", middleware=[retry])
    assert answers(run(GO))[0].content == "a page about otters"
    assert (numbers(), len(vendor.calls)) == (("0.3", "0", "0"), 3)


def test_a_metered_price_is_read_from_the_message(running, numbers, vendor):
    metered = Metered("0.5", lambda message: Decimal(len(message.content)) / 1000)
    run, _, _ = running(SEARCH, "done", price=metered)
    assert answers(run(GO))[0].artifact["receipt"]["charged_usd"] == "0.019"
    assert numbers() == ("0.019", "0", "0")


def test_from_an_older_checkpoint_the_paid_result_is_there(running, numbers, vendor):
    saver = InMemorySaver()
    run, agent, _ = running(SEARCH, "done", saver=saver)
    run(GO)
    before = next(state for state in agent.get_state_history(THREAD) if state.next == ("tools",))
    (again,) = answers(run(None, before.config))
    assert (again.content, again.artifact["receipt"]["charged_usd"]) == ("a page about otters", "0.3")
    assert (numbers(), vendor.calls) == (("0.3", "0", "0"), ["otters"])
    # Before the model decided: another decision, another purchase
    *_, start = (state for state in agent.get_state_history(THREAD) if state.next == ("model",))
    run(None, start.config)
    assert (numbers(), len(vendor.calls)) == (("0.6", "0", "0"), 2)


def test_a_replay_pays_again_if_it_is_told_to(running, numbers, vendor):
    run, agent, _ = running(SEARCH, "done", on_replay="charge_again")
    run(GO)
    before = next(state for state in agent.get_state_history(THREAD) if state.next == ("tools",))
    run(None, before.config)
    assert (numbers(), len(vendor.calls)) == (("0.6", "0", "0"), 2)


def test_a_person_answers_by_an_interrupt(running, numbers, vendor):
    run, _, _ = running(SEARCH, "done", policy=ask_above("0.1"))
    state = run(GO)
    (asked,) = state["__interrupt__"]
    assert (asked.value["tool"], asked.value["max_amount_usd"]) == ("search", "0.3")
    assert (numbers(), vendor.calls) == (("0", "0", "0"), [])
    assert answers(run(Command(resume=True)))[0].content == "a page about otters"
    assert (numbers(), vendor.calls) == (("0.3", "0", "0"), ["otters"])


def test_a_yes_is_for_the_price_that_was_shown(running, numbers, vendor):
    prices = ["0.3"]
    run, _, _ = running(SEARCH, "done", policy=ask_above("0.1"), price=lambda _: prices[-1])
    run(GO)
    prices.append("0.5")
    (again,) = run(Command(resume=True))["__interrupt__"]
    assert (again.value["max_amount_usd"], again.value["shown_before_usd"]) == ("0.5", ["0.3"])
    assert (numbers(), vendor.calls) == (("0", "0", "0"), [])
    assert answers(run(Command(resume=True)))[0].content == "a page about otters"
    assert (numbers(), vendor.calls) == (("0.5", "0", "0"), ["otters"])


@pytest.mark.parametrize("first", ["the wallet", "the review"])
def test_a_person_who_reviews_the_call_too_gives_two_answers(
    guard, scripted, vendor, numbers, journal, first
):
    """Both questions are of one task, which LangGraph knows by their order alone."""
    asking = Guard(guard.wallet, journal=journal, policy=ask_above("0.1"))
    both = [
        WalletMiddleware(asking, prices={"search": "0.3"}),
        HumanInTheLoopMiddleware(interrupt_on={"search": True}, interrupt_mode="per_call"),
    ]
    agent = create_agent(
        scripted(SEARCH, "done"),
        [tool_of(vendor)],
        middleware=both if first == "the wallet" else both[::-1],
        checkpointer=InMemorySaver(),
    )
    said, answer = [], GO
    while "__interrupt__" in (state := agent.invoke(answer, THREAD)):
        (asked,) = state["__interrupt__"]
        is_payment = asked.value.get("type") == "payment"
        said.append("the wallet" if is_payment else "the review")
        answer = Command(resume=True if is_payment else {"type": "approve"})
    assert (len(said), said[0]) == (2, first)
    assert answers(state)[0].content == "a page about otters"
    assert (numbers(), vendor.calls) == (("0.3", "0", "0"), ["otters"])


@pytest.mark.parametrize("no", [False, None, {"approved": False}, {"type": "reject"}, "no"])
def test_a_no_is_told_to_the_model(running, numbers, vendor, no):
    run, _, _ = running(SEARCH, "done", policy=ask_above("0.1"))
    run(GO)
    (told,) = answers(run(Command(resume=[no] if no is None else no)))
    assert "said no" in told.content
    assert (numbers(), vendor.calls) == (("0", "0", "0"), [])


def test_where_nobody_is_asked_the_model_is_told(running, numbers, vendor):
    run, _, _ = running(SEARCH, "done", policy=ask_above("0.1"), ask="refuse")
    (told,) = answers(run(GO))
    assert "approval" in told.content
    assert (numbers(), vendor.calls) == (("0", "0", "0"), [])


def test_a_tool_that_interrupts_keeps_its_money_and_goes_on(running, numbers, vendor):
    @tool
    def search(query: str) -> str:
        """Searches."""
        return vendor(f"{query} {interrupt('which?')}")

    run, _, _ = running(SEARCH, "done", tools=[search])
    assert run(GO)["__interrupt__"][0].value == "which?"
    assert (numbers(), vendor.calls) == (("0", "0.3", "0"), [])
    assert answers(run(Command(resume="sea")))[0].content == "a page about otters sea"
    assert numbers() == ("0.3", "0", "0")


@pytest.mark.parametrize("by", ["an interrupt", "the wallet"])
def test_a_tool_that_interrupts_gets_its_own_answer_after_a_person_said_yes(
    running, numbers, vendor, wallet, by
):
    @tool
    def search(query: str) -> str:
        """Searches."""
        return vendor(f"{query} {interrupt('which?')}")

    run, _, _ = running(SEARCH, "done", tools=[search], policy=ask_above("0.1"))
    (asked,) = run(GO)["__interrupt__"]
    if by == "the wallet":
        wallet.client.approve(asked.value["approval_id"])
    assert run(Command(resume=True))["__interrupt__"][0].value == "which?"
    assert answers(run(Command(resume="sea")))[0].content == "a page about otters sea"
    assert numbers() == ("0.3", "0", "0")


@pytest.mark.parametrize(
    "error", [TroveConnectionError("gone", may_have_committed=True), ApprovalNeeded("of its own", None)]
)
def test_what_the_tool_raises_is_no_refusal_of_the_wallet(running, numbers, vendor, error):
    run, _, _ = running(SEARCH, "done")
    vendor.then = [error]
    with pytest.raises(type(error)):
        run(GO)
    assert numbers() == ("0", "0", "0.3")


def test_a_tool_that_returns_a_command(running, numbers, vendor):
    @tool
    def search(query: str) -> Command:
        """Searches."""
        return Command(update={"messages": [ToolMessage(vendor(query), tool_call_id="0.0")]})

    run, _, _ = running(SEARCH, "done", tools=[search])
    (answer,) = answers(run(GO))
    assert (answer.content, answer.artifact["receipt"]["state"]) == ("a page about otters", "captured")
    assert numbers() == ("0.3", "0", "0")


@pytest.mark.parametrize("thread", [UUID(int=1), 7, "x" * 600, "ü\n\0"], ids=["uuid", "int", "long", "text"])
def test_a_thread_may_be_named_by_anything(running, numbers, vendor, thread):
    run, agent, _ = running(SEARCH, "done")
    config = {"configurable": {"thread_id": thread}}
    run(GO, config)
    before = next(state for state in agent.get_state_history(config) if state.next == ("tools",))
    assert answers(run(None, before.config))[0].content == "a page about otters"
    assert (numbers(), vendor.calls) == (("0.3", "0", "0"), ["otters"])


def test_a_run_that_would_forget_does_not_pay(running, numbers, vendor):
    run, _, _ = running(SEARCH, "done")
    with pytest.raises(NotDurable, match="exit"):
        run(GO, durability="exit")
    assert (numbers(), vendor.calls) == (("0", "0", "0"), [])


@pytest.mark.parametrize("durability", ["sync", "async"])
def test_the_others_do(running, numbers, durability):
    run, _, _ = running(SEARCH, "done")
    run(GO, durability=durability)
    assert numbers() == ("0.3", "0", "0")


@BY_MIDDLEWARE
def test_the_model_sees_prices_and_what_is_left_and_the_conversation_does_not(running, numbers):
    run, _, model = running(SEARCH, "done")
    state = run(GO)
    first, second = model.seen[-2:]
    assert first[-1].content == "Budget for paid tools: $1.00 of $1.00 remain."
    assert second[-1].content == "Budget for paid tools: $0.70 of $1.00 remain."
    assert not any("Budget" in message.text for message in state["messages"])


def test_prices_are_in_the_descriptions(guard, vendor, scripted):
    model = scripted("done")
    create_agent(
        model, [tool_of(vendor)], middleware=[WalletMiddleware(guard, prices={"search": "0.3"})]
    ).invoke(GO)
    assert [each.description for each in model.offered] == ["Searches. Costs $0.30 a call."]


def test_the_model_need_not_see_them(guard, vendor, scripted):
    model = scripted("done")
    wallets = WalletMiddleware(guard, prices={"search": "0.3"}, show=False)
    create_agent(model, [tool_of(vendor)], middleware=[wallets]).invoke(GO)
    assert [message.text for message in model.seen[-1]] == ["go"]


def test_without_a_checkpointer_each_call_is_paid_once_all_the_same(guard, vendor, scripted, numbers):
    agent = create_agent(
        scripted(SEARCH, "done"),
        [tool_of(vendor)],
        middleware=[WalletMiddleware(guard, prices={"search": "0.3"})],
    )
    agent.invoke(GO)
    agent.invoke(GO)  # another conversation, another purchase
    assert numbers() == ("0.6", "0", "0")


def test_other_tools_are_free(guard, vendor, scripted, numbers):
    agent = create_agent(
        scripted(SEARCH, "done"),
        [tool_of(vendor)],
        middleware=[WalletMiddleware(guard, prices={"buy": "0.3"})],
    )
    agent.invoke(GO)
    assert (numbers(), vendor.calls) == (("0", "0", "0"), ["otters"])


def test_the_wrong_guards_are_told_at_once(guard):
    with pytest.raises(TypeError, match="needed"):
        WalletMiddleware(prices={})
    with pytest.raises(TypeError, match="AsyncGuard"):
        WalletMiddleware(async_guard=guard, prices={})
    with pytest.raises(TypeError, match="guard= takes a Guard"):
        WalletMiddleware(guard.wallet, prices={})


def test_a_wrong_price_is_told_at_once(guard):
    with pytest.raises(TypeError, match="not float"):
        WalletMiddleware(guard, prices={"search": 0.3})
    with pytest.raises(ValueError, match="no amount"):
        WalletMiddleware(guard, prices={"search": Priced("a lot")})


async def test_a_cancelled_run_leaves_the_payment_in_doubt(guard, scripted, numbers):
    entered = asyncio.Event()

    @tool
    async def search(query: str) -> str:
        """Searches."""
        entered.set()
        await asyncio.sleep(60)

    agent = create_agent(
        scripted(SEARCH, "done"), [search], middleware=[WalletMiddleware(guard, prices={"search": "0.3"})]
    )
    running = asyncio.create_task(agent.ainvoke(GO))
    await entered.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert numbers() == ("0", "0", "0.3")
