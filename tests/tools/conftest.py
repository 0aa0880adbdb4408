import pytest

from trove_agents import Trove
from trove_agents.tools import CATALOG, ToolContext


@pytest.fixture(scope="session")
def tool_trove():
    with Trove.temporary(sandbox="none") as trove:
        yield trove


@pytest.fixture
def client(tool_trove, request):
    """Of a namespace of the test's own."""
    return tool_trove.client(f"{abs(hash(request.node.nodeid)):x}")


@pytest.fixture
def use(client):
    """``use(name, max_characters=..., **arguments)`` gives a ``ToolResult``."""

    def use(name, *, max_characters=30_000, **arguments):
        return client.run(CATALOG[name].call(arguments, ToolContext(max_characters)))

    return use
