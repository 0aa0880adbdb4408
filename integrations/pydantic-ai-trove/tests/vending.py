"""An MCP server that sells, over its standard input and output. The argument names its books, a line for each sale."""

import sys
from pathlib import Path

from mcp.server import MCPServer

BOOKS = Path(sys.argv[1])
server = MCPServer("vending")


def sold(item):
    with BOOKS.open("a") as books:
        books.write(f"{item}\n")


@server.tool()
def page(query: str) -> str:
    """A page about something."""
    sold(query)
    return f"a page about {query}"


@server.tool(meta={"price_usd": 0.2, "vendor": "acme"})
def map(place: str) -> str:
    """A map. What it costs stands in its definition."""
    sold(place)
    return f"a map of {place}"


@server.tool(meta={"price_usd": "as you like"})
def gift() -> str:
    """A gift, whose price is none."""
    sold("gift")
    return "a gift"


@server.tool(meta={"price_usd": "0.1", "vendor": ["post"]})
def stamp() -> str:
    """A stamp, whose vendor is no name."""
    sold("stamp")
    return "a stamp"


@server.tool()
def ticket(to: str) -> str:
    """A ticket; it breaks down after it has taken the money."""
    sold(to)
    raise RuntimeError("the printer is out of paper")


@server.tool()
def help() -> str:
    """What there is. It is free."""
    return "pages, maps and tickets"


server.run("stdio")
