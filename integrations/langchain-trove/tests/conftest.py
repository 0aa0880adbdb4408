import contextlib
import json

import pytest
from trove_agents import AsyncTroveClient, TroveClient
from trove_agents.client.transport import Reply


class Server:
    """Answers commands as its test says: with a dict for a result, or a status and a body for a refusal."""

    retries = False

    def __init__(self):
        self.answers, self.commands, self.failure = {}, [], None

    def answer(self, request):
        if self.failure is not None:
            raise self.failure
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
