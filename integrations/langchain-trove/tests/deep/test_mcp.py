"""Tools of a real MCP server, which says what they cost."""

import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytest.importorskip("langchain_mcp_adapters", reason="in an environment of its own: make deepagents")

from langchain.agents import create_agent
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools
from langgraph.checkpoint.memory import InMemorySaver

from langchain_trove import WalletMiddleware, mcp_costs, paid

from ..vendors import GO, THREAD, answers

SERVER = Path(__file__).with_name("mcp_server.py")


@asynccontextmanager
async def connected():
    """The tools of the server."""
    client = MultiServerMCPClient(
        {"acme": {"transport": "stdio", "command": sys.executable, "args": [str(SERVER)]}}
    )
    async with client.session("acme") as session:
        made = await load_mcp_tools(session, tool_interceptors=[mcp_costs], server_name="acme")
        yield {each.name: each for each in made}


@pytest.mark.parametrize("by", ["the middleware", "a paid tool"])
async def test_they_are_paid_what_the_server_says(by, guard, scripted, numbers):
    calls = [
        ("search", {"query": "otters"}),
        ("metered", {"cost": "0.05"}),
        ("metered", {"cost": ""}),
        ("metered", {"cost": "0.01", "fails": True}),
        ("free", {}),
    ]
    async with connected() as tools:
        if by == "a paid tool":
            tools |= {name: paid(tools[name], guard=guard) for name in ("search", "metered")}
        middleware = [WalletMiddleware(guard)] if by == "the middleware" else []
        agent = create_agent(
            scripted(calls, "done"), list(tools.values()), middleware=middleware, checkpointer=InMemorySaver()
        )
        told = answers(await agent.ainvoke(GO, THREAD))
    receipts = [(message.artifact or {}).get("receipt") for message in told]
    assert [receipt and (receipt["charged_usd"], receipt["vendor"]) for receipt in receipts] == [
        ("0.25", "acme"),
        ("0.05", None),
        ("0.25", None),
        ("0.01", None),
        None,
    ]
    assert [message.status for message in told].count("error") == 1
    assert told[0].text == "a page about otters"
    assert numbers() == ("0.56", "0", "0")


async def test_more_than_was_said_before_is_not_paid(guard, scripted, numbers):
    model = scripted([("metered", {"cost": "0.26"})], "done")
    async with connected() as tools:
        agent = create_agent(model, [tools["metered"]], middleware=[WalletMiddleware(guard)])
        (told,) = answers(await agent.ainvoke(GO, THREAD))
    assert (told.text, told.artifact["receipt"]["state"]) == ("done", "in_doubt")
    assert numbers() == ("0", "0", "0.25")
