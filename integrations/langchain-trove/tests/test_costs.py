"""What tools and MCP servers say of prices and costs. Real servers are in ``deep/test_mcp.py``."""

from decimal import Decimal
from types import SimpleNamespace

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ToolRetryMiddleware
from langchain_core.tools import StructuredTool, ToolException
from langgraph.checkpoint.memory import InMemorySaver

from langchain_trove import Priced, WalletMiddleware, mcp_costs, paid
from trove_agents.guard import Metered

from .vendors import GO, SEARCH, THREAD, answers, tool_of

SCHEMA = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}


class Server:
    """What is behind a tool as langchain-mcp-adapters makes it: each result says what its test says."""

    def __init__(self, *results):
        self.results = list(results)

    def tool(self, **metadata):
        async def call_tool(runtime=None, **arguments):
            request = SimpleNamespace(name="search", server_name="acme")
            result = await mcp_costs(request, self.answer)
            if result.isError:
                raise ToolException("the page is gone")
            return [{"type": "text", "text": "a page"}], None

        return StructuredTool(
            name="search",
            description="Searches.",
            args_schema=SCHEMA,
            coroutine=call_tool,
            response_format="content_and_artifact",
            metadata=metadata or None,
            handle_tool_error=True,
        )

    async def answer(self, request):
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return SimpleNamespace(**{"isError": False, "meta": None} | result)


def says(cost, **more):
    return {"meta": {"cost_usd": cost}, **more}


@pytest.fixture
def run(scripted):
    async def run(tool, *middleware):
        agent = create_agent(
            scripted(SEARCH, "done"), [tool], middleware=middleware, checkpointer=InMemorySaver()
        )
        (told,) = answers(await agent.ainvoke(GO, THREAD))
        return told

    return run


META = {"_meta": {"price_usd": "0.25", "vendor": "acme"}}


@pytest.mark.parametrize(
    "metadata",
    [
        {"price_usd": "0.25", "vendor": "acme"},
        {"price_usd": Priced("0.25", vendor="acme")},
        {"price_usd": Metered("0.5", lambda message: "0.25"), "vendor": "acme"},
        META,
        {"_meta": {"price_usd": 0.25, "vendor": "acme"}, "readOnlyHint": True},
        {"price_usd": 0.25, "vendor": "acme", "readOnlyHint": True},
        {"mcp": {"tool": {"_meta": {"price_usd": "0.25", "vendor": "acme"}}, "server": {"name": "acme"}}},
    ],
)
@pytest.mark.parametrize("by", ["the middleware", "a paid tool"])
async def test_a_tool_costs_what_it_says(guard, run, numbers, metadata, by):
    tool = Server({}).tool(**metadata)
    if by == "a paid tool":
        told = await run(paid(tool, guard=guard))
    else:
        told = await run(tool, WalletMiddleware(guard))
    assert (told.artifact["receipt"]["charged_usd"], told.artifact["receipt"]["vendor"]) == ("0.25", "acme")
    assert numbers() == ("0.25", "0", "0")


@pytest.mark.parametrize(
    "metadata",
    [{}, {"price_usd": None}, {"_meta": None}, {"_meta": {"price": "1"}}, {"mcp": {"tool": {}}}, {"mcp": 1}],
)
async def test_one_that_says_nothing_is_free(guard, run, numbers, metadata):
    tool = Server({}).tool(**metadata)
    assert (await run(tool, WalletMiddleware(guard))).artifact is None
    assert numbers() == ("0", "0", "0")
    with pytest.raises(ValueError, match="give a price"):
        paid(tool, guard=guard)


@pytest.mark.parametrize("price", ["free", "NaN", "-1", "1e30", True, {"usd": 1}, float("inf"), [], ""])
@pytest.mark.parametrize("where", [lambda said: {"_meta": said}, lambda said: said])
async def test_what_cannot_be_read_is_not_free(guard, run, numbers, price, where):
    told = await run(Server({}).tool(**where({"price_usd": price, "vendor": {}})), WalletMiddleware(guard))
    assert told.status == "error"
    assert "price cannot be told" in told.content
    assert numbers() == ("0", "0", "0")


async def test_what_the_program_says_goes_before(guard, run, numbers):
    await run(Server({}).tool(**META), WalletMiddleware(guard, prices={"search": "0.1"}))
    assert numbers() == ("0.1", "0", "0")


def test_what_a_paid_tool_is_given_goes_before_what_it_says_itself(guard):
    terms = paid(Server().tool(**META), guard=guard, vendor="another")
    assert terms.description == "Searches. Costs $0.25 a call."
    terms = paid(Server().tool(**META), Priced("0.1", vendor="its own"), guard=guard)
    assert terms.description == "Searches. Costs $0.10 a call."


async def test_a_price_of_a_server_is_seen_by_the_model(guard, scripted):
    model = scripted("done")
    agent = create_agent(model, [Server().tool(**META)], middleware=[WalletMiddleware(guard)])
    await agent.ainvoke(GO)
    assert [each.description for each in model.offered] == ["Searches. Costs $0.25 a call."]


@pytest.mark.parametrize(
    ("result", "state", "charged"),
    [
        (says("0.05"), "captured", "0.05"),
        (says(0.1), "captured", "0.1"),
        (says("0.25"), "captured", "0.25"),
        (says("0.0000001"), "captured", "0.000001"),
        (says(0), "voided", "0"),
        (says(None), "captured", "0.25"),
        ({}, "captured", "0.25"),
        (says("0.250001"), "in_doubt", None),
        (says("-1"), "in_doubt", None),
        (says("free"), "in_doubt", None),
        (says(True), "in_doubt", None),
        (says("0.05", isError=True), "captured", "0.05"),
        (says(0, isError=True), "voided", "0"),
        (says("3", isError=True), "in_doubt", None),
        ({"isError": True}, "in_doubt", None),
    ],
)
async def test_what_a_result_says_is_captured_but_never_more_than_the_price(
    guard, run, numbers, result, state, charged
):
    told = await run(Server(result).tool(**META), WalletMiddleware(guard))
    receipt = told.artifact["receipt"]
    assert (told.status == "error") == result.get("isError", False)
    assert receipt["state"] == state
    if charged is None:
        assert numbers() == ("0", "0", "0.25")
    else:
        assert numbers() == (charged, "0", "0")


async def test_a_meter_of_the_program_is_what_counts(guard, run, numbers):
    price = Metered("0.25", lambda message: "0.2")
    await run(Server(says("0.05")).tool(), WalletMiddleware(guard, prices={"search": price}))
    assert numbers() == ("0.2", "0", "0")


@pytest.mark.parametrize(
    ("results", "spent"),
    [
        ([says("0.05", isError=True), says("0.1")], "0.15"),
        ([ConnectionResetError(), says("0.1")], "0.25"),
        ([ConnectionResetError(), ConnectionResetError(), {}], "0.25"),
    ],
)
async def test_attempts_add_up(guard, run, numbers, results, spent):
    """Of one that is broken off nobody knows what it did cost."""
    retry = ToolRetryMiddleware(max_retries=3, initial_delay=0, jitter=False)
    tool = Server(*results).tool(**META)
    tool.handle_tool_error = False
    await run(tool, WalletMiddleware(guard), retry)
    assert numbers() == (spent, "0", "0")


async def test_calls_that_a_tool_makes_of_others_are_not_its_own(guard, run, numbers):
    async def research(query):
        request = SimpleNamespace(name="lookup", server_name="acme")
        await mcp_costs(request, Server(says("0.01")).answer)
        return "found"

    tool = StructuredTool(
        name="search", description="Searches.", coroutine=research, args_schema=SCHEMA, metadata=META
    )
    await run(tool, WalletMiddleware(guard))
    assert numbers() == ("0.25", "0", "0")


async def test_a_call_that_is_not_paid_for_is_left_alone(run):
    assert (await run(Server(says("0.05")).tool())).artifact is None


async def test_a_name_with_that_of_its_server_is_known_too(guard, scripted, numbers):
    tool = Server(says("0.05")).tool(**META)
    tool.name = "acme_search"
    agent = create_agent(
        scripted([("acme_search", {"query": "otters"})], "done"),
        [tool],
        middleware=[WalletMiddleware(guard)],
    )
    await agent.ainvoke(GO)
    assert numbers() == ("0.05", "0", "0")


def test_a_tool_of_ones_own_says_its_price_where_it_is_made(guard, vendor, scripted, wallet):
    search = tool_of(vendor)
    search.metadata = {"price_usd": lambda arguments: Decimal(len(arguments["query"])) / 100}
    create_agent(scripted(SEARCH, "done"), [search], middleware=[WalletMiddleware(guard)]).invoke(GO)
    assert str(wallet.balance().total_spent) == "0.06"
