"""Fixtures of the integrations' tests: servers, real ones and one that answers as its test says, and wallets.

A ``conftest.py`` imports those that its tests use; ``pythonpath`` in pyproject.toml leads here.
"""

import contextlib
import json
import uuid

import pytest

from trove_agents import AsyncTroveClient, Trove, TroveClient
from trove_agents.client.transport import Reply
from trove_agents.guard import SqliteJournal
from trove_agents.server.sandbox import probe


@pytest.fixture(scope="session")
def trove():
    """A real server. Its commands run unprotected, which spares the tests of anything else the time."""
    with Trove.temporary(sandbox="none") as trove:
        yield trove


@pytest.fixture(scope="session")
def isolated():
    """A real server whose commands are isolated."""
    report = probe(None, network="none")
    if not report.ok:
        pytest.skip(f"cannot isolate commands here: {'; '.join(report.problems)}")
    with Trove.temporary() as trove:
        yield trove


@pytest.fixture
def namespace():
    """The test's own."""
    return f"test-{uuid.uuid4().hex[:8]}"


class Server:
    """Answers commands as its test says: with a dict for a result, or a status and a body for a refusal."""

    retries = False

    def __init__(self):
        self.answers, self.commands, self.failure = {}, [], None

    def answer(self, request):
        if self.failure is not None:
            raise self.failure
        if request.path == "/v1/me":
            return Reply(404, {}, b"{}")
        command = json.loads(request.body)["command"]
        self.commands.append(command)
        answer = self.answers[command]
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        return Reply(status, {}, json.dumps({"stdout": "", "stderr": "", "duration_ms": 1} | body).encode())


class Sync(Server):
    def send(self, request):
        return self.answer(request)

    def stream(self, request):
        return contextlib.nullcontext(self.answer(request))

    def close(self):
        pass


class Async(Server):
    async def send(self, request):
        return self.answer(request)

    def stream(self, request):
        return contextlib.nullcontext(self.answer(request))

    async def aclose(self):
        pass


@pytest.fixture
def server():
    """Answers as its test says."""
    return Sync()


@pytest.fixture
def client(server):
    return TroveClient("key", "n", transport=server)


@pytest.fixture
def async_server():
    return Async()


@pytest.fixture
def async_client(async_server):
    return AsyncTroveClient("key", "n", transport=async_server)


@pytest.fixture
def wallet(trove, namespace):
    """The test's own, with a dollar."""
    return trove.wallet(namespace, budget_usd=1)


@pytest.fixture
def journal(tmp_path):
    opened = SqliteJournal(tmp_path / "payments.db")
    yield opened
    opened.close()


@pytest.fixture
def numbers(wallet):
    """What the wallet says now: spent, held, in doubt."""

    def read():
        found = wallet.balance()
        return tuple(str(each) for each in (found.total_spent, found.held_usd, found.in_doubt_usd))

    return read
