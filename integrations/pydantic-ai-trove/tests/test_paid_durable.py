"""Payments in durable runs: a run that is made again, from what an engine recorded, pays nothing and is told the same."""

import asyncio
from decimal import Decimal

import pytest
from pydantic_ai import (
    Agent,
    BinaryContent,
    DeferredToolRequests,
    FunctionToolset,
    ModelResponse,
    ModelRetry,
    TextPart,
    ToolCallPart,
    ToolFailed,
    ToolReturn,
    ToolReturnPart,
)
from pydantic_ai.capabilities import AbstractCapability, HandleDeferredToolCalls
from pydantic_ai.exceptions import ApprovalRequired, CallDeferred, SkipToolExecution, UserError
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.usage import RequestUsage

from pydantic_ai_trove import TroveWallet, WalletToolset
from pydantic_ai_trove.requests import Requests
from trove_agents import BudgetExceededError, Step
from trove_agents.guard import Guard, NotCharged, ask_above

from .engine import Durability, Recorded


class Killed(BaseException):
    """The end of a process, as far as one test can have it."""


class Shop:
    """A program: its tool, its model, and what it was asked. Made again it is another process."""

    def __init__(self, guard, does, *, calls=("c1",), models=None, away=False, toolset=False, inner=()):
        self.sold, self.seen, self.does, self.calls = [], [], does, calls
        tools = FunctionToolset(id="shop", max_retries=3, timeout=0.05 if does == 30.0 else None)
        tools.add_function(self.buy, name="buy")
        paid = [] if toolset else [TroveWallet(guard, {"buy": "0.3"}, models=models)]
        self.agent = Agent(
            FunctionModel(lambda *asked: self.answer(*asked), model_name="scripted"),
            name="shop",
            toolsets=[WalletToolset(tools, guard, {"buy": "0.3"}) if toolset else tools],
            capabilities=[Durability(away=away), *paid, *inner],
            output_type=[str, DeferredToolRequests],
        )

    async def buy(self, sku: str) -> str:
        """Buys."""
        self.sold.append(sku)
        if isinstance(self.does, BaseException):
            raise self.does
        if isinstance(self.does, float):
            await asyncio.sleep(self.does)
        return self.does

    def answer(self, messages, info):
        self.seen.append([getattr(part, "content", None) for part in messages[-1].parts])
        if any(isinstance(message, ModelResponse) for message in messages):
            return ModelResponse([TextPart("done")], usage=RequestUsage(cost=Decimal("0.01")))
        calls = [ToolCallPart("buy", {"sku": each}, each) for each in self.calls]
        return ModelResponse(calls, usage=RequestUsage(cost=Decimal("0.01")))

    async def run(self, recorded):
        with recorded.container():
            return await self.agent.run("go")


def returned(result):
    return [
        (part.outcome, part.content, part.metadata)
        for message in result.all_messages()
        for part in message.parts
        if isinstance(part, ToolReturnPart)
    ]


ENDS = {
    "a text": ("one", ("0.3", "0", "0")),
    "more than a value": (
        ToolReturn(
            {"a": 1}, content=["this", BinaryContent(b"1", media_type="image/png")], metadata={"own": 1}
        ),
        ("0.3", "0", "0"),
    ),
    "a retry": (ModelRetry("which colour?"), ("0", "0", "0")),
    "a timeout": (30.0, ("0", "0", "0.3")),
    "a failure": (ToolFailed("sold out"), ("0", "0", "0.3")),
    "a wait for a yes": (ApprovalRequired({"why": "x"}), ("0", "0.3", "0")),
    "a wait for others": (CallDeferred({"why": "x"}), ("0", "0.3", "0")),
}


@pytest.mark.parametrize("end", ENDS)
async def test_made_again_a_run_is_told_the_same_and_nothing_is_run(wallet, journal, numbers, end):
    does, then = ENDS[end]
    recorded, guard = Recorded(), Guard(wallet, journal=journal)
    first, again = Shop(guard, does), Shop(guard, Killed())
    results = [await each.run(recorded) for each in (first, again)]
    assert (first.sold, again.sold, again.seen) == (["c1"], [], [])
    assert returned(results[0]) == returned(results[1])
    first_told, told = (
        [getattr(part, "content", None) for message in each.all_messages() for part in message.parts]
        for each in results
    )
    assert first_told == told
    assert str(results[0].output) == str(results[1].output)
    assert numbers() == then
    assert recorded.names().count("pay") == 1


async def test_a_refusal_and_a_question_are_what_they_were(wallet, journal, numbers):
    """Though by then there would be money for it, and nobody would ask."""
    recorded, asked = Recorded(), Recorded()
    large = Guard(wallet, journal=journal)
    with large.authorize("0.9", key="other") as payment:
        refused = await Shop(large, "one").run(recorded)
        payment.void()
    assert returned(await Shop(large, Killed()).run(recorded)) == returned(refused)
    assert "needs $0.30, and $0.10 remain" in returned(refused)[0][1]
    waits = await Shop(Guard(wallet, journal=journal, policy=ask_above(0)), "one").run(asked)
    assert (await Shop(large, Killed()).run(asked)).output == waits.output
    assert waits.output.metadata["c1"]["price_usd"] == "0.3"
    assert numbers() == ("0", "0", "0")


@pytest.mark.parametrize("moment", ["asked", "in the tool", "captured"])
async def test_a_program_that_ends_in_a_payment_makes_it_once(wallet, journal, numbers, moment):
    def dies(proposal):
        raise Killed

    recorded = Recorded()
    guard = Guard(wallet, journal=journal, policy=dies if moment == "asked" else None)
    first = Shop(guard, Killed() if moment == "in the tool" else "one")
    if moment == "captured":
        await first.run(recorded)
        paid = recorded.names().index("pay")
        recorded.units = {place: unit for place, unit in recorded.units.items() if place < paid}
    else:
        with pytest.raises(Killed):
            await first.run(recorded)
    again = Guard(wallet, journal=journal)
    again.recover()
    ((outcome, content, metadata),) = returned(await Shop(again, "one").run(recorded))
    if moment == "in the tool":
        assert (outcome, numbers()) == ("failed", ("0", "0", "0.3"))
        assert "do not try it again" in content
    else:
        assert (outcome, content, numbers()) == ("success", "one", ("0.3", "0", "0"))
        assert metadata["receipt"]["charged_usd"] == "0.3"


async def test_a_cancelled_run_is_in_doubt_when_it_is_made_again(wallet, journal, numbers):
    recorded, guard = Recorded(), Guard(wallet, journal=journal)
    first = Shop(guard, 31.0)
    running = asyncio.create_task(first.run(recorded))
    while not first.sold:
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    again = Shop(guard, Killed())
    assert "do not try it again" in returned(await again.run(recorded))[0][1]
    assert (again.sold, numbers()) == ([], ("0", "0", "0.3"))


async def test_an_answer_within_the_run_is_one_payment(wallet, journal, numbers):
    async def yes(ctx, requests):
        return requests.build_results(approve_all=True)

    recorded, guard = Recorded(), Guard(wallet, journal=journal, policy=ask_above(0))
    inline = [HandleDeferredToolCalls(handler=yes)]
    told = [returned(await Shop(guard, does, inner=inline).run(recorded)) for does in ("one", Killed())]
    assert told[0] == told[1]
    assert told[0][0][1] == "one"
    assert recorded.names().count("pay") == 2
    assert numbers() == ("0.3", "0", "0")


async def test_a_tool_that_another_capability_answers_for_costs_nothing(wallet, journal, numbers):
    class Known(AbstractCapability):
        async def before_tool_execute(self, ctx, *, call, tool_def, args):
            raise SkipToolExecution("known")

    recorded, guard = Recorded(), Guard(wallet, journal=journal)
    for _ in range(2):
        shop = Shop(guard, "one", inner=[Known()])
        assert returned(await shop.run(recorded))[0][:2] == ("success", "known")
        assert shop.sold == []
    assert numbers() == ("0", "0", "0")


async def test_what_the_model_is_told_of_the_budget_is_what_it_was(wallet, journal):
    recorded, guard = Recorded(), Guard(wallet, journal=journal)
    first = Shop(guard, "one")
    await first.run(recorded)
    assert "$0.70 of $1.00 remain" in str(first.seen[1])
    last = max(recorded.units)
    del recorded.units[last]  # the last request is made again, and by then less is left
    wallet.purchase("0.5")
    again = Shop(guard, Killed())
    await again.run(recorded)
    assert again.seen == first.seen[1:]


async def test_a_call_is_not_answered_with_what_another_came_to(wallet, journal):
    recorded, guard = Recorded(), Guard(wallet, journal=journal)
    await Shop(guard, "one", calls=["c1", "c2"]).run(recorded)
    one, two = (place for place, name in enumerate(recorded.names()) if name == "pay")
    recorded.units[one], recorded.units[two] = recorded.units[two], recorded.units[one]
    with pytest.raises(UserError, match="'c[12]' came to where 'c[12]'"):
        await Shop(guard, Killed(), calls=["c1", "c2"]).run(recorded)


@pytest.mark.parametrize("how", [{"away": True}, {"toolset": True}], ids=["engine", "toolset"])
async def test_where_it_cannot_be_paid_once_it_is_refused(wallet, journal, numbers, how):
    shop = Shop(Guard(wallet, journal=journal), "one", **how)
    with pytest.raises(UserError, match=r"Guard\.pay" if how == {"away": True} else "TroveWallet"):
        await shop.run(Recorded())
    assert (shop.sold, numbers()) == ([], ("0", "0", "0"))


async def test_requests_to_models_are_paid_once(wallet, journal, numbers):
    recorded, guard = Recorded(), Guard(wallet, journal=journal)
    for does in ("one", Killed()):
        await Shop(guard, does, models="0.05").run(recorded)
        assert numbers() == ("0.32", "0", "0")


@pytest.mark.parametrize(
    ("error", "then"), [(Killed(), "0.05"), (NotCharged(), "0.05"), (ConnectionRefusedError(), "0")]
)
async def test_a_request_that_fails_is_in_doubt_unless_it_was_turned_away(
    wallet, journal, numbers, error, then
):
    def fails(messages, info):
        raise error

    shop = Shop(Guard(wallet, journal=journal), "one", models="0.05")
    shop.answer = fails
    with pytest.raises(type(error)):
        await shop.run(Recorded())
    assert numbers() == ("0", "0", then)


async def test_a_request_that_another_program_began_stays_in_doubt(wallet, journal, numbers):
    """It may have been made twice. Only who began it may know better, if it is there after all."""
    guard = Guard(wallet, journal=journal)
    began, goes_on = (Requests(guard, Decimal("0.05")) for _ in range(2))
    key = await began.begin(Step())
    await goes_on.end(key, Decimal("0.01"), None)
    guard.recover()
    assert numbers() == ("0", "0", "0.05")
    await began.end(key, Decimal("0.01"), None)
    assert numbers() == ("0.01", "0", "0")


async def test_no_money_for_a_request_ends_the_run(wallet, journal, numbers):
    with pytest.raises(BudgetExceededError):
        await Shop(Guard(wallet, journal=journal), "one", models="2").run(Recorded())
    assert numbers() == ("0", "0", "0")
