"""An embedded server for all tests, and a workspace of its own for each."""

import importlib.util
import itertools
import re
import sys
from pathlib import Path

import pytest
from agent_fixtures import journal, numbers
from langgraph.checkpoint.memory import InMemorySaver

from trove_agents import Trove
from trove_agents.guard import Guard

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def trove():
    with Trove.temporary() as trove:
        yield trove


@pytest.fixture
def client(trove, request):
    name = re.sub(r"\W", "-", request.node.name)[:60]
    return trove.client(f"{name}-{next(_numbers)}")


@pytest.fixture
def async_client(trove, client):
    return trove.async_client(client.namespace)


@pytest.fixture
def wallet(trove, request):
    """The test's own, with a dollar."""
    return trove.wallet(request.node.name[:250], budget_usd=1)


@pytest.fixture
def guard(wallet, journal):
    return Guard(wallet, journal=journal)


@pytest.fixture
def saver():
    """test_savers.py tries all that there are."""
    return InMemorySaver()


@pytest.fixture(params=["sync", "async", "exit"])
def durability(request):
    return request.param


@pytest.fixture
def postgres_url():
    """From a folder to the URL of a database of its own; skips where PostgreSQL cannot start."""
    name = "tests_postgres"  # the repository's tests share their server with these
    if name not in sys.modules:
        path = Path(__file__).parents[3] / "tests" / "postgres.py"
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name].url
