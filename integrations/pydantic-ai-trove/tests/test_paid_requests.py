"""Requests to models that are paid from the wallet."""

from contextlib import nullcontext
from decimal import Decimal

import pytest
from pydantic_ai import (
    Agent,
    ModelResponse,
)
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.usage import RequestUsage

from pydantic_ai_trove import TroveWallet, UnpricedModelWarning
from trove_agents import BudgetExceededError

from .shopping import Script, agent_of, call


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
