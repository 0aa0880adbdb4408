"""The suite that LangChain has for tools."""

import pytest
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests
from langchain_trove import TroveTool, TroveToolkit
from trove_agents import Trove, TroveClient
from trove_agents.tools import CATALOG


class TestBashUnit(ToolsUnitTests):
    @property
    def tool_constructor(self):
        return TroveTool

    @property
    def tool_constructor_params(self):
        return {"spec": CATALOG["bash"], "client": TroveClient("key", "n", base_url="http://nowhere.invalid")}

    @property
    def tool_invoke_params_example(self):
        return {"command": "echo hi"}


@pytest.fixture(scope="class")
def trove(request):
    with Trove.temporary(sandbox="none") as trove:
        request.cls.trove = trove
        yield trove


@pytest.mark.usefixtures("trove")
class BashOnAServer(ToolsIntegrationTests):
    @property
    def tool_invoke_params_example(self):
        return {"command": "echo hi > a; cat a"}


class TestBashWithBothClients(BashOnAServer):
    @property
    def tool_constructor(self):
        toolkit = TroveToolkit(self.trove.client("n"), async_client=self.trove.async_client("n"))
        return toolkit.get_tools()[0]


class TestBashWithSyncClient(BashOnAServer):
    @property
    def tool_constructor(self):
        return TroveToolkit(self.trove.client("n")).get_tools()[0]
