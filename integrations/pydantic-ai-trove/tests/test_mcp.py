"""Tools of a real MCP server, in a process of its own, paid for by their names and by what the server says of them."""

import sys
from pathlib import Path

import pytest
from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent, DeferredToolRequests
from pydantic_ai.mcp import MCPToolset

from pydantic_ai_trove import Priced, TroveWallet, WalletToolset
from trove_agents.guard import Guard, ask_above

from .histories import returns


@pytest.fixture
def books(tmp_path):
    return tmp_path / "books.txt"


@pytest.fixture
async def server(books):
    script = str(Path(__file__).with_name("vending.py"))
    async with MCPToolset(StdioTransport(sys.executable, [script, str(books)]), id="vending") as toolset:
        yield toolset


@pytest.fixture
def guarding(wallet, tmp_path):
    made = []

    def make(**options):
        made.append(Guard(wallet, journal=tmp_path / "payments.db", **options))
        return made[-1]

    yield make
    for guard in made:
        guard.close()


PAGE, MAP, HELP = ("page", {"query": "otters"}), ("map", {"place": "Turin"}), ("help", {})
TICKET, BUS, TRAM = (("ticket", {"to": to}) for to in ("Lyon", "the sea", "the station"))


async def test_by_name_and_by_what_the_server_says(server, guarding, scripted, numbers, books):
    seen = []
    paid = TroveWallet(guarding(), {"page": Priced("0.1", vendor="pages")})
    model = scripted([PAGE], [MAP], [HELP], seen=seen)
    result = await Agent(model, toolsets=[server], capabilities=[paid]).run("go")
    page, map, free = returns(result)
    assert [part.content for part in (page, map)] == ["a page about otters", "a map of Turin"]
    assert (page.metadata["receipt"]["charged_usd"], page.metadata["receipt"]["vendor"]) == ("0.1", "pages")
    assert (map.metadata["receipt"]["charged_usd"], map.metadata["receipt"]["vendor"]) == ("0.2", "acme")
    assert "receipt" not in (free.metadata or {})
    told = {tool.name: tool.description for tool in seen[0][1].function_tools}
    assert told["page"].endswith("Costs $0.10 a call.") and told["map"].endswith("Costs $0.20 a call.")
    assert told["help"] == "What there is. It is free."
    assert (numbers(), books.read_text()) == (("0.3", "0", "0"), "otters\nTurin\n")


async def test_what_the_server_asks_may_need_a_yes_or_be_too_much(server, guarding, scripted, numbers, books):
    paid = TroveWallet(guarding(policy=ask_above("0.15")), {"page": "0.9"})
    agent = Agent(
        scripted([MAP], [PAGE]),
        toolsets=[server],
        capabilities=[paid],
        output_type=[str, DeferredToolRequests],
    )
    first = await agent.run("go")
    assert (first.output.metadata["0-0"]["price_usd"], books.exists()) == ("0.2", False)
    yes = first.output.build_results(approve_all=True)
    second = await agent.run(message_history=first.all_messages(), deferred_tool_results=yes)
    yes = second.output.build_results(approve_all=True)
    third = await agent.run(message_history=second.all_messages(), deferred_tool_results=yes)
    refused = returns(third)[-1]
    assert refused.outcome == "failed" and "needs $0.90, and $0.80 remain" in refused.content
    assert (numbers(), books.read_text()) == (("0.2", "0", "0"), "Turin\n")


async def test_what_is_no_price_is_refused_and_the_others_go_on(server, guarding, scripted, numbers, books):
    calls = ("gift", {}), ("stamp", {}), MAP
    agent = Agent(scripted(calls), toolsets=[server], capabilities=[TroveWallet(guarding())])
    gift, stamp, map = returns(await agent.run("go"))
    assert (gift.outcome, "its price cannot be told" in gift.content) == ("failed", True)
    assert (stamp.outcome, stamp.metadata["receipt"]["vendor"]) == ("success", "['post']")
    assert map.content == "a map of Turin"
    assert (numbers(), set(books.read_text().split())) == (("0.3", "0", "0"), {"stamp", "Turin"})


async def test_a_server_that_fails_may_have_charged(server, guarding, scripted, numbers, books):
    """Pydantic AI tells the model of it as it tells of a tool's own ``ModelRetry``, and of no reason."""
    guard = guarding()
    unless_known = {"ticket": Priced("0.4", retry_charges=False)}
    agents = [
        Agent(scripted([TICKET]), toolsets=[server], capabilities=[TroveWallet(guard, {"ticket": "0.2"})]),
        Agent(scripted([BUS]), toolsets=[WalletToolset(server, guard, {"ticket": "0.3"})]),
        Agent(scripted([TRAM]), toolsets=[server], capabilities=[TroveWallet(guard, unless_known)]),
    ]
    doubted = []
    for agent in agents:
        [part] = returns(await agent.run("go"))
        assert (part.outcome, "Error executing tool ticket" in part.model_response_str()) == ("retried", True)
        doubted.append(numbers())
    assert doubted == [("0", "0", "0.2"), ("0", "0", "0.5"), ("0", "0", "0.5")]
    assert books.read_text() == "Lyon\nthe sea\nthe station\n"
