"""An embedded server for all tests, and a workspace of its own for each."""

import itertools
import re
import sqlite3

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from trove_agents import Trove

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


@pytest.fixture(params=["memory", "sqlite"])
def saver(request):
    """Savers that need no server; test_savers.py tries all there are."""
    if request.param == "memory":
        yield InMemorySaver()
        return
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    yield SqliteSaver(connection)
    connection.close()


@pytest.fixture(params=["sync", "async", "exit"])
def durability(request):
    return request.param
