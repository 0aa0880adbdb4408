"""Payments that need a person: what a yes is for, and for how much."""

from datetime import date

import pytest
from pydantic_ai import (
    Agent,
    FunctionToolset,
    ModelMessagesTypeAdapter,
    Tool,
    ToolApproved,
    ToolDenied,
)
from pydantic_ai.capabilities import HandleDeferredToolCalls
from pydantic_ai.exceptions import UserError
from pydantic_ai.models.function import FunctionModel

from pydantic_ai_trove import TroveWallet, WalletToolset
from trove_agents.guard import (
    ask_above,
)

from .histories import returns
from .shopping import ASKS, Script, Shop, agent_of, by_length, call


async def test_an_approval_resumed_twice_is_one_purchase(guarding, shop, numbers):
    wallet = TroveWallet(guarding(policy=ask_above("0.1")), {"buy": "0.3"})
    agent = agent_of(Script([call("a")], "done", "done"), shop, wallet, **ASKS)
    first = await agent.run("go")
    asked = first.output.metadata["c1"]
    assert (asked["price_usd"], asked["tool"], asked["arguments"]) == ("0.3", "buy", {"sku": "a"})
    assert (numbers(), shop.sold) == (("0", "0", "0"), [])
    stored = first.all_messages_json()
    for _ in range(2):
        history = ModelMessagesTypeAdapter.validate_json(stored)
        results = first.output.build_results(approvals={"c1": True})
        again = await agent.run(message_history=history, deferred_tool_results=results)
        assert returns(again)[-1].content == "one a"
    assert (numbers(), shop.sold) == (("0.3", "0", "0"), ["a"])


async def test_a_no_costs_nothing(guarding, shop, numbers):
    wallet = TroveWallet(guarding(policy=ask_above("0.1")), {"buy": "0.3"})
    agent = agent_of(Script([call("a")], "done"), shop, wallet, **ASKS)
    first = await agent.run("go")
    results = first.output.build_results(approvals={"c1": ToolDenied("too dear")})
    result = await agent.run(message_history=first.all_messages(), deferred_tool_results=results)
    assert returns(result)[-1].outcome == "denied"
    assert (numbers(), shop.sold) == (("0", "0", "0"), [])


@pytest.mark.parametrize(
    ("changed", "covered", "paid"),
    [("bb", None, None), ("bb", "0.2", "0.2"), ("bbb", "0.2", None), ("b", None, "0.1")],
    ids=["dearer", "dearer and covered", "dearer than covered", "no dearer"],
)
async def test_an_approval_is_for_the_price_that_was_shown(guarding, shop, numbers, changed, covered, paid):
    wallet = TroveWallet(guarding(policy=ask_above(0)), {"buy": by_length})
    agent = agent_of(Script([call("a")], "done"), shop, wallet, **ASKS)
    first = await agent.run("go")
    results = first.output.build_results(
        approvals={"c1": ToolApproved(override_args={"sku": changed})},
        metadata={"c1": {"approved_usd": covered}} if covered else {},
    )
    second = await agent.run(message_history=first.all_messages(), deferred_tool_results=results)
    if paid is None:
        assert second.output.metadata["c1"]["price_usd"] == str(by_length({"sku": changed}))
        assert (numbers(), shop.sold) == (("0", "0", "0"), [])
    else:
        assert (numbers(), shop.sold) == ((paid, "0", "0"), [changed])


@pytest.mark.parametrize("most", ["a lot", "NaN", [1]])
async def test_what_an_approval_is_for_is_an_amount(guarding, shop, numbers, most):
    wallet = TroveWallet(guarding(policy=ask_above(0)), {"buy": "0.1"})
    agent = agent_of(Script([call("a")], "done"), shop, wallet, **ASKS)
    first = await agent.run("go")
    yes = first.output.build_results(approve_all=True, metadata={"c1": {"approved_usd": most}})
    with pytest.raises(UserError, match="approved_usd of an approval is an amount of USD, not "):
        await agent.run(message_history=first.all_messages(), deferred_tool_results=yes)
    assert (numbers(), shop.sold) == (("0", "0", "0"), [])


@pytest.mark.parametrize("alone", [False, True])
async def test_an_approval_is_not_for_a_price_that_was_raised_since(guarding, shop, numbers, alone):
    """As a server may that names its prices itself."""
    price, guard = ["0.2"], guarding(policy=ask_above("0.1"))
    wallet = TroveWallet(guard, {} if alone else {"buy": lambda _: price[0]})
    agent = agent_of(Script([call("a")], "done"), shop, wallet, **ASKS)
    if alone:
        tools = FunctionToolset([Tool(shop.buy, name="buy")], id="shop")
        toolset = WalletToolset(tools, guard, {"buy": lambda _: price[0]})
        agent = Agent(FunctionModel(Script([call("a")], "done")), toolsets=[toolset], **ASKS)
    result = await agent.run("go")
    for price[0], asked in ("0.5", "0.5"), ("0.6", "0.6"), ("0.4", None):
        stored = ModelMessagesTypeAdapter.validate_json(result.all_messages_json())
        yes = result.output.build_results(approve_all=True)
        result = await agent.run(message_history=stored, deferred_tool_results=yes)
        assert asked is None or result.output.metadata["c1"]["price_usd"] == asked
    assert (numbers(), shop.sold) == (("0.4", "0", "0"), ["a"])


async def test_dearer_arguments_are_paid_once_a_person_has_seen_their_price(guarding, shop, numbers):
    wallet = TroveWallet(guarding(policy=ask_above(0)), {"buy": by_length})
    agent = agent_of(Script([call("a")], "done"), shop, wallet, **ASKS)
    result = await agent.run("go")
    for _ in range(2):
        yes = result.output.build_results(approvals={"c1": ToolApproved(override_args={"sku": "bbb"})})
        result = await agent.run(message_history=result.all_messages(), deferred_tool_results=yes)
    assert (numbers(), shop.sold) == (("0.3", "0", "0"), ["bbb"])


async def test_a_handler_that_answers_within_the_run(guarding, shop, numbers):
    async def yes(ctx, requests):
        return requests.build_results(approve_all=True)

    wallet = TroveWallet(guarding(policy=ask_above("0.1")), {"buy": "0.3"})
    inline = HandleDeferredToolCalls(handler=yes)
    result = await agent_of(Script([call("a")], "done"), shop, wallet, capabilities=[inline]).run("go")
    assert returns(result)[-1].content == "one a"
    assert (numbers(), shop.sold) == (("0.3", "0", "0"), ["a"])


async def test_arguments_of_a_person_may_be_values_of_python(guarding, shop, numbers):
    async def buy(sku: str, on: date | None = None) -> str:
        """Buys."""
        return await Shop.buy(shop, f"{sku} on {on}")

    shop.buy = buy
    wallet = TroveWallet(guarding(policy=ask_above("0.1")), {"buy": "0.3"})
    agent = agent_of(Script([call("a")], "done", "done"), shop, wallet, **ASKS)
    first = await agent.run("go")
    for on in (date(2026, 12, 24), "2026-12-24"):
        yes = first.output.build_results(approvals={"c1": ToolApproved(override_args={"sku": "a", "on": on})})
        await agent.run(message_history=first.all_messages(), deferred_tool_results=yes)
    assert (numbers(), shop.sold) == (("0.3", "0", "0"), ["a on 2026-12-24"])
