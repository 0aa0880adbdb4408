import asyncio
from dataclasses import fields

import pytest
from agent_fixtures import (
    async_client,
    async_server,
    client,
    isolated,
    journal,
    namespace,
    numbers,
    server,
    trove,
    wallet,
)
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver

from langchain_trove import Priced, WalletMiddleware, paid
from trove_agents.guard import AsyncGuard, Guard

from .vendors import THREAD, Vendor, tool_of


class Scripted(BaseChatModel):
    """The next message of a script, found by counting those that are there: right under replay, too."""

    script: list
    seen: list = []
    offered: list = []
    """The tools that it was given."""

    @property
    def _llm_type(self):
        return "scripted"

    def bind_tools(self, tools, **options):
        self.offered.extend(tools)
        return self

    def _generate(self, messages, stop=None, run_manager=None, **options):
        self.seen.append(messages)
        turn = sum(isinstance(message, AIMessage) for message in messages)
        return ChatResult(generations=[ChatGeneration(message=self.script[turn].model_copy(deep=True))])


@pytest.fixture
def scripted():
    """``scripted(*turns)``: a model; each turn is a text, or a list of calls ``(name, arguments)``."""

    def make(*turns):
        script = []
        for turn in turns:
            if isinstance(turn, str):
                script.append(AIMessage(turn))
                continue
            calls = [
                {"name": name, "args": arguments, "id": f"{len(script)}.{n}", "type": "tool_call"}
                for n, (name, arguments) in enumerate(turn)
            ]
            script.append(AIMessage("", tool_calls=calls))
        return Scripted(script=script)

    return make


@pytest.fixture
def workspace(trove, namespace):
    """A client of the test's own namespace, on a real server."""
    return trove.client(namespace)


@pytest.fixture
async def async_workspace(trove, namespace):
    """The same namespace, for asyncio."""
    async with trove.async_client(namespace) as client:
        yield client


@pytest.fixture
def guard(wallet, journal):
    return Guard(wallet, journal=journal)


@pytest.fixture
def vendor():
    return Vendor()


BY_MIDDLEWARE = ["threads", "asyncio"]
BY_TOOL = ["a paid tool, threads", "a paid tool, asyncio with a guard for threads"]


@pytest.fixture(params=[*BY_MIDDLEWARE, *BY_TOOL])
def running(request, trove, wallet, journal, vendor, scripted):
    """``running(*turns, price)``: what runs an agent, synchronous or not, which pays for ``search`` one way or the other; the
    agent, and its model.
    """
    how = request.param.removeprefix("a paid tool, ")
    runner = asyncio.Runner()

    def make(*turns, price="0.3", tools=None, middleware=(), saver=None, policy=None, **options):
        if how == "asyncio":
            handle = runner.run(trove.async_wallets().wallet(wallet.agent_id, budget_usd=1))
            options["async_guard"] = AsyncGuard(handle, journal=journal, policy=policy)
        else:
            options["guard"] = Guard(wallet, journal=journal, policy=policy)
        model, tools = scripted(*turns), tools or [tool_of(vendor)]
        if request.param in BY_TOOL:
            terms = price if isinstance(price, Priced) else Priced(price)
            options |= {field.name: getattr(terms, field.name) for field in fields(terms)}
            tools = [paid(each, **options) if each.name == "search" else each for each in tools]
        else:
            middleware = [WalletMiddleware(prices={"search": price}, **options), *middleware]
        agent = create_agent(model, tools, middleware=middleware, checkpointer=saver or InMemorySaver())
        if how == "threads":
            run = lambda given, config=THREAD, **named: agent.invoke(given, config, **named)
        else:
            run = lambda given, config=THREAD, **named: runner.run(agent.ainvoke(given, config, **named))
        return run, agent, model

    yield make
    runner.close()
