"""What the fuzz of runs does, and what it expects."""

import asyncio
import random

from pydantic_ai import Agent, ModelMessagesTypeAdapter, RunContext
from pydantic_ai.exceptions import ModelRetry, ToolFailed
from pydantic_ai.messages import ModelResponse, RetryPromptPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.usage import UsageLimits

from pydantic_ai_trove import TroveWorkspace
from trove_agents import Trove

PATHS = ["own/a", "own/b", "own/c"]


def call(dice, name):
    """A call of one of the tools; what it writes tells which, and all but ``write`` tell how often."""
    path = dice.choice(PATHS)
    kind = dice.choice(["write", "add", "twice", "fails", "retries", "look"])
    arguments = {
        "write": {"path": path, "content": name},
        "look": {},
    }.get(kind, {"path": path, "name": name})
    return ToolCallPart(kind, arguments, name)


def tools(agent, dies, death):
    """The tools beside ``write``. All in turn: of calls at once nobody can say what each of them did."""

    async def add_to(workspace, path, name):
        found = await workspace.read_text(path) if await workspace.exists(path) else ""
        await workspace.write_text(path, found + name)

    @agent.tool(sequential=True)
    async def add(ctx: RunContext, path: str, name: str) -> str:
        await add_to(ctx.workspace, path, name)
        return "done"

    @agent.tool(sequential=True)
    async def twice(ctx: RunContext, path: str, name: str) -> str:
        await add_to(ctx.workspace, path, name[:1])
        if dies():
            raise death
        await add_to(ctx.workspace, path, name[1:])
        return "done"

    @agent.tool(sequential=True)
    async def fails(ctx: RunContext, path: str, name: str) -> str:
        await add_to(ctx.workspace, path, name)
        raise ToolFailed("no")

    @agent.tool(sequential=True)
    async def retries(ctx: RunContext, path: str, name: str) -> str:
        await add_to(ctx.workspace, path, name)
        raise ModelRetry("again")

    @agent.tool(sequential=True)
    async def look(ctx: RunContext) -> str:
        return str(await ctx.workspace.exists("own"))


def told(messages):
    """The calls that the model was told the results of, with those, in their order."""
    calls = {}
    for message in messages:
        if isinstance(message, ModelResponse):
            calls |= {each.tool_call_id: each for each in message.tool_calls}
            continue
        for part in message.parts:
            if isinstance(part, ToolReturnPart | RetryPromptPart) and part.tool_call_id in calls:
                yield calls[part.tool_call_id], part


def expected(messages):
    """What the calls wrote that were not cut off."""
    found = {}
    for call, part in told(messages):
        if getattr(part, "outcome", "retried") != "interrupted":
            arguments = call.args_as_dict()
            path = arguments.get("path")
            if "content" in arguments:
                found[path] = arguments["content"]
            elif path is not None:
                found[path] = found.get(path, "") + arguments["name"]
    return found


def files(client, at=None):
    entries = client.list_dir(recursive=True, at=at)
    return {
        each.path.removeprefix("workspace/"): client.read_text(each.path, at=at)
        for each in entries
        if not each.is_dir
    }


def check(client, messages):
    """The files are what the messages say."""
    found = files(client)
    assert {path: text for path, text in found.items() if path.startswith("own/")} == expected(messages)


def live(folder, seed, life):
    """Plays until it is killed, and stores its messages after each node."""
    dice = random.Random(f"{seed} {life}")
    stored = folder / "messages.json"
    trove = Trove.local(folder / "state", sandbox="none")

    def answer(messages, info):
        turn = sum(isinstance(message, ModelResponse) for message in messages)
        return ModelResponse([call(dice, f"{life}-{turn}-{n}") for n in range(dice.randint(1, 3))])

    async def play():
        agent = Agent(
            FunctionModel(answer), capabilities=[TroveWorkspace(trove, tools=["write"])], retries=10**6
        )
        tools(agent, lambda: False, None)
        history = ModelMessagesTypeAdapter.validate_json(stored.read_bytes()) if stored.exists() else []
        limits = UsageLimits(request_limit=None)
        async with agent.iter(
            "go", message_history=history, conversation_id="killed", usage_limits=limits
        ) as run:
            async for _ in run:
                new = folder / "messages.new"
                new.write_bytes(ModelMessagesTypeAdapter.dump_json(run.all_messages()))
                new.replace(stored)

    asyncio.run(play())
