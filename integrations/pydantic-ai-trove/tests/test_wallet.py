"""Paid tools in agents: how each call is known again, every ending, and who is asked."""

import asyncio
from contextlib import nullcontext, suppress
from datetime import date, timedelta, timezone
from decimal import Decimal

import pytest
from pydantic import Base64Bytes
from pydantic_ai import (
    Agent,
    BinaryContent,
    BinaryImage,
    DeferredToolRequests,
    FunctionToolset,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    ModelRetry,
    TextPart,
    Tool,
    ToolApproved,
    ToolCallPart,
    ToolDenied,
    ToolFailed,
    ToolReturn,
    ToolReturnPart,
    capture_run_messages,
)
from pydantic_ai.capabilities import AbstractCapability, HandleDeferredToolCalls
from pydantic_ai.exceptions import ApprovalRequired, SkipToolExecution, UnexpectedModelBehavior, UserError
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.toolsets import WrapperToolset
from pydantic_ai.ui.vercel_ai import VercelAIAdapter
from pydantic_ai.usage import RequestUsage

from pydantic_ai_trove import PaymentWaits, Priced, Spent, TroveWallet, UnpricedModelWarning, WalletToolset
from trove_agents import BudgetExceededError
from trove_agents.guard import (
    AlreadyPaid,
    ApprovalNeeded,
    AsyncGuard,
    Guard,
    Metered,
    NotCharged,
    ask_above,
    not_sent,
)


@pytest.fixture(params=["in threads", "asyncio"])
async def guarding(request, trove, wallet, journal):
    """Makes guards of either kind."""
    if request.param == "in threads":
        yield lambda **named: Guard(wallet, journal=journal, **named)
        return
    client = trove.async_wallets()
    handle = await client.wallet(wallet.agent_id, budget_usd=1)
    yield lambda **named: AsyncGuard(handle, journal=journal, **named)
    await client.aclose()


class Script:
    """A model that says its next line, however often it is asked; what it was told is kept."""

    def __init__(self, *lines, usage=None):
        self.lines, self.seen, self.tools, self.usage = list(lines), [], [], usage

    def __call__(self, messages, info):
        self.seen.append(messages)
        self.tools.append(info.function_tools)
        line = self.lines.pop(0)
        parts = [TextPart(line)] if isinstance(line, str) else line
        return ModelResponse(parts=parts, **({"usage": self.usage} if self.usage else {}))


class Shop:
    """A tool that charges, and then does as its test says."""

    def __init__(self):
        self.sold, self.then = [], []

    async def buy(self, sku: str) -> str:
        """Buys."""
        self.sold.append(sku)
        happens = self.then.pop(0) if self.then else None
        if isinstance(happens, BaseException):
            raise happens
        if isinstance(happens, float):
            await asyncio.sleep(happens)
            happens = None
        return f"one {sku}" if happens is None else happens


@pytest.fixture
def shop():
    return Shop()


def call(sku, id="c1"):
    return ToolCallPart("buy", {"sku": sku}, tool_call_id=id)


def agent_of(script, shop, wallet, *, metadata=None, timeout=None, capabilities=(), **options):
    tools = FunctionToolset(id="shop", max_retries=3, timeout=timeout)
    tools.add_function(shop.buy, name="buy", metadata=metadata)
    return Agent(FunctionModel(script), toolsets=[tools], capabilities=[wallet, *capabilities], **options)


def returned(result):
    return [
        part
        for message in result.all_messages()
        for part in message.parts
        if isinstance(part, ToolReturnPart)
    ]


ASKS = {"output_type": [str, DeferredToolRequests]}


async def test_a_call_is_paid_for_and_has_its_receipt(guarding, shop, numbers):
    paid = TroveWallet(guarding(), {"buy": Priced("0.3", vendor="acme")})
    (part,) = returned(await agent_of(Script([call("a")], "done"), shop, paid).run("go"))
    assert (part.content, part.metadata["receipt"]["charged_usd"]) == ("one a", "0.3")
    assert part.metadata["receipt"]["vendor"] == "acme"
    assert (numbers(), shop.sold) == (("0.3", "0", "0"), ["a"])


async def test_prices_in_the_definitions_of_tools_and_from_a_function(guarding, shop, numbers):
    metadata = {"price_usd": "0.2", "vendor": "acme"}
    wallet = TroveWallet(guarding())
    (part,) = returned(await agent_of(Script([call("a")], "done"), shop, wallet, metadata=metadata).run("go"))
    assert (part.metadata["receipt"]["charged_usd"], part.metadata["receipt"]["vendor"]) == ("0.2", "acme")
    wallet = TroveWallet(guarding(), lambda tool: Decimal("0.1") if tool.name == "buy" else None)
    await agent_of(Script([call("b")], "done"), shop, wallet).run("go")
    assert numbers() == ("0.3", "0", "0")


async def test_a_retry_of_the_tools_own_is_not_charged_and_the_next_call_is_another(guarding, shop, numbers):
    shop.then = [ModelRetry("which colour?")]
    wallet = TroveWallet(guarding(), {"buy": "0.3"})
    result = await agent_of(Script([call("a", "c1")], [call("a", "c2")], "done"), shop, wallet).run("go")
    assert [part.outcome for part in returned(result)] == ["retried", "success"]
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
    parts = returned(await agent_of(Script(calls, "done"), shop, wallet).run("go"))
    assert sorted(part.outcome for part in parts) == ["failed", "success", "success"]
    (refused,) = [part for part in parts if part.outcome == "failed"]
    assert "needs $0.40, and $0.20 remain" in refused.content
    assert (numbers(), len(shop.sold)) == (("0.8", "0", "0"), 2)


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
        assert returned(again)[-1].content == "one a"
    assert (numbers(), shop.sold) == (("0.3", "0", "0"), ["a"])


async def test_a_no_costs_nothing(guarding, shop, numbers):
    wallet = TroveWallet(guarding(policy=ask_above("0.1")), {"buy": "0.3"})
    agent = agent_of(Script([call("a")], "done"), shop, wallet, **ASKS)
    first = await agent.run("go")
    results = first.output.build_results(approvals={"c1": ToolDenied("too dear")})
    result = await agent.run(message_history=first.all_messages(), deferred_tool_results=results)
    assert returned(result)[-1].outcome == "denied"
    assert (numbers(), shop.sold) == (("0", "0", "0"), [])


def by_length(arguments):
    return Decimal(len(arguments["sku"])) / 10


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
    assert returned(result)[-1].content == "one a"
    assert (numbers(), shop.sold) == (("0.3", "0", "0"), ["a"])


@pytest.mark.parametrize("store", ["json", "of another time zone"])
async def test_a_history_that_ends_at_the_call_runs_it_again_and_pays_once(guarding, shop, numbers, store):
    wallet = TroveWallet(guarding(), {"buy": "0.3"})
    agent = agent_of(Script([call("a")], "done", "done"), shop, wallet)
    whole = (await agent.run("go")).all_messages()
    stored = ModelMessagesTypeAdapter.dump_json(whole[:2])
    history = ModelMessagesTypeAdapter.validate_json(stored)
    if store == "of another time zone":
        history[1].timestamp = history[1].timestamp.astimezone(timezone(timedelta(hours=2)))
    again = await agent.run(message_history=history)
    assert returned(again)[-1].content == "one a"
    assert (numbers(), shop.sold) == (("0.3", "0", "0"), ["a"])


async def test_a_crash_in_the_tool_is_in_doubt_for_the_resumed_history(guarding, shop, numbers):
    wallet = TroveWallet(guarding(), {"buy": "0.3"})
    agent = agent_of(Script([call("a")], "done"), shop, wallet)
    shop.then = [RuntimeError("gone")]
    with pytest.raises(RuntimeError):
        async with agent.iter("go") as run:
            async for _ in run:
                kept = run.all_messages()[:2]
    again = await agent.run(
        message_history=ModelMessagesTypeAdapter.validate_json(ModelMessagesTypeAdapter.dump_json(kept))
    )
    assert "do not try it again" in returned(again)[-1].content
    assert (numbers(), shop.sold) == (("0", "0", "0.3"), ["a"])


async def test_a_history_that_says_that_a_call_was_interrupted_does_not_pay_it_again(guarding, shop, numbers):
    agent = agent_of(Script([call("a")], "done"), shop, TroveWallet(guarding(), {"buy": "0.3"}))
    shop.then = [RuntimeError("gone")]
    with capture_run_messages() as captured, pytest.raises(RuntimeError):
        await agent.run("go")
    again = await agent.run(message_history=captured)
    assert returned(again)[-1].outcome == "interrupted"
    assert (numbers(), shop.sold) == (("0", "0", "0.3"), ["a"])


async def test_a_picture_that_was_paid_for_before_is_a_picture_again(guarding, shop, numbers):
    async def buy(sku: str) -> list[str | BinaryContent]:
        """Buys."""
        return ["here", BinaryContent(b"\x89PNG\xff", media_type=await Shop.buy(shop, sku))]

    shop.buy, shop.then = buy, ["image/png"]
    agent = agent_of(Script([call("a")], "done", "done"), shop, TroveWallet(guarding(), {"buy": "0.3"}))
    first = await agent.run("go")
    again = await agent.run(message_history=first.all_messages()[:2])
    (said, picture), (_, before) = returned(again)[-1].content, returned(first)[-1].content
    assert (said, type(picture), picture.data) == ("here", BinaryImage, before.data)
    assert (numbers(), shop.sold) == (("0.3", "0", "0"), ["a"])


async def test_arguments_may_be_bytes(guarding, shop, numbers):
    async def buy(picture: Base64Bytes) -> str:
        """Buys."""
        return await Shop.buy(shop, picture.hex())

    shop.buy = buy
    asks = Script([ToolCallPart("buy", {"picture": "iVD/"}, tool_call_id="c1")], "done")
    await agent_of(asks, shop, TroveWallet(guarding(), {"buy": "0.3"})).run("go")
    assert (numbers(), shop.sold) == (("0.3", "0", "0"), ["8950ff"])


async def test_a_history_that_ends_at_the_call_takes_no_prompt_and_pays_nothing(guarding, shop, numbers):
    agent = agent_of(Script([call("a")], "done"), shop, TroveWallet(guarding(), {"buy": "0.3"}))
    whole = (await agent.run("go")).all_messages()
    with pytest.raises(UserError, match="unprocessed"):
        await agent.run("and now?", message_history=whole[:2])
    assert (numbers(), shop.sold) == (("0.3", "0", "0"), ["a"])


def rebuilt(messages):
    """As an interface has them that keeps what was said alone: neither runs nor times."""
    return [
        ModelResponse(parts=each.parts) if isinstance(each, ModelResponse) else ModelRequest(parts=each.parts)
        for each in messages
    ]


def through_an_interface(messages):
    """There and back, as a browser has them."""
    return VercelAIAdapter.load_messages(VercelAIAdapter.dump_messages(messages))


@pytest.mark.parametrize("rebuild", [rebuilt, through_an_interface])
async def test_an_approval_resumed_twice_from_rebuilt_histories_is_one_purchase(
    guarding, shop, numbers, rebuild
):
    wallet = TroveWallet(guarding(policy=ask_above("0.1")), {"buy": "0.3"})
    agent = agent_of(Script([call("a")], "done", "done", "done"), shop, wallet, **ASKS)
    first = await agent.run("go", conversation_id="chat")
    results = first.output.build_results(approvals={"c1": True})
    told = first.all_messages()
    for history in (rebuild(told), rebuild(told), told):
        again = await agent.run(
            message_history=history, deferred_tool_results=results, conversation_id="chat"
        )
        assert returned(again)[-1].content == "one a"
    assert (numbers(), shop.sold) == (("0.3", "0", "0"), ["a"])


@pytest.mark.parametrize("ends", ["well", "in doubt"])
async def test_a_rebuilt_history_that_ends_at_the_call_is_the_same_payment(guarding, shop, numbers, ends):
    agent = agent_of(Script([call("a")], "done", "done"), shop, TroveWallet(guarding(), {"buy": "0.3"}))
    shop.then = [RuntimeError("gone")] if ends == "in doubt" else []
    kept = []
    with suppress(RuntimeError):
        async with agent.iter("go", conversation_id="chat") as run:
            async for _ in run:
                kept = kept or rebuilt(run.all_messages()[:2]) * (len(run.all_messages()) > 1)
    again = await agent.run(message_history=kept, conversation_id="chat")
    said = returned(again)[-1].content
    assert (said == "one a") if ends == "well" else ("do not try it again" in said)
    assert (numbers(), shop.sold) == (
        ("0.3", "0", "0") if ends == "well" else ("0", "0", "0.3"),
        ["a"],
    )


@pytest.mark.parametrize("lost", ["which use of the id", "the conversation"])
async def test_what_a_rebuilt_history_cannot_tell_apart_is_not_paid(guarding, shop, numbers, lost):
    """The same was bought under the same id: as this call, which is resumed once more, or as another one."""
    uses = 2 if lost == "which use of the id" else 1
    script = Script(*[[call("a")], "done"] * uses, "done")
    agent = agent_of(script, shop, TroveWallet(guarding(), {"buy": "0.3"}))
    history = []
    for _ in range(uses):
        whole = (await agent.run("go", message_history=history, conversation_id="chat")).all_messages()
        cut, history = [*history, *whole[len(history) :][:2]], whole
    paid = numbers(), list(shop.sold)
    conversation = "chat" if uses == 2 else "other"
    again = await agent.run(message_history=rebuilt(cut), conversation_id=conversation)
    assert "cannot be told" in returned(again)[-1].content
    assert (numbers(), shop.sold) == paid


async def test_other_purchases_in_rebuilt_histories_are_paid(guarding, shop, numbers):
    """Of other arguments under an id that was used before, and of what certainly cost nothing before."""
    shop.then = [ModelRetry("which colour?")]
    wallet = TroveWallet(guarding(), {"buy": "0.3"})
    agent = agent_of(Script([call("a", "c1")], "done", "done"), shop, wallet)
    history = (await agent.run("go", conversation_id="chat")).all_messages()[:2]
    assert numbers() == ("0", "0", "0")
    for sku in "ab":
        again = await agent.run(message_history=rebuilt(history), conversation_id="chat")
        assert returned(again)[-1].content == f"one {sku}"
        history = [*again.all_messages()[:3], ModelResponse(parts=[call("b", "c1")])]
        agent = agent_of(Script("done"), shop, wallet)
    assert (numbers(), shop.sold) == (("0.6", "0", "0"), ["a", "a", "b"])


@pytest.mark.parametrize("rebuild", [list, rebuilt])
@pytest.mark.parametrize("charged", [True, False])
async def test_arguments_that_a_person_changes_are_another_purchase(
    guarding, shop, numbers, rebuild, charged
):
    """Each is bought once, however often its approval is resumed."""
    shop.then = [] if charged else [ModelRetry("sold out")]
    wallet = TroveWallet(guarding(policy=ask_above("0.1")), {"buy": "0.3"})
    agent = agent_of(Script([call("a")], *["done"] * 9), shop, wallet, **ASKS)
    first = await agent.run("go", conversation_id="chat")
    told = []
    for sku in "bcbc":
        yes = ToolApproved(override_args={"sku": sku})
        results = first.output.build_results(approvals={"c1": yes})
        history = rebuild(first.all_messages())
        again = await agent.run(
            message_history=history, deferred_tool_results=results, conversation_id="chat"
        )
        told.append(returned(again)[-1].content)
    assert numbers() == ("0.6", "0", "0")
    assert shop.sold == (["b", "c"] if charged else ["b", "c", "b"])
    assert told == ["one b" if charged else "sold out", "one c", "one b", "one c"]


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
    assert returned(await agent.run("go"))[-1].content == "known"
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
    (part,) = returned(await agent_of(Script([call("a")], "done"), shop, wallet).run("go"))
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


async def test_requests_to_models_are_paid_until_the_money_is_gone(guarding, shop, numbers):
    script = Script(
        *([[call("a", f"c{n}")] for n in range(9)]), usage=RequestUsage(cost=Decimal("0.3000001"))
    )
    wallet = TroveWallet(guarding(), models="0.35")
    with pytest.raises(BudgetExceededError):
        await agent_of(script, shop, wallet).run("go")
    assert (numbers(), len(shop.sold)) == (("0.900003", "0", "0"), 3)


async def test_a_model_without_a_price_is_said(guarding, shop, numbers):
    with pytest.warns(UnpricedModelWarning, match="price"):
        await agent_of(Script("done"), shop, TroveWallet(guarding(), models="0.35")).run("go")
    assert numbers() == ("0", "0", "0")


async def test_a_model_that_costs_more_than_was_held_is_said(guarding, shop, numbers):
    script = Script("done", usage=RequestUsage(cost=Decimal("0.4")))
    with pytest.warns(UnpricedModelWarning, match="raise models"):
        await agent_of(script, shop, TroveWallet(guarding(), models="0.35")).run("go")
    assert numbers() == ("0.35", "0", "0")


@pytest.mark.parametrize(("cost", "paid"), [(Decimal("0.1"), "0.15"), (None, "0.05")])
async def test_a_response_that_was_rejected_for_another_is_paid_too(guarding, numbers, cost, paid):
    def unfit(response: ModelResponse) -> bool:
        return response.parts[0].content == "unfit"

    answers = [("unfit", cost), ("fit", Decimal("0.05"))]
    models = [
        FunctionModel(Script(said, usage=RequestUsage(input_tokens=1, cost=usd))) for said, usd in answers
    ]
    agent = Agent(
        FallbackModel(*models, fallback_on=unfit), capabilities=[TroveWallet(guarding(), models="0.35")]
    )
    with nullcontext() if cost else pytest.warns(UnpricedModelWarning, match="was rejected"):
        assert (await agent.run("go")).output == "fit"
    assert numbers() == (paid, "0", "0")


@pytest.mark.parametrize("ends", [None, "broken off", "cancelled"])
async def test_a_stream_that_is_not_read_to_its_end_is_in_doubt(guarding, numbers, ends):
    """What it did cost stands there."""

    async def streamed(messages, info):
        yield "one "
        yield "two"

    wallet = TroveWallet(guarding(), models="0.35")
    agent = Agent(FunctionModel(stream_function=streamed), capabilities=[wallet])
    told = pytest.warns(UnpricedModelWarning) if ends is None else nullcontext()
    with told:
        async with agent.run_stream("go") as result:
            async for _ in result.stream_text(debounce_by=None):
                if ends == "cancelled":
                    await result.cancel()
                if ends is not None:
                    break
    assert numbers() == ("0", "0", "0" if ends is None else "0.35")


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
