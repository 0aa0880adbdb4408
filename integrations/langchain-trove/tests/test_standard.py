"""The suites that LangChain has for tools."""

import itertools

import pytest
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from langchain_trove import TroveToolkit, paid
from trove_agents import TroveClient
from trove_agents.guard import Guard, SqliteJournal

BASH = {"command": "echo hi > a; cat a"}


class OfOneTool:
    """Which tool, and with what it is invoked."""

    name, arguments = "bash", BASH

    @property
    def tool_invoke_params_example(self):
        return self.arguments


class UnitTests(OfOneTool, ToolsUnitTests):
    @property
    def tool_constructor(self):
        client = TroveClient("key", "n", base_url="http://nowhere.invalid")
        [tool] = TroveToolkit(client, tools=[self.name]).get_tools()
        return tool


class IntegrationTests(OfOneTool, ToolsIntegrationTests):
    @property
    def tool_constructor(self):
        client, async_client = self.trove.client("n"), self.trove.async_client("n")
        client.write("a.txt", "one")
        [tool] = TroveToolkit(client, async_client=async_client, tools=[self.name]).get_tools()
        return tool


@pytest.fixture(scope="class", autouse=True)
def _trove(request, trove):
    request.cls.trove = trove


class TestBashUnit(UnitTests):
    pass


class TestBash(IntegrationTests):
    pass


class TestBashWithSyncClient(IntegrationTests):
    @property
    def tool_constructor(self):
        return TroveToolkit(self.trove.client("n")).get_tools()[0]


class TestReadUnit(UnitTests):
    name, arguments = "read", {"path": "a.txt"}


class TestRead(IntegrationTests):
    name, arguments = "read", {"path": "a.txt"}


class TestGrepUnit(UnitTests):
    name, arguments = "grep", {"pattern": "o"}


class TestGrep(IntegrationTests):
    name, arguments = "grep", {"pattern": "o"}


class TestSnapshotUnit(UnitTests):
    name, arguments = "snapshot", {"label": "before"}


class TestSnapshot(IntegrationTests):
    name, arguments = "snapshot", {"label": "before"}


class OfAPaidTool:
    """The same in a paid tool: each way of calling is another payment, as if another program made it."""

    @property
    def tool_constructor(self):
        keys = (f"{id(self)}-{number}" for number in itertools.count())
        guard = Guard(self.trove.wallet("paid", budget_usd=5), journal=SqliteJournal(":memory:"))
        return paid(super().tool_constructor, "0.01", guard=guard, key=lambda arguments: next(keys))


class TestPaidUnit(OfAPaidTool, UnitTests):
    pass


class TestPaid(OfAPaidTool, IntegrationTests):
    pass
