"""Tools that cost money, and what is done with them."""

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool


class Vendor:
    """A tool that charges, and then does as its test says."""

    def __init__(self):
        self.calls = []
        self.then = []

    def __call__(self, query):
        self.calls.append(query)
        happens = self.then.pop(0) if self.then else None
        if isinstance(happens, BaseException):
            raise happens
        return happens if happens is not None else f"a page about {query}"


def tool_of(vendor, **options):
    @tool(**options)
    def search(query: str) -> str:
        """Searches."""
        return vendor(query)

    return search


THREAD = {"configurable": {"thread_id": "t"}}
GO = {"messages": [HumanMessage("go")]}
SEARCH = [("search", {"query": "otters"})]


def answers(state):
    return [message for message in state["messages"] if isinstance(message, ToolMessage)]
