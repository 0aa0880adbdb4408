import json

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
from pydantic_ai import Agent, RunContext, models
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import DeltaToolCall, FunctionModel

from pydantic_ai_trove import FilesChanged, FilesFound, TroveWorkspace
from trove_agents.guard import AsyncGuard, Guard

from .histories import Died
from .shopping import Shop

models.ALLOW_MODEL_REQUESTS = False


@pytest.fixture
def scripted():
    """``scripted(*turns)``: a model; each turn is a text, or a list of calls ``(name, arguments)``, found by counting
    the responses that are there, so that it is right after a crash, too. Past its end it says done.
    """

    def make(*turns, seen=None):
        def answer(messages, info):
            if seen is not None:
                seen.append((messages, info))
            turn = sum(isinstance(message, ModelResponse) for message in messages)
            said = turns[turn] if turn < len(turns) else "done"
            if isinstance(said, str):
                return ModelResponse([TextPart(said)])
            return ModelResponse([ToolCallPart(*call, f"{turn}-{n}") for n, call in enumerate(said)])

        async def stream(messages, info):
            for n, part in enumerate(answer(messages, info).parts):
                if isinstance(part, TextPart):
                    yield part.content
                else:
                    yield {
                        n: DeltaToolCall(
                            part.tool_name, json.dumps(part.args), tool_call_id=part.tool_call_id
                        )
                    }

        return FunctionModel(answer, stream_function=stream)

    return make


class Listener(AbstractCapability):
    def __init__(self):
        self.events = []

    async def on_event(self, ctx, *, event):
        if isinstance(event, FilesChanged | FilesFound):
            self.events.append(event)


@pytest.fixture
def heard():
    return Listener()


@pytest.fixture
def capability(trove):
    return TroveWorkspace(trove, tools=["write"])


@pytest.fixture
def agent(scripted, capability, heard):
    """``agent(*turns)``: besides writing, it has a tool that writes half of what it should, and dies when told so."""

    def make(*turns, capability=capability, **options):
        made = Agent(scripted(*turns), capabilities=[capability, heard], **options)

        @made.tool(sequential=True)
        async def half(ctx: RunContext[bool], path: str) -> str:
            await ctx.workspace.write_text(path, "half")
            if ctx.deps:
                raise Died
            await ctx.workspace.write_text(path, "whole")
            return "done"

        return made

    return make


@pytest.fixture
def files(trove):
    def read(namespace, at=None):
        client = trove.client(namespace)
        entries = client.list_dir(recursive=True, at=at)
        return {
            entry.path.removeprefix("workspace/"): client.read_text(entry.path, at=at)
            for entry in entries
            if not entry.is_dir
        }

    return read


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


@pytest.fixture
def shop():
    return Shop()
