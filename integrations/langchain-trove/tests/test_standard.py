"""The suites that LangChain has for tools."""

from uuid import uuid4

import pytest
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from langchain_trove import TroveToolkit, paid
from trove_agents import TroveClient
from trove_agents.guard import Guard

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
def _trove(request, trove, tmp_path_factory):
    request.cls.trove = trove
    request.cls.journal = tmp_path_factory.mktemp("paid") / "payments.db"


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
    """The same in a paid tool: each call is another payment."""

    @property
    def tool_constructor(self):
        guard = Guard(self.trove.wallet("paid", budget_usd=5), journal=self.journal)
        return paid(super().tool_constructor, "0.01", guard=guard, key=lambda arguments: str(uuid4()))


class TestPaidUnit(OfAPaidTool, UnitTests):
    pass


class TestPaid(OfAPaidTool, IntegrationTests):
    pass
