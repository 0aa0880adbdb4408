"""Paid tools in agents: how each call is known, and every ending."""

import asyncio
from decimal import Decimal

import pytest
from pydantic import Base64Bytes
from pydantic_ai import (
    Agent,
    DeferredToolRequests,
    FunctionToolset,
    ModelRetry,
    ToolCallPart,
    ToolFailed,
    ToolReturn,
)
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import ApprovalRequired, SkipToolExecution, UnexpectedModelBehavior, UserError
from pydantic_ai.models.function import DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.toolsets import WrapperToolset

from pydantic_ai_trove import PaymentWaits, Priced, Spent, TroveWallet, WalletToolset
from trove_agents.guard import (
    AlreadyPaid,
    ApprovalNeeded,
    Guard,
    Metered,
    NotCharged,
    ask_above,
    not_sent,
)

from .histories import returns
from .shopping import ASKS, Script, Shop, agent_of, by_length, call


async def test_a_call_is_paid_for_and_has_its_receipt(guarding, shop, numbers):
    paid = TroveWallet(guarding(), {"buy": Priced("0.3", vendor="acme")})
    (part,) = returns(await agent_of(Script([call("a")], "done"), shop, paid).run("go"))
    assert (part.content, part.metadata["receipt"]["charged_usd"]) == ("one a", "0.3")
    assert part.metadata["receipt"]["vendor"] == "acme"
    assert (numbers(), shop.sold) == (("0.3", "0", "0"), ["a"])


async def test_prices_in_the_definitions_of_tools_and_from_a_function(guarding, shop, numbers):
    metadata = {"price_usd": "0.2", "vendor": "acme"}
    wallet = TroveWallet(guarding())
    (part,) = returns(await agent_of(Script([call("a")], "done"), shop, wallet, metadata=metadata).run("go"))
    assert (part.metadata["receipt"]["charged_usd"], part.metadata["receipt"]["vendor"]) == ("0.2", "acme")
    wallet = TroveWallet(guarding(), lambda tool: Decimal("0.1") if tool.name == "buy" else None)
    await agent_of(Script([call("b")], "done"), shop, wallet).run("go")
    assert numbers() == ("0.3", "0", "0")


async def test_a_retry_of_the_tools_own_is_not_charged_and_the_next_call_is_another(guarding, shop, numbers):
    shop.then = [ModelRetry("which colour?")]
    wallet = TroveWallet(guarding(), {"buy": "0.3"})
    result = await agent_of(Script([call("a", "c1")], [call("a", "c2")], "done"), shop, wallet).run("go")
    assert [part.outcome for part in returns(result)] == ["retried", "success"]
    assert numbers() == ("0.3", "0", "0")


async def test_a_retry_that_may_have_been_charged_is_in_doubt(guarding, shop, numbers):
    shop.then = [ModelRetry("which colour?")]
    wallet = TroveWallet(guarding(), {"buy": Priced("0.3", retry_charges=True)})
    await agent_of(Script([call("a", "c1")], [call("b", "c2")], "done"), shop, wallet).run("go")
    assert numbers() == ("0.3", "0", "0.3")


@pytest.mark.parametrize(
    ("error", "then"),
    [
        (ConnectionResetError(), ("0", "0", "0.3")),
        (ConnectionRefusedError(), ("0", "0", "0")),
        (NotCharged(), ("0", "0", "0")),
    ],
)
async def test_a_retry_that_passes_a_failure_on_is_what_the_failure_is(guarding, shop, numbers, error, then):
    async def buy(sku: str) -> str:
        """Buys."""
        try:
            return await Shop.buy(shop, sku)
        except (ConnectionError, NotCharged):
            raise ModelRetry("try again") from None

    shop.then, shop.buy = [error], buy
    wallet = TroveWallet(guarding(), {"buy": Priced("0.3", not_charged=not_sent)})
    await agent_of(Script([call("a")], "done"), shop, wallet).run("go")
    assert numbers() == then


@pytest.mark.parametrize("key", ["paid", "asked"])
async def test_what_the_tool_raises_is_its_own(guarding, shop, numbers, wallet, journal, key):
    """Also where it has paid for something of its own: that result is not this tool's, and that question not of it."""
    inner = Guard(wallet, journal=journal, policy=ask_above("0.01"))
    inner.pay(lambda: "something else", "0.02", key="paid", approved=True)

    async def buy(sku: str) -> str:
        """Buys."""
        return inner.authorize("0.02", key=key).__enter__()

    shop.buy = buy
    with pytest.raises(AlreadyPaid if key == "paid" else ApprovalNeeded):
        await agent_of(Script([call("a")], "done"), shop, TroveWallet(guarding(), {"buy": "0.3"})).run("go")
    assert numbers() == ("0.02", "0", "0.3")


async def test_a_timeout_is_no_retry_it_is_in_doubt_and_the_same_again_needs_a_person(
    guarding, shop, numbers
):
    shop.then = [30.0]
    wallet = TroveWallet(guarding(), {"buy": "0.3"})
    script = Script([call("a", "c1")], [call("a", "c2")], "done")
    result = await agent_of(script, shop, wallet, timeout=0.05, **ASKS).run("go")
    assert isinstance(result.output, DeferredToolRequests)
    assert "paid before" in result.output.metadata["c2"]["reason"]
    assert (numbers(), shop.sold) == (("0", "0", "0.3"), ["a"])


@pytest.mark.parametrize("sku", ["a", "b"])
async def test_an_id_that_a_model_uses_again_is_another_purchase(guarding, shop, numbers, sku):
    wallet = TroveWallet(guarding(), {"buy": "0.3"})
    await agent_of(Script([call("a", "c1")], [call(sku, "c1")], "done"), shop, wallet).run("go")
    assert (numbers(), shop.sold) == (("0.6", "0", "0"), ["a", sku])


async def test_runs_whose_models_use_the_same_ids_are_purchases_of_their_own(guarding, shop, numbers):
    agent = agent_of(Script(), shop, TroveWallet(guarding(), {"buy": "0.3"}))
    for _ in range(2):
        await agent.run("go", model=TestModel(), conversation_id="chat")
    assert (numbers(), len(shop.sold)) == (("0.6", "0", "0"), 2)


async def test_an_id_twice_in_a_response_is_refused_before_anything_is_paid(guarding, shop, numbers):
    agent = agent_of(Script([call("a"), call("a")]), shop, TroveWallet(guarding(), {"buy": "0.3"}))
    with pytest.raises(UnexpectedModelBehavior, match="unique"):
        await agent.run("go")
    assert (numbers(), shop.sold) == (("0", "0", "0"), [])


async def test_parallel_calls_are_paid_each_and_those_over_the_budget_are_told_so(guarding, shop, numbers):
    wallet = TroveWallet(guarding(), {"buy": "0.4"})
    calls = [call("a", f"c{n}") for n in range(3)]
    parts = returns(await agent_of(Script(calls, "done"), shop, wallet).run("go"))
    assert sorted(part.outcome for part in parts) == ["failed", "success", "success"]
    (refused,) = [part for part in parts if part.outcome == "failed"]
    assert "needs $0.40, and $0.20 remain" in refused.content
    assert (numbers(), len(shop.sold)) == (("0.8", "0", "0"), 2)


async def test_arguments_may_be_bytes(guarding, shop, numbers):
    async def buy(picture: Base64Bytes) -> str:
        """Buys."""
        return await Shop.buy(shop, picture.hex())

    shop.buy = buy
    asks = Script([ToolCallPart("buy", {"picture": "iVD/"}, tool_call_id="c1")], "done")
    await agent_of(asks, shop, TroveWallet(guarding(), {"buy": "0.3"})).run("go")
    assert (numbers(), shop.sold) == (("0.3", "0", "0"), ["8950ff"])


@pytest.mark.parametrize(
    ("error", "then"),
    [(ToolFailed("sold out"), ("0", "0", "0.3")), (NotCharged("closed"), ("0", "0", "0"))],
)
async def test_other_ends_of_a_tool(guarding, shop, numbers, error, then):
    shop.then = [error]
    wallet = TroveWallet(guarding(), {"buy": "0.3"})
    agent = agent_of(Script([call("a")], "done"), shop, wallet)
    if isinstance(error, NotCharged):
        with pytest.raises(NotCharged):
            await agent.run("go")
    else:
        await agent.run("go")
    assert numbers() == then


@pytest.mark.parametrize("around", ["after", "wrap"])
@pytest.mark.parametrize(
    ("error", "then"),
    [
        (SkipToolExecution("not shown"), ("0.3", "0", "0")),
        (ModelRetry("unfit"), ("0", "0", "0.3")),
        (ApprovalRequired(), ("0", "0", "0.3")),
    ],
    ids=["replaces it", "rejects it", "asks for it"],
)
async def test_what_a_hook_makes_of_a_result_gives_no_money_back(
    guarding, shop, numbers, around, error, then
):
    class After(AbstractCapability):
        async def after_tool_execute(self, ctx, *, call, tool_def, args, result):
            raise error

    class Around(AbstractCapability):
        async def wrap_tool_execute(self, ctx, *, call, tool_def, args, handler):
            await handler(args)
            raise error

    hooks = [After() if around == "after" else Around()]
    wallet = TroveWallet(guarding(), {"buy": "0.3"})
    await agent_of(Script([call("a")], "done"), shop, wallet, capabilities=hooks, **ASKS).run("go")
    assert (numbers(), shop.sold) == (then, ["a"])


async def test_a_hook_that_answers_instead_of_the_tool_costs_nothing(guarding, shop, numbers):
    class Answering(AbstractCapability):
        async def before_tool_execute(self, ctx, *, call, tool_def, args):
            raise SkipToolExecution("known")

    wallet = TroveWallet(guarding(), {"buy": "0.3"})
    agent = agent_of(Script([call("a")], "done"), shop, wallet, capabilities=[Answering()])
    assert returns(await agent.run("go"))[-1].content == "known"
    assert (numbers(), shop.sold) == (("0", "0", "0"), [])


async def test_evidence_of_ones_own(guarding, shop, numbers):
    shop.then = [ConnectionRefusedError()]
    priced = Priced("0.3", not_charged=lambda error: isinstance(error, ConnectionRefusedError))
    with pytest.raises(ConnectionRefusedError):
        await agent_of(Script([call("a")], "done"), shop, TroveWallet(guarding(), {"buy": priced})).run("go")
    assert numbers() == ("0", "0", "0")


async def test_a_cancelled_run_leaves_the_payment_in_doubt(guarding, shop, numbers):
    shop.then = [30.0]
    agent = agent_of(Script([call("a")], "done"), shop, TroveWallet(guarding(), {"buy": "0.3"}))
    running = asyncio.create_task(agent.run("go"))
    while not shop.sold:
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert numbers() == ("0", "0", "0.3")


async def test_a_metered_tool_that_returns_more_than_a_value(guarding, shop, numbers):
    shop.then = [ToolReturn({"cost": "0.05"}, content="a picture", metadata={"own": 1})]
    wallet = TroveWallet(guarding(), {"buy": Metered("0.5", lambda value: value["cost"])})
    (part,) = returns(await agent_of(Script([call("a")], "done"), shop, wallet).run("go"))
    assert (part.metadata["own"], part.metadata["receipt"]["charged_usd"]) == (1, "0.05")
    assert numbers() == ("0.05", "0", "0")


async def test_a_result_that_is_no_json_is_paid_all_the_same(guarding, wallet, numbers):
    class Page:
        """What only the program can use."""

    async def buy(name, args, ctx, tool):
        return Page()

    inner = FunctionToolset(id="shop")
    inner.add_function(Shop().buy, name="buy")
    inner.call_tool = buy
    toolset = WalletToolset(inner, guarding(), {"buy": "0.3"})
    given = []

    class Watching(WrapperToolset):
        async def call_tool(self, *args):
            given.append(await super().call_tool(*args))
            return "done"

    await Agent(FunctionModel(Script([call("a")], "done")), toolsets=[Watching(toolset)]).run("go")
    assert type(given[0].return_value) is Page
    assert numbers() == ("0.3", "0", "0")


async def test_the_model_sees_prices_and_what_is_left(guarding, shop):
    script = Script([call("a")], "done")
    await agent_of(script, shop, TroveWallet(guarding(), {"buy": "0.3"})).run("go")
    assert script.tools[0][0].description == "Buys. Costs $0.30 a call."
    assert "$1.00 of $1.00 remain" in script.seen[0][-1].instructions
    assert "$0.70 of $1.00 remain" in str(script.seen[1])


async def test_events_say_what_was_spent_and_what_waits(guarding, shop):
    found = []

    async def keep(ctx, events):
        async for event in events:
            found.append(event)

    wallet = TroveWallet(guarding(policy=ask_above("0.2")), {"buy": by_length})

    async def streamed(messages, info):
        yield {
            0: DeltaToolCall("buy", '{"sku": "a"}', tool_call_id="c1"),
            1: DeltaToolCall("buy", '{"sku": "aaa"}', tool_call_id="c2"),
        }

    agent = agent_of(Script(), shop, wallet, **ASKS)
    await agent.run("go", model=FunctionModel(stream_function=streamed), event_stream_handler=keep)
    (spent,) = [event for event in found if isinstance(event, Spent)]
    (waits,) = [event for event in found if isinstance(event, PaymentWaits)]
    assert (spent.tool, spent.receipt["charged_usd"], waits.price_usd) == ("buy", "0.1", "0.3")


async def test_a_toolset_alone(guarding, shop, numbers):
    tools = FunctionToolset(id="shop")
    tools.add_function(shop.buy, name="buy")
    paid = WalletToolset(tools, guarding(policy=ask_above("0.3")), {"buy": by_length})
    script = Script([call("aaa", "c1"), call("aaaa", "c2")], "done")
    result = await Agent(FunctionModel(script), toolsets=[paid], **ASKS).run("go")
    assert list(result.output.metadata) == ["c2"]
    assert (numbers(), shop.sold) == (("0.3", "0", "0"), ["aaa"])


async def test_the_wrong_guard_or_amount_is_told_at_once(guarding):
    with pytest.raises(TypeError, match="takes a Guard or an AsyncGuard, not str"):
        TroveWallet("guard")
    with pytest.raises(TypeError, match="not float"):
        TroveWallet(guarding(), models=0.1)


async def test_it_cannot_be_loaded_on_demand(guarding):
    with pytest.raises(UserError, match="on demand"):
        TroveWallet(guarding(), defer_loading=True, id="later")
