"""An MCP server whose tools say what they cost, over standard input and output."""

from mcp.server.fastmcp import FastMCP
from mcp.types import CallToolResult, TextContent

server = FastMCP("acme")


@server.tool(meta={"price_usd": "0.25", "vendor": "acme"})
def search(query: str) -> str:
    """Searches."""
    return f"a page about {query}"


@server.tool(meta={"price_usd": 0.25}, structured_output=False)
def metered(cost: str, *, fails: bool = False) -> CallToolResult:
    """Costs what it is told to, if that is something."""
    meta = {"cost_usd": cost} if cost else None
    return CallToolResult(content=[TextContent(type="text", text="done")], isError=fails, _meta=meta)


@server.tool()
def free() -> str:
    """Costs nothing."""
    return "free"


server.run()
