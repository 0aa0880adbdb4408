"""Requests to models, paid from the wallet."""

from decimal import Decimal

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from langchain_trove import ModelSpendMiddleware, UnpricedModelWarning
from trove_agents import BudgetExceededError
from trove_agents.guard import AsyncGuard, Guard

GO = {"messages": [HumanMessage("go")]}


class Model(BaseChatModel):
    """Answers with a usage, or fails."""

    name: str = "gpt-4o"
    provider: str | None = "openai"
    tokens: tuple = (1000, 200)
    fails: BaseException | None = None
    model_config = {"arbitrary_types_allowed": True}

    @property
    def _llm_type(self):
        return "counting"

    def _generate(self, messages, stop=None, run_manager=None, **options):
        if self.fails is not None:
            raise self.fails
        used = {
            "input_tokens": self.tokens[0],
            "output_tokens": self.tokens[1],
            "total_tokens": sum(self.tokens),
        }
        about = {"model_name": self.name, "model_provider": self.provider}
        message = AIMessage("done", usage_metadata=used, response_metadata=about)
        return ChatResult(generations=[ChatGeneration(message=message)])


@pytest.fixture
def wallet(trove, request):
    return trove.wallet(request.node.name[:250], budget_usd="0.1")


@pytest.fixture
def guard(wallet, tmp_path):
    with Guard(wallet, journal=tmp_path / "payments.db") as opened:
        yield opened


def numbers(wallet):
    found = wallet.balance()
    return tuple(str(each) for each in (found.total_spent, found.held_usd, found.in_doubt_usd))


def test_what_the_list_says_is_captured(guard, wallet):
    """gpt-4o: $2.50 and $10 for a million tokens in and out."""
    create_agent(Model(), [], middleware=[ModelSpendMiddleware(guard, most="0.05")]).invoke(GO)
    assert numbers(wallet) == ("0.0045", "0", "0")


async def test_asynchronous_agents(trove, guard, wallet, tmp_path):
    await create_agent(Model(), [], middleware=[ModelSpendMiddleware(guard, most="0.05")]).ainvoke(GO)
    client = trove.async_wallets()
    handle = await client.wallet(wallet.agent_id, budget_usd="0.1")
    async with AsyncGuard(handle, journal=tmp_path / "others.db") as own:
        spend = ModelSpendMiddleware(async_guard=own, most="0.05")
        await create_agent(Model(), [], middleware=[spend]).ainvoke(GO)
    await client.aclose()
    assert numbers(wallet) == ("0.009", "0", "0")


def test_without_money_no_request_is_made(guard, wallet):
    price = lambda message: Decimal("0.0400001")
    agent = create_agent(Model(), [], middleware=[ModelSpendMiddleware(guard, most="0.05", price=price)])
    agent.invoke(GO)
    agent.invoke(GO)
    with pytest.raises(BudgetExceededError):
        agent.invoke(GO)
    assert numbers(wallet) == ("0.080002", "0", "0")


@pytest.mark.parametrize("model", [Model(name="unheard-of", provider=None), Model(name="")])
def test_a_model_without_a_price_is_said(guard, wallet, model):
    with pytest.warns(UnpricedModelWarning, match="no price"):
        create_agent(model, [], middleware=[ModelSpendMiddleware(guard, most="0.05")]).invoke(GO)
    assert numbers(wallet) == ("0", "0", "0")


def test_a_request_that_costs_more_than_was_held_is_said(guard, wallet):
    with pytest.warns(UnpricedModelWarning, match="raise most"):
        create_agent(
            Model(tokens=(10**6, 0)), [], middleware=[ModelSpendMiddleware(guard, most="0.05")]
        ).invoke(GO)
    assert numbers(wallet) == ("0.05", "0", "0")


@pytest.mark.parametrize("price", [lambda message: 1 / 0, lambda message: 0.01, lambda message: Decimal(-1)])
def test_where_its_cost_cannot_be_told_it_is_in_doubt_and_the_agent_goes_on(guard, wallet, price):
    middleware = ModelSpendMiddleware(guard, most="0.05", price=price)
    assert create_agent(Model(), [], middleware=[middleware]).invoke(GO)["messages"][-1].text == "done"
    assert numbers(wallet) == ("0", "0", "0.05")


class TurnedAway(Exception):
    status_code = 429


@pytest.mark.parametrize(("error", "in_doubt"), [(TurnedAway(), "0"), (TimeoutError(), "0.05")])
def test_what_was_turned_away_costs_nothing_and_what_timed_out_is_in_doubt(guard, wallet, error, in_doubt):
    agent = create_agent(Model(fails=error), [], middleware=[ModelSpendMiddleware(guard, most="0.05")])
    with pytest.raises(type(error)):
        agent.invoke(GO)
    assert numbers(wallet) == ("0", "0", in_doubt)


def test_a_guard_is_needed():
    with pytest.raises(TypeError, match="needed"):
        ModelSpendMiddleware(most=1)
